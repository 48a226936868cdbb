"""From frames of a point source to a PSF: what is kept, what is refused, and how the error falls with frames."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.hdr import BracketPart
from calibration.point_source import Light, light_above_rim, point_spread, source_light
from calibration.point_source_frames import frame_shifts, noise_slope, reduce_frames
from optics.metrics import MetricError

Floats = NDArray[np.float64]

BLACK, WHITE, READ_DN, DN_PER_ELECTRON = 256, 4095, 1.5, 0.4
SIDE = 41


def spot(side: int = SIDE, row: float = 0.0, column: float = 0.0, width: float = 2.5) -> Floats:
    away = np.arange(side) - side // 2
    picture = np.exp(-((away - row)[:, np.newaxis] ** 2 + (away - column) ** 2) / (2 * width**2))
    return np.asarray(picture / (2 * math.pi * width**2))


def frames(
    count: int, light_dn: Floats, rng: np.random.Generator, ambient_dn: float = 20.0, drift_dn: float = 0.0
) -> NDArray[np.uint16]:
    """Frames (count, 4, rows, columns) with shot and read noise of a sensor, light_dn (rows, columns) at each site."""
    level = ambient_dn + drift_dn * np.linspace(0, 1, count)[:, np.newaxis, np.newaxis, np.newaxis]
    electrons = rng.poisson((light_dn + level + np.zeros((count, 4, *light_dn.shape))) / DN_PER_ELECTRON)
    values = BLACK + DN_PER_ELECTRON * electrons + rng.normal(0, READ_DN, electrons.shape)
    return np.clip(np.rint(values), 0, WHITE).astype(np.uint16)


def part_of(on: NDArray[np.uint16], off: NDArray[np.uint16], exposure_us: float = 1000.0) -> BracketPart:
    reduced = reduce_frames(on, off, WHITE)
    return BracketPart(
        reduced.difference_dn,
        reduced.saturated,
        reduced.frames_on,
        reduced.frames_off,
        reduced.dark_variance_dn2,
        reduced.dn_per_electron,
        exposure_us,
        1.0,
    )


def test_error_falls_with_the_root_of_the_frames_and_is_the_stated_sigma() -> None:
    """Theory: sigma of every pixel goes with 1 / sqrt(frames). Four sensors' worth of pixels for each count."""
    true = spot()
    rng = np.random.default_rng(1)
    rms = {}
    for count in (8, 32, 128):
        errors, stated = [], []
        for _ in range(4):
            on, off = (frames(count, light * 30_000, rng) for light in (true, 0 * true))
            light = source_light([part_of(on, off)], "RGGB", 0.0)
            spread = point_spread(light, np.stack([true] * 3), 0.97)
            half = spread.side // 2
            middle = slice(SIDE // 2 - half, SIDE // 2 + half + 1)
            rim = np.ones(true.shape, dtype=bool)
            rim[2:-2, 2:-2] = False
            level = true[rim].mean()
            exact = ((true - level) / (true - level).sum())[middle, middle]
            errors.append(spread.psf - exact)
            stated.append(spread.sigma)
        size = np.concatenate([each.ravel() for each in errors])
        rms[count] = float(np.sqrt((size**2).mean()))
        expected = float(np.sqrt(np.mean([np.mean(each**2) for each in stated])))
        # Relative standard error of an rms of n values: 1 / sqrt(2 n); heavy peaks count more, hence five of them.
        assert rms[count] == pytest.approx(expected, rel=5 / math.sqrt(2 * size.size)), count
    assert rms[8] / rms[32] == pytest.approx(2.0, rel=0.08)
    assert rms[32] / rms[128] == pytest.approx(2.0, rel=0.08)


def test_signal_to_noise_grows_with_the_root_of_the_frames() -> None:
    true, rng = spot(), np.random.default_rng(2)
    snr = []
    for count in (8, 32):
        on, off = (frames(count, light * 30_000, rng) for light in (true, 0 * true))
        snr.append(point_spread(source_light([part_of(on, off)], "RGGB", 0.0), np.stack([true] * 3)).snr)
    assert snr[1] / snr[0] == pytest.approx(np.full(3, 2.0), rel=0.05)
    # Green has two sites a quad.
    assert snr[0][1] / snr[0][0] == pytest.approx(math.sqrt(2), rel=0.05)


def test_colours_are_not_mixed_and_green_is_the_mean_of_its_sites() -> None:
    rate = np.stack([np.full((12, 12), value) for value in (4.0, 1.0, 2.0, 3.0)])
    part = BracketPart(rate, np.zeros(rate.shape, dtype=bool), 4, 4, 1.0, 0.1, 1.0, 1.0)
    for order, expected in (("BGGR", (3.0, 1.5, 4.0)), ("GRBG", (1.0, 3.5, 2.0))):
        light = source_light([part], order, 0.0)
        assert light.background == pytest.approx(np.array(expected))
        assert light.planes == pytest.approx(np.zeros((3, 12, 12)))


def test_a_flash_and_a_bump_are_refused_and_leave_no_trace() -> None:
    rng = np.random.default_rng(3)
    light = spot() * 20_000
    on, off = frames(24, light, rng), frames(24, 0 * light, rng)
    on[5] += 400
    off[9] += 300
    on[11] = frames(1, spot(row=1.5, column=-1.0) * 20_000, rng)[0]
    reduced = reduce_frames(on, off, WHITE)
    assert (reduced.flashes, reduced.bumps) == (2, 1)
    assert (reduced.frames_on, reduced.frames_off) == (22, 23)
    assert reduced.refusals() == "2 for a flash of light and 1 for a bump that moved the source"
    assert reduced.shifts_px[11] == pytest.approx([1.5, -1.0], abs=0.6)
    sigma = np.sqrt((reduced.dark_variance_dn2 + DN_PER_ELECTRON * light) / 22 + reduced.dark_variance_dn2 / 23)
    assert np.mean(np.abs(reduced.difference_dn - light) < 2 * sigma) == pytest.approx(0.954, abs=0.02)
    # Nothing odd: nothing refused.
    calm = reduce_frames(frames(24, light, rng), frames(24, 0 * light, rng), WHITE)
    assert (calm.flashes, calm.bumps) == (0, 0)
    assert calm.refusals() == ""


def test_a_steady_drift_of_the_room_leaves_with_the_difference() -> None:
    rng = np.random.default_rng(4)
    light = spot() * 20_000
    # Off, on, off: the mean of the off frames is the room's light in the middle of the on frames.
    on = frames(16, light, rng, ambient_dn=110)
    off = np.concatenate([frames(8, 0 * light, rng, ambient_dn=100), frames(8, 0 * light, rng, ambient_dn=120)])
    assert reduce_frames(on, off, WHITE).difference_dn.mean() == pytest.approx(light.mean(), abs=0.15)


def test_noise_slope_is_the_gain_of_the_sensor() -> None:
    rng = np.random.default_rng(5)
    light = np.tile(np.linspace(0, 2000, 200), (4, 40, 1))[:, :, :100]
    on, off = (
        BLACK + DN_PER_ELECTRON * rng.poisson((each + np.zeros((64, 1, 1, 1))) / DN_PER_ELECTRON)
        for each in (light, 0 * light)
    )
    variance = on.var(axis=0, ddof=1)
    found = noise_slope(on.mean(axis=0) - off.mean(axis=0), variance, 0.0, on.max(axis=0) / WHITE)
    assert found == pytest.approx(DN_PER_ELECTRON, rel=0.02)
    assert noise_slope(np.zeros((4, 5, 5)), np.ones((4, 5, 5)), 1.0, np.zeros((4, 5, 5))) == 0.0


def test_places_in_frames_are_found_as_surely_as_it_says() -> None:
    rng = np.random.default_rng(6)
    reference = np.stack([spot() * 8_000] * 4)
    off_mean = np.full(reference.shape, BLACK + 20.0)
    dark, all_linear = READ_DN**2 + DN_PER_ELECTRON * 20, np.ones(reference.shape, bool)
    for reach, error in ((0.05, 0.0), (0.5, 0.06)):
        shifts = rng.uniform(-reach, reach, (60, 2))
        taken = np.concatenate([frames(1, spot(row=row, column=column) * 8_000, rng) for row, column in shifts])
        found, sigma = frame_shifts(taken, off_mean, reference, dark, DN_PER_ELECTRON, all_linear)
        # Smoothed derivatives make larger shifts an eighth too large; of small ones only noise is left.
        expected = np.hypot(sigma.mean(), error)
        assert np.sqrt(((found - shifts) ** 2).mean()) == pytest.approx(expected, rel=0.3)
    nothing, unknown = frame_shifts(taken, off_mean, 0 * reference, 1.0, 0.4, np.ones(reference.shape, bool))
    assert not nothing.any()
    assert np.isinf(unknown).all()


def test_the_ground_is_taken_from_the_rim() -> None:
    plane = 100 * spot() + 3.0
    light = light_above_rim(plane[np.newaxis], np.full((1, SIDE, SIDE), 0.1), np.zeros(1))
    assert light.background == pytest.approx([3.0], abs=1e-4)
    assert light.planes.sum() == pytest.approx(100, rel=1e-3)
    rim_pixels = SIDE**2 - (SIDE - 4) ** 2
    assert light.background_sigma == pytest.approx([0.1 / math.sqrt(rim_pixels)])


def _light(planes: Floats, sigma: float = 1e-6) -> Light:
    return light_above_rim(planes, np.full(planes.shape, sigma), np.zeros(len(planes)))


def test_a_psf_is_centred_where_the_design_lies_not_on_its_brightest_spot() -> None:
    design = np.stack([spot(31, -6, -4, 1.5) + 0.4 * spot(31, 7, 5, 1.5)] * 3)
    planes = np.zeros((3, 61, 61))
    planes[:, 17:48, 13:44] = design
    spread = point_spread(_light(planes), design)
    assert spread.centred_by == "registration"
    assert spread.centre == (32, 28)
    assert spread.centre_px == pytest.approx((32, 28), abs=0.01)
    alone = point_spread(_light(planes), None)
    assert alone.centred_by == "centroid"
    assert alone.centre_px == pytest.approx((32 - 6 + 13 * 0.4 / 1.4, 28 - 4 + 9 * 0.4 / 1.4), abs=0.3)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_the_window_is_the_smallest_that_holds_the_share(share: float) -> None:
    planes = np.stack([spot(61)] * 3)
    spread = point_spread(_light(planes), None, share)
    assert spread.share.min() >= share
    half = spread.side // 2 - 1
    smaller = planes[0, 30 - half : 31 + half, 30 - half : 31 + half].sum() / planes[0].sum()
    assert smaller < share
    assert spread.psf.sum(axis=(1, 2)) == pytest.approx(spread.share)


def test_gains_bring_each_colour_to_green() -> None:
    planes = np.stack([0.5 * spot(), spot(), 0.25 * spot()]) * 1000
    spread = point_spread(_light(planes), None)
    assert spread.gains == pytest.approx([2.0, 1.0, 4.0])
    assert spread.gains_sigma[1] == 0


def test_uneven_response_is_part_of_the_uncertainty() -> None:
    planes = 1000 * np.stack([spot()] * 3)
    rng = np.random.default_rng(8)
    away = []
    for _ in range(50):
        uneven = planes * (1 + 0.02 * rng.standard_normal(planes.shape))
        light = light_above_rim(uneven, np.full(planes.shape, 0.01), np.full(3, 2.0))
        spread = point_spread(light, np.stack([spot()] * 3), 0.9)
        half = spread.side // 2
        middle = slice(SIDE // 2 - half, SIDE // 2 + half + 1)
        away.append((spread.psf - (planes / planes.sum(axis=(1, 2), keepdims=True))[:, middle, middle]) / spread.sigma)
    rms = np.sqrt(np.mean([np.mean(each**2) for each in away]))
    assert rms == pytest.approx(1.0, abs=0.05)


def test_no_light_is_an_error_and_no_number() -> None:
    with pytest.raises(MetricError, match="no light"):
        point_spread(_light(-np.stack([spot()] * 3)), None)
    with pytest.raises(ValueError, match="Bayer"):
        source_light([], "RGB", 1.0)
    with pytest.raises(ValueError, match="at least 4 frames"):
        reduce_frames(np.zeros((2, 4, 5, 5), np.uint16), np.zeros((9, 4, 5, 5), np.uint16), WHITE)
