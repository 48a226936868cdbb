"""Calibration procedures as pure functions: arrays in, results out."""
