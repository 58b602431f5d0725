"""Parts of `levers.py`: scans, intensity standards, maps, figures, choosing, tables."""
