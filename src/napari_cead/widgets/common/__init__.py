"""What the docks share: controls, jobs, messages, keys."""
