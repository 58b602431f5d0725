"""Weights & Biases: offline files in ``RUN/logs/wandb``, unless ``WANDB_MODE`` says otherwise.

Its reports of errors, which it sends even offline, are off unless ``WANDB_ERROR_REPORTING`` says otherwise.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ._logger import Logger, RunLog


class _Run:
    def __init__(self, run: Any) -> None:
        self.run = run

    def epoch(self, number: int, figures: Mapping[str, float]) -> None:
        self.run.log(dict(figures), step=number)

    def close(self) -> None:
        self.run.finish()


class WeightsAndBiases(Logger):
    """Weights & Biases: ``wandb sync RUN/logs/wandb/wandb/offline-run-*`` uploads the log."""

    name, package, extra = "wandb", "wandb", "wandb"

    def open(self, run: Path, settings: Mapping[str, Any], epochs_done: int) -> RunLog:
        """Start, or continue, the log of a training."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read when it is imported
        import wandb  # type: ignore[import-not-found,unused-ignore]

        return _Run(
            wandb.init(
                project="napari-cead",
                name=run.name,
                id=hashlib.sha256(str(run.absolute()).encode()).hexdigest()[:16],
                resume="allow",
                dir=str(self.folder(run)),
                config=dict(settings),
                mode=os.environ.get("WANDB_MODE", "offline"),
                settings=wandb.Settings(console="off", disable_git=True, save_code=False),
            )
        )


OFFERED = (WeightsAndBiases(),)
