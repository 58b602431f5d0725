"""What napari finds through the manifest: reader, writer, sample data, menu commands."""
