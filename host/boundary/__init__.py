"""The boundary: the only process that ever holds a frame. Measurements leave it, and results of calibrations."""
