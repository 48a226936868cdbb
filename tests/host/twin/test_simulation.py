"""Mask, exposure and pooling together: against the encoding itself, and with signed kernels."""

import numpy as np
import pytest

from host.board.thresholds import REFERENCE_VOLTS
from host.twin.sensor import IDEAL, SensorModel
from host.twin.simulation import (
    Camera,
    behind_mask,
    cell_volts,
    exposed,
    make_camera,
    workspace,
)
from optics.encoding import Encoding, pooled

THRESHOLDS = np.linspace(0.05, 0.95, 15, dtype=np.float32)
ROWS, COLUMNS = 48, 64


def _kernels(filters: int, signed: bool = False) -> np.ndarray:
    taps = np.random.default_rng(0).random((filters, 9, 7)).astype(np.float32)
    if signed:
        taps -= np.float32(0.5)
    return taps / np.abs(taps).sum(axis=(1, 2), keepdims=True)


def _volts(camera: Camera, scene: np.ndarray, exposure_us: float = 10_000, gain: float = 1.0) -> np.ndarray:
    irradiance = behind_mask(camera, scene)
    values = exposed(camera, irradiance, exposure_us, gain, np.random.default_rng(1), workspace(camera))
    return cell_volts(camera, values)


def _scene() -> np.ndarray:
    return np.random.default_rng(2).random((ROWS, COLUMNS, 3), dtype=np.float32)


@pytest.mark.parametrize("filters", [1, 2])
@pytest.mark.parametrize("signed", [False, True])
def test_without_noise_the_cells_are_those_of_the_encoding(filters: int, signed: bool) -> None:
    encoding = Encoding(_kernels(filters, signed), THRESHOLDS)
    camera = make_camera(encoding, ROWS, COLUMNS, IDEAL, np.random.default_rng(0))
    volts = _volts(camera, _scene())
    assert volts.shape == (ROWS // 8, COLUMNS // 8, filters * 3)
    assert volts.dtype == np.float32
    np.testing.assert_allclose(volts, pooled(_scene(), encoding) * REFERENCE_VOLTS, atol=1e-4)


def test_exposure_and_gain_scale_the_cells() -> None:
    encoding = Encoding(_kernels(1), THRESHOLDS)
    camera = make_camera(encoding, ROWS, COLUMNS, IDEAL, np.random.default_rng(0))
    np.testing.assert_allclose(_volts(camera, _scene(), 2_500, 2.0), _volts(camera, _scene()) / 2, atol=1e-4)


def test_noise_comes_before_the_maximum() -> None:
    # The largest of 64 noisy pixels lies above their mean: about 2.4 standard deviations for normal noise.
    encoding = Encoding(np.ones((1, 1, 1), np.float32), THRESHOLDS)
    sensor = SensorModel(read_noise_electrons=0, dark_current_electrons_per_s=0, prnu_percent=0)
    camera = make_camera(encoding, 240, 320, sensor, np.random.default_rng(0))
    volts = _volts(camera, np.full((240, 320, 3), 0.25, np.float32)) / REFERENCE_VOLTS
    sigma = np.sqrt(0.25 / 10_000)
    assert volts.mean() == pytest.approx(0.25 + 2.38 * sigma, abs=0.1 * sigma)


def test_both_halves_of_a_signed_kernel_are_noisy() -> None:
    taps = np.zeros((1, 1, 3), np.float32)
    taps[0, 0, 0], taps[0, 0, 2] = 0.5, -0.5
    sensor = SensorModel(read_noise_electrons=0, dark_current_electrons_per_s=0, prnu_percent=0)
    camera = make_camera(Encoding(taps, THRESHOLDS, pool=1), 120, 160, sensor, np.random.default_rng(0))
    volts = _volts(camera, np.full((120, 160, 3), 0.5, np.float32)) / REFERENCE_VOLTS
    assert volts.mean() == pytest.approx(0, abs=1e-3)
    assert volts.var() == pytest.approx(2 * 0.25 / 10_000, rel=0.05)


def test_a_board_has_no_range_per_frame() -> None:
    encoding = Encoding(_kernels(1), THRESHOLDS, range="per_frame")
    with pytest.raises(ValueError, match='measures with range "fixed"'):
        make_camera(encoding, ROWS, COLUMNS, IDEAL, np.random.default_rng(0))


def test_a_kernel_per_colour_acts_in_place_of_the_encodings() -> None:
    encoding = Encoding(_kernels(1), THRESHOLDS)
    own = np.random.default_rng(4).random((3, 5, 5)).astype(np.float32) / 40
    camera = make_camera(encoding, ROWS, COLUMNS, IDEAL, np.random.default_rng(0), own[np.newaxis])
    volts = _volts(camera, _scene())
    for colour in range(3):
        alone = pooled(_scene(), Encoding(own[colour : colour + 1], THRESHOLDS))
        np.testing.assert_allclose(volts[..., colour], alone[..., colour] * REFERENCE_VOLTS, atol=1e-4)


def test_a_signed_kernel_in_place_of_the_encodings_is_two_sub_apertures() -> None:
    encoding = Encoding(_kernels(1), THRESHOLDS)
    own = np.repeat(_kernels(1, signed=True)[:, np.newaxis], 3, axis=1)
    camera = make_camera(encoding, ROWS, COLUMNS, IDEAL, np.random.default_rng(0), own)
    assert camera.planes == 6
    assert camera.taps is not None
    assert camera.taps.min() >= 0
    expected = pooled(_scene(), Encoding(own[:, 0], THRESHOLDS)) * REFERENCE_VOLTS
    np.testing.assert_allclose(_volts(camera, _scene()), expected, atol=1e-4)
