"""Are the stated uncertainties true? Hidden parameters of seeded benches lie within them as often as they should.

`pytest tests/host/calibrate/test_psf_coverage.py` prints the table of 30 set-ups.
"""

import sys

import numpy as np
import pytest
from scipy.stats import binom, norm

from host.twin.bench_psf import spots_design
from tests.host.calibrate.psf_runs import Floats, calibrate, gaussian_design, sigmas, true_psf

WITHIN = {1: 2 * norm.cdf(1) - 1, 2: 2 * norm.cdf(2) - 1}


@pytest.mark.parametrize(
    ("design", "seeds"), [(spots_design(), 18), (gaussian_design(), 12)], ids=["spots", "gaussian"]
)
def test_hidden_parameters_lie_within_their_stated_uncertainty(
    design: Floats, seeds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """30 set-ups; `canopic calibrate coverage psf --setups 100` takes as many as one likes. Every one is right, so none
    may be called wrong; the share of numbers within +- k sigma lies in the central 99.9 % of a binomial distribution,
    for each number and for all together."""
    away: dict[str, list[float]] = {}
    pixels: list[float] = []
    for seed in range(seeds):
        bench, data, outcome = calibrate(1000 + seed, None, design)
        assert outcome.passed, (seed, outcome.reason)
        for name, value in sigmas(bench, outcome).items():
            away.setdefault(name, []).append(value)
        error = (outcome.arrays["psf"] - true_psf(bench, data, outcome)) / outcome.arrays["psf_sigma"]
        pixels.append(float(np.mean(np.abs(error) < 2)))
    assert ("rotation_deg" in away) == (design is not None and not np.allclose(design, design[:, ::-1]))
    table = [f"{'':14}{'k = 1':>8}{'k = 2':>8}{'rms':>7}   of {seeds}"]
    low, high = binom.interval(0.999, seeds, WITHIN[2])
    for name, values in away.items():
        found = np.abs(values)
        rms = float(np.sqrt(np.mean(found**2)))
        table.append(f"{name:14}{np.mean(found < 1):8.2f}{np.mean(found < 2):8.2f}{rms:7.2f}")
        assert low <= (found < 2).sum() <= high, name
    everything = np.abs(np.concatenate(list(away.values())))
    table.append(f"{'all numbers':14}{np.mean(everything < 1):8.2f}{np.mean(everything < 2):8.2f}")
    table.append(f"{'pixels':14}{'':8}{np.mean(pixels):8.3f}")
    with capsys.disabled():
        sys.stdout.write("\n".join(["", *table, ""]))
    for k, share in WITHIN.items():
        low, high = binom.interval(0.999, everything.size, share)
        assert low <= (everything < k).sum() <= high, k
    assert np.mean(pixels) == pytest.approx(WITHIN[2], abs=0.03)
