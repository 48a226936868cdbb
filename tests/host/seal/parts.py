"""What the tests of seals share: calibrations as they would be kept, made up, for the default bundle."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.outcome import Kind, Outcome
from host.board.thresholds import thresholds_digest, thresholds_to_dac_codes
from host.calibrate.results import Kept
from optics.bundle import Bundle, default_bundle_path, read_bundle

SEALED_AT = "2026-05-02T10:00:00+00:00"
MADE_AT = "2026-05-01T10:00:00+00:00"
BY = "canopic test"
CAMERA, BOARD = "imx219 /base/i2c0", "BOARD-7"
# What the default bundle's mask should do to light.
KERNEL = read_bundle(default_bundle_path()).encoding.kernels[0]
TRIMS = np.arange(-7, 8, dtype=np.int16)
# Of the default bundle's thresholds with these trims.
DIGEST = thresholds_digest(thresholds_to_dac_codes(read_bundle(default_bundle_path()).encoding.thresholds), TRIMS)


def psf_arrays(kernel: NDArray[Any] = KERNEL) -> dict[str, NDArray[Any]]:
    """A PSF of three colours with its uncertainty: a kernel, of which each colour keeps another share of the light."""
    psf = np.stack([0.9 * kernel, 0.8 * kernel, 0.7 * kernel]) / kernel.sum()
    return {"psf": psf.astype(np.float32), "psf_sigma": np.full(psf.shape, 1e-4, np.float32)}


def kept(
    kind: Kind,
    result: dict[str, Any],
    arrays: dict[str, NDArray[Any]] | None = None,
    *,
    passed: bool = True,
    twin: bool = False,
    reason: str = "good",
) -> Kept:
    """One calibration as it is kept."""
    full = {**result, "limits": [], "wrong_setup": None}
    return Kept(Outcome(kind, passed, reason, full, arrays or {}), {} if twin else None, MADE_AT)


def board(bundle: Bundle, *, twin: bool = False, serial: str = BOARD, digest: str = DIGEST, **changed: Any) -> Kept:
    """A board's calibration for this bundle's encoding."""
    result = {"board_serial": serial, "thresholds_digest": digest, "encoding_id": bundle.encoding.id, **changed}
    arrays: dict[str, NDArray[Any]] = {
        "trims": np.arange(-7, 8, dtype=np.int16),
        "transition_volts": np.linspace(0.1, 2, 15),
    }
    return kept("board", result, arrays, twin=twin)


def psf(*, twin: bool = False, camera: str = CAMERA, kernel: NDArray[Any] = KERNEL, **changed: Any) -> Kept:
    """A PSF's calibration."""
    return kept("psf", {"camera": camera, "gains": [1.0, 1.125, 1.25], **changed}, psf_arrays(kernel), twin=twin)


def sensor(*, twin: bool = False, camera: str = CAMERA) -> Kept:
    """A sensor's calibration."""
    return kept("sensor", {"camera": camera, "read_noise_e": 3.0, "read_noise_e_sigma": 0.1}, twin=twin)


def light_range(*, twin: bool = False, camera: str = CAMERA, **changed: Any) -> Kept:
    """A calibration of the range."""
    result = {"camera": camera, "exposure_us": 8000.0, "gain": 2.0, "full_scale_radiance": 0.625, **changed}
    return kept("range", result, twin=twin)


def all_parts(bundle: Bundle, *, twin: bool = False) -> dict[Kind, Kept]:
    """Board, PSF, sensor and range of one camera."""
    return {"board": board(bundle, twin=twin), "psf": psf(twin=twin), "sensor": sensor(twin=twin),
            "range": light_range(twin=twin)}  # fmt: skip
