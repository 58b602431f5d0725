"""Qt widgets: thin views over ``exploring.Session``."""

from .explore import ExploreWidget

__all__ = ["ExploreWidget"]
