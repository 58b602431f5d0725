"""What is on disk: patients, their layouts, orientation, and the way back."""

from .aliases import MASK, SEQUENCES
from .grid import Grid
from .layouts import PatientFiles, find_files, find_patients, is_patient, preferred_sequence
from .loading import load_patient
from .patient import Patient
from .png import PNG_SPACING
from .saving import save_volume

__all__ = [
    "MASK",
    "PNG_SPACING",
    "SEQUENCES",
    "Grid",
    "Patient",
    "PatientFiles",
    "find_files",
    "find_patients",
    "is_patient",
    "load_patient",
    "preferred_sequence",
    "save_volume",
]
