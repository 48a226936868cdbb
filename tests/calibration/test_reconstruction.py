"""Reconstruction on scenes that are known."""

import numpy as np
import pytest

from calibration.reconstruction import reconstruct, unexplained


def test_a_scene_of_points_comes_back_where_it_was() -> None:
    rng = np.random.default_rng(0)
    psf = np.where(rng.random((15, 15)) < 0.15, 1.0, 0.0)
    psf[7, 7] = 1
    scene = np.zeros((40, 50))
    for row, column, light in ((10, 12, 1.0), (25, 30, 0.5), (31, 9, 0.8)):
        scene[row, column] = light
    wide = np.pad(scene, 7)
    capture = np.zeros(scene.shape)
    for row in range(15):
        for column in range(15):
            # A point at a pixel becomes the PSF, unflipped, centred there.
            capture += psf[row, column] / psf.sum() * wide[14 - row : 54 - row, 14 - column : 64 - column]
    found, predicted = reconstruct(capture, psf, 300)
    assert found == pytest.approx(scene, abs=0.05)
    assert unexplained(capture, predicted, np.ones(capture.shape, dtype=bool)) < 1e-3
    assert found.min() >= 0


def test_what_cannot_be_reconstructed_is_refused() -> None:
    with pytest.raises(ValueError, match="light"):
        reconstruct(np.ones((4, 4)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="iterations"):
        reconstruct(np.ones((4, 4)), np.ones((3, 3)), 0)
