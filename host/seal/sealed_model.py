"""Codes that a sealed sensor should give for a scene, computed from what its bundle says about each part.

    scene -> PSF of each colour -> exposure -> sensor's noise and maximum over cells -> transitions -> codes

The same model with the designed kernel, even thresholds and no noise is what is known before any calibration; how much
better the sealed one predicts the codes of the camera itself is the figure that `canopic calibrate agreement` prints.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from host.board.thresholds import REFERENCE_VOLTS, dac_codes_to_fractions, thresholds_to_dac_codes
from host.measurement import CapturePath
from host.seal.sealing import sealed_exposure, sealed_gains, sealed_psf
from host.twin.sensor import REFERENCE_EXPOSURE_US
from optics.bundle import Bundle
from optics.encoding import COLOURS, convolve_psf, pool_planes

# Paths whose planes come from a mosaic, and whose colours are scaled by the sealed gains (host/boundary/measuring.py).
WITH_GAINS: tuple[CapturePath, ...] = ("camera", "loop")
# Halvings of the interval that a cell's value is searched in: 2.4 standard deviations / 2**9 is below any threshold's
# own uncertainty.
HALVINGS = 9
# Light is nearly proportional to what it gives; what noise adds is corrected by each round by an order of magnitude.
LIGHT_ROUNDS = 5
# Median of the maximum of 64 equal normal values, in standard deviations (2**(-1/64) quantile), rounded up.
MOST_SIGMAS = 2.4
# Median of the maximum over cells of up to 1024 x 1024 pixels lies below this.
EVER_SIGMAS = 5.3


@dataclass(frozen=True, slots=True)
class PixelNoise:
    """What a pixel's value spreads by: full_scale_e electrons at full scale at gain 1, read_noise_e electrons in the
    dark, prnu_percent. readings: how many sites of the mosaic each colour's value is a mean of (1 for a plane per
    colour). gains: what each colour was multiplied by after it was read."""

    full_scale_e: float
    read_noise_e: float
    prnu_percent: float
    readings: tuple[int, int, int] = (1, 1, 1)
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class CodeModel:
    """Everything that decides the codes of a scene.

    kernels: float32 (filters, 3, h, w), one for each filter and colour, gains included. pool: side of a cell, pixels.
    levels: float64 (15,), where each comparator switches, fractions of full scale, in any order. light: fraction of
    full scale that radiance 1.0 gives without a mask. gain: analog gain of the sensor, for its noise. noise: None for a
    sensor without any.
    """

    kernels: NDArray[np.float32]
    pool: int
    levels: NDArray[np.float64]
    light: float
    gain: float = 1.0
    noise: PixelNoise | None = None


def designed_model(bundle: Bundle, exposure_us: float = REFERENCE_EXPOSURE_US, gain: float = 1.0) -> CodeModel:
    """What the design says: the encoding's kernels for every colour, its thresholds, no noise; radiance 1.0 fills the
    scale in 10 ms at gain 1."""
    kernels = np.repeat(bundle.encoding.kernels[:, np.newaxis], COLOURS, axis=1)
    return CodeModel(
        kernels, bundle.encoding.pool, nominal_levels(bundle), exposure_us / REFERENCE_EXPOSURE_US * gain, gain
    )


def nominal_levels(bundle: Bundle) -> NDArray[np.float64]:
    """The thresholds as DAC codes can hold them, fractions of full scale, float64 (15,)."""
    return dac_codes_to_fractions(thresholds_to_dac_codes(bundle.encoding.thresholds)).astype(np.float64)


def sealed_model(
    bundle: Bundle,
    path: CapturePath,
    exposure: tuple[float, float] | None = None,
    parts: frozenset[str] = frozenset({"psf", "board", "sensor"}),
) -> CodeModel:
    """The model that the sealed calibrations make, for a capture path; what was not calibrated stays as designed.

    exposure: (exposure_us, gain) that the camera is used at, None: the sealed one. parts: calibrations to use (to see
    what each of them is worth). The board's transitions count on every path but `camera`, whose thresholds are exact.
    """
    exposure_us, gain = exposure or sealed_exposure(bundle) or (REFERENCE_EXPOSURE_US, 1.0)
    model = designed_model(bundle, exposure_us, gain)
    if "psf" in parts and (measured := sealed_psf(bundle)) is not None and bundle.encoding.filters == 1:
        taps = measured[0]
        if path not in WITH_GAINS:
            # The colours as the sensor sees them: nothing evens them out.
            taps = taps / np.array(sealed_gains(bundle) or (1.0, 1.0, 1.0), np.float32)[:, np.newaxis, np.newaxis]
        model = replace(model, kernels=taps[np.newaxis])
    if "board" in parts and path != "camera" and (levels := sealed_levels(bundle)) is not None:
        model = replace(model, levels=levels)
    if "sensor" in parts:
        model = replace(model, noise=sealed_noise(bundle, path))
    return model


def sealed_levels(bundle: Bundle) -> NDArray[np.float64] | None:
    """Where the sealed board's comparators switch with their trims, fractions of full scale, float64 (15,)."""
    if bundle.calibration is None or "board.transition_volts" not in bundle.calibration.arrays:
        return None
    return np.asarray(bundle.calibration.arrays["board.transition_volts"], np.float64) / REFERENCE_VOLTS


def sealed_noise(bundle: Bundle, path: CapturePath) -> PixelNoise | None:
    """The sealed sensor's noise; None where it was not calibrated."""
    names = ("system_gain_dn_per_e", "bits", "black_level_dn", "read_noise_e", "prnu_percent", "dsnu_e")
    numbers = [_number(bundle, "sensor", name) for name in names]
    found = [number for number in numbers if number is not None]
    if len(found) < len(names) or not found[0] > 0:
        return None
    dn_per_e, bits, black_dn, read_noise_e, prnu_percent, dsnu_e = found
    # Where each pixel lies is not kept, so what differs from pixel to pixel is noise to this model.
    dark_e = float(np.hypot(read_noise_e, dsnu_e))
    full_scale_e = (2**bits - 1 - black_dn) / dn_per_e
    if path not in WITH_GAINS:
        return PixelNoise(full_scale_e, dark_e, prnu_percent)
    return PixelNoise(full_scale_e, dark_e, prnu_percent, (1, 2, 1), sealed_gains(bundle) or (1.0, 1.0, 1.0))


def light_of_white(model: CodeModel, chart: NDArray[np.float32], saturated_share: float, top: float) -> float:
    """Radiance of a white surface in a light that nobody has measured, from the exposure that the range found in it.

    model: with the light that the exposure gives radiance 1.0. chart: what the camera looked at, behind the mask,
    float32 (channels, rows, columns) where white is 1.0. saturated_share: of the cells that reached the highest
    threshold `top` at that exposure. The light is the one in which the model's own cells, noise included, do the same.
    """
    white = 1.0
    for _ in range(LIGHT_ROUNDS):
        cells = expected_cells(chart * np.float32(white * model.light), model)
        white *= top / max(float(np.quantile(cells, 1 - saturated_share)), 1e-6)
    return white


def predicted_codes(model: CodeModel, scene: NDArray[np.float32], threads: int = 2) -> NDArray[np.uint8]:
    """The most likely codes of a scene, uint8 (rows, columns, filters * 3), channel = filter * 3 + colour.

    scene: linear radiance, float32 (rows, columns, 3), 1.0 fills the scale in 10 ms at gain 1. A code is the number of
    comparators whose transition lies at or below the cell's value, whichever they are. Raises what `convolve_psf`
    raises.
    """
    planes = convolve_psf(scene, model.kernels, threads)
    planes *= np.float32(model.light)
    values = pool_planes(planes, model.pool) if model.noise is None else expected_cells(planes, model)
    # The well, or the amplifier's own end, clips whatever is above.
    np.minimum(values, np.float32(min(1.0, model.gain)), out=values)
    return np.asarray((values[..., np.newaxis] >= model.levels).sum(axis=-1), dtype=np.uint8)


def expected_cells(planes: NDArray[np.float32], model: CodeModel) -> NDArray[np.float32]:
    """Median of each cell's maximum over noisy pixels, float32 (rows, columns, channels).

    planes: mean values without noise, float32 (channels, rows, columns), fractions of full scale. Pixels are
    independent normal values, so the maximum lies below t with probability prod Phi((t - mean) / sigma); t where that
    is one half is found by halving. The maximum of noisy pixels lies above the maximum of their means, by up to 2.3
    standard deviations where 64 of them are equal: without this, every flat cell is predicted too low.
    """
    noise = model.noise
    if noise is None:
        return pool_planes(planes, model.pool)
    pool, (channels, height, width) = model.pool, planes.shape
    rows, columns = height // pool, width // pool
    cells = planes[:, : rows * pool, : columns * pool].reshape(channels, rows, pool, columns, pool)
    means = cells.transpose(1, 3, 0, 2, 4).reshape(rows * columns * channels, pool * pool).astype(np.float64)
    shot = model.gain / noise.full_scale_e
    times = rows * columns * (channels // COLOURS)
    readings, gains = (np.tile(np.array(each), times)[:, np.newaxis] for each in (noise.readings, noise.gains))
    variance = np.maximum(means, 0) * shot * gains + (noise.read_noise_e * shot * gains) ** 2
    variance += (noise.prnu_percent / 100 * means) ** 2
    sigma = np.sqrt(np.maximum(variance / readings, np.finfo(np.float32).tiny))
    low = means.max(axis=1)
    high = low + (MOST_SIGMAS if pool * pool <= 64 else EVER_SIGMAS) * sigma.max(axis=1)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = ndtr((middle[:, np.newaxis] - means) / sigma).prod(axis=1)
        high = np.where(below >= 0.5, middle, high)
        low = np.where(below >= 0.5, low, middle)
    return np.asarray(((low + high) / 2).reshape(rows, columns, channels), dtype=np.float32)


def _number(bundle: Bundle, kind: str, name: str) -> float | None:
    """A number of a sealed result, None where there is none."""
    document = {} if bundle.calibration is None else bundle.calibration.document.get(kind)
    value = document.get(name) if isinstance(document, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
