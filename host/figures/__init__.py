"""Figures of masks, PSFs and codes: arrays in, one PNG out. Matplotlib is imported when a figure is drawn."""
