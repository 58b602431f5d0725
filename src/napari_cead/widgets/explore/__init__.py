"""The Explore dock: views of one ``exploring.Session``, and its layers."""
