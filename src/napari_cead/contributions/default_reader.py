"""Making this plugin napari's reader for medical scans, by napari's own setting, so that it does not ask each time."""

from __future__ import annotations

PLUGIN = "napari-cead"

ENDINGS = tuple(
    f"*.{ending}"
    for ending in (
        *("nii", "nii.gz", "hdr", "img", "hdr.gz", "img.gz", "mgz", "mgh"),
        *("nrrd", "nhdr", "dcm", "dicom", "ima", "mr"),
    )
)
"""Files of medical scans. A zip may be anything and is not among them."""

ALWAYS = "Always open scans with napari-cead"
"""Text of the offer."""

_offered = False  # once per process, not with every scan


def is_reader() -> bool:
    """Whether napari opens scans with this plugin without asking."""
    from napari.settings import get_settings

    chosen = get_settings().plugins.extension2reader
    return all(chosen.get(ending) == PLUGIN for ending in ENDINGS)


def become_reader() -> None:
    """Let napari open scans with this plugin (Preferences, page Plugins)."""
    from napari.settings import get_settings

    plugins = get_settings().plugins
    ours = dict.fromkeys(ENDINGS, PLUGIN)
    # In front: of two patterns that fit, as *.gz would, napari takes the first.
    plugins.extension2reader = ours | {
        pattern: reader for pattern, reader in plugins.extension2reader.items() if pattern not in ours
    }


def offer() -> None:
    """Offer it in a notification, unless it is set already or was offered before."""
    from napari.utils.notifications import Notification, notification_manager

    global _offered
    if _offered or is_reader():
        return
    _offered = True
    notification_manager.dispatch(
        Notification(
            "napari asks for a reader each time a scan is dropped onto it. With the Explore dock open it does not.",
            "info",
            ((ALWAYS, lambda _: become_reader()),),
        )
    )
