"""A logger: a line of JSON for each epoch."""

import json

from napari_cead.training.loggers import Logger


class Lines(Logger):
    """``RUN/logs/example-lines/epochs.jsonl``."""

    name = "example-lines"
    package = "json"  # imported by it; nothing has to be installed
    extra = "train"

    def open(self, run, settings, epochs_done):
        """Start, or continue, the log of a training."""
        return _Log(self.folder(run) / "epochs.jsonl")


class _Log:
    def __init__(self, file):
        self.stream = file.open("a", encoding="utf-8")

    def epoch(self, number, figures):
        """Log the figures of an epoch, counted from 1."""
        self.stream.write(json.dumps({"epoch": number, **figures}) + "\n")

    def close(self):
        """Write what is left."""
        self.stream.close()
