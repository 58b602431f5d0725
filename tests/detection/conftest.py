from small_cohort import split, untouched

__all__ = ["split", "untouched"]
