from small_cohort import cohort, denoiser_folder, model, split, untouched

__all__ = ["cohort", "denoiser_folder", "model", "split", "untouched"]
