"""The command line: ``napari-cead VERB``, one module per job."""

from .app import main, run

__all__ = ["main", "run"]
