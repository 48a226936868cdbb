"""What becomes of a mask that is not made, mounted and lit exactly as planned: Monte Carlo over its deviations.

    copies of the mask, each with its own errors -> their PSFs -> likeness to the nominal PSF, codes that change

Every copy is one draw from normal distributions (`Deviations`: one standard deviation each). Next to the joint draws,
each parameter alone is set to its deviation, so that the one that matters most has a name. What is modelled how, and
what is left out, is decision 0015 in docs/decisions.

Correlation is taken twice: as it is, and aligned, after the best shift of the whole PSF. A shift moves the picture and
leaves the codes of a moved picture; a sensor that is calibrated, or a detector that does not mind where things are,
does not see it. The aligned figure is the one that parameters are ranked by. Codes are compared a third time with a
gain per colour: much of what they change by is another proportion of the colours, which correlation does not see.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from optics.code_change import CodedImage, Photograph, balanced, code_images, compare_codes
from optics.mask import Mask, cell_positions_m
from optics.materials import REFERENCE_CELSIUS, refractive_index
from optics.metrics import aligned_correlation, correlation
from optics.psf import Chain, mask_chain, mask_samples

Floats = NDArray[np.float64]
Number = TypeVar("Number", np.float64, np.complex64)
Progress = Callable[[int, int], None]

# Normal quantiles that hold 95 % of the draws: of one number, and of the length of two independent ones.
WITHIN_95_LINE, WITHIN_95_PLANE = 1.96, 2.448
# A relief of more levels than this, or of unequal steps, is not made by a stack of binary etches.
MOST_LAYERS = 8
# The series for a tilt is cut where the next term is below this (amplitude, at the worst place in the worst direction).
TILT_REST, MOST_TILT_TERMS = 1e-2, 30
# Draws of an error that differs from cell to cell, for its effect alone: such draws differ little among themselves.
FIELD_DRAWS = 4
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


class ToleranceError(ValueError):
    """Deviations that are none, or cannot be computed. The message says what was expected."""


@dataclass(frozen=True, slots=True)
class Deviations:
    """One standard deviation of every parameter. The defaults are assumptions: put in what your maker promises.

    height_rms_m: of every cell's height by itself. height_waviness_m: rms of an error that varies slowly over the mask,
    correlated over waviness_length_m (where its autocorrelation falls to 1/e; not a deviation). depth_share: of all
    heights together, relative (etch depth). overlay_m: along x and along y, of each etch of a multi-level relief
    against the first. shift_m: along x and along y, of the mask against the sensor. distance_m: mask to sensor.
    tilt_rad: of the mask, about x and about y. wavelength_m: of the three colours together. temperature_k: from 20
    degrees Celsius; spacer_expansion_per_k: of what holds mask and sensor apart (aluminium; not a deviation).
    """

    height_rms_m: float = 10e-9
    height_waviness_m: float = 20e-9
    depth_share: float = 0.02
    overlay_m: float = 0.25e-6
    shift_m: float = 10e-6
    distance_m: float = 25e-6
    tilt_rad: float = 0.01
    wavelength_m: float = 3e-9
    temperature_k: float = 10.0
    waviness_length_m: float = 100e-6
    spacer_expansion_per_k: float = 23e-6

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not (math.isfinite(value) and value >= 0):
                raise ToleranceError(f"{each.name} is a standard deviation, 0 or more, got {value!r}")
        if self.waviness_length_m == 0:
            raise ToleranceError(
                "waviness_length_m must be positive: for an error without correlation use height_rms_m"
            )


# The parameters: what to call them, and the factor and unit in which a person reads them.
PARAMETERS: dict[str, tuple[str, float, str]] = {
    "height_rms_m": ("height of single cells", 1e9, "nm"),
    "height_waviness_m": ("waviness of the height", 1e9, "nm"),
    "depth_share": ("etch depth", 100.0, "%"),
    "overlay_m": ("overlay of the etches", 1e6, "um"),
    "shift_m": ("lateral shift", 1e6, "um"),
    "distance_m": ("distance to the sensor", 1e6, "um"),
    "tilt_rad": ("tilt", 180 / math.pi, "degrees"),
    "wavelength_m": ("wavelength", 1e9, "nm"),
    "temperature_k": ("temperature", 1.0, "K"),
}
_FIELDS = ("height_rms_m", "height_waviness_m")
_PLANE = ("overlay_m", "shift_m", "tilt_rad")


@dataclass(frozen=True, eq=False)
class Copy:
    """One mask as it was made and mounted: actual errors, in the units of their names.

    height_error_m: float64 (cells), added to every height; None: none. overlay_m: float64 (etches - 1, 2), x and y of
    every etch after the first, the coarsest (see `etches`). shift_m: x and y. tilt_rad: about x (the mask's lower edge
    nearer to the sensor) and about y (its right edge nearer). The rest: see Deviations.
    """

    height_error_m: Floats | None = None
    depth_share: float = 0.0
    overlay_m: Floats | None = None
    shift_m: tuple[float, float] = (0.0, 0.0)
    distance_m: float = 0.0
    tilt_rad: tuple[float, float] = (0.0, 0.0)
    wavelength_m: float = 0.0
    temperature_k: float = 0.0
    spacer_expansion_per_k: float = 0.0


@dataclass(frozen=True, slots=True)
class Alone:
    """What one parameter does by itself, at one standard deviation (mean over both signs, both axes, or four draws).

    drop, drop_aligned: 1 - correlation with the nominal PSF. changed, changed_aligned, changed_balanced: share of codes
    that change, None without photographs. rank_correlation: Spearman's, between this parameter's size and the aligned
    drop over the joint draws (None where it does not vary, and for errors that differ from cell to cell).
    """

    name: str
    deviation: float
    drop: float
    drop_aligned: float
    changed: float | None
    changed_aligned: float | None
    changed_balanced: float | None
    rank_correlation: float | None

    def reading(self) -> str:
        """The deviation for a person: "25 um"."""
        return _reading(self.name, self.deviation)


@dataclass(frozen=True, eq=False)
class ToleranceReport:
    """What `tolerance` found. Arrays are float64, one value per joint draw.

    values: each parameter's error in every draw (the vector's length where it has two axes, the rms over the etches for
    their overlay), save the errors that differ from cell to cell.
    correlation, aligned: with the nominal PSF. target: aligned PSF with the target; target_nominal: the nominal PSF's;
    None without a target. changed, changed_aligned, changed_balanced: share of codes that differ from those through the
    nominal PSF (as it is, after the best shift, and with a gain per colour besides, see `optics.code_change.balanced`),
    for the first draws only (as many as were asked for); empty without photographs. alone: every parameter by itself,
    the most harmful (aligned) first. most_sensitive, most_sensitive_codes: names, by the drop and by the changed codes
    after the best shift ("none" where nothing has an effect). limit, passing: wanted aligned correlation, and share of
    the draws that reach it. allowed: standard deviation of the most sensitive parameter, alone, with which 95 % reach
    the limit (infinite where none that was tried fails). notes: what was left out.
    """

    deviations: Deviations
    values: dict[str, Floats]
    correlation: Floats
    aligned: Floats
    target: Floats | None
    target_nominal: float | None
    changed: Floats
    changed_aligned: Floats
    changed_balanced: Floats
    alone: tuple[Alone, ...]
    most_sensitive: str
    most_sensitive_codes: str | None
    limit: float
    passing: float
    allowed: float
    notes: tuple[str, ...]

    def sentence(self) -> str:
        """The result in words."""
        low, middle = np.percentile(self.aligned, (5, 50))
        by_name = {each.name: each for each in self.alone}
        text = (
            f"Of {len(self.aligned)} simulated copies {self.passing:.0%} have a correlation of at least {self.limit:g} "
            f"with the nominal PSF after alignment (median {middle:.4f}, 5 % below {low:.4f})"
        )
        if len(self.changed):
            text += f"; {np.median(self.changed_aligned):.1%} of the codes change (median), "
            text += f"with a gain per colour {np.median(self.changed_balanced):.1%}"
        if self.most_sensitive not in by_name:
            return f"{text}. No parameter has an effect."
        worst = by_name[self.most_sensitive]
        text += f". Most sensitive to the {PARAMETERS[worst.name][0]}: "
        text += f"{worst.reading()} alone cost {worst.drop_aligned:.4f}, "
        if math.isinf(self.allowed):
            text += f"and no size that was tried brings 5 % of the copies below {self.limit:g}."
        else:
            text += f"and with {_reading(worst.name, self.allowed)} alone 95 % of the copies reach {self.limit:g}."
        by_codes = by_name.get(self.most_sensitive_codes or "")
        if by_codes is not None and by_codes.changed_aligned is not None:
            text += (
                f" Most codes change by the {PARAMETERS[by_codes.name][0]}: {by_codes.reading()} alone change "
                f"{by_codes.changed_aligned:.1%}, with a gain per colour {by_codes.changed_balanced:.1%}."
            )
        return text

    def as_json(self) -> dict[str, Any]:
        """Everything but the draws themselves, as plain numbers: percentiles, each parameter alone, the sentence."""
        spreads = {"correlation": self.correlation, "aligned_correlation": self.aligned}
        if self.target is not None:
            spreads["target_correlation"] = self.target
        if len(self.changed):
            spreads |= {
                "share_of_codes_changed": self.changed,
                "share_changed_aligned": self.changed_aligned,
                "share_changed_balanced": self.changed_balanced,
            }
        return {
            "samples": len(self.correlation),
            "code_samples": len(self.changed),
            "deviations": asdict(self.deviations),
            **{
                name: {
                    "mean": float(values.mean()),
                    "percentiles": {str(at): float(np.percentile(values, at)) for at in PERCENTILES},
                }
                for name, values in spreads.items()
            },
            "target_correlation_nominal": self.target_nominal,
            "alone": [asdict(each) | {"reading": each.reading()} for each in self.alone],
            "most_sensitive": self.most_sensitive,
            "most_sensitive_codes": self.most_sensitive_codes,
            "limit": self.limit,
            "passing": self.passing,
            "allowed_deviation": None if math.isinf(self.allowed) else self.allowed,
            "notes": list(self.notes),
            "sentence": self.sentence(),
        }


def tolerance(
    mask: Mask,
    target: NDArray[np.floating] | None = None,
    deviations: Deviations | None = None,
    samples: int = 200,
    rng: np.random.Generator | None = None,
    progress: Progress | None = None,
    *,
    thresholds: NDArray[np.float32] | None = None,
    pool: int = 8,
    images: Sequence[Photograph] = (),
    code_samples: int = 40,
    limit: float = 0.95,
    threads: int = 2,
) -> ToleranceReport:
    """Simulate `samples` copies of a mask and say how far they are from the nominal one, and why.

    target: wanted PSF (h, w) or (3, h, w) in the mask's window, if there is one. rng: by default one with a fixed seed;
    the same seed gives the same result. progress: called with (done, of all) after every simulated copy. thresholds
    (float32 (15,)), pool and images: for the codes, see `optics.code_change.code_change`; compared are the first
    `code_samples` copies and every parameter alone. limit: aligned correlation wanted.
    Raises ToleranceError for what is no number of samples or limit, SamplingError as `optics.psf.psf` does.
    """
    deviations = deviations or Deviations()
    rng = rng or np.random.default_rng(0)
    if samples < 1 or code_samples < 0 or not 0 < limit < 1:
        raise ToleranceError(
            f"samples must be at least 1, code_samples at least 0 and limit between 0 and 1, "
            f"got {samples}, {code_samples} and {limit}"
        )
    codes = None
    if images:
        if thresholds is None:
            raise ToleranceError("thresholds are needed to compare codes: give those of an encoding, or no images")
        codes = partial(code_images, thresholds=thresholds, pool=pool, images=images)
    layers = etches(mask)
    judge = _Judge(
        mask, deviations, target, codes, np.zeros(0, np.float32) if thresholds is None else thresholds, threads
    )
    probes = {name: _probes(mask, layers, deviations, name, rng) for name in PARAMETERS}
    total = samples + sum(len(each) for each in probes.values())
    done = 0

    def judged(copy: Copy, with_codes: bool) -> _Verdict:
        nonlocal done
        verdict = judge(copy, with_codes)
        done += 1
        if progress:
            progress(done, total)
        return verdict

    copies, verdicts = [], []
    for number in range(samples):
        copy = draw_copy(mask, deviations, rng, layers)
        copies.append(_sizes(copy))
        verdicts.append(judged(copy, number < code_samples))
    values = {name: np.array([each[name] for each in copies]) for name in copies[0]}
    aligned = np.array([each.aligned for each in verdicts])
    alone = []
    for name, copies_alone in probes.items():
        found = [judged(copy, True) for copy in copies_alone]
        alone.append(
            Alone(
                name,
                float(getattr(deviations, name)),
                _mean([1 - each.correlation for each in found]),
                _mean([1 - each.aligned for each in found]),
                _mean([each.changed for each in found]) if images else None,
                _mean([each.changed_aligned for each in found]) if images else None,
                _mean([each.changed_balanced for each in found]) if images else None,
                _rank_correlation(np.abs(values[name]), 1 - aligned) if name in values else None,
            )
        )
    alone.sort(key=lambda each: -each.drop_aligned)
    worst = alone[0].name if alone[0].drop_aligned > 0 else "none"
    by_codes = max(alone, key=lambda each: each.changed_aligned or 0) if images else None
    coded = verdicts[:code_samples] if images else []
    return ToleranceReport(
        deviations=deviations,
        values=values,
        correlation=np.array([each.correlation for each in verdicts]),
        aligned=aligned,
        target=None if target is None else np.array([each.target for each in verdicts]),
        target_nominal=None if target is None else correlation(judge.nominal, target),
        changed=np.array([each.changed for each in coded]),
        changed_aligned=np.array([each.changed_aligned for each in coded]),
        changed_balanced=np.array([each.changed_balanced for each in coded]),
        alone=tuple(alone),
        most_sensitive=worst,
        most_sensitive_codes=None if by_codes is None else by_codes.name if by_codes.changed_aligned else "none",
        limit=limit,
        passing=float(np.mean(aligned >= limit)),
        allowed=math.inf if worst == "none" else _allowed(mask, layers, deviations, worst, limit, judge, rng),
        notes=_notes(layers),
    )


def copy_psf(mask: Mask, copy: Copy, threads: int = 2) -> NDArray[np.float32]:
    """PSF of one copy: float32 (3, rows, columns), as `optics.psf.psf` gives the nominal mask's."""
    ways = _ways(mask, copy.shift_m)
    layers = etches(mask)
    return np.stack(
        [_intensity(way, _spectrum(way, mask, layers, copy, threads), copy.shift_m, threads) for way in ways]
    )


def draw_copy(mask: Mask, deviations: Deviations, rng: np.random.Generator, layers: Sequence[Floats] = ()) -> Copy:
    """One copy with errors drawn from the deviations. layers: `etches(mask)`; none of them is misplaced without."""
    layers = layers or etches(mask)
    normal = rng.standard_normal
    return Copy(
        height_error_m=_height_error_m(mask, deviations.height_rms_m, deviations, rng)
        + _waviness_m(mask, deviations.height_waviness_m, deviations, rng),
        depth_share=deviations.depth_share * float(normal()),
        overlay_m=deviations.overlay_m * normal((max(len(layers) - 1, 0), 2)),
        shift_m=_two(deviations.shift_m * normal(2)),
        distance_m=deviations.distance_m * float(normal()),
        tilt_rad=_two(deviations.tilt_rad * normal(2)),
        wavelength_m=deviations.wavelength_m * float(normal()),
        temperature_k=deviations.temperature_k * float(normal()),
        spacer_expansion_per_k=deviations.spacer_expansion_per_k,
    )


def etches(mask: Mask) -> tuple[Floats, ...]:
    """The binary etches that make a multi-level relief, the coarsest first: heights in metres, float64 (cells) each.

    Their sum is the relief, less its lowest level. Empty for a relief that is smooth, or not made of at most 256 equal
    steps.
    """
    if mask.surface == "smooth":
        return ()
    inside = mask.height_m[mask.stop > 0]
    lowest = float(inside.min())
    levels = np.unique(np.round(inside - lowest, 15))
    if levels.size < 2:
        return ()
    step = float(np.diff(levels).min())
    index = np.where(mask.stop > 0, (mask.height_m - lowest) / step, 0)
    whole = np.round(index)
    if np.abs(index - whole).max() > 1e-3 or whole.max() >= 2**MOST_LAYERS:
        return ()
    bits = int(whole.max()).bit_length()
    # Steps may differ in their last digits: the true step is the range over its number of steps.
    exact = float(np.ptp(inside)) / whole.max()
    return tuple((whole.astype(np.int64) >> bit & 1) * (2**bit * exact) for bit in reversed(range(bits)))


@dataclass(frozen=True, eq=False)
class _Way:
    """A chain in single precision, and what of it a copy changes.

    height_m: float64, of the nominal surface: of its cells, or of the wave's samples where it is smooth. passed:
    float32, the mask's amplitude there. amplitude: float32 (wave rows, kept columns), of the nominal free space.
    fy_per_m, fx_per_m: (wave rows, 1), (1, kept). squared_per_m2: sum of their squares. rows, columns: float32, the
    wanted window's part of the chain's pixel matrices. further_m: path of the light from a near source beyond the axial
    one, to every sample of the mask; None for a plane wave. y_m, x_m: positions of these samples, (rows, 1) and (1,
    columns). steepest: sine of the largest angle between the axis and light from the mask to the window. magnification:
    way of the PSF for a way of the mask.
    """

    chain: Chain
    distance_m: float
    height_m: Floats
    passed: NDArray[np.float32]
    amplitude: NDArray[np.float32]
    fy_per_m: Floats
    fx_per_m: Floats
    squared_per_m2: Floats
    rows: NDArray[np.float32]
    columns: NDArray[np.float32]
    further_m: Floats | None
    y_m: Floats
    x_m: Floats
    steepest: float
    magnification: float


def _ways(mask: Mask, shift_m: tuple[float, float]) -> list[_Way]:
    """One per colour; the wave's grid has room for the shift (x, y)."""
    geometry = mask.geometry
    magnification = 1 + geometry.sensor_distance_m / geometry.source_distance_m
    room = [math.ceil(abs(each) * magnification / geometry.pixel_pitch_m) for each in reversed(shift_m)]
    # More than half a window of room would help nobody: the PSF has left it.
    room = [min(each, side // 2 + 1) for each, side in zip(room, geometry.psf_px, strict=True)]
    wider = replace(geometry, psf_px=(geometry.psf_px[0] + 2 * room[0], geometry.psf_px[1] + 2 * room[1]))
    half_m = [
        (cells * mask.pitch_m + pixels * geometry.pixel_pitch_m) / 2
        for cells, pixels in zip(mask.stop.shape, geometry.psf_px, strict=True)
    ]
    across_m = math.hypot(*half_m)
    ways = []
    for wavelength_m in geometry.wavelengths_m:
        chain = mask_chain(replace(mask, geometry=wider), wavelength_m)
        y_m, x_m = (cell_positions_m(cells * chain.repeat, chain.wave.pitch_m) for cells in mask.stop.shape)
        squared = x_m**2 + y_m[:, np.newaxis] ** 2
        far_m = geometry.source_distance_m
        fy_per_m, fx_per_m = chain.wave.fy_per_m, chain.wave.fx_per_m[:, chain.columns]
        ways.append(
            _Way(
                chain,
                geometry.sensor_distance_m,
                *_surface(mask, chain),
                np.abs(chain.spread).astype(np.float32),
                fy_per_m,
                fx_per_m,
                np.asarray(fx_per_m**2 + fy_per_m**2),
                chain.pixel_rows[room[0] : room[0] + geometry.psf_px[0], chain.window[0]].astype(np.float32),
                chain.pixel_columns[room[1] : room[1] + geometry.psf_px[1], chain.window[1]].astype(np.float32),
                None if math.isinf(far_m) else squared / (np.sqrt(squared + far_m**2) + far_m),
                y_m[:, np.newaxis],
                x_m[np.newaxis, :],
                across_m / math.hypot(across_m, geometry.sensor_distance_m),
                magnification,
            )
        )
    return ways


def _surface(mask: Mask, chain: Chain) -> tuple[Floats, NDArray[np.float32]]:
    """Nominal height in metres and amplitude, of the cells of a stepped surface or of the samples of a smooth one."""
    if mask.surface == "stepped":
        return mask.height_m, mask.amplitude.astype(np.float32)
    mask_samples(mask, chain)  # refuses what its samples do not describe
    # Made so flat that its phase stays within half a turn, the surface between the cells can be read from the light.
    turns_per_m = (refractive_index(mask.material, chain.wavelength_m) - 1) / chain.wavelength_m
    flatter = max(1.0, 4 * turns_per_m * float(np.ptp(mask.height_m)))
    light = mask_samples(replace(mask, height_m=(mask.height_m - mask.height_m.min()) / flatter), chain)
    return np.angle(light) * flatter / (2 * np.pi * turns_per_m), np.abs(light).astype(np.float32)


def _as_samples(cells: NDArray[Number], shape: tuple[int, ...]) -> NDArray[Number]:
    """Every cell's value for all of its samples, if it is not already so."""
    repeat = shape[0] // cells.shape[0]
    return cells if repeat == 1 else np.repeat(np.repeat(cells, repeat, axis=0), repeat, axis=1)


def _spectrum(way: _Way, mask: Mask, layers: Sequence[Floats], copy: Copy, threads: int) -> NDArray[np.complex64]:
    """Spectrum of the copy's field in the plane of the sensor, before any lateral shift: (wave rows, kept columns)."""
    wavelength_m = way.chain.wavelength_m + copy.wavelength_m
    if wavelength_m <= 0:
        raise ToleranceError(f"a wavelength of {way.chain.wavelength_m:g} m cannot change by {copy.wavelength_m:g} m")
    celsius = REFERENCE_CELSIUS + copy.temperature_k
    grown = 1 + mask.material.expansion_per_k * copy.temperature_k
    # A mask that is larger by a factor acts at a distance that is shorter by its square (Fresnel's similarity). That
    # the PSF grows by that factor, too, is left out: for polymers a thousandth in ten degrees, for silica nothing.
    spacer_m = way.distance_m * copy.spacer_expansion_per_k * copy.temperature_k
    distance_m = (way.distance_m + copy.distance_m + spacer_m) / grown**2
    if distance_m <= 0:
        raise ToleranceError(f"a distance of {way.distance_m:g} m cannot become {distance_m:g} m")
    taller = (1 + copy.depth_share) * grown
    per_m = 2 * np.pi * (refractive_index(mask.material, wavelength_m, celsius) - 1) / wavelength_m * taller
    height_m = way.height_m
    if copy.height_error_m is not None:
        height_m = height_m + _as_samples(copy.height_error_m, height_m.shape)
    passed = _unit(per_m * height_m) * way.passed
    if copy.overlay_m is not None and copy.overlay_m.any():
        passed *= _misplaced(layers, copy.overlay_m / mask.pitch_m, per_m)
    light = _as_samples(passed, way.chain.incident.shape)
    if way.further_m is not None:
        light = light * _unit(2 * np.pi / wavelength_m * way.further_m)
    # Along the way, from the axial wave, in cycles per metre: negative.
    along_per_m = np.sqrt(np.maximum(wavelength_m**-2 - way.squared_per_m2, 0)) - 1 / wavelength_m
    spectrum = _transform(way, light, threads)
    if any(copy.tilt_rad):
        nearer_m = copy.tilt_rad[0] * way.y_m + copy.tilt_rad[1] * way.x_m
        spectrum += _tilted(way, light, nearer_m, along_per_m, wavelength_m, threads)
    spectrum *= _unit(2 * np.pi * distance_m * along_per_m) * way.amplitude
    return spectrum


def _tilted(
    way: _Way,
    light: NDArray[np.complex64],
    nearer_m: Floats,
    along_per_m: Floats,
    wavelength_m: float,
    threads: int,
) -> NDArray[np.complex64]:
    """What a tilt adds to the spectrum: every sample starts nearer to the sensor by `nearer_m`.

    Light of spatial frequency f then lacks the phase 2 pi along(f) nearer_m. The product of a place and a frequency is
    no transform; its exponential series is a sum of such.
    """
    furthest_m = float(np.abs(nearer_m).max())
    largest = 2 * math.pi / wavelength_m * (1 - math.sqrt(1 - way.steepest**2)) * furthest_m
    rest, orders = largest, 0
    while rest >= TILT_REST or not orders:
        orders += 1
        rest *= largest / (orders + 1)
        if orders > MOST_TILT_TERMS:
            raise ToleranceError(
                f"a tilt that brings an edge of the mask {furthest_m * 1e6:.3g} um nearer to the sensor is beyond this "
                "model: use a smaller tilt_rad"
            )
    result = np.zeros(way.amplitude.shape, dtype=np.complex64)
    # Both factors of a term are kept near one, for single precision.
    place = (nearer_m / furthest_m).astype(np.float32)
    direction = (-2j * np.pi * furthest_m * along_per_m).astype(np.complex64)
    term, factor = light, np.ones((), dtype=np.complex64)
    for order in range(1, orders + 1):
        term, factor = term * place, factor * direction / np.float32(order)
        result += factor * _transform(way, term, threads)
    return result


def _transform(way: _Way, light: NDArray[np.complex64], threads: int) -> NDArray[np.complex64]:
    """Spectrum (wave rows, kept columns) of light on the mask; the dark rows around it are not transformed along."""
    chain = way.chain
    top, left = chain.at
    flat = np.zeros((light.shape[0], chain.wave.columns), dtype=np.complex64)
    flat[:, left : left + light.shape[1]] = light
    tall = np.zeros(way.amplitude.shape, dtype=np.complex64)
    tall[top : top + light.shape[0]] = scipy.fft.fft(flat, axis=1, overwrite_x=True, workers=threads)[:, chain.columns]
    return np.asarray(scipy.fft.fft(tall, axis=0, overwrite_x=True, workers=threads))


def _intensity(
    way: _Way, spectrum: NDArray[np.complex64], shift_m: tuple[float, float], threads: int
) -> NDArray[np.float32]:
    """PSF float32 (rows, columns) of one colour with the mask moved by (x, y) metres."""
    chain = way.chain
    # A shift of the mask moves the light of a near source further. The spectrum itself is kept for other shifts.
    x_m, y_m = (each * way.magnification for each in shift_m)
    tall = spectrum * _unit(-2 * np.pi * y_m * way.fy_per_m)
    tall *= _unit(-2 * np.pi * x_m * way.fx_per_m)
    seen = scipy.fft.ifft(tall, axis=0, overwrite_x=True, workers=threads)[chain.window[0]]
    flat = np.zeros((seen.shape[0], chain.wave.columns), dtype=np.complex64)
    flat[:, chain.columns] = seen
    field = scipy.fft.ifft(flat, axis=1, overwrite_x=True, workers=threads)[:, chain.window[1]]
    light = field.real**2 + field.imag**2
    # The weights of a pixel have small negative parts (see optics.psf).
    return np.asarray(np.maximum(way.rows @ light @ way.columns.T, 0) / chain.power, dtype=np.float32)


def _misplaced(layers: Sequence[Floats], overlay_cells: Floats, per_m: float) -> NDArray[np.complex64]:
    """By what the cells' light is multiplied when the etches after the first are moved, x and y in cells.

    A cell of which a strip has a neighbour's etch passes the mean of both, to first order in the strips' widths; two
    etches' strips cross as if they did not know of each other.
    """
    if len(overlay_cells) != len(layers) - 1:
        raise ToleranceError(f"a relief of {len(layers)} etches cannot have {len(overlay_cells)} misplaced ones")
    factor = np.ones(layers[0].shape, dtype=np.complex64)
    for layer, moved in zip(layers[1:], overlay_cells, strict=True):
        whole = [round(float(each)) for each in moved]
        base = _from_before(_from_before(layer, whole[0], 1), whole[1], 0)
        own = _unit(per_m * (base - layer))
        mean = own.copy()
        for each, nearest, axis in zip(moved, whole, (1, 0), strict=True):
            strip = float(each) - nearest
            if strip:
                neighbour = _from_before(base, 1 if strip > 0 else -1, axis)
                mean += np.float32(abs(strip)) * (_unit(per_m * (neighbour - layer)) - own)
        factor *= mean
    return factor


def _from_before(layer: Floats, cells: int, axis: int) -> Floats:
    """The etch moved by whole cells along an axis; beyond its edge it continues with its outermost cells."""
    count = layer.shape[axis]
    return np.asarray(np.take(layer, np.clip(np.arange(count) - cells, 0, count - 1), axis=axis))


def _unit(phase: Floats) -> NDArray[np.complex64]:
    """exp(i phase) in single precision; the phase is reduced to one turn before it loses digits."""
    reduced = np.remainder(phase, 2 * np.pi).astype(np.float32)
    result = np.empty(reduced.shape, dtype=np.complex64)
    np.cos(reduced, out=result.real)
    np.sin(reduced, out=result.imag)
    return result


@dataclass(frozen=True, slots=True)
class _Verdict:
    correlation: float
    aligned: float
    target: float
    changed: float
    changed_aligned: float
    changed_balanced: float


class _Judge:
    """Compares copies with the nominal mask: holds what all of them share."""

    def __init__(
        self,
        mask: Mask,
        deviations: Deviations,
        target: NDArray[np.floating] | None,
        codes: Callable[[NDArray[np.floating]], list[CodedImage]] | None,
        thresholds: NDArray[np.float32],
        threads: int,
    ) -> None:
        self._mask, self._layers, self._threads = mask, etches(mask), threads
        reach_m = 3 * deviations.shift_m
        self._ways = _ways(mask, (reach_m, reach_m))
        self._target, self._codes, self._thresholds = target, codes, thresholds
        self.nominal = self._psf(self._spectra(Copy()), (0.0, 0.0))
        self._nominal_codes = codes(self.nominal) if codes else []

    def __call__(self, copy: Copy, with_codes: bool) -> _Verdict:
        spectra = self._spectra(copy)
        found = self._psf(spectra, copy.shift_m)
        as_it_is = correlation(self.nominal, found)
        _, (rows, columns) = aligned_correlation(self.nominal, found)
        best, aligned = as_it_is, found
        if rows or columns:
            # Moved back before the light falls on pixels: no interpolation between them.
            back_m = self._mask.geometry.pixel_pitch_m / self._ways[0].magnification
            moved = self._psf(spectra, (copy.shift_m[0] - columns * back_m, copy.shift_m[1] - rows * back_m))
            likeness = correlation(self.nominal, moved)
            if likeness > as_it_is:
                best, aligned = likeness, moved
        changed = changed_aligned = changed_balanced = math.nan
        if with_codes and self._codes:
            changed = changed_aligned = self._changed(found)
            if aligned is not found:
                changed_aligned = self._changed(aligned)
            changed_balanced = self._changed(balanced(aligned, self.nominal))
        wanted = math.nan if self._target is None else correlation(aligned, self._target)
        return _Verdict(as_it_is, best, wanted, changed, changed_aligned, changed_balanced)

    def _changed(self, psf: NDArray[np.floating]) -> float:
        coded = self._codes(psf) if self._codes else []
        return compare_codes(self._nominal_codes, coded, self._thresholds).share_changed

    def _spectra(self, copy: Copy) -> list[NDArray[np.complex64]]:
        return [_spectrum(way, self._mask, self._layers, copy, self._threads) for way in self._ways]

    def _psf(self, spectra: list[NDArray[np.complex64]], shift_m: tuple[float, float]) -> NDArray[np.float32]:
        colours = zip(self._ways, spectra, strict=True)
        return np.stack([_intensity(way, spectrum, shift_m, self._threads) for way, spectrum in colours])


def _notes(layers: Sequence[Floats]) -> tuple[str, ...]:
    """What was left out of this run."""
    if not layers:
        return ("overlay: the relief is smooth or not made of equal steps, so there are no etches to misplace",)
    return () if len(layers) > 1 else ("overlay: a relief of one etch has none to misplace it against",)


def _probes(
    mask: Mask, layers: Sequence[Floats], deviations: Deviations, name: str, rng: np.random.Generator, at: float = 1.0
) -> list[Copy]:
    """Copies in which only one parameter deviates, by `at` times its standard deviation; none where that is zero."""
    size = at * float(getattr(deviations, name))
    if size == 0 or (name == "overlay_m" and len(layers) < 2):
        return []
    if name in _FIELDS:
        draw = _height_error_m if name == "height_rms_m" else _waviness_m
        return [Copy(height_error_m=draw(mask, size, deviations, rng)) for _ in range(FIELD_DRAWS)]
    if name == "overlay_m":
        # Every etch on its own way, of the length that two axes of this deviation have together.
        angles = rng.uniform(0, 2 * np.pi, (FIELD_DRAWS, len(layers) - 1))
        directions = np.stack([np.cos(angles), np.sin(angles)], axis=-1) * math.sqrt(2)
        return [Copy(overlay_m=size * each) for each in directions]
    if name in _PLANE:
        ends = [(size, 0.0), (-size, 0.0), (0.0, size), (0.0, -size)]
        return [Copy(shift_m=end) if name == "shift_m" else Copy(tilt_rad=end) for end in ends]
    spacer = deviations.spacer_expansion_per_k if name == "temperature_k" else 0.0
    changes: list[dict[str, Any]] = [{name: sign * size} for sign in (1, -1)]
    return [Copy(spacer_expansion_per_k=spacer, **change) for change in changes]


def _allowed(
    mask: Mask,
    layers: Sequence[Floats],
    deviations: Deviations,
    name: str,
    limit: float,
    judge: _Judge,
    rng: np.random.Generator,
) -> float:
    """Standard deviation of one parameter with which 95 % of the copies reach the limit, all else nominal."""
    within = 1.0 if name in _FIELDS or name == "overlay_m" else WITHIN_95_PLANE if name in _PLANE else WITHIN_95_LINE
    seed = int(rng.integers(2**63))

    def reaches(scale: float) -> bool:
        # The same draws at every size, so that only the size differs.
        copies = _probes(mask, layers, deviations, name, np.random.default_rng(seed), scale * within)
        try:
            return min(judge(copy, False).aligned for copy in copies) >= limit
        except ToleranceError:
            return False

    low, high = 0.0, 1.0
    while reaches(high):
        low, high = high, high * 2
        if high > 64:
            return math.inf
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (middle, high) if reaches(middle) else (low, middle)
    return low * float(getattr(deviations, name))


def _height_error_m(mask: Mask, rms_m: float, _: Deviations, rng: np.random.Generator) -> Floats:
    return np.asarray(rms_m * rng.standard_normal(mask.height_m.shape))


def _waviness_m(mask: Mask, rms_m: float, deviations: Deviations, rng: np.random.Generator) -> Floats:
    """Noise through a Gaussian of standard deviation s has the autocorrelation exp(-r^2 / (4 s^2)): s is half of where
    it falls to 1/e."""
    rows, columns = mask.height_m.shape
    if rms_m == 0:
        return np.zeros((rows, columns))
    sigma = deviations.waviness_length_m / mask.pitch_m / 2
    # The transform makes opposite edges neighbours: they are kept apart by as far as the error is correlated at all.
    sides = [scipy.fft.next_fast_len(side + math.ceil(6 * sigma), real=True) for side in (rows, columns)]
    passed = [np.exp(-2 * (np.pi * sigma * np.fft.fftfreq(side)) ** 2) for side in sides]
    passed = [each / np.sqrt(np.mean(each**2)) for each in passed]
    spectrum = scipy.fft.rfft2(rng.standard_normal(sides))
    spectrum *= passed[0][:, np.newaxis] * passed[1][: spectrum.shape[1]]
    return np.asarray(rms_m * scipy.fft.irfft2(spectrum, sides)[:rows, :columns])


def _sizes(copy: Copy) -> dict[str, float]:
    """How large each of a copy's errors is, save those that differ from cell to cell."""
    overlay = 0.0 if copy.overlay_m is None or not copy.overlay_m.size else float(np.sqrt(np.mean(copy.overlay_m**2)))
    return {
        "depth_share": copy.depth_share,
        "overlay_m": overlay,
        "shift_m": math.hypot(*copy.shift_m),
        "distance_m": copy.distance_m,
        "tilt_rad": math.hypot(*copy.tilt_rad),
        "wavelength_m": copy.wavelength_m,
        "temperature_k": copy.temperature_k,
    }


def _rank_correlation(one: Floats, other: Floats) -> float | None:
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    ranks = [np.argsort(np.argsort(each)) for each in (one, other)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _two(values: Floats) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _reading(name: str, value: float) -> str:
    _, factor, unit = PARAMETERS[name]
    return f"{value * factor:.3g} {unit}"
