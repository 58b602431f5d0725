"""The slice store: from scans to slices on the grid of a model, once, for training."""
