"""Choose a trained model's settings and tables again, for instance after the score has changed: weights stay.

    python research/recalibrate.py MODEL --store STORE --out FOLDER [--quantile 0.999]

``STORE`` is the store of the training (``research/bundle_ce_unet.py`` makes it); its validation slices are looked at.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import napari_cead as cead
from napari_cead.calibration.calibration import calibrate
from napari_cead.calibration.rules import quantile_of
from napari_cead.cli.console import progress
from napari_cead.training import SliceStore
from napari_cead.zoo import save_model


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quantile", type=float)
    options = parser.parse_args()
    detector = cead.load_model(options.model, device="cpu")
    card = detector.card
    with progress("calibrating") as on_progress:
        found = calibrate(
            detector,
            SliceStore.open(options.store),
            start=card.suggestions,
            quantile=quantile_of(card) if options.quantile is None else options.quantile,
            on_progress=on_progress,
        )
    fresh = card.model_copy(
        update={
            "score_scales": dict(found.score_scales),
            "suggestions": tuple(found.suggestions),
            "tails": dict(found.tails),
            "training": {**card.training, "calibration": found.figures},
        }
    )
    half = card.dtype == "float16"
    print(save_model(detector.module, fresh, options.out, half=half, statistics=found.statistics))
    print(fresh.suggestions[0], fresh.tails.get("level"))


if __name__ == "__main__":
    main()
