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
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optics.as_built import (
    IN_TWO_DIRECTIONS,
    OVER_CELLS,
    PARAMETERS,
    Copy,
    Deviations,
    Floats,
    ToleranceError,
    colour_ways,
    draw_copy,
    etches,
    height_error_of_cells_m,
    in_pixels,
    light_of_copy,
    waviness_m,
)
from optics.code_change import CodedImage, Photograph, balanced, code_images, compare_codes
from optics.mask import Mask
from optics.metrics import aligned_correlation, correlation

Progress = Callable[[int, int], None]
# Normal quantiles that hold 95 % of the draws: of one number, and of the length of two independent ones.
WITHIN_95_LINE, WITHIN_95_PLANE = 1.96, 2.448
# Draws of an error that differs from cell to cell, for its effect alone: such draws differ little among themselves.
FIELD_DRAWS = 4
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


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
        self._ways = colour_ways(mask, (reach_m, reach_m))
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
        return [light_of_copy(way, self._mask, self._layers, copy, self._threads) for way in self._ways]

    def _psf(self, spectra: list[NDArray[np.complex64]], shift_m: tuple[float, float]) -> NDArray[np.float32]:
        colours = zip(self._ways, spectra, strict=True)
        return np.stack([in_pixels(way, spectrum, shift_m, self._threads) for way, spectrum in colours])


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
    if name in OVER_CELLS:
        draw = height_error_of_cells_m if name == "height_rms_m" else waviness_m
        return [Copy(height_error_m=draw(mask, size, deviations, rng)) for _ in range(FIELD_DRAWS)]
    if name == "overlay_m":
        # Every etch on its own way, of the length that two axes of this deviation have together.
        angles = rng.uniform(0, 2 * np.pi, (FIELD_DRAWS, len(layers) - 1))
        directions = np.stack([np.cos(angles), np.sin(angles)], axis=-1) * math.sqrt(2)
        return [Copy(overlay_m=size * each) for each in directions]
    if name in IN_TWO_DIRECTIONS:
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
    within = WITHIN_95_PLANE if name in IN_TWO_DIRECTIONS else WITHIN_95_LINE
    if name in OVER_CELLS or name == "overlay_m":
        within = 1.0
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


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _reading(name: str, value: float) -> str:
    _, factor, unit = PARAMETERS[name]
    return f"{value * factor:.3g} {unit}"
