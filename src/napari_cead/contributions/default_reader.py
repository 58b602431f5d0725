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

SHORT = "Always napari-cead"
"""The same on a button of napari's notification, which is 400 pixels wide."""

_SETTLED_MS = 500
"""When the window has made room for the controls of a first layer."""

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
    from qtpy.QtCore import QCoreApplication, QTimer

    global _offered
    if _offered or is_reader():
        return
    _offered = True
    if QCoreApplication.instance() is None:
        return  # nobody looks
    # napari places a notification by the canvas of that moment, which the first layer is about to make narrower.
    QTimer.singleShot(_SETTLED_MS, _notify)


def _notify() -> None:
    from napari.utils.notifications import Notification, notification_manager

    class Offer(Notification):
        source = PLUGIN  # napari's own is so long that the button beside it is cut

    notification_manager.dispatch(
        Offer(
            "napari asks which reader opens a scan.",
            "info",
            ((SHORT, lambda _: become_reader()),),
        )
    )
