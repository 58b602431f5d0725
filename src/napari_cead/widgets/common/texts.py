"""Labels and tooltips of the controls of the Explore dock's form: one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...detection.options import MAP_OPTIONS
from ...detection.params import PostprocessParams
from ...detection.scores import SCORES
from ...detection.settings import Parameter
from .anatomy import Convention

OPEN_FIRST = "Open a patient first: choose a folder or file, or drop one onto the viewer."
"""What Run says without a patient."""

OPEN_FIRST_OR_LAYERS = (
    "Open a patient first: choose a folder or file, drop one onto the viewer, or press “Use these layers”."
)
"""The same while layers are open that could be used."""


@dataclass(frozen=True)
class Text:
    """One row of `TEXTS`.

    Attributes:
        title: Label, or text of a button.
        tip: Tooltip: one or two short clauses, without a full stop at the end.
        unit: ``"mm"``, ``"px"``, ``"%"``, ``"mL"`` or ``""``.
    """

    title: str
    tip: str
    unit: str = ""


def of_parameter(parameter: Parameter) -> Text:
    """Return the texts of a setting, which its own table holds."""
    return Text(parameter.title, f"{parameter.description} ({parameter.range})", parameter.unit)


def settings_words(params: PostprocessParams) -> str:
    """Return the values of the sliders in words, in the units that the dock has."""
    said = []
    for row in PostprocessParams.parameters():
        if row.slider and row.kind is not bool:
            value = getattr(params, row.name)
            shown = (
                f"{value:.0%}"
                if row.percent
                else f"{value:.3f}"
                if row.kind is float
                else f"{value} {row.unit}"
            )
            said.append(f"{row.title} {shown}")
    return ", ".join(said)


TEXTS: Mapping[str, Text] = {
    # Patient
    "patient": Text(
        "Open", "A patient folder, a scan, a DICOM folder (FOLDER#SERIES for one series) or a zip"
    ),
    "choose_folder": Text("Folder…", "Choose a patient folder"),
    "choose_file": Text("File…", "Choose a scan, a DICOM file or a zip"),
    "open_more": Text(
        "Open…", "Show or hide what opens a patient; a drop anywhere in the window opens one too"
    ),
    "recent": Text("Recent", "Patients that were opened before"),
    "sequence": Text("Sequence", "The sequence that the model is run on"),
    "about": Text("About", "Name, size in voxels and voxel size of the patient"),
    "strip": Text(
        "Strip the skull",
        "Find the brain and leave out everything else; on this computer, in about half a minute. A run is cancelled",
    ),
    "strip_from": Text(
        "Brain from", "The sequence in which the brain is looked for; deepbet has learnt on T1"
    ),
    "register": Text(
        "Register",
        "Move the other sequences onto this one, as rigid bodies, with a lesion mask that was drawn on one of them",
    ),
    "even": Text("Even out", "Take the bias field of the coil out of the scan by N4, in some seconds"),
    "use_brain": Text(
        "Use edited mask", "Start again from the raw scan with the layer “brain mask” as it is in the viewer"
    ),
    "image_layer": Text("Image", "Any grey (Z, Y, X) or (Y, X) image layer"),
    "declared": Text("Shows", "Which sequence the image is: models are made for FLAIR"),
    "reference_layer": Text("Reference", "Any labels layer of the same shape; above 0 is lesion"),
    "use_layers": Text("Use these layers", "Explore layers that are open in napari instead of files"),
    # Model
    "model": Text("Model", "Autoencoders trained on healthy slices only"),
    "run": Text("Run", "Reconstruct the patient, from the slice on show outwards"),
    "cancel": Text(
        "Cancel", "Stop what is running, after the step under way; what was there before stays or comes back"
    ),
    "progress": Text("Progress", "Slices done"),
    # Settings
    "threshold_plot": Text(
        "Plot: voxels",
        "How many voxels of the brain have which anomaly, healthy and lesion in two colours, on a log scale; "
        "the line is the threshold",
    ),
    "dice_plot": Text(
        "Plot: Dice",
        "Dice of the whole volume at every threshold, raw and after post-processing; click to set the threshold",
    ),
    "reset": Text("Reset", "Go back to the defaults, with the threshold that the model suggests"),
    "use_suggested": Text(
        "Use suggested settings",
        "Take all settings that the model suggests, not its threshold alone. A threshold that was chosen together with "
        "another closing, area opening or dilation suits these better than the defaults",
    ),
    "keep": Text(
        "Keep settings for the next patient",
        "Otherwise each patient starts with the defaults and the threshold that the model suggests",
    ),
    "undo": Text(
        "Undo",
        "Take back the last change of settings or stroke of the brush; Ctrl+Z on the picture takes back strokes alone",
    ),
    "redo": Text("Redo", "Make the change or the stroke again"),
    # Result
    "dice": Text("Dice", "2TP / (2TP + FP + FN); – where there is nothing to compare with"),
    "precision": Text("Precision", "TP / (TP + FP): how much of the detected mask is lesion"),
    "recall": Text("Recall", "TP / (TP + FN): how much of the lesions is detected"),
    "lesions_found": Text("Lesions found", "Reference lesions that the detected mask touches, of all"),
    "false_components": Text(
        "False components",
        "Parts of the detected mask that touch no reference lesion, in the slice and in 3-D",
    ),
    "volume": Text("Detected", "Volume of the detected mask", "mL"),
    "paint": Text("Paint", "Take napari's brush to paint into the detected mask; once more to put it down"),
    "erase": Text("Erase", "Take napari's eraser to the detected mask; once more to put it down"),
    "discard": Text("Discard corrections", "Go back to the mask that the sliders give"),
    "export": Text(
        "Export…",
        "Save mask, anomaly map and reconstruction (NIfTI, source grid), the settings, and the command that "
        "gives the same mask",
    ),
    "restore": Text(
        "Restore settings…", "Take model, score and settings from a settings.json that was exported"
    ),
    # Tabs
    "result": Text("Result", "Figures of slice and volume, export and restore"),
    "lesion_list": Text(
        "Lesions", "Reference lesions and detected components in 3-D; select one to go to its centre"
    ),
    "compare": Text(
        "Compare",
        "Analyses of this patient by model and score, each with its own settings; select one to move its sliders, "
        "tick those to see side by side",
    ),
    "queue": Text("Queue", "Choose patients that are detected and saved one after another in the background"),
    "more": Text("More", "Direction of view, figures, map options, and what is rarely needed"),
    # View
    "side_by_side": Text("Side by side", "Show what is compared in a grid, or on top of each other"),
    "forget": Text("Forget", "Drop the selected analysis; the one that the sliders belong to stays"),
    "cut": Text("Cut", "Axial, coronal or sagittal slices, with anterior or superior up"),
    "three_views": Text(
        "⊞",
        "Three views: axial, coronal and sagittal cuts through one point, below the canvas; click to go there",
    ),
    "save_figure": Text(
        "Save figure…",
        "Save the canvas as PNG or PDF with its letters, bars and Dice, and below it model and settings; "
        "the patient is not named",
    ),
    "figure_width": Text(
        "Width of the figure",
        "Width on paper, 85 mm for a column of most journals and 170 mm for a page",
        "mm",
    ),
    "figure_dpi": Text(
        "Resolution of the figure", "Dots per inch on paper; the canvas is drawn anew with so many"
    ),
    "convention": Text(
        "Convention",
        "Radiological: the patient's right is on the left of the picture. Neurological: on the right. "
        "Only the display turns, never the data",
    ),
    "help": Text("?", "Keys and terms"),
    "research_only": Text("For research only, not for clinical use.", ""),
}
"""The texts by name of the control, except those that other packages may extend: see `texts`."""

CONVENTION_TITLES: Mapping[Convention, str] = {
    "radiological": "Radiological: right is left",
    "neurological": "Neurological: right is right",
}
"""The conventions as a list offers them: where the patient's right is in the picture."""


def texts() -> Mapping[str, Text]:
    """Return all texts: the fixed ones, those of the settings, and that of the scores."""
    what = "What turns the scan and its reconstruction into an anomaly map"
    scores = (f"{score.name}: {score.description}" for score in SCORES)
    rows = (*MAP_OPTIONS, *PostprocessParams.parameters())
    settings = {parameter.name: of_parameter(parameter) for parameter in rows}
    return {**TEXTS, "score": Text("Score", "\n".join((what, *scores))), **settings}


def title(name: str) -> str:
    """Return the label of a control."""
    return texts()[name].title


def tip(name: str) -> str:
    """Return the tooltip of a control."""
    return texts()[name].tip
