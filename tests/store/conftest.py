from small_cohort import cohort, denoiser_folder, model, split, untouched
from small_stores import small_store

__all__ = ["cohort", "denoiser_folder", "model", "small_store", "split", "untouched"]
