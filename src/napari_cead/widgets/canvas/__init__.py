"""What the docks show in napari: layers, tiles, notes on the canvas, orientation, figures."""
