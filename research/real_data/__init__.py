"""The parts of the benchmark on real scans; ``research/real.py`` is the command."""
