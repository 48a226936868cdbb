"""What a designed PSF leaves over of a point source's light: a second copy, growth along one axis, light in doubt.

The fit of `registration` is repeated once in its linear form, with everything that a mask may do wrong as unknowns
beside it: brightness, ground and haze of each colour, shifts, rotation, scale, and a smooth error of the mask with a
prior strength (a Gaussian process, as in `registration`). What is then left is tested against a copy of the PSF at
every lag at once: the score test of one more regressor t against a residual r in a linear model with projector P is
(t' P r)^2 / (t' P t), the fall of the misfit, and (t' P r) / (t' P t) the copy's share (C. R. Rao, Linear Statistical
Inference and Its Applications, 4a.9; with t' P t = t' t - |Q' t|^2 for an orthonormal basis Q of the unknowns).
Correlations by FFT give it for all lags.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from calibration.point_source import Light, PointSpread
from calibration.registration import HALO_SHARE, Registration, haloed, smooth_modes, spline, transformed

Floats = NDArray[np.float64]

# Prior strength of a mask's smooth error (relative), and the least power of a mode of it that is taken along.
MASK_ERROR, LEAST_POWER = 0.05, 1e-2
# Pixels are trusted to these shares of the design's light there, and of its peak, besides their own uncertainty.
TRUSTED_SHARE, TRUSTED_OF_PEAK = 0.01, 1e-3
# A copy at a lag is tested where this much of it is not what shift, scale, rotation or a smooth error do as well, and
# where this much of it lies in the region.
LEAST_OWN, LEAST_INSIDE = 0.02, 0.1
# Misfit per pixel, beyond what the pixels' uncertainty gives, above which the light is not explained.
EXPLAINED_MISFIT = 0.1
# Haze that masks have by themselves: share of the light. More may as well be a reflection from something rough.
USUAL_HAZE = 0.04


@dataclass(frozen=True, slots=True)
class Copy:
    """The likeliest second copy of a PSF.

    share, share_sigma: its light against the first's. away_px: (rows, columns), whole pixels. significance: by how much
    the misfit falls, in variances. explained: share of the misfit above noise that goes with it, at most 1. own: share
    of its weighted power that nothing else in the fit could take its place for, 0 (on the first) to 1 (far away).
    """

    share: float
    share_sigma: float
    away_px: tuple[int, int]
    significance: float
    explained: float
    own: float

    @property
    def distance_px(self) -> float:
        """Pixels between the two."""
        return math.hypot(*self.away_px)


@dataclass(frozen=True, slots=True, eq=False)
class Leftover:
    """What is left of the light once the design was fitted.

    copy: the likeliest second copy, however unlikely; None where none can be tested. limit: share below which a copy
    anywhere in the region, further away than what `own` allows, would have stayed unseen (two standard uncertainties
    above the likeliest). excess_misfit: of the fit, per pixel, beyond that of the pixels' uncertainty.
    growth, growth_sigma: how much larger the PSF is along one axis than across it, relative. haze, haze_sigma: float64
    (3,), share of a colour's light in a wide halo. in_doubt: float64 (3, rows, columns), light in units of
    `Light.planes` that is the mask's or a reflection's, which cannot be told.
    """

    copy: Copy | None
    limit: float
    excess_misfit: float
    growth: float
    growth_sigma: float
    haze: Floats
    haze_sigma: Floats
    in_doubt: Floats


def leftover(light: Light, spread: PointSpread, designed: Floats) -> Leftover | None:
    """Test what the fitted design leaves over. designed: as for `point_spread`. None where nothing was registered."""
    fitted = spread.registration
    if fitted is None or not (fitted.amplitude > 0).all():
        return None
    picture = _Picture(light, fitted, spread.registered_at, designed)
    shape = light.planes.shape[1:]
    unknowns, modes = picture.unknowns, MASK_ERROR * smooth_modes(shape, _side(designed), LEAST_POWER)
    weight, count = picture.weight, light.planes.size
    # Rows below the data hold the prior: every mode's coefficient is 0 +- 1.
    system = np.zeros((count + len(modes), len(unknowns) + len(modes)))
    system[:count, : len(unknowns)] = (unknowns * weight).reshape(len(unknowns), -1).T
    lengths = np.linalg.norm(system[:, : len(unknowns)], axis=0)
    system[:, : len(unknowns)] /= np.where(lengths > 0, lengths, 1)
    system[:count, len(unknowns) :] = (modes[:, np.newaxis] * picture.design * weight).reshape(len(modes), -1).T
    system[count:, len(unknowns) :] = np.eye(len(modes))
    orthogonal, triangle = np.linalg.qr(system)
    weighted = np.zeros(len(system))
    weighted[:count] = (light.planes * weight).ravel()
    along = orthogonal.T @ weighted
    residual = weighted - orthogonal @ along
    inverse = np.linalg.pinv(triangle)
    coefficients = (inverse @ along)[: len(unknowns)] / np.where(lengths > 0, lengths, 1)
    spreads = np.linalg.norm(inverse, axis=1)[: len(unknowns)] / np.where(lengths > 0, lengths, 1)
    misfit = float(residual @ residual)
    basis = orthogonal[:count].T.reshape(-1, *light.planes.shape)
    rest = residual[:count].reshape(light.planes.shape)
    known = max(int((weight > 0).sum()), 1)
    excess_misfit = misfit - float((np.where(weight > 0, weight * light.sigma, 0.0) ** 2).sum())
    copy, limit = _copy(picture.design, weight, basis, rest, excess_misfit)
    growth, growth_sigma = _growth(picture.stretches, weight, basis, rest)
    colours = len(light.planes)
    hazes = unknowns[2 * colours : 3 * colours]
    total = light.planes.sum(axis=(1, 2))
    size = hazes.sum(axis=(1, 2, 3)) / total
    haze = coefficients[2 * colours : 3 * colours] * size
    own_light = np.where(weight > 0, rest / np.where(weight > 0, weight, 1), 0.0)
    in_doubt = own_light if excess_misfit > EXPLAINED_MISFIT * known else np.zeros_like(own_light)
    excess = np.maximum(haze - USUAL_HAZE, 0)
    in_doubt = in_doubt + (hazes.sum(axis=1) * (excess / size)[:, np.newaxis, np.newaxis])
    return Leftover(
        copy,
        limit,
        excess_misfit / known,
        growth,
        growth_sigma,
        haze,
        spreads[2 * colours : 3 * colours] * size,
        in_doubt,
    )


class _Picture:
    """The fitted design on the whole region, what its unknowns do to it, and the pixels' weights.

    design: float64 (3, rows, columns). unknowns: (unknowns, 3, rows, columns): brightness of each colour, ground of
    each, haze of each, shifts of each along rows and columns, rotation where there is one, scale. stretches: (2, 3,
    rows, columns), growth along one axis at the cost of the other, upright and diagonal. weight: 1 / uncertainty, 0:
    unknown.
    """

    def __init__(self, light: Light, fitted: Registration, at: tuple[int, int], designed: Floats) -> None:
        shape = light.planes.shape[1:]
        shifts = fitted.by_colour_px + np.array([place - side // 2 for place, side in zip(at, shape, strict=True)])
        turn = fitted.rotation_rad or 0.0
        amplitude = fitted.amplitude[:, np.newaxis, np.newaxis]
        splines, halo = spline(designed), spline(haloed(designed, HALO_SHARE))

        def lies(moved: tuple[float, float] = (0, 0), turned: float = 0.0, larger: float = 1.0) -> Floats:
            return np.asarray(
                amplitude
                * transformed(splines, (shape[0], shape[1]), shifts + moved, turn + turned, fitted.scale * larger)
            )

        self.design = lies()
        peak = self.design.max(axis=(1, 2), keepdims=True)
        known = np.isfinite(light.sigma)
        trusted = (TRUSTED_SHARE * self.design) ** 2 + (TRUSTED_OF_PEAK * peak) ** 2
        self.weight = np.where(known, 1 / np.sqrt(np.where(known, light.sigma, 1.0) ** 2 + trusted), 0.0)
        down = (lies((0.05, 0)) - lies((-0.05, 0))) / 0.1
        right = (lies((0, 0.05)) - lies((0, -0.05))) / 0.1
        haze = amplitude * transformed(halo, (shape[0], shape[1]), shifts, turn, fitted.scale)
        each = (self.design, np.ones_like(self.design) * peak, haze, down, right)
        columns = [part for whole in each for part in _by_colour(whole)]
        if fitted.rotation_rad is not None:
            columns.append((lies(turned=0.01) - lies(turned=-0.01)) / 0.02)
        columns.append((lies(larger=1.005) - lies(larger=1 / 1.005)) / 0.01)
        self.unknowns = np.stack(columns)
        y = np.arange(shape[0]) - shape[0] // 2 - shifts[:, :1]
        x = np.arange(shape[1]) - shape[1] // 2 - shifts[:, 1:]
        rows, across = y[:, :, np.newaxis], x[:, np.newaxis]
        self.stretches = np.stack([rows * down - across * right, across * down + rows * right]) / 2


def _by_colour(whole: Floats) -> list[Floats]:
    parts = []
    for colour in range(len(whole)):
        part = np.zeros_like(whole)
        part[colour] = whole[colour]
        parts.append(part)
    return parts


def _copy(
    design: Floats, weight: Floats, basis: Floats, rest: Floats, excess_misfit: float
) -> tuple[Copy | None, float]:
    """The likeliest second copy over all lags, and the share that could have stayed unseen (see `Leftover`)."""
    shape = design.shape[1:]
    transform = tuple(scipy.fft.next_fast_len(2 * side, real=True) for side in shape)
    # Single precision: a map of a test's strength needs no more.
    single = design.astype(np.float32)
    mirrored = np.conj(scipy.fft.rfft2(single, transform))

    def over_lags(picture: Floats, against: NDArray[np.complex64]) -> Floats:
        product = (scipy.fft.rfft2(picture.astype(np.float32), transform) * against).sum(axis=0)
        return np.asarray(scipy.fft.irfft2(product, transform), dtype=np.float64)

    along = over_lags(rest * weight, mirrored)
    whole = over_lags(weight**2, np.conj(scipy.fft.rfft2(single**2, transform)))
    power = whole.copy()
    for each in basis:
        power -= over_lags(each * weight, mirrored) ** 2
    rows, columns = (np.arange(n) - n * (np.arange(n) > n // 2) for n in transform)
    within = (np.abs(rows) < shape[0])[:, np.newaxis] & (np.abs(columns) < shape[1])
    tested = within & (power > LEAST_OWN * whole) & (whole > LEAST_INSIDE * whole[0, 0])
    if not tested.any():
        return None, math.inf
    safe = np.where(tested, power, 1.0)
    share, sigma = along / safe, 1 / np.sqrt(safe)
    fall = np.where(tested & (along > 0), along**2 / safe, -1.0)
    row, column = np.unravel_index(int(np.argmax(fall)), fall.shape)
    best = float(fall[row, column])
    # A far copy is limited by its own noise; the worst of all lags is the one next to the first.
    limit = float((np.maximum(share, 0) + 2 * sigma)[tested].max())
    copy = Copy(
        float(share[row, column]),
        float(sigma[row, column]),
        (int(rows[row]), int(columns[column])),
        best,
        min(best / max(excess_misfit, best, 1e-300), 1.0),
        float(power[row, column] / whole[row, column]),
    )
    return copy, limit


def _growth(stretches: Floats, weight: Floats, basis: Floats, rest: Floats) -> tuple[float, float]:
    """Relative growth along one axis against the one across it, and its standard uncertainty (the larger one)."""
    found, spreads = [], []
    for each in stretches:
        column = each * weight
        power = float((column**2).sum() - (np.tensordot(basis, column, 3) ** 2).sum())
        if power <= 0:
            continue
        found.append(float((column * rest).sum()) / power)
        spreads.append(1 / math.sqrt(power))
    return (math.hypot(*found), max(spreads)) if found else (0.0, math.inf)


def _side(designed: Floats) -> int:
    return int(max(designed.shape[1:]))
