"""Qt widgets: thin views over ``exploring.Session``, over training runs and over evaluations."""

from .evaluate import EvaluateWidget
from .explore import ExploreWidget
from .train import TrainWidget

__all__ = ["EvaluateWidget", "ExploreWidget", "TrainWidget"]
