"""Qt widgets: thin views over ``exploring.Session`` and over training runs."""

from .explore import ExploreWidget
from .train import TrainWidget

__all__ = ["ExploreWidget", "TrainWidget"]
