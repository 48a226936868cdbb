"""Calibrations as arithmetic: arrays in, results with their uncertainty out. No device, clock, file or network."""
