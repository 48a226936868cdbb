"""What a grid can carry: when a field or its way through space would alias, and which grid would do.

The rules are those of Voelz and Roggemann, "Digital simulation of scalar optical fields: revisiting chirp function
sampling criteria", Appl. Opt. 48, 6132 (2009), doi:10.1364/AO.48.006132, and the band limit of Matsushima and
Shimobaba, Opt. Express 17, 19662 (2009), doi:10.1364/OE.17.019662; what the field itself needs is measured.
"""

import math
from collections.abc import Callable

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from optics.grid import Grid

# A field is resolved if at most this share of its energy lies in the outer tenth of the frequencies of its grid.
USABLE_BAND = 0.9
TOLERATED_SHARE = 0.01
# Advice leaves more room than the check asks for, so that whoever follows it passes.
ADVISED_BAND = 0.7
# Phase steps between neighbours say something only where there is light, and where they change slowly.
DARK = 1e-6
SLOWLY_RAD = math.pi / 2


class SamplingError(ValueError):
    """The field would alias on this grid. The message says which grid would do; so does `grid`, where one would."""

    def __init__(self, message: str, grid: Grid | None = None) -> None:
        super().__init__(message)
        self.grid = grid


def describe(grid: Grid) -> str:
    """A grid in words: its pitch in micrometres, rounded to what `advised_grid` uses, and its samples."""
    return f"a pitch of {grid.pitch_m * 1e6:.3g} um ({grid.rows} x {grid.columns} samples)"


def advised_grid(grid: Grid, pitch_m: float, fits: Callable[[Grid], bool] = lambda _: True) -> Grid:
    """A grid as wide as `grid` with a pitch of at most `pitch_m`, of three digits and a fast number of samples.

    fits: a condition that the grid has to fulfil besides; the pitch is made finer until it does.
    """
    while True:
        digits = 10.0 ** (math.floor(math.log10(pitch_m * 1e6)) - 2)
        rounded_m = math.floor(pitch_m * 1e6 / digits + 1e-9) * digits * 1e-6
        rows, columns = (
            scipy.fft.next_fast_len(math.ceil(count * grid.pitch_m / rounded_m - 1e-9)) for count in grid.shape
        )
        candidate = Grid(rows, columns, rounded_m)
        if fits(candidate):
            return candidate
        pitch_m *= 0.97


def check_slope(grid: Grid, highest_per_m: float, what: str) -> None:
    """Raise SamplingError if `what`, whose phase has this highest spatial frequency, does not fit onto the grid."""
    if abs(highest_per_m) <= USABLE_BAND / (2 * grid.pitch_m):
        return
    advice = advised_grid(grid, ADVISED_BAND / (2 * abs(highest_per_m)))
    raise SamplingError(
        f"{what} turns by {abs(highest_per_m) * grid.pitch_m:.3g} cycles between samples of "
        f"{grid.pitch_m * 1e6:.4g} um, at most {USABLE_BAND / 2} can be told apart: {describe(advice)} would do",
        advice,
    )


def check_resolved(field: NDArray[np.complexfloating], grid: Grid) -> None:
    """Raise SamplingError if the samples of `field`, complex (rows, columns), are too far apart for its phase.

    Measured on the field: more than 1 % of its energy in the outer tenth of the grid's frequencies, along rows or
    columns, is what a phase leaves that turns by about half a cycle or more from sample to sample (a lens too strong
    for its pitch, for instance). How fine the grid has to be follows from the phase steps, which change slowly even
    where they alias; where they do not (random phases, an opening a few samples wide), half the pitch is the advice.
    """
    shares = [outer_share(field, axis, USABLE_BAND / (2 * grid.pitch_m), grid) for axis in (0, 1)]
    if max(shares) <= TOLERATED_SHARE:
        return
    steps = [steepest_step(field, axis) for axis in (0, 1)]
    known = [step for step in steps if step is not None]
    if len(known) == 2 and max(known) > ADVISED_BAND / 2:
        pitch_m = grid.pitch_m * ADVISED_BAND / 2 / max(known)
        cause = f"its phase turns by up to {max(known):.3g} cycles from sample to sample"
    else:
        pitch_m = grid.pitch_m / 2
        cause = "it changes too abruptly from sample to sample"
    advice = advised_grid(grid, pitch_m)
    raise SamplingError(
        f"the field is not resolved by samples {grid.pitch_m * 1e6:.4g} um apart ({grid.rows} x {grid.columns}): "
        f"{max(shares):.1%} of its energy lies at the edge of what they can represent, since {cause}. Make it on a "
        f"finer grid: {describe(advice)} would do",
        advice,
    )


def outer_share(field: NDArray[np.complexfloating], axis: int, beyond_per_m: float, grid: Grid) -> float:
    """Share of a field's energy at spatial frequencies above `beyond_per_m` (cycles per metre) along an axis."""
    energy = spectrum_along(field, axis)
    total = energy.sum()
    frequency = np.abs(np.fft.fftfreq(energy.size, grid.pitch_m))
    return float(energy[frequency > beyond_per_m].sum() / total) if total > 0 else 0.0


def share_within(field: NDArray[np.complexfloating], axis: int, grid: Grid, finer: int = 4) -> Callable[[float], float]:
    """Which share of a field's energy lies within a spatial frequency (cycles per metre) along an axis, as a function.

    Interpolated between frequencies `finer` times closer than the grid's own. A field without light is all within.
    """
    count = field.shape[axis] * finer
    energy = spectrum_along(field, axis, count)
    frequency = np.abs(np.fft.fftfreq(count, grid.pitch_m))
    order = np.argsort(frequency, kind="stable")
    # A frequency's energy is spread over its bin, so that little steps within one see some of it.
    edges = np.concatenate([[0.0], frequency[order] + 0.5 / (count * grid.pitch_m)])
    inside = np.concatenate([[0.0], np.cumsum(energy[order])])
    if inside[-1] == 0:
        return lambda _: 1.0
    inside /= inside[-1]
    return lambda within_per_m: float(np.interp(within_per_m, edges, inside))


def spectrum_along(field: NDArray[np.complexfloating], axis: int, count: int | None = None) -> NDArray[np.float64]:
    """Energy at each frequency along an axis (0: rows), summed over the other: float64 (samples,), FFT order.

    count: so many frequencies, if more than the field has samples there; it is surrounded by darkness then.
    """
    spectrum = scipy.fft.fft(field, count, axis=axis)
    return np.asarray((spectrum.real**2 + spectrum.imag**2).sum(axis=1 - axis), dtype=np.float64)


def steepest_step(field: NDArray[np.complexfloating], axis: int) -> float | None:
    """How far the phase turns between neighbours along an axis, in cycles, where it turns most; may exceed a half.

    Steps known only up to whole cycles are continued along each line from their differences, which are small for a
    smooth phase; each line is taken to be level on average. None if the differences are not small.
    """
    lines = field if axis == 1 else field.T
    if lines.shape[1] < 3:
        return None
    product = lines[:, 1:] * lines[:, :-1].conj()
    light = np.abs(product)
    lit = light > DARK * light.max(initial=0)
    bend = np.where(lit[:, 1:] & lit[:, :-1], np.angle(product[:, 1:] * product[:, :-1].conj()), 0)
    weight = np.minimum(light[:, 1:], light[:, :-1])
    if weight[np.abs(bend) > SLOWLY_RAD].sum() > TOLERATED_SHARE * weight.sum():
        return None
    first = np.argmax(lit, axis=1)[:, np.newaxis]
    step = np.cumsum(np.concatenate([np.zeros((lines.shape[0], 1)), bend], axis=1), axis=1)
    step += np.angle(np.take_along_axis(product, first, axis=1))
    level = (step * light).sum(axis=1) / np.maximum(light.sum(axis=1), np.finfo(np.float64).tiny)
    step -= 2 * np.pi * np.round(level / (2 * np.pi))[:, np.newaxis]
    return float(np.abs(step[lit]).max(initial=0) / (2 * np.pi))
