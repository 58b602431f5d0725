"""MLflow: files in ``RUN/logs/mlflow``, unless ``MLFLOW_TRACKING_URI`` names another place.

Its usage data, which it sends by default, are off unless ``MLFLOW_DISABLE_TELEMETRY`` says otherwise.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ._logger import Logger, RunLog

EXPERIMENT = "napari-cead"
QUIET = ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "MLFLOW_ALLOW_FILE_STORE")
"""No usage data; and files, which its newer versions refuse without the last one."""

TAG = "napari_cead_run"
"""Tag by which a resumed run is found again."""


class _Run:
    def __init__(self, client: Any, run: str) -> None:
        self.client, self.run = client, run

    def epoch(self, number: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self.client.log_metric(self.run, name, value, step=number)

    def close(self) -> None:
        self.client.set_terminated(self.run)


class MLflow(Logger):
    """MLflow: ``mlflow ui --backend-store-uri RUN/logs/mlflow``."""

    name, package, extra = "mlflow", "mlflow", "mlflow"

    def open(self, run: Path, settings: Mapping[str, Any], epochs_done: int) -> RunLog:
        """Start, or continue, the log of a training."""
        for name in QUIET:  # they are read when it is imported
            os.environ.setdefault(name, "true")
        from mlflow import MlflowClient  # type: ignore[import-not-found,unused-ignore]

        place = os.environ.get("MLFLOW_TRACKING_URI") or self.folder(run).absolute().as_uri()
        client = MlflowClient(tracking_uri=place)
        found = client.get_experiment_by_name(EXPERIMENT)
        experiment = client.create_experiment(EXPERIMENT) if found is None else found.experiment_id
        mark = hashlib.sha256(str(run.absolute()).encode()).hexdigest()[:16]
        before = client.search_runs([experiment], f"tags.{TAG} = '{mark}'") if epochs_done else []
        if before:
            number = before[0].info.run_id
            client.update_run(number, status="RUNNING")
            return _Run(client, number)
        number = client.create_run(experiment, run_name=run.name, tags={TAG: mark}).info.run_id
        for name, value in settings.items():
            client.log_param(number, name, str(value)[:500])
        return _Run(client, number)


OFFERED = (MLflow(),)
