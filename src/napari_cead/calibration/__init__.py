"""Settings of a trained model, chosen on healthy slices and on validation patients; from a run to a model."""
