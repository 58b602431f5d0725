"""A training on disk: its settings, state, events and requests. Needs no torch."""
