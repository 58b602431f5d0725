"""Model folders for napari-cead, which finds them here. There is no code."""
