"""The parts of the benchmark on real scans; ``benchmarks/real.py`` is the command."""
