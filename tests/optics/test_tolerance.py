"""Copies of a mask with errors: each error against another way to compute it, and the report against what must hold."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from optics.as_built import PARAMETERS, Copy, Deviations, ToleranceError, copy_psf, draw_copy, etches
from optics.code_change import photographs
from optics.mask import Geometry, Mask, cell_positions_m
from optics.masks import fresnel_lens_mask
from optics.materials import FUSED_SILICA
from optics.metrics import correlation
from optics.psf import psf
from optics.tolerance import ToleranceReport, tolerance

THRESHOLDS = np.linspace(0.05, 0.9, 15, dtype=np.float32)
SMALL = Geometry(sensor_distance_m=1.5e-3, psf_px=(31, 31))
NONE = Deviations(0, 0, 0, 0, 0, 0, 0, 0, 0)
# Two ways to the same PSF on unlike grids agree to 1e-3 of the peak (decision 0013).
OF_PEAK = 2e-3


def lumpy(cells: int = 63, geometry: Geometry = SMALL, levels: int = 16, seed: int = 5) -> Mask:
    """A relief of equal steps without any symmetry, its features a few cells wide."""
    rng = np.random.default_rng(seed)
    rough = rng.standard_normal((cells + 24, cells + 24))
    line = np.exp(-0.5 * (np.arange(-12, 13) / 4) ** 2)
    smooth = np.array([np.convolve(row, line, "valid") for row in rough])
    smooth = np.array([np.convolve(column, line, "valid") for column in smooth.T]).T
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return Mask(np.round(smooth * (levels - 1)) * (1.2e-6 / levels), 2e-6, geometry=geometry)


def only(**deviation: float) -> Deviations:
    return replace(NONE, **deviation)


def close(found: np.ndarray, wanted: np.ndarray, share: float = OF_PEAK) -> None:
    np.testing.assert_allclose(found, wanted, atol=share * float(wanted.max()))


@pytest.mark.parametrize("source_m", [math.inf, 0.05])
def test_a_copy_without_errors_is_the_mask(source_m: float) -> None:
    mask = lumpy(geometry=replace(SMALL, source_distance_m=source_m))
    close(copy_psf(mask, Copy()), psf(mask), 1e-5)
    smooth = Mask(
        1e-7 + 2e-7 * np.cos(np.arange(63) / 9) ** 2 * np.ones((63, 1)), 2e-6, geometry=SMALL, surface="smooth"
    )
    close(copy_psf(smooth, Copy()), psf(smooth), 1e-5)


@pytest.mark.parametrize("source_m", [math.inf, 0.05])
def test_each_error_is_that_of_a_mask_made_so(source_m: float) -> None:
    geometry = replace(SMALL, source_distance_m=source_m)
    mask = lumpy(geometry=geometry)
    nominal = psf(mask)
    further = replace(mask, geometry=replace(geometry, sensor_distance_m=SMALL.sensor_distance_m + 80e-6))
    redder = replace(mask, geometry=replace(geometry, wavelengths_m=(652e-9, 562e-9, 472e-9)))
    deeper = replace(mask, height_m=mask.height_m * 1.07)
    rough = np.random.default_rng(1).normal(0, 30e-9, mask.height_m.shape)
    rougher = replace(mask, height_m=mask.height_m + rough - rough.min())
    for copy, made in (
        (Copy(distance_m=80e-6), psf(further)),
        (Copy(wavelength_m=12e-9), psf(redder)),
        (Copy(depth_share=0.07), psf(deeper)),
        (Copy(height_error_m=rough), psf(rougher)),
    ):
        assert np.abs(made - nominal).max() > 10 * OF_PEAK * nominal.max()  # an error that matters
        close(copy_psf(mask, copy), made)


def test_temperature_is_index_and_expansion() -> None:
    tall = replace(lumpy(), height_m=lumpy().height_m * 20)
    soft = replace(FUSED_SILICA, name="soft", dn_dt_per_k=-3e-4, expansion_per_k=0.0)
    bent = replace(tall, material=soft)
    warm = psf(bent, celsius=60.0)
    assert np.abs(warm - psf(bent)).max() > 0.3 * warm.max()
    close(copy_psf(bent, Copy(temperature_k=40.0)), warm, 1e-5)
    # With expansion, what the copy leaves out is the growth of the PSF: 0.3 %, 0.04 pixel at the window's edge.
    grown = replace(tall, material=replace(soft, expansion_per_k=7e-5))
    close(copy_psf(grown, Copy(temperature_k=40.0)), psf(grown, celsius=60.0), 0.02)
    # The spacer alone: 1 % in distance.
    inert = replace(tall, material=replace(soft, dn_dt_per_k=0.0))
    stretched = Copy(temperature_k=40.0, spacer_expansion_per_k=2.5e-4)
    close(copy_psf(inert, stretched), copy_psf(inert, Copy(distance_m=15e-6)), 1e-5)


def test_silica_hardly_minds_thirty_degrees() -> None:
    mask = lumpy()
    assert 1 - correlation(copy_psf(mask, Copy(temperature_k=30.0)), psf(mask)) < 1e-5


def test_a_shift_moves_the_psf_right_and_down() -> None:
    mask = lumpy()
    nominal, moved = psf(mask), copy_psf(mask, Copy(shift_m=(12e-6, -6e-6)))
    close(moved[:, :-1, 2:], nominal[:, 1:, :-2])
    # A quarter of a pixel to the right and down: pixels of half the size, four together.
    fine = psf(replace(mask, geometry=replace(SMALL, pixel_pitch_m=3e-6, psf_px=(65, 65))))
    twice = np.arange(-30, 31, 2) + 65 // 2
    quarter = sum(fine[:, twice[:, None] - row, twice - column] for row in (0, 1) for column in (0, 1))
    close(copy_psf(mask, Copy(shift_m=(1.5e-6, 1.5e-6))), np.asarray(quarter))
    # A source at the mask's own distance from the sensor moves its light twice as far.
    near = lumpy(geometry=replace(SMALL, source_distance_m=1.5e-3))
    close(copy_psf(near, Copy(shift_m=(3e-6, 0.0)))[:, :, 1:], psf(near)[:, :, :-1])


def direct_psf(mask: Mask, tilt_rad: tuple[float, float], parts: int = 4) -> np.ndarray:
    """The first colour by summing waves from every part of every cell to every part of every pixel."""
    wavelength_m = mask.geometry.wavelengths_m[0]
    k = 2 * np.pi / wavelength_m
    sub_m = mask.pitch_m / parts
    line_m = cell_positions_m(len(mask.height_m) * parts, sub_m)
    x, y = (each.ravel() for each in np.meshgrid(line_m, line_m))
    index = 1.4567  # fused silica at 640 nm
    heights = np.repeat(np.repeat(mask.height_m, parts, 0), parts, 1).ravel()
    nearer = tilt_rad[0] * y + tilt_rad[1] * x
    source = np.repeat(np.repeat(mask.stop, parts, 0), parts, 1).ravel() * np.exp(
        1j * k * ((index - 1) * heights + nearer)
    )
    pixels, pitch_m = mask.geometry.psf_px[0], mask.geometry.pixel_pitch_m
    at_m = ((np.arange(pixels * parts) + 0.5) / parts - 0.5 - pixels // 2) * pitch_m
    distance = mask.geometry.sensor_distance_m - nearer
    light = np.zeros((pixels * parts, pixels * parts))
    for row, v in enumerate(at_m):
        way = np.sqrt((at_m[:, None] - x) ** 2 + (v - y) ** 2 + distance**2)
        # Rayleigh and Sommerfeld's first integral.
        field = (np.exp(1j * k * way) * distance / way**2 * (1 / way - 1j * k)) @ source * sub_m**2 / (2 * np.pi)
        light[row] = np.abs(field) ** 2
    share = light.reshape(pixels, parts, pixels, parts).sum(axis=(1, 3)) * (pitch_m / parts) ** 2
    return np.asarray(share / ((mask.stop**2).sum() * mask.pitch_m**2))


def test_a_tilt_is_that_of_a_direct_sum() -> None:
    mask = lumpy(17, Geometry(sensor_distance_m=150e-6, pixel_pitch_m=3e-6, psf_px=(13, 13)))
    straight, nominal = direct_psf(mask, (0.0, 0.0)), copy_psf(mask, Copy())[0]
    # The parts of cells and pixels are flat in the sum: with quarters 0.8 % of the peak (thirds 1.4, fifths 0.5).
    close(nominal, straight, 0.012)
    for tilt_rad in ((0.3, 0.0), (-0.15, 0.25)):
        change, expected = copy_psf(mask, Copy(tilt_rad=tilt_rad))[0] - nominal, direct_psf(mask, tilt_rad) - straight
        assert np.abs(expected).max() > 0.015 * straight.max()
        # Thirds 10 %, quarters 6 %, fifths 3.5 % of the change: what is left is the sum's.
        np.testing.assert_allclose(change, expected, atol=0.08 * np.abs(expected).max())


@pytest.mark.parametrize("moved_m", [0.25e-6, -0.25e-6, -2.25e-6])
def test_a_misplaced_etch_is_a_finer_mask_with_that_etch_moved(moved_m: float) -> None:
    mask = lumpy(31)
    layers = etches(mask)
    assert len(layers) == 4
    fine = 8
    parts = round(moved_m / mask.pitch_m * fine)
    made = np.repeat(np.repeat(layers[0], fine, 0), fine, 1)
    overlay_m = np.zeros((3, 2))
    for number, axis in ((0, 0), (1, 1)):  # the second etch along x, the third along y
        overlay_m[number, axis] = moved_m
        layer = np.repeat(np.repeat(layers[number + 1], fine, 0), fine, 1)
        places = np.clip(np.arange(31 * fine) - parts, 0, 31 * fine - 1)
        made = made + np.take(layer, places, axis=1 - axis)
    made = made + np.repeat(np.repeat(layers[3], fine, 0), fine, 1)
    stop = np.repeat(np.repeat(mask.stop, fine, 0), fine, 1)
    wanted = psf(Mask(made, mask.pitch_m / fine, geometry=SMALL, stop=stop))
    found = copy_psf(mask, Copy(overlay_m=overlay_m))
    assert np.abs(wanted - psf(mask)).max() > 0.02 * wanted.max()
    # First order in the strip's share of the cell, 1/8: what two strips have in common, 1/64, is counted twice.
    close(found, wanted, 0.015)
    assert np.abs(found - wanted).max() < 0.2 * np.abs(psf(mask) - wanted).max()


def test_etches_add_up_to_the_relief() -> None:
    mask = lumpy(levels=11)
    inside = mask.stop > 0
    layers = etches(mask)
    assert len(layers) == 4
    np.testing.assert_allclose(sum(layers)[inside] + mask.height_m[inside].min(), mask.height_m[inside], atol=1e-15)
    assert [np.unique(layer).size for layer in layers] == [2, 2, 2, 2]
    assert [layer.max() / layers[-1].max() for layer in layers] == pytest.approx([8, 4, 2, 1])
    assert etches(replace(mask, height_m=np.random.default_rng(0).random(mask.height_m.shape) * 1e-6)) == ()
    assert etches(replace(mask, height_m=np.zeros(mask.height_m.shape))) == ()
    uneven = np.where(mask.height_m > np.median(mask.height_m), 1.03e-6, 0.31e-6)
    assert len(etches(replace(mask, height_m=uneven))) == 1


def test_a_lens_loses_its_focus_as_theory_says() -> None:
    # A circular pupil of radius a with W waves of defocus at its edge has [sin(pi W) / (pi W)]^2 of the light on the
    # axis (Born and Wolf, Principles of Optics, section 8.8), W = a^2 / (2 wavelength) (1 / f - 1 / z), and (f / z)^2
    # of that per area, as it spreads.
    geometry = Geometry(pixel_pitch_m=1e-6, psf_px=(9, 9), wavelengths_m=(550e-9, 550e-9, 550e-9))
    lens = fresnel_lens_mask(geometry=geometry)
    focal_m = geometry.sensor_distance_m
    focused = float(copy_psf(lens, Copy())[1, 4, 4])
    for waves in (0.25, 0.5, 0.75, -0.25):
        z_m = 1 / (1 / focal_m - waves * 2 * 550e-9 / 255e-6**2)
        on_axis = float(copy_psf(lens, Copy(distance_m=z_m - focal_m))[1, 4, 4])
        # Pixels average over 1 um, and the lens consists of square cells.
        assert on_axis / focused == pytest.approx(float(np.sinc(waves)) ** 2 * (focal_m / z_m) ** 2, abs=0.01)


def test_drawn_errors_have_the_size_and_the_reach_that_was_asked_for() -> None:
    mask, rng = lumpy(127, replace(SMALL, psf_px=(9, 9))), np.random.default_rng(2)
    waves = only(height_waviness_m=20e-9, waviness_length_m=16e-6)
    errors = np.stack([np.asarray(draw_copy(mask, waves, rng).height_error_m) for _ in range(60)])
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(20e-9, rel=0.05)
    # 16 um are 8 cells: there the product of two errors is 1 / e of their square.
    assert np.mean(errors[:, :, 8:] * errors[:, :, :-8]) / (20e-9) ** 2 == pytest.approx(1 / math.e, rel=0.1)
    mounting = Deviations(height_rms_m=0, height_waviness_m=0)
    copies = [draw_copy(mask, mounting, rng) for _ in range(400)]
    # 400 draws know a standard deviation to 3.5 %.
    assert np.std([copy.distance_m for copy in copies]) == pytest.approx(25e-6, rel=0.12)
    assert np.std([copy.shift_m for copy in copies]) == pytest.approx(10e-6, rel=0.12)
    assert np.std([copy.overlay_m for copy in copies]) == pytest.approx(0.25e-6, rel=0.12)


TINY = replace(SMALL, psf_px=(21, 21))


def judged(deviations: Deviations, samples: int = 6, seed: int = 0, **options: object) -> ToleranceReport:
    rng = np.random.default_rng(seed)
    return tolerance(lumpy(31, TINY), None, deviations, samples, rng, threads=1, **options)  # type: ignore[arg-type]


def test_without_deviations_nothing_changes() -> None:
    report = judged(NONE, 2, thresholds=THRESHOLDS, images=photographs(64, 64)[:2])
    np.testing.assert_allclose(report.correlation, 1, atol=1e-12)
    np.testing.assert_array_equal(report.changed, 0)
    np.testing.assert_array_equal(report.changed_balanced, 0)
    assert (report.most_sensitive, report.most_sensitive_codes) == ("none", "none")
    assert report.passing == 1
    assert math.isinf(report.allowed)
    assert "No parameter has an effect" in report.sentence()
    assert json.loads(json.dumps(report.as_json(), allow_nan=False))["allowed_deviation"] is None


@pytest.mark.parametrize(
    ("name", "huge"),
    [
        ("height_rms_m", 150e-9),
        ("height_waviness_m", 200e-9),
        ("depth_share", 0.4),
        ("overlay_m", 1.5e-6),
        ("distance_m", 300e-6),
        ("wavelength_m", 60e-9),
        ("tilt_rad", 0.25),
    ],
)
def test_the_huge_one_is_named(name: str, huge: float) -> None:
    small = Deviations(0.5e-9, 0.5e-9, 5e-4, 1e-9, 0.2e-6, 0.5e-6, 1e-3, 0.05e-9, 0.5, waviness_length_m=20e-6)
    report = judged(replace(small, **{name: huge}), 1)
    assert report.most_sensitive == name
    assert PARAMETERS[name][0] in report.sentence()
    assert [each.drop_aligned for each in report.alone] == sorted((e.drop_aligned for e in report.alone), reverse=True)
    assert report.alone[0].deviation == huge


def test_a_shift_is_seen_before_and_not_after_alignment() -> None:
    report = judged(only(shift_m=9e-6), thresholds=THRESHOLDS, images=photographs(64, 64)[:2])
    alone = {each.name: each for each in report.alone}["shift_m"]
    assert alone.drop > 0.05
    assert alone.drop_aligned < 0.01
    assert alone.changed is not None
    assert alone.changed_aligned is not None
    assert alone.changed_aligned < 0.3 * alone.changed
    assert report.aligned.min() > report.correlation.min()


def test_a_gain_per_colour_repairs_what_depth_does_to_codes() -> None:
    # A lens etched too deep sends light astray, more of one colour than of another; the shape of its PSF stays.
    lens = fresnel_lens_mask(levels=4, cells=63, geometry=TINY)
    report = tolerance(
        lens, None, only(depth_share=0.08), 1, threads=1, thresholds=THRESHOLDS, images=photographs(96, 128)[:3]
    )
    alone = {each.name: each for each in report.alone}["depth_share"]
    assert alone.drop_aligned < 0.02
    assert alone.changed_aligned is not None
    assert alone.changed_balanced is not None
    assert 0 < alone.changed_balanced < 0.6 * alone.changed_aligned


@pytest.mark.parametrize(
    ("name", "size"), [("distance_m", 40e-6), ("height_waviness_m", 20e-9), ("wavelength_m", 8e-9)]
)
def test_larger_deviations_cost_more_on_average(name: str, size: float) -> None:
    reports = [judged(only(**{name: factor * size}, waviness_length_m=20e-6), 8) for factor in (0.5, 1.0, 2.0)]
    means = [1 - float(report.aligned.mean()) for report in reports]
    assert 0 < means[0] < means[1] < means[2]
    # Small errors of every kind cost by their square; the rest is how far these are from small.
    assert means[1] / means[0] == pytest.approx(4, rel=0.35)


def test_the_allowed_deviation_lets_nineteen_of_twenty_pass() -> None:
    report = judged(only(distance_m=60e-6), 1, limit=0.97)
    assert report.most_sensitive == "distance_m"
    passing = judged(only(distance_m=report.allowed), 60, seed=3, limit=0.97).passing
    assert 0.87 <= passing <= 1  # 95 %, three deviations of 60 draws below
    assert judged(only(distance_m=3 * report.allowed), 60, seed=3, limit=0.97).passing < 0.75


def test_the_same_seed_gives_the_same_report_and_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    first = tolerance(
        lumpy(31, TINY), None, Deviations(), 3, np.random.default_rng(7), lambda done, total: told.append((done, total))
    )
    again = judged(Deviations(), 3, seed=7)
    np.testing.assert_array_equal(first.aligned, again.aligned)
    assert first.as_json() == again.as_json()
    assert not np.array_equal(first.aligned, judged(Deviations(), 3, seed=8).aligned)
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1))
    assert set(first.values) == set(PARAMETERS) - {"height_rms_m", "height_waviness_m"}


def test_with_a_target_both_likenesses_are_told() -> None:
    mask = lumpy(31, TINY)
    nominal = psf(mask)
    report = tolerance(mask, nominal, only(distance_m=60e-6), 3, threads=1)
    assert report.target_nominal == pytest.approx(1, abs=1e-5)
    assert report.target is not None
    np.testing.assert_allclose(report.target, report.aligned, atol=1e-3)
    assert "target_correlation" in report.as_json()


def test_a_smooth_surface_has_no_etches_to_misplace() -> None:
    # A surface at the limit of what its samples describe: errors from cell to cell do not make it unreadable.
    x_m = cell_positions_m(31, 2e-6)
    surface = Mask(4e-7 + 0.5 * (x_m**2 + x_m[:, None] ** 2) / 9e-3, 2e-6, geometry=TINY, surface="smooth")
    report = tolerance(surface, None, Deviations(height_rms_m=60e-9), 2, threads=1)
    assert "smooth" in report.notes[0]
    assert {each.name: each.drop for each in report.alone}["height_rms_m"] > 0
    assert {each.name: each.drop for each in report.alone}["overlay_m"] == 0
    one_etch = tolerance(lumpy(31, TINY, levels=2), None, only(depth_share=0.01), 1, threads=1)
    assert "one etch" in one_etch.notes[0]


def test_what_is_no_deviation_is_refused() -> None:
    with pytest.raises(ToleranceError, match="distance_m is a standard deviation"):
        Deviations(distance_m=-1.0)
    with pytest.raises(ToleranceError, match="waviness_length_m must be positive"):
        Deviations(waviness_length_m=0)
    with pytest.raises(ToleranceError, match="samples must be at least 1"):
        judged(NONE, 0)
    with pytest.raises(ToleranceError, match="thresholds are needed"):
        judged(NONE, 1, images=photographs(64, 64)[:1])
    with pytest.raises(ToleranceError, match="cannot become"):
        copy_psf(lumpy(31, TINY), Copy(distance_m=-2e-3))
    with pytest.raises(ToleranceError, match="cannot change by"):
        copy_psf(lumpy(31, TINY), Copy(wavelength_m=-700e-9))
    with pytest.raises(ToleranceError, match="4 etches cannot have 1 misplaced"):
        copy_psf(lumpy(31, TINY), Copy(overlay_m=np.ones((1, 2))))
    with pytest.raises(ToleranceError, match="use a smaller tilt_rad"):
        copy_psf(lumpy(31, TINY), Copy(tilt_rad=(30.0, 0.0)))
