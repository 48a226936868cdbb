"""Gaussian masks, and thresholds chosen from scenes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.detector.gaussian_encoding import (
    chosen_encoding,
    chosen_thresholds,
    gaussian_kernel,
)
from models.encoding_file import read_encoding
from optics.bundle import default_bundle_path, read_bundle
from optics.encoding import Encoding, quantize


@pytest.mark.parametrize("sigma_px", [1.0, 4.0, 8.0])
def test_the_kernel_is_a_point_spread_function(sigma_px: float) -> None:
    kernel = gaussian_kernel(sigma_px)
    assert kernel.shape == (1, 63, 63)
    assert kernel.min() >= 0
    assert kernel.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(kernel[0], kernel[0, ::-1, ::-1], atol=0)
    at = np.arange(63) - 31
    assert (kernel[0].sum(axis=0) @ at.astype(np.float64) ** 2) ** 0.5 == pytest.approx(sigma_px, rel=0.01)


@given(levels=st.integers(3, 16), seed=st.integers(0, 1000))
def test_thresholds_have_as_many_levels_as_asked_for_and_use_them_equally(levels: int, seed: int) -> None:
    values = np.random.default_rng(seed).lognormal(-2, 1, 20_000).astype(np.float32)
    thresholds = chosen_thresholds(values, levels)
    assert Encoding(gaussian_kernel(4.0), thresholds).effective_levels == levels
    assert thresholds[0] == pytest.approx(0.012)
    assert thresholds[-1] == pytest.approx(0.9)
    codes = quantize(values[(values > 0.012) & (values < 0.9)], thresholds)
    counts = np.unique_counts(codes).counts
    assert len(counts) == levels - 2
    assert counts.max() < 1.1 * counts.min()


@pytest.mark.parametrize("levels", [2, 17])
def test_senseless_numbers_of_levels_are_refused(levels: int) -> None:
    with pytest.raises(ValueError, match=r"3\.\.16"):
        chosen_thresholds(np.linspace(0, 1, 100, dtype=np.float32), levels)


def test_an_encoding_file_gives_the_encoding_back(tmp_path: Path) -> None:
    encoding = Encoding(gaussian_kernel(4.0), np.linspace(0.1, 0.9, 15, dtype=np.float32))
    np.savez(tmp_path / "encoding.npz", kernels=encoding.kernels, thresholds=encoding.thresholds)
    assert read_encoding(tmp_path / "encoding.npz") == encoding


def test_the_choice_gives_the_shipped_encoding_again(shared_data: Path) -> None:
    again, shipped = chosen_encoding(shared_data), read_bundle(default_bundle_path()).encoding
    np.testing.assert_array_equal(again.kernels, shipped.kernels)
    np.testing.assert_allclose(again.thresholds, shipped.thresholds, rtol=1e-3)
