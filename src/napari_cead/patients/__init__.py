"""What is on disk: patients, their layouts, orientation, and the way back."""

from .aliases import BRAIN_MASK, MASK, SEQUENCES
from .bias_field import correct_bias_field
from .brain_masks import within_brain
from .cases import PatientFiles
from .dicom import SeriesError
from .formats import PNG_SPACING
from .grid import Grid
from .layouts import (
    all_patients,
    find_files,
    find_patients,
    is_patient,
    place_below,
    place_name,
    preferred_sequence,
)
from .loading import load_patient
from .patient import Patient
from .places import place_of
from .prepared import Prepared
from .reading import disk_files, is_pictures
from .saving import save_volume

__all__ = [
    "BRAIN_MASK",
    "MASK",
    "PNG_SPACING",
    "SEQUENCES",
    "Grid",
    "Patient",
    "PatientFiles",
    "Prepared",
    "SeriesError",
    "all_patients",
    "correct_bias_field",
    "disk_files",
    "find_files",
    "find_patients",
    "is_patient",
    "is_pictures",
    "load_patient",
    "place_below",
    "place_name",
    "place_of",
    "preferred_sequence",
    "save_volume",
    "within_brain",
]
