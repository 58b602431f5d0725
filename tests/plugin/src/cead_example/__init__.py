"""One thing of each kind for napari-cead."""
