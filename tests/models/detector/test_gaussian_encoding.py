"""Gaussian masks, and thresholds chosen from scenes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.detector.card import model_card
from models.detector.gaussian_encoding import (
    HIGHEST,
    LOWEST,
    chosen_thresholds,
    gaussian_kernel,
    given_thresholds,
    main,
    options_of,
    spread_encoding,
)
from models.encoding_file import read_encoding
from optics.bundle import read_bundle, resolve_bundle
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
    thresholds = chosen_thresholds(values, levels, least_step=0)
    assert Encoding(gaussian_kernel(4.0), thresholds).effective_levels == levels
    assert thresholds[0] == pytest.approx(0.012)
    assert thresholds[-1] == pytest.approx(0.9)
    codes = quantize(values[(values > 0.012) & (values < 0.9)], thresholds)
    counts = np.unique_counts(codes).counts
    assert len(counts) == levels - 2
    assert counts.max() < 1.1 * counts.min()


@given(levels=st.integers(3, 16), seed=st.integers(0, 1000), spread=st.floats(0.01, 2), least_step=st.floats(0, 0.06))
def test_neighbouring_thresholds_stay_apart_whatever_the_scenes(
    levels: int, seed: int, spread: float, least_step: float
) -> None:
    values = np.random.default_rng(seed).lognormal(-2, spread, 2000).astype(np.float32)
    thresholds = np.unique(chosen_thresholds(values, levels, least_step=least_step))
    assert len(thresholds) == levels - 1
    assert np.diff(thresholds).min() > least_step - 1e-6
    assert (thresholds[0], thresholds[-1]) == (pytest.approx(LOWEST), pytest.approx(HIGHEST))


def test_steps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        chosen_thresholds(np.linspace(0, 1, 100, dtype=np.float32), 16, least_step=0.07)


def made_again(encoding: Encoding, path: Path) -> Encoding:
    """What the command with the options of an encoding writes."""
    words = (options_of(encoding) or "").split()
    named = dict(zip(words[::2], words[1::2], strict=True))
    main(path, sigma=float(named["--sigma"]), pool=int(named["--pool"]), thresholds=named["--thresholds"])
    return read_encoding(path)


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 1000), count=st.integers(1, 15), sigma_px=st.sampled_from([1.5, 2.5, 8.0, 16.0]))
def test_the_options_of_an_encoding_make_it_again(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, sigma_px: float
) -> None:
    distinct = 0.02 + 0.88 * (np.arange(count) + np.random.default_rng(seed).uniform(0, 0.5, count)) / count
    encoding = Encoding(gaussian_kernel(sigma_px), given_thresholds([float(one) for one in distinct]), 16)
    assert made_again(encoding, tmp_path_factory.mktemp("again") / "encoding.npz").id == encoding.id


@pytest.mark.parametrize("name", ["default", "useful", "private"])
def test_the_options_of_a_shipped_bundle_make_its_very_encoding(tmp_path: Path, name: str) -> None:
    shipped = read_bundle(resolve_bundle(name))
    assert made_again(shipped.encoding, tmp_path / "again.npz").id == shipped.encoding.id
    assert f"gaussian_encoding {options_of(shipped.encoding)} --out" in model_card(shipped)


def test_thresholds_are_named_however_they_were_found(tmp_path: Path) -> None:
    """Fifteen of them, width and pool as the defaults: nothing tells that they were not chosen from the scenes."""
    even = Encoding(gaussian_kernel(2.5), np.linspace(0.05, 0.95, 15, dtype=np.float32))
    assert made_again(even, tmp_path / "even.npz").id == even.id
    # As near to each other as thresholds may lie.
    near = Encoding(gaussian_kernel(2.5), chosen_thresholds(np.full(100, 0.3, np.float32), 16))
    assert made_again(near, tmp_path / "near.npz").id == near.id


def test_what_the_options_cannot_make_has_none() -> None:
    kernel = gaussian_kernel(2.5)
    uneven = np.sort(np.array([0.1] * 14 + [0.9], np.float32))
    too_near = np.linspace(0.1, 0.11, 15, dtype=np.float32)
    assert options_of(Encoding(kernel, uneven)) is None
    assert options_of(Encoding(kernel, too_near)) is None
    assert options_of(Encoding(gaussian_kernel(2.5004), given_thresholds([0.1, 0.9]))) is None


def test_an_encoding_that_is_no_gaussian_has_no_options() -> None:
    ring = gaussian_kernel(8.0) - 0.2 * gaussian_kernel(4.0)
    thresholds = given_thresholds([0.1, 0.9])
    assert options_of(Encoding(ring / ring.sum(), thresholds)) is None
    assert options_of(Encoding(np.concatenate([gaussian_kernel(4.0)] * 2), thresholds)) is None
    assert options_of(Encoding(np.ones((1, 1, 1), np.float32), thresholds)) is None


@pytest.mark.parametrize("given_ones", [[], [0.0], [0.5, 0.4], [0.5, 0.505], [1.2], list(np.linspace(0.1, 0.9, 16))])
def test_senseless_thresholds_are_refused(given_ones: list[float]) -> None:
    with pytest.raises(ValueError, match="thresholds"):
        given_thresholds(given_ones)


def test_given_thresholds_need_no_images(tmp_path: Path) -> None:
    main(tmp_path / "wide.npz", sigma=16, pool=32, thresholds="0.05,0.15,0.4,0.9")
    encoding = read_encoding(tmp_path / "wide.npz")
    assert (encoding.pool, encoding.effective_levels) == (32, 5)
    with pytest.raises(SystemExit):
        main(tmp_path / "none.npz", thresholds="high,low")
    assert not (tmp_path / "none.npz").exists()


@pytest.mark.parametrize("levels", [2, 17])
def test_senseless_numbers_of_levels_are_refused(levels: int) -> None:
    with pytest.raises(ValueError, match=r"3\.\.16"):
        chosen_thresholds(np.linspace(0, 1, 100, dtype=np.float32), levels)


def test_an_encoding_file_gives_the_encoding_back(tmp_path: Path) -> None:
    encoding = Encoding(gaussian_kernel(4.0), np.linspace(0.1, 0.9, 15, dtype=np.float32))
    np.savez(tmp_path / "encoding.npz", kernels=encoding.kernels, thresholds=encoding.thresholds)
    assert read_encoding(tmp_path / "encoding.npz") == encoding


@pytest.mark.parametrize("levels", [2, 5, 8, 12, 16])
def test_without_images_thresholds_are_each_the_same_factor_above_the_one_below(levels: int, tmp_path: Path) -> None:
    main(tmp_path / "plain.npz", levels=levels)
    encoding = read_encoding(tmp_path / "plain.npz")
    found = np.unique(encoding.thresholds)
    assert encoding == spread_encoding(levels=levels)
    assert len(found) == levels - 1
    assert found[-1] == np.float32(0.9)
    wanted = (0.9 / 0.012) ** (1 / (levels - 1))
    # Rounded to a thousandth of full scale, and the lowest moved apart where a comparator could not tell them.
    bright = found[found > 0.1]
    assert bright[1:] / bright[:-1] == pytest.approx(wanted, rel=0.03)
    assert levels == 2 or np.diff(found).min() >= 0.0085 - 1e-6


@pytest.mark.parametrize("levels", [1, 17])
def test_a_board_has_fifteen_comparators(levels: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(tmp_path / "plain.npz", levels=levels)
    assert "levels must be 2..16" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "plain.npz").exists()
