from small_cohort import model, split, untouched

__all__ = ["model", "split", "untouched"]
