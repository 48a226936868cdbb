"""The point-source arithmetic on a real camera's PSF: with it, and with no wrong one, the raw capture becomes a hand.

The capture is DiffuserCam's (Antipa et al., Optica 5, 1 (2018), doi:10.1364/OPTICA.5.000001). No picture of it is kept.
"""

import functools
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from numpy.typing import NDArray

from calibration.point_source import Light, PointSpread, light_above_rim, point_spread
from calibration.reconstruction import reconstruct, unexplained

CAPTURE = Path(__file__).parents[3] / "shared" / "data" / "lensless" / "diffusercam_psf_and_raw.npz"
# Pixels are binned by so many: the hand shows at 4, a second at 8 is enough for comparisons.
PICTURE, COMPARISON = 4, 8
ITERATIONS = 100
# The fingers in the calibrated picture, binned by 4: a strip across them, [rows, columns].
FINGERS = slice(90, 215), slice(272, 292)

Floats = NDArray[np.float64]

pytestmark = pytest.mark.skipif(not CAPTURE.exists(), reason=f"the measured lensless capture is not there: {CAPTURE}")


def test_the_psf_explains_pixels_that_it_was_not_shown_and_wrong_psfs_do_not() -> None:
    capture, spread = _capture(COMPARISON), _measured(COMPARISON)
    psf = np.maximum(spread.psf[0], 0)
    held_out = _blocks(capture.shape)
    left = {
        name: unexplained(capture, reconstruct(capture, other, ITERATIONS, ~held_out)[1], held_out)
        for name, other in {"calibrated": psf, **_wrong(psf)}.items()
    }
    for name, value in left.items():  # pytest -s shows them
        sys.stdout.write(f"{name}: {value:.3%} unexplained, {value / left['calibrated']:.1f} times\n")
    assert left["calibrated"] < 0.002
    for name, value in left.items():
        if name != "calibrated":
            assert value > 3 * left["calibrated"], (name, left)


def test_four_fingers_show_with_the_psf_and_not_with_a_wrong_one() -> None:
    capture = _capture(PICTURE)
    psf = np.maximum(_measured(PICTURE).psf[0], 0)
    assert _fingers(reconstruct(capture, psf, ITERATIONS)[0]) == 4
    for name in ("mirrored", "background left in"):
        assert _fingers(reconstruct(capture, _wrong(psf)[name], ITERATIONS)[0]) != 4, name


def test_the_window_holds_the_light_and_the_background_is_gone() -> None:
    spread = _measured(COMPARISON)
    assert spread.share[0] == pytest.approx(0.99, abs=0.005)
    assert spread.psf.sum() == pytest.approx(spread.share[0])
    # The caustic fills its window; outside of it the sensor saw next to nothing.
    assert 100 < spread.side < 150
    assert spread.centred_by == "centroid"
    plain = _binned("psf", COMPARISON)
    edge = np.concatenate([plain[:2].ravel(), plain[-2:].ravel()])
    assert abs(_light(COMPARISON).planes[0, :2].mean()) < 0.5 * edge.mean()


def _fingers(scene: Floats) -> int:
    """Maxima across the fingers' place that stand out by a quarter of the brightest one."""
    across = scene[FINGERS].mean(axis=1)
    return len(scipy.signal.find_peaks(across / max(across.max(), 1e-300), prominence=0.25)[0])


def _wrong(psf: Floats) -> dict[str, Floats]:
    """PSFs that are not this camera's, each as bright."""
    rng = np.random.default_rng(0)
    spectrum, noise = np.fft.fft2(psf), np.fft.fft2(rng.standard_normal(psf.shape))
    return {
        "mirrored": psf[:, ::-1],
        "turned by 180 degrees": psf[::-1, ::-1],
        "same power spectrum, other phases": np.maximum(np.fft.ifft2(np.abs(spectrum) * noise / np.abs(noise)).real, 0),
        "5 % smaller": np.maximum(scipy.ndimage.zoom(psf, 0.95, order=1), 0),
        # An even ground of a tenth of the peak, as ambient light leaves that is not taken off.
        "background left in": psf + 0.1 * psf.max(),
    }


def _light(binning: int) -> Light:
    psf = _binned("psf", binning)[np.newaxis]
    return light_above_rim(psf, np.full(psf.shape, 5.0), np.array([1.0]))


def _measured(binning: int) -> PointSpread:
    return point_spread(_light(binning), None)


def _capture(binning: int) -> Floats:
    raw = _binned("raw", binning)
    return np.asarray(raw - np.percentile(raw, 0.1))


def _blocks(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A tenth of the pixels, in blocks of 5 x 5: too wide to be guessed from their neighbours."""
    chosen = np.random.default_rng(1).random([side // 5 + 1 for side in shape]) < 0.1
    return np.asarray(np.kron(chosen, np.ones((5, 5), dtype=bool))[: shape[0], : shape[1]])


@functools.cache
def _binned(name: str, binning: int) -> Floats:
    with np.load(CAPTURE) as content:
        picture = content[name].astype(np.float64)
    rows, columns = (side // binning for side in picture.shape)
    return np.asarray(picture.reshape(rows, binning, columns, binning).mean(axis=(1, 3)))
