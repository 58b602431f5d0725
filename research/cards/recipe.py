"""What makes the bundled models what they are, beside the program itself."""

from __future__ import annotations

PATIENTS = 90
"""Synthetic patients of the cohort."""

SEED = 2027
"""Seed of the cohort."""

PRESET = "small"
"""Preset of the training."""

COMMAND = "python research/train_bundled.py --work DIR"
"""What makes them all, with their cards."""

GENERATED = "<!-- written by research/model_cards.py: changes by hand are lost -->"
