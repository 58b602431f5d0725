"""``python -m napari_cead``."""

from .cli import main

main()
