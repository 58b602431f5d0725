"""The phantom: synthetic patients with brain metastases on real average anatomy (ICBM-152).

The grey and white matter maps and the brain mask come with nilearn (extra ``phantom``); nothing is downloaded.
"""

from __future__ import annotations

from .cohort import write_cohort
from .patient import make_patient

__all__ = ["make_patient", "write_cohort"]
