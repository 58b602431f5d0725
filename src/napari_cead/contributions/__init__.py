"""The objects that the manifest names: reader, writer, sample data, menu commands."""
