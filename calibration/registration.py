"""How a measured PSF lies against the designed one: shift, rotation, scale, and which way round, with uncertainties.

The designed PSF, moved, turned and scaled, plus a faint wide halo of it and a flat ground, is fitted to the measured
one by weighted least squares (Gauss-Newton), all colours together; each colour has its own brightness and its own
shift, since the sites of a Bayer quad lie beside each other and a mask can disperse.

What is fitted to is never exactly the design: a mask has errors, and they pull at shift and scale as noise does. This
discrepancy is treated as Kennedy and O'Hagan do (J. R. Stat. Soc. B 63, 425 (2001), doi:10.1111/1467-9868.00294): the
design is multiplied by 1 + a smooth random field, common to the colours; its strength is estimated from what the fit
leaves over (method of moments), and its effect is added to the uncertainties.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

from optics.metrics import MetricError, per_colour_correlation

Floats = NDArray[np.float64]
Orientation = Literal["as designed", "mirrored", "turned by 180 degrees"]
ORIENTATIONS: tuple[Orientation, ...] = ("as designed", "mirrored", "turned by 180 degrees")

# Where the fit may go: beyond it a mask is not mounted badly, but another one.
MOST_ROTATION_RAD, LEAST_SCALE, MOST_SCALE = math.radians(15), 0.75, 1.35
# Rotations and scales from which the fit starts.
STARTS_RAD = tuple(math.radians(each) for each in (-9, -6, -3, 0, 3, 6, 9))
STARTS_SCALE = (0.93, 1.0, 1.08)
# A designed PSF that correlates with itself turned by PROBE_RAD by more than this has no rotation to be found.
PROBE_RAD, ALIKE = math.radians(5), 0.9995
# Two ways round that correlate by more than this cannot be told apart.
ALIKE_FLIPPED = 0.98
# Halo: the design blurred by this share of its side, which may be wrong by this factor. Discrepancy: correlated over
# about twice this share of its side.
HALO_SHARE, HALO_FACTOR, FIELD_SHARE = 0.18, 1.12, 0.2
# By how much design and measurement are expected to differ, in weighting the pixels: share of the light there, and of
# the peak.
EXPECTED_SHARE, EXPECTED_OF_PEAK = 0.03, 1e-3
# Strength of the discrepancy that is usual for a mask, and how much of the noise's misfit it takes to tell another one.
USUAL_DISCREPANCY, TRUSTED_SHARE = 0.03, 0.1
MOST_ITERATIONS, CONVERGED = 25, 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """Where the designed PSF lies in a measured window.

    shift_px, shift_sigma_px: (rows, columns), mean of the colours, against the window's pixel (n // 2, n // 2);
    by_colour_px: float64 (3, 2). rotation_rad: from x towards y, so clockwise in a picture; None where the design looks
    alike in every rotation. scale: size over designed size. Each has its standard uncertainty. amplitude: float64 (3,),
    the fitted light of the design. discrepancy: relative strength of the smooth difference to the design. correlation:
    float64 (3,), Pearson, with the fitted design, its halo not included. model: float64 (3, rows, columns), the design
    as fitted, without ground. orientation: which way round was fitted.
    """

    shift_px: tuple[float, float]
    shift_sigma_px: tuple[float, float]
    by_colour_px: Floats
    rotation_rad: float | None
    rotation_sigma_rad: float | None
    scale: float
    scale_sigma: float
    amplitude: Floats
    discrepancy: float
    correlation: Floats
    model: Floats
    orientation: Orientation


def oriented(designed: Floats, orientation: Orientation) -> Floats:
    """The PSF (3, rows, columns) of the mask mounted this way round. An even side becomes an odd one first, so that the
    axis stays at pixel n // 2."""
    odd = np.pad(designed, [(0, 0)] + [(0, 1 - side % 2) for side in designed.shape[1:]])
    if orientation == "mirrored":
        return odd[:, :, ::-1].copy()
    return odd[:, ::-1, ::-1].copy() if orientation == "turned by 180 degrees" else odd


def placed(designed: Floats, shape: tuple[int, int]) -> Floats:
    """The PSF in a window of another size, axis on pixel n // 2, continued with zero: float64 (3, *shape)."""
    out = np.zeros((len(designed), *shape))
    source, target = [], []
    for have, want in zip(designed.shape[1:], shape, strict=True):
        before, after = min(have // 2, want // 2), min(have - have // 2, want - want // 2)
        source.append(slice(have // 2 - before, have // 2 + after))
        target.append(slice(want // 2 - before, want // 2 + after))
    out[:, target[0], target[1]] = designed[:, source[0], source[1]]
    return out


def transformed(
    splines: Floats, shape: tuple[int, int], shifts_px: Floats, rotation_rad: float, scale: float
) -> Floats:
    """The design moved, turned and scaled into a window: float64 (3, *shape).

    splines: its cubic spline coefficients (`spline`). shifts_px: (3, 2). Light per pixel falls with scale squared, so
    each colour keeps its sum.
    """
    y, x = (np.arange(side, dtype=np.float64) - side // 2 for side in shape)
    cosine, sine = math.cos(rotation_rad) / scale, math.sin(rotation_rad) / scale
    middle = [side // 2 for side in splines.shape[1:]]
    out = np.empty((len(splines), *shape))
    for colour, (coefficients, (down, right)) in enumerate(zip(splines, shifts_px, strict=True)):
        rows, columns = (y - down)[:, np.newaxis], (x - right)[np.newaxis]
        at = np.stack([cosine * rows - sine * columns + middle[0], cosine * columns + sine * rows + middle[1]])
        scipy.ndimage.map_coordinates(coefficients, at, out[colour], order=3, mode="constant", prefilter=False)
    return out / scale**2


def spline(designed: Floats) -> Floats:
    """Cubic spline coefficients of each colour, with a rim of zeros so that nothing ends abruptly."""
    rimmed = np.pad(designed, [(0, 0), (4, 4), (4, 4)])
    return np.stack([scipy.ndimage.spline_filter(colour, order=3) for colour in rimmed])


def rotation_shows(designed: Floats) -> bool:
    """Whether the design looks otherwise when turned a little: whether a rotation can be found at all."""
    turned = transformed(spline(designed), _sides(designed), np.zeros((3, 2)), PROBE_RAD, 1.0)
    return bool(per_colour_correlation(designed, turned).min() < ALIKE)


def orientation_shows(designed: Floats, orientation: Orientation) -> bool:
    """Whether the design looks otherwise this way round, after the best shift and rotation."""
    splines, target = spline(oriented(designed, orientation)), oriented(designed, "as designed")
    return _start(splines, target, rotates=True)[0] < ALIKE_FLIPPED


def register(
    measured: Floats, sigma: Floats, designed: Floats, orientation: Orientation = "as designed"
) -> Registration:
    """Fit the designed PSF to a measured one.

    measured, sigma: float64 (3, rows, columns), light and its standard uncertainty; sigma may be infinite (a clipped
    pixel counts nothing). designed: float64 (3, rows, columns), of any odd or even window. Raises MetricError for
    arrays that are constant, or shapes that do not fit.
    """
    if measured.shape != sigma.shape or measured.ndim != 3 or designed.ndim != 3 or len(measured) != len(designed):
        raise MetricError(f"expected (3, rows, columns) thrice, got {measured.shape}, {sigma.shape}, {designed.shape}")
    rotates = rotation_shows(designed)
    design = oriented(designed, orientation)
    splines = spline(design)
    _, geometry = _start(splines, measured, rotates)
    halos = [spline(haloed(design, HALO_SHARE * factor)) for factor in (1.0, HALO_FACTOR, 1 / HALO_FACTOR)]
    fit = _Fit(measured, sigma, splines, halos[0], (halos[1], halos[2]), rotates)
    parameters = fit.solve(geometry)
    return fit.conclude(parameters, orientation)


def best_orientation(measured: Floats, designed: Floats) -> dict[Orientation, float]:
    """Correlation of the measured PSF with the design each way round, after the best shift, rotation and scale of a
    coarse search. A way round that looks like another one scores alike."""
    rotates = rotation_shows(designed)
    return {each: _start(spline(oriented(designed, each)), measured, rotates)[0] for each in ORIENTATIONS}


def _sides(array: Floats) -> tuple[int, int]:
    return array.shape[1], array.shape[2]


def haloed(design: Floats, share: float) -> Floats:
    """What is faintly added to the design: itself, blurred by this share of its side, in a window that holds it."""
    blur = share * max(_sides(design))
    room = math.ceil(2 * blur)
    return np.asarray(
        scipy.ndimage.gaussian_filter(np.pad(design, [(0, 0), (room, room), (room, room)]), (0, blur, blur))
    )


def smooth_modes(shape: tuple[int, ...], design_px: int, least_power: float) -> Floats:
    """Modes of a smooth error over a window, of unit total variance: float64 (modes, rows, columns).

    Cosines whose power falls as that of a field with a Gaussian autocorrelation of FIELD_SHARE of the design's side;
    those below least_power of the strongest are left out.
    """
    length = FIELD_SHARE * design_px
    rows, columns = shape
    along, across = (np.cos(np.pi * np.outer(np.arange(n), np.arange(n) + 0.5) / n) for n in (rows, columns))
    waves = []
    for i in range(rows):
        for j in range(columns):
            power = math.exp(-((math.pi * length) ** 2) * ((i / rows) ** 2 + (j / columns) ** 2))
            if power < least_power:
                break
            # A cosine's mean square is 1/2, a constant's 1.
            waves.append(math.sqrt(power * (2 if i else 1) * (2 if j else 1)) * np.outer(along[i], across[j]))
        if power < least_power and j == 0:
            break
    return np.stack(waves) / math.sqrt(sum(float((wave**2).mean()) for wave in waves))


@dataclass(frozen=True, slots=True, eq=False)
class _Geometry:
    shifts_px: Floats
    rotation_rad: float
    scale: float


def _start(splines: Floats, measured: Floats, rotates: bool) -> tuple[float, _Geometry]:
    """Best of a few rotations and scales, shift by cross-correlation (whole pixels): its correlation and geometry."""
    shape = _sides(measured)
    transform = tuple(scipy.fft.next_fast_len(2 * side) for side in shape)
    centred = measured - measured.mean(axis=(1, 2), keepdims=True)
    size = np.linalg.norm(centred, axis=(1, 2), keepdims=True)
    spectrum = scipy.fft.rfft2(centred / np.where(size > 0, size, 1), transform)
    best: tuple[float, _Geometry] | None = None
    for rotation in STARTS_RAD if rotates else (0.0,):
        for scale in STARTS_SCALE:
            turned = transformed(splines, shape, np.zeros((len(splines), 2)), rotation, scale)
            flat = turned - turned.mean(axis=(1, 2), keepdims=True)
            norm = np.linalg.norm(flat, axis=(1, 2), keepdims=True)
            flat /= np.where(norm > 0, norm, 1)
            # Not the plain design: the window's mean must not have an edge of its own.
            cross = scipy.fft.irfft2((spectrum * np.conj(scipy.fft.rfft2(flat, transform))).mean(axis=0), transform)
            row, column = np.unravel_index(int(np.argmax(cross)), cross.shape)
            likeness = float(cross[row, column])
            if best is None or likeness > best[0]:
                down, right = (
                    int(at) - side * (int(at) > side // 2) for at, side in zip((row, column), transform, strict=True)
                )
                shifts = np.tile(np.array([down, right], dtype=np.float64), (len(splines), 1))
                best = likeness, _Geometry(shifts, rotation, scale)
    if best is None:
        raise MetricError("nothing to start a registration from")
    return best


class _Fit:
    """Weighted least squares of brightness, ground, halo (each by colour), shifts by colour, rotation and scale."""

    def __init__(
        self,
        measured: Floats,
        sigma: Floats,
        splines: Floats,
        halo: Floats,
        other_halos: tuple[Floats, Floats],
        rotates: bool,
    ) -> None:
        self.measured, self.splines, self.rotates = measured, splines, rotates
        self.shape = _sides(measured)
        known = np.isfinite(sigma)
        self.sigma = np.where(known, np.maximum(sigma, 1e-300), 0.0)
        bright = np.maximum(scipy.ndimage.gaussian_filter(measured, (0, 1, 1)), 0)
        peak = bright.max(axis=(1, 2), keepdims=True)
        expected = np.sqrt(self.sigma**2 + (EXPECTED_SHARE * bright) ** 2 + (EXPECTED_OF_PEAK * peak) ** 2)
        self.weight = np.where(known & (expected > 0), 1 / np.where(expected > 0, expected, 1), 0.0)
        self.halo_splines, self.other_halos = halo, other_halos

    def solve(self, geometry: _Geometry) -> _Geometry:
        """Gauss-Newton with steps that are halved until the misfit falls."""
        misfit = self._misfit(geometry)
        for _ in range(MOST_ITERATIONS):
            step = self._step(geometry)
            damping = 1.0
            moved = geometry
            for _halving in range(6):
                moved = self._moved(geometry, damping * step)
                new = self._misfit(moved)
                if new <= misfit:
                    break
                damping /= 2
            else:
                break
            gained, misfit, geometry = misfit - new, new, moved
            if gained <= CONVERGED * misfit:
                break
        return geometry

    def conclude(self, geometry: _Geometry, orientation: Orientation) -> Registration:
        linear, light = self._linear(geometry)
        columns, names = self._columns(geometry, linear)
        weighted = columns * self.weight.ravel()[:, np.newaxis]
        residual = self._residual(geometry).ravel()
        orthogonal, triangle = np.linalg.qr(weighted)
        solver = np.linalg.pinv(triangle) @ orthogonal.T
        noise = (solver * (self.weight * self.sigma).ravel()) @ (solver * (self.weight * self.sigma).ravel()).T
        modes = self._discrepancy_modes(light)
        left = modes - orthogonal @ (orthogonal.T @ modes)
        # The expected misfit from noise alone: the trace of the residual projector over the noise's covariance.
        noise_shares = (self.weight * self.sigma).ravel() ** 2
        expected = float(noise_shares.sum() - (noise_shares[:, np.newaxis] * orthogonal**2).sum())
        # What the fit leaves over tells the strength where it leaves enough; else what is usual is assumed.
        trust = TRUSTED_SHARE * expected
        excess = max(float(residual @ residual) - expected, 0.0)
        strength = (excess + trust * USUAL_DISCREPANCY**2 / EXPECTED_SHARE**2) / (
            float((left**2).sum()) + trust / EXPECTED_SHARE**2
        )
        pulled = solver @ modes
        halo = solver @ self._halo_doubt(geometry, linear[:, 2:])
        covariance = noise + strength * pulled @ pulled.T + np.outer(halo, halo)
        spread = dict(zip(names, np.sqrt(np.maximum(np.diag(covariance), 0)), strict=True))
        mean_shift = geometry.shifts_px.mean(axis=0)
        sigmas = []
        for axis in ("row", "column"):
            chosen = [index for index, name in enumerate(names) if name.startswith(axis)]
            share = covariance[np.ix_(chosen, chosen)].sum() / len(chosen) ** 2
            sigmas.append(math.sqrt(max(float(share), 0.0)))
        model = transformed(self.splines, self.shape, geometry.shifts_px, geometry.rotation_rad, geometry.scale)
        amplitude = linear[:, 0]
        return Registration(
            (float(mean_shift[0]), float(mean_shift[1])),
            (sigmas[0], sigmas[1]),
            geometry.shifts_px,
            geometry.rotation_rad if self.rotates else None,
            float(spread["rotation"]) if self.rotates else None,
            geometry.scale,
            float(spread["scale"]) * geometry.scale,
            amplitude,
            math.sqrt(strength),
            per_colour_correlation(self.measured, model),
            amplitude[:, np.newaxis, np.newaxis] * model,
            orientation,
        )

    def _moved(self, geometry: _Geometry, step: Floats) -> _Geometry:
        colours = len(self.splines)
        shifts = geometry.shifts_px + np.clip(step[: 2 * colours].reshape(2, colours).T, -3, 3)
        rotation = float(np.clip(geometry.rotation_rad + step[-2], -MOST_ROTATION_RAD, MOST_ROTATION_RAD))
        scale = float(np.clip(geometry.scale * math.exp(np.clip(step[-1], -0.3, 0.3)), LEAST_SCALE, MOST_SCALE))
        return _Geometry(shifts, rotation, scale)

    def _bases(self, geometry: _Geometry) -> Floats:
        """Design, ground and halo of each colour: (3 colours, 3 bases, rows * columns)."""
        place = (self.shape, geometry.shifts_px, geometry.rotation_rad, geometry.scale)
        both = (self.splines, self.halo_splines)
        design, halo = (transformed(each, *place).reshape(len(self.splines), -1) for each in both)
        return np.stack([design, np.ones_like(design), halo], axis=1)

    def _linear(self, geometry: _Geometry) -> tuple[Floats, Floats]:
        """Best brightness, ground and halo: (coefficients (3, 3), light of the design with its halo, (3, n))."""
        bases = self._bases(geometry)
        coefficients = np.empty(bases.shape[:2])
        for colour, basis in enumerate(bases):
            weight = self.weight[colour].ravel()
            coefficients[colour] = np.linalg.lstsq(
                (basis * weight).T, self.measured[colour].ravel() * weight, rcond=None
            )[0]
        return coefficients, coefficients[:, :1] * bases[:, 0] + coefficients[:, 2:] * bases[:, 2]

    def _residual(self, geometry: _Geometry) -> Floats:
        coefficients, light = self._linear(geometry)
        fitted = (light + coefficients[:, 1:2]).reshape(self.measured.shape)
        return np.asarray((self.measured - fitted) * self.weight)

    def _misfit(self, geometry: _Geometry) -> float:
        return float((self._residual(geometry) ** 2).sum())

    def _columns(self, geometry: _Geometry, linear: Floats) -> tuple[Floats, list[str]]:
        """Derivatives of the fitted light by every parameter, (3 n, parameters), and their names."""
        bases = self._bases(geometry)
        colours, _, count = bases.shape
        names, columns = [], []
        for colour in range(colours):
            for index in range(3):
                column = np.zeros((colours, count))
                column[colour] = bases[colour, index]
                columns.append(column.ravel())
                names.append(f"linear {colour} {index}")
        for axis, name in enumerate(("row", "column")):
            step = np.zeros(2)
            step[axis] = 0.05
            nudged = [
                self._light(replace(geometry, shifts_px=geometry.shifts_px + sign * step), linear) for sign in (1, -1)
            ]
            change = (nudged[0] - nudged[1]) / 0.1
            for colour in range(colours):
                column = np.zeros((colours, count))
                column[colour] = change[colour]
                columns.append(column.ravel())
                names.append(f"{name} {colour}")
        further = [("scale", replace(geometry, scale=geometry.scale * math.exp(0.005)), 0.01)]
        if self.rotates:
            further.insert(0, ("rotation", replace(geometry, rotation_rad=geometry.rotation_rad + 0.01), 0.02))
        for name, more, width in further:
            less = (
                replace(geometry, scale=geometry.scale * math.exp(-0.005))
                if name == "scale"
                else replace(geometry, rotation_rad=geometry.rotation_rad - 0.01)
            )
            change = (self._light(more, linear) - self._light(less, linear)) / width
            columns.append(change.ravel())
            names.append(name)
        return np.stack(columns, axis=1), names

    def _light(self, geometry: _Geometry, linear: Floats) -> Floats:
        """Light of the design and its halo, placed and as bright as given: (3, n)."""
        bases = self._bases(geometry)
        return np.asarray(linear[:, :1] * bases[:, 0] + linear[:, 2:] * bases[:, 2])

    def _step(self, geometry: _Geometry) -> Floats:
        """Gauss-Newton step of the geometry: shifts (rows of all colours, columns of all), rotation, log of scale."""
        linear, _ = self._linear(geometry)
        columns, names = self._columns(geometry, linear)
        weighted = columns * self.weight.ravel()[:, np.newaxis]
        found = np.linalg.lstsq(weighted, self._residual(geometry).ravel(), rcond=1e-10)[0]
        by_name = dict(zip(names, found, strict=True))
        colours = range(len(self.splines))
        shifts = [by_name[f"{axis} {colour}"] for axis in ("row", "column") for colour in colours]
        return np.array([*shifts, by_name.get("rotation", 0.0), by_name["scale"]])

    def _halo_doubt(self, geometry: _Geometry, halo: Floats) -> Floats:
        """Weighted effect of a halo that is wider or narrower than assumed, (3 n,)."""
        place = (self.shape, geometry.shifts_px, geometry.rotation_rad, geometry.scale)
        wide, narrow = (transformed(each, *place).reshape(len(self.splines), -1) for each in self.other_halos)
        return np.asarray((halo * (wide - narrow) / 2 * self.weight.reshape(wide.shape)).ravel())

    def _discrepancy_modes(self, light: Floats) -> Floats:
        """Weighted effect of each smooth mode of the discrepancy, of unit total variance: (3 n, modes)."""
        modes = smooth_modes(self.shape, max(_sides(self.splines)) - 8, 1e-3)
        flat = light * self.weight.reshape(light.shape)
        return np.stack([(flat * mode.ravel()).ravel() for mode in modes], axis=1)
