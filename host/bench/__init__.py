"""Benchmarks that the command line prints: each measures on this machine, in one run, and says against what."""
