"""Mirrored fringes: the share that was put in is found from the amplitude alone, and the response allows for it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.phase_lut import Sweep, fit_response, two_half_phases
from calibration.phase_lut_fringes import halves, reduce_picture
from calibration.phase_lut_mirror import mirrored_of

ORDER = np.array([0, *range(15, 256, 15), 0])
PHASES = 7.0 * (np.arange(256) / 255) ** 1.3


def sweeps(rng, shares, *, noise=0.001, still=0.0, fading=0.0, count=4):
    """Phasors of a panel whose regions have these shares mirrored. still: light of no fringes; fading: of the laser."""
    made = []
    for number in range(count):
        test = halves() ^ bool(number % 2)
        shown = np.where(test, PHASES[ORDER][:, None], 0)
        common = 0.03 * rng.standard_normal((ORDER.size, 1))
        seen = np.exp(1j * (shown + common)) + shares * np.exp(-1j * (shown + common)) + still
        seen *= 1 + fading * rng.standard_normal((ORDER.size, 1))
        seen += noise * (rng.standard_normal(seen.shape) + 1j * rng.standard_normal(seen.shape))
        # The panel's own pattern turns carrier and all; the share counts against the carrier.
        made.append(Sweep(ORDER, 0.2 * seen * np.exp(1j * np.linspace(-1, 1, 16)), test))
    return made


@settings(max_examples=25, deadline=None)
@given(size=st.floats(0.0, 0.02), angle=st.floats(-3.1, 3.1), still=st.floats(-0.02, 0.02), fading=st.floats(0, 0.05))
def test_the_share_is_found_under_other_light_and_a_laser_that_fades(size, angle, still, fading):
    rng = np.random.default_rng(1)
    shares = size * np.exp(1j * (angle + np.linspace(0, 2, 16)))
    found = mirrored_of(sweeps(rng, shares, still=still, fading=fading))
    # Beyond noise, terms of second order in what is small.
    assert np.abs(found.shares - shares).max() < 5 * found.sigma + 2 * (size + abs(still)) ** 2 + size * 0.03
    assert found.rms == pytest.approx(size, abs=1e-3 + 0.05 * size)
    assert found.together(halves()) == pytest.approx(abs(shares[halves()].mean()), abs=1e-3 + 0.05 * size)


def test_a_panel_whose_gaps_reflect_mirrors_nothing():
    found = mirrored_of(sweeps(np.random.default_rng(4), np.zeros(16), still=0.2))
    assert found.rms < 5e-4


def test_noise_alone_is_no_share_and_its_uncertainty_holds():
    rng = np.random.default_rng(2)
    found = [mirrored_of(sweeps(rng, np.zeros(16), noise=0.003)) for _ in range(40)]
    parts = np.array([[each.shares.real, each.shares.imag] for each in found])
    assert parts.std() == pytest.approx(np.mean([each.sigma for each in found]), rel=0.1)
    assert np.median([each.together() for each in found]) < found[0].sigma / 2
    with pytest.raises(ValueError, match="more than 5 pictures, got 5"):
        mirrored_of([Sweep(one.levels[:5], one.phasors[:5], one.test) for one in sweeps(rng, np.zeros(16))[:2]])


def test_the_response_allows_for_it():
    """What many sweeps agree on is wrong by the share: their scatter alone says nothing of it."""
    blind, allowed = [], []
    for angle in np.arange(8) * np.pi / 4:
        seen = sweeps(np.random.default_rng(3), np.full(16, 0.005 * np.exp(1j * angle)), noise=0.0005, count=6)
        mirrored = mirrored_of(seen)
        plain, with_it = fit_response(seen, 2000), fit_response(seen, 2000, mirrored.rms, mirrored.together())
        off = (plain.phase_rad - PHASES)[plain.levels[1:]]
        blind.append(off / plain.sigma_rad[plain.levels[1:]])
        allowed.append(off / with_it.sigma_rad[plain.levels[1:]])
    assert np.sqrt(np.mean(np.square(blind))) > 5
    assert 0.6 < np.sqrt(np.mean(np.square(allowed))) < 1.2
    assert np.abs(allowed).max() < 2.5


@pytest.mark.parametrize(("fringes", "seen"), [(24.0, True), (36.0, False)])
def test_pixels_mirror_fringes_of_half_their_number(fringes, seen):
    """48 pixels of 3 by 3 camera pixels whose own phase has a slope, in a picture 144 wide."""
    y, x = np.mgrid[:96, :144].astype(float)
    carrier = (0.0, fringes / 144)
    slope = np.repeat(np.repeat(0.05 * np.arange(48.0)[None, :] * np.ones((32, 1)), 3, 0), 3, 1)
    made = []
    for number in range(4):
        test = halves() ^ bool(number % 2)
        half = (x < 72) ^ bool(number % 2)
        pictures = [
            1 + np.cos(slope + np.where(half, PHASES[level], 0) - 2 * np.pi * (carrier[0] * y + carrier[1] * x))
            for level in ORDER
        ]
        made.append(Sweep(ORDER, np.stack([reduce_picture(each, carrier).phasors for each in pictures]), test))
    found = mirrored_of(made)
    # A staircase of steps s has an order of the size sinc(1 - s / 2 pi), about s / 2 pi; sampled thrice, 1.2 times it.
    expected = 0.05 / (2 * np.pi) * 1.2
    assert found.rms == pytest.approx(expected, rel=0.15) if seen else found.rms < expected / 10
    phases = np.concatenate([(two_half_phases(one)[0] - PHASES[ORDER][:, None])[:, one.test] for one in made])
    bent = np.abs(np.angle(np.exp(1j * phases))).max()
    assert bent > 0.01 if seen else bent < 0.002
