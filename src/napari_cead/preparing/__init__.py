"""From a raw scan to one that a model can take: registered, stripped, evened, with a record of it all."""

from .preparation import (
    AUTO,
    BIAS_FIELD,
    FLAGS,
    GIVEN,
    N4,
    NEVER,
    RAW,
    REGISTER,
    RIGID,
    SAME,
    Preparation,
    needs_even,
    needs_register,
    needs_strip,
    prepare_patient,
)
from .strippers import (
    COMMAND,
    DEFAULT_STRIPPER,
    BrainExtractor,
    HeadScan,
    find_stripper,
    stripper_names,
)
from .stripping import Stripped, find_brain

__all__ = [
    "AUTO",
    "BIAS_FIELD",
    "COMMAND",
    "DEFAULT_STRIPPER",
    "FLAGS",
    "GIVEN",
    "N4",
    "NEVER",
    "RAW",
    "REGISTER",
    "RIGID",
    "SAME",
    "BrainExtractor",
    "HeadScan",
    "Preparation",
    "Stripped",
    "find_brain",
    "find_stripper",
    "needs_even",
    "needs_register",
    "needs_strip",
    "prepare_patient",
    "stripper_names",
]
