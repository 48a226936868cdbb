"""Calibrations: what to acquire, in which order, kept step by step; the arithmetic is in the package `calibration`."""
