"""Design: the way from a wanted PSF to a mask, its constraints, its refusals."""

import numpy as np

from optics.design import DesignSettings, design_mask


def test_design_meets_its_constraints_and_reports_them():
    rows, columns = np.mgrid[:21, :21] - 10
    target = np.exp(-(rows**2 + columns**2) / 18)
    settings = DesignSettings(levels=4, cells=64, start_iterations=10, use_torch=False, threads=1)
    design = design_mask(target, settings, np.random.default_rng(0))
    assert design.report["violations"] == []
    assert design.psf.shape == (3, 21, 21)
    assert design.report["correlation"] > 0.8
