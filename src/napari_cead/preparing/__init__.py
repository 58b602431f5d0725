"""From a raw scan to one that a model can take: registered, stripped, evened, with a record of it all."""

from .preparation import (
    FLAGS,
    GIVEN,
    N4,
    NEVER,
    RAW,
    RIGID,
    SAME,
    Preparation,
    needs_even,
    needs_register,
    needs_strip,
    prepare_patient,
)
from .strippers import (
    DEFAULT_STRIPPER,
    HeadScan,
    find_stripper,
    stripper_names,
)
from .stripping import find_brain

__all__ = [
    "DEFAULT_STRIPPER",
    "FLAGS",
    "GIVEN",
    "N4",
    "NEVER",
    "RAW",
    "RIGID",
    "SAME",
    "HeadScan",
    "Preparation",
    "find_brain",
    "find_stripper",
    "needs_even",
    "needs_register",
    "needs_strip",
    "prepare_patient",
    "stripper_names",
]
