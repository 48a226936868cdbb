"""A phase display: drive levels nearest to the wanted phase, tables, gaps, and the mask that it makes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from optics.mask import Geometry, MaskError, read_mask, write_mask
from optics.masks import Slm, drive_to_phase, phase_to_drive, slm_mask, slm_modulation
from optics.psf import psf

SMALL = Slm(64, 80, 8e-6)
phases = arrays(np.float64, (4, 5), elements=st.floats(-50, 50))


def on_the_circle(a, b):
    """Distance of two phases, at most pi."""
    return np.abs(np.angle(np.exp(1j * (np.asarray(a) - np.asarray(b)))))


@given(phases, st.integers(1, 10))
def test_the_drive_is_the_nearest_level(wanted, bits):
    slm = Slm(4, 5, 8e-6, bits=bits)
    drive = phase_to_drive(wanted, slm)
    assert drive.dtype == (np.uint8 if bits <= 8 else np.uint16)
    # The levels divide the circle evenly: half a step is the largest error there can be.
    assert on_the_circle(drive_to_phase(drive, slm), wanted).max() <= np.pi / 2**bits + 1e-9


@given(phases, st.lists(st.floats(-7, 14), min_size=8, max_size=8), st.floats(400e-9, 700e-9))
def test_no_level_of_a_measured_table_would_be_nearer(wanted, table, wavelength_m):
    slm = Slm(4, 5, 8e-6, bits=3, lut_rad=tuple(table))
    drive = phase_to_drive(wanted, slm, wavelength_m)
    every = drive_to_phase(np.arange(8), slm, wavelength_m)
    best = on_the_circle(every, wanted[..., np.newaxis]).min(axis=-1)
    np.testing.assert_allclose(on_the_circle(every[drive], wanted), best, atol=1e-9)


def test_every_level_comes_back_and_wraps():
    levels = np.arange(256).reshape(16, 16)
    for turns in (-1, 0, 3):
        wanted = drive_to_phase(levels, SMALL) + 2 * np.pi * turns
        np.testing.assert_array_equal(phase_to_drive(wanted, SMALL), levels)
    assert drive_to_phase(np.array([0, 128]), SMALL).tolist() == [0, np.pi]


def test_a_short_phase_range_ends_at_its_nearer_end():
    slm = Slm(4, 4, 8e-6, phase_range_rad=np.pi)
    top = drive_to_phase(np.array(255), slm)
    np.testing.assert_array_equal(phase_to_drive([top + 0.2, -0.2, 1.49 * np.pi, 1.6 * np.pi], slm), [255, 0, 255, 0])
    # Blue light sees more of the same path.
    np.testing.assert_allclose(drive_to_phase(np.array(255), slm, 275e-9), 2 * top)


def test_the_gap_takes_its_share_of_the_amplitude():
    drive = np.array([[0, 64, 128]])
    np.testing.assert_allclose(slm_modulation(drive, Slm(1, 3, 8e-6, fill_factor=0.9)), [[0.9, 0.9j, -0.9]], atol=1e-12)
    passing = Slm(1, 3, 8e-6, fill_factor=0.9, gap="passes")
    np.testing.assert_allclose(slm_modulation(drive, passing), [[1, 0.1 + 0.9j, -0.8]], atol=1e-12)


@pytest.mark.parametrize("gap", ["blocks", "passes"])
def test_the_mask_does_to_the_light_what_the_display_does(gap):
    # A table that starts below zero: against the light through the gap, its phases count as they are.
    slm = Slm(64, 80, 8e-6, fill_factor=0.87, gap=gap, lut_rad=tuple(np.linspace(-1, 5.2, 256)))
    wanted = np.random.default_rng(2).uniform(-9, 9, (64, 64))
    mask = slm_mask(wanted, slm)
    field = mask.transmission * np.exp(2j * np.pi * mask.height_m / slm.wavelength_m)
    expected = slm_modulation(phase_to_drive(wanted, slm), slm)
    turn = 1 if gap == "passes" else np.exp(-1j)  # without that light, a constant is free
    np.testing.assert_allclose(field * turn, expected, atol=1e-9)
    assert mask.height_m.max() < slm.wavelength_m


def test_throughput_falls_with_the_fill_factor_squared(tmp_path):
    # Diffraction orders of a gap lie outside of the window: what is left is the squared mean amplitude.
    wanted = np.zeros((64, 64))
    full = psf(slm_mask(wanted, SMALL))
    part = psf(slm_mask(wanted, Slm(64, 80, 8e-6, fill_factor=0.9)))
    np.testing.assert_allclose(part, 0.81 * full, rtol=1e-5, atol=1e-9)
    write_mask(slm_mask(wanted, SMALL), tmp_path / "slm.npz")
    assert read_mask(tmp_path / "slm.npz").material.name == "phase_modulator"


@pytest.mark.parametrize("fill_factor", [0.36, 0.5, 0.8649])
def test_the_drawn_electrode_covers_its_share(fill_factor):
    slm = Slm(3, 4, 8e-6, fill_factor=fill_factor)
    mask = slm_mask(np.zeros((3, 4)), slm, stop=np.ones((3, 4)), cells_per_pixel=5)
    assert mask.pitch_m == pytest.approx(8e-6 / 5)
    pixel = mask.transmission[:5, :5]
    assert pixel.mean() == pytest.approx(fill_factor)
    np.testing.assert_array_equal(pixel, pixel.T)
    np.testing.assert_array_equal(pixel, pixel[::-1])
    np.testing.assert_array_equal(mask.transmission, np.tile(pixel, (3, 4)))


@pytest.mark.parametrize("gap", ["blocks", "passes"])
def test_drawn_and_averaged_pixels_agree_between_the_orders(gap):
    # A lens of 64 pixels of 8 um focuses all orders to spots of 40 um, 0.55 / 8 * 20 mm = 1.4 mm apart: the window
    # holds the middle one only. The fill factor is drawn exactly by 5 cells. What is left is the orders'
    # feet, and that a smaller square falls off less towards the window's edge (measured: 1.4 % of the sum).
    slm = Slm(64, 64, 8e-6, fill_factor=0.64, gap=gap)
    geometry = Geometry(sensor_distance_m=20e-3, psf_px=(31, 31), wavelengths_m=(550e-9,) * 3)
    away_m = (np.arange(64) - 31.5) * 8e-6
    lens = -np.pi * (away_m**2 + away_m[:, np.newaxis] ** 2) / (550e-9 * 20e-3)
    averaged, drawn = (psf(slm_mask(lens, slm, geometry, cells_per_pixel=cells))[1] for cells in (1, 5))
    assert drawn.sum() == pytest.approx(averaged.sum(), rel=0.02)
    np.testing.assert_allclose(drawn, averaged, atol=0.02 * averaged.max())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fill_factor": 0.0}, "fill_factor"),
        ({"fill_factor": 1.1}, "fill_factor"),
        ({"bits": 17}, "bits"),
        ({"gap": "glows"}, "gap"),
        ({"lut_rad": (0.0, 1.0)}, "256 levels"),
        ({"lut_rad": (float("nan"),) * 256}, "finite"),
        ({"pitch_m": -1.0}, "pitch_m"),
        ({"rows": 0}, "rows"),
    ],
)
def test_a_display_that_cannot_be_is_refused(change, message):
    with pytest.raises(MaskError, match=message):
        Slm(**{"rows": 4, "columns": 4, "pitch_m": 8e-6, **change})


def test_what_the_display_cannot_show_is_refused():
    with pytest.raises(MaskError, match="at most 64 x 80"):
        slm_mask(np.zeros((65, 10)), SMALL)
    with pytest.raises(MaskError, match="cells_per_pixel"):
        slm_mask(np.zeros((4, 4)), SMALL, cells_per_pixel=0)
    with pytest.raises(MaskError, match="finite"):
        phase_to_drive([np.nan], SMALL)
    with pytest.raises(MaskError, match="from 0 to 255"):
        drive_to_phase(np.array([256]), SMALL)
    with pytest.raises(MaskError, match="wavelength_m"):
        phase_to_drive([0.0], SMALL, 0.0)
