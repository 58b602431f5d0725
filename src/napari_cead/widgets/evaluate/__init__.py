"""The Evaluate dock: the view of an evaluation."""
