"""How often stated uncertainties hold: a calibration against many twins, each with hidden parameters of its own.

For every parameter x of a twin's truth whose result has x and x_sigma, z = (x - truth) / x_sigma; of a right
uncertainty 68.3 % of all z lie within 1 and 95.4 % within 2. Twins have no scene with anybody in it, so their frames
may be in this process.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.outcome import Kind, Outcome
from host.boundary.rigs import twin_rig
from host.calibrate.acquire_board import twin_board_rig
from host.calibrate.catalogue import WITH_CAMERA, procedure_of
from host.calibrate.run import run_procedure
from host.calibrate.sessions import RigSession
from host.twin.bench import make_bench
from optics.bundle import Bundle

RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Coverage:
    """One parameter: values compared, in how many set-ups; shares of |z| within 1 and 2, the latter with its 95 %
    bootstrap interval over set-ups; the worst |z|; the median uncertainty, in the parameter's own unit."""

    parameter: str
    values: int
    setups: int
    within_1: float
    within_2: float
    within_2_interval: tuple[float, float]
    worst: float
    median_sigma: float


def calibrated_twin(kind: Kind, bundle: Bundle, seed: int, quick: bool) -> tuple[Outcome, Mapping[str, Any]]:
    """One calibration of a seeded twin in this process: the outcome and the truth. Raises SessionError."""
    procedure = procedure_of(kind, bundle, quick)
    if kind in WITH_CAMERA:
        bench = make_bench(kind, seed, None, bundle, procedure.options.get("mains_hz"))
        context: AbstractContextManager[Any] = twin_rig(bench)
        with context as rig:
            outcome, _ = run_procedure(procedure, RigSession(procedure, rig, f"twin {seed}"))
        return outcome, bench.truth
    with twin_board_rig(bundle, seed, None) as (rig, truth):
        outcome, _ = run_procedure(procedure, RigSession(procedure, rig, f"twin {seed}"))
        return outcome, dict(truth)


def z_scores(outcome: Outcome, truth: Mapping[str, Any]) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """By parameter: z of every value that has an uncertainty above 0, and those uncertainties; float64 (n,) each."""
    found = {}
    for name, true in truth.items():
        sigma = outcome.result.get(f"{name}_sigma")
        value = outcome.result.get(name)
        if sigma is None or value is None or true is None:
            continue
        values, trues, sigmas = (np.atleast_1d(np.asarray(part, dtype=np.float64)) for part in (value, true, sigma))
        known = np.isfinite(values) & np.isfinite(trues) & (sigmas > 0)
        if known.any():
            found[name] = ((values - trues)[known] / sigmas[known], sigmas[known])
    return found


def coverage(
    kind: Kind,
    bundle: Bundle,
    seeds: Sequence[int],
    quick: bool,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[list[Coverage], list[str]]:
    """Calibrate a twin of each seed. Returns the coverage of every parameter, and what did not pass, a line each.

    progress: told how many are done. Raises SessionError where a twin does not work.
    """
    gathered: dict[str, list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {}
    failed = []
    for done, seed in enumerate(seeds):
        outcome, truth = calibrated_twin(kind, bundle, seed, quick)
        if not outcome.passed:
            failed.append(f"seed {seed}: {outcome.reason}")
        for name, scores in z_scores(outcome, truth).items():
            gathered.setdefault(name, []).append(scores)
        progress(done + 1)
    return [_covered(name, scores) for name, scores in gathered.items()], failed


def _covered(name: str, scores: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> Coverage:
    z = [np.abs(each) for each, _ in scores]
    every = np.concatenate(z)
    inside = np.array([(each <= 2).sum() for each in z])
    counts = np.array([each.size for each in z])
    drawn = np.random.default_rng(0).integers(0, len(z), (RESAMPLES, len(z)))
    shares = inside[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(shares, [2.5, 97.5])
    return Coverage(
        name,
        int(every.size),
        len(z),
        float((every <= 1).mean()),
        float((every <= 2).mean()),
        (float(low), float(high)),
        float(every.max()),
        float(np.median(np.concatenate([sigma for _, sigma in scores]))),
    )
