"""The photon transfer against a sensor made another way: Poisson electrons, and every hidden number known."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from calibration.photon_dark import dark_pattern_dn2, darkness
from calibration.photon_fits import (
    least_noise_dn2,
    most_noise_dn2,
    relative_deviations,
    rounding_of_variance,
    weighted_line,
)
from calibration.photon_lamp import lamp_of
from calibration.photon_sensitivity import CalibratedLight, sensitivity
from calibration.photon_setup import light_above_darkness, metering_fault, stacks_fault
from calibration.photon_stacks import StackReducer, StackStatistics, from_arrays, middle, to_arrays, without_surface
from calibration.photon_transfer import NotMeasurable, SensorEstimate, estimate_sensor

DARK_US = (100.0, 50_000.0, 150_000.0, 400_000.0)
LADDER = (
    0.02,
    0.05,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.86,
    0.9,
    0.93,
    0.96,
    0.98,
    1.0,
    1.03,
    1.1,
    1.8,
    2.4,
)
COLOURS = np.array([0.8, 1.0, 0.97, 0.7])


@dataclass(frozen=True)
class Truth:
    """A sensor as it is; units as in the names."""

    gain_dn_per_e: float = 0.2
    read_noise_e: float = 4.0
    full_well_e: float = 4600.0
    dark_e_per_s: float = 60.0
    prnu_percent: float = 1.2
    dsnu_e: float = 2.0
    black_dn: float = 64.0
    white_dn: float = 1023.0
    reported_black_dn: float = 64.0
    bend: float = 0.0
    """part of the response that is lost at full scale, growing with its square"""


class Poisson:
    """One example of a sensor: electrons are drawn from Poisson's distribution, patterns stay the same."""

    def __init__(self, truth: Truth, seed: int, side: int = 32) -> None:
        self.rng = np.random.default_rng(seed)
        self.truth = truth
        self.response = 1 + truth.prnu_percent / 100 * self.rng.standard_normal((2 * side, 2 * side))
        self.offset_e = truth.dsnu_e * self.rng.standard_normal((2 * side, 2 * side))
        self.colours = np.tile(COLOURS.reshape(2, 2), (side, side))

    def stack(
        self,
        exposure_us: float,
        part: float,
        frames: int = 16,
        light: NDArray[np.float64] | None = None,
        shape: NDArray[np.float64] | float = 1.0,
        time_s: float = 0.0,
    ) -> StackStatistics:
        """Exposures in which the brightest colour gathers `part` of the full well; light: of each exposure."""
        truth = self.truth
        reducer = StackReducer()
        for factor in np.ones(frames) if light is None else light:
            wanted = part * truth.full_well_e * self.colours * shape * factor * self.response
            electrons = self.rng.poisson(np.maximum(wanted, 0) + truth.dark_e_per_s * exposure_us / 1e6).astype(float)
            electrons -= truth.bend * electrons**2 / truth.full_well_e
            electrons += self.offset_e + truth.read_noise_e * self.rng.standard_normal(electrons.shape)
            values = np.rint(truth.black_dn + truth.gain_dn_per_e * np.minimum(electrons, truth.full_well_e))
            reducer.add(np.clip(values, 0, truth.white_dn).astype(np.uint16), truth.white_dn)
        return reducer.reduce(exposure_us, 1.0, truth.white_dn, (truth.reported_black_dn,) * 4, time_s)

    def dark(self) -> list[StackStatistics]:
        return [self.stack(exposure, 0.0) for exposure in DARK_US]

    def light(self, full_us: float = 8_000.0) -> list[StackStatistics]:
        return [self.stack(part * full_us, part, 64 if part == 0.5 else 16) for part in LADDER]


def found(truth: Truth, seed: int) -> SensorEstimate:
    sensor = Poisson(truth, seed)
    return estimate_sensor(sensor.dark(), sensor.light())


def pulls(truth: Truth, estimate: SensorEstimate) -> dict[str, float]:
    """Differences from the truth in standard uncertainties."""
    pairs = {
        "gain": (estimate.system_gain_dn_per_e, truth.gain_dn_per_e),
        "read": (estimate.read_noise_e, truth.read_noise_e),
        "well": (estimate.full_well_e, truth.full_well_e),
        "dark": (estimate.dark_current_e_per_s, truth.dark_e_per_s),
        "dark2": (estimate.dark_current_variance_e_per_s, truth.dark_e_per_s),
        "prnu": (estimate.prnu_percent, truth.prnu_percent),
        "dsnu": (estimate.dsnu_e, truth.dsnu_e),
        "black": (estimate.black_level_dn, truth.black_dn),
    }
    return {name: (measured.value - true) / measured.sigma for name, (measured, true) in pairs.items()}


def test_uncertainties_of_a_poisson_sensor_are_honest() -> None:
    """Pulls over 25 sensors of other gain, noise and pattern are standard normal: variance by chi-square, 99.9 %."""
    rng = np.random.default_rng(7)
    seen: dict[str, list[float]] = {}
    for seed in range(25):
        gain = rng.uniform(0.15, 0.4)
        truth = Truth(
            gain_dn_per_e=gain,
            full_well_e=(1023 - 64) / gain,
            read_noise_e=rng.uniform(0.5, 1.2) / gain,
            dark_e_per_s=rng.uniform(20, 300),
            prnu_percent=rng.uniform(0.6, 2.0),
            dsnu_e=rng.uniform(0.3, 0.8) / gain,
        )
        for name, pull in pulls(truth, found(truth, 100 + seed)).items():
            seen.setdefault(name, []).append(pull)
    low, high = stats.chi2.interval(0.999, 25)
    for name, values in seen.items():
        assert low < sum(np.square(values)) < high, (name, np.std(values), np.mean(values))
        assert abs(np.mean(values)) < 3.3 / 5, (name, np.mean(values))


def test_a_well_that_is_full_before_the_converter_ends() -> None:
    truth = Truth(full_well_e=3000.0)
    estimate = found(truth, 3)
    assert estimate.full_well_e.value == pytest.approx(3000, rel=0.02)
    # The pattern of offsets adds to the full well here; the variance's peak lies within a few noises of it.
    assert 0.9 * 3000 < estimate.saturation_capacity_e.value < 3000
    assert estimate.snr_max.value == pytest.approx(np.sqrt(estimate.saturation_capacity_e.value))


def test_dynamic_range_follows_from_capacity_and_dark_noise() -> None:
    truth = Truth()
    estimate = found(truth, 4)
    threshold = np.sqrt(truth.read_noise_e**2 + 1 / 12 / truth.gain_dn_per_e**2) + 0.5
    assert estimate.threshold_e.value == pytest.approx(threshold, abs=3 * estimate.threshold_e.sigma)
    expected = 20 * np.log10(estimate.saturation_capacity_e.value / threshold)
    assert estimate.dynamic_range_db.value == pytest.approx(expected, abs=3 * estimate.dynamic_range_db.sigma)


def test_a_straight_response_has_no_linearity_error_and_a_bent_one_has_its_own() -> None:
    straight = found(Truth(), 5).linearity_error_percent
    assert straight.value < 2 * straight.sigma
    bent = found(Truth(bend=0.04), 5)
    # The same definition applied to the curve itself, without noise.
    inside = np.isfinite(bent.deviations_percent[:, 1])
    part = bent.linear_exposure_us[inside] / 8_000
    expected, _ = relative_deviations(part, part * (1 - 0.04 * part))
    assert bent.deviations_percent[inside, 1] == pytest.approx(expected, abs=0.15)
    assert bent.linearity_error_percent.value > 5 * bent.linearity_error_percent.sigma


def test_points_beside_a_line_widen_its_uncertainty() -> None:
    """A wave of 5 % on the variances is more than their noise: it is reported, and the gain becomes less certain."""
    sensor = Poisson(Truth(), 17)
    dark, light = sensor.dark(), sensor.light()
    straight = estimate_sensor(dark, light)
    assert straight.transfer_scatter_percent < 0.7
    waves = [
        replace(stack, temporal_dn2=stack.temporal_dn2 * (1 + 0.07 * np.cos(3.0 * number)))
        for number, stack in enumerate(light)
    ]
    wavy = estimate_sensor(dark, waves)
    assert wavy.transfer_scatter_percent > 2
    assert wavy.system_gain_dn_per_e.sigma > 1.5 * straight.system_gain_dn_per_e.sigma


def test_noise_below_the_rounding_is_an_upper_limit() -> None:
    estimate = found(Truth(read_noise_e=0.8, dsnu_e=0.5), 6)
    assert estimate.dark_noise_is_limit
    assert estimate.read_noise_e.value > 0.8


@given(st.floats(0, 1.5), st.floats(-0.5, 0.5))
@settings(max_examples=200, deadline=None)
def test_a_variance_after_rounding_bounds_the_noise_before_it(noise_dn: float, place: float) -> None:
    """Against the variance of a rounded normal distribution, computed from its probabilities."""
    numbers = np.arange(-15, 16)
    edges = stats.norm.cdf((np.append(numbers - 0.5, 15.5) - place) / max(noise_dn, 1e-6))
    share = np.diff(edges)
    shown = float((share * numbers**2).sum() - (share * numbers).sum() ** 2)
    assert least_noise_dn2(np.array(shown)) <= noise_dn**2 + 0.004
    assert most_noise_dn2(max(shown, 0.27)) >= noise_dn**2 - 0.004
    assert abs(shown - noise_dn**2 - 1 / 12) <= 1e-9 + 2 * rounding_of_variance(np.array(shown)) + 1 / 12 * (
        shown < 0.26
    )


def test_darkness_that_rounding_hides_is_uncertain_by_it() -> None:
    """0.2 DN of noise on black levels anywhere between whole numbers: errors are within what is stated, and they are
    not made smaller by four sites and many stacks that round alike."""
    pulls, known = [], []
    for number, place in enumerate(np.linspace(-0.5, 0.5, 16, endpoint=False)):
        truth = Truth(gain_dn_per_e=0.1, full_well_e=9_600.0, read_noise_e=2.0, dsnu_e=1.0, black_dn=64 + place,
                      dark_e_per_s=40.0)  # fmt: skip
        found = darkness(Poisson(truth, 300 + number).dark())
        pulls.append([(found.black_dn.value - truth.black_dn) / found.black_dn.sigma,
                      (found.dark_dn_per_s.value - 4.0) / found.dark_dn_per_s.sigma])  # fmt: skip
        known.append(abs(found.black_dn.value - truth.black_dn))
    assert max(known) > 0.05
    assert (np.square(pulls).mean(axis=0) < 1.7).all()
    assert np.abs(pulls).max() < 3


def test_a_pattern_that_rounds_to_nothing_is_an_upper_limit() -> None:
    truth = Truth(gain_dn_per_e=0.016, full_well_e=59_900.0, read_noise_e=2.0, dsnu_e=2.0, dark_e_per_s=5.0)
    estimate = found(truth, 18)
    assert estimate.dark_noise_is_limit
    assert estimate.dsnu_is_limit
    assert estimate.dsnu_e.value > 2.0
    assert abs(estimate.dsnu_e.value - 2.0) < 2 * estimate.dsnu_e.sigma
    assert abs(estimate.dark_current_e_per_s.value - 5) < 2 * estimate.dark_current_e_per_s.sigma
    # A pattern of several numbers is seen whatever the noise.
    wide = Poisson(replace(truth, dsnu_e=150.0), 19)
    assert estimate_sensor(wide.dark(), wide.light()).dsnu_e.value == pytest.approx(150, rel=0.03)
    assert dark_pattern_dn2(wide.dark()).sigma > 0


def test_the_references_take_a_drift_of_the_lamp_out_of_the_linearity() -> None:
    sensor = Poisson(Truth(), 20)

    def at(part: float, time_s: float, frames: int = 16) -> StackStatistics:
        light = np.full(frames, 1 - 0.0004 * time_s)
        return sensor.stack(8_000 * part, part, frames, light, time_s=time_s)

    dark, light = sensor.dark(), [at(part, 2.0 * number + 1) for number, part in enumerate(LADDER)]
    references = [at(0.5, time_s, 32) for time_s in (0.0, 22.0, 44.0)]
    lamp = lamp_of(references, light)
    slope = np.polyfit([stack.time_s for stack in light], lamp.relative, 1)[0]
    assert slope == pytest.approx(-0.0004, rel=0.15)
    blind = estimate_sensor(dark, light).linearity_error_percent
    assert blind.value > 5 * blind.sigma
    error = estimate_sensor(dark, light, lamp).linearity_error_percent
    assert error.value < 2 * error.sigma
    assert error.sigma < 0.2
    # A clock that began anew: the drift is uncertainty.
    lost = lamp_of([replace(stack, time_s=0.0) for stack in references], light)
    assert (lost.relative == 1).all()
    assert lost.sigma > 0.005


def test_a_flicker_is_the_linearitys_uncertainty() -> None:
    sensor = Poisson(Truth(), 21)
    rng = np.random.default_rng(22)

    def at(part: float, number: int) -> StackStatistics:
        light = 1 + 0.01 * np.sin(rng.uniform(0, 2 * np.pi) + 0.3 * np.arange(16))
        return sensor.stack(8_000 * part, part, 16, light, time_s=float(number))

    references = [at(0.5, number) for number in (0, 50, 100)]
    light = [at(part, number + 1) for number, part in enumerate(LADDER)]
    lamp = lamp_of(references, light)
    assert 0.004 < lamp.sigma < 0.012
    error = estimate_sensor(sensor.dark(), light, lamp).linearity_error_percent
    assert error.value < 2 * error.sigma
    steady = lamp_of([sensor.stack(4_000, 0.5, 32, time_s=float(time_s)) for time_s in range(3)], sensor.light())
    assert steady.sigma < 0.001


@pytest.mark.parametrize("full_well_e", [3_000.0, 4_600.0])
def test_neither_a_spread_of_pixels_nor_dark_current_bends_a_straight_response(full_well_e: float) -> None:
    """Pixels of 4.5 % are cut off long before their mean is; a saturated stack less its dark electrons is still one."""
    truth = Truth(prnu_percent=4.5, dark_e_per_s=4_000.0, full_well_e=full_well_e)
    sensor = Poisson(truth, 23)
    error = estimate_sensor(sensor.dark(), sensor.light(50_000.0)).linearity_error_percent
    assert error.value < 2 * error.sigma


def test_too_few_stacks_are_refused() -> None:
    sensor = Poisson(Truth(), 8)
    dark, light = sensor.dark(), sensor.light()
    with pytest.raises(NotMeasurable, match="three exposure times"):
        estimate_sensor(dark[:2], light)
    with pytest.raises(NotMeasurable, match="saturated"):
        estimate_sensor(dark, [stack for stack in light if stack.exposure_us < 5_000])
    with pytest.raises(NotMeasurable, match="six"):
        estimate_sensor(dark, light[:3])


def test_statistics_of_a_stack_are_those_of_its_samples() -> None:
    rng = np.random.default_rng(9)
    samples = rng.integers(100, 200, (5, 20, 24)).astype(np.uint16)
    reducer = StackReducer()
    for mosaic in samples:
        reducer.add(mosaic, 1023)
    stack = reducer.reduce(1000, 2, 1023, (1, 2, 3, 4))
    red = samples[:, ::2, ::2].astype(float)
    assert stack.mean_dn[0] == pytest.approx(red.mean())
    assert stack.frame_means_dn[:, 0] == pytest.approx(red.mean(axis=(1, 2)))
    centred = red - red.mean(axis=(1, 2), keepdims=True)
    assert stack.temporal_dn2[0] == pytest.approx(centred.var(axis=0, ddof=1).mean() * 120 / 119, rel=1e-9)
    again = from_arrays(to_arrays(stack))
    assert all(np.array_equal(a, b) for a, b in zip(to_arrays(stack).values(), to_arrays(again).values(), strict=True))
    with pytest.raises(ValueError, match="one size"):
        reducer.add(samples[0, :18], 1023)
    with pytest.raises(ValueError, match="even number"):
        reducer.add(samples[0, :19], 1023)
    assert not reducer.empty
    reducer.clear()
    assert reducer.empty
    with pytest.raises(ValueError, match="parts"):
        from_arrays({"mean_dn": np.zeros(4)})


def test_changes_of_the_whole_light_are_no_noise_of_the_pixels() -> None:
    sensor = Poisson(Truth(prnu_percent=0.0), 10)
    steady = sensor.stack(4_000, 0.4, 32)
    flickering = sensor.stack(4_000, 0.4, 32, light=1 + 0.05 * np.sin(np.arange(32)))
    assert flickering.temporal_dn2[1] == pytest.approx(steady.temporal_dn2[1], rel=0.03)


@given(st.lists(st.floats(-2, 2), min_size=6, max_size=6))
@settings(max_examples=30, deadline=None)
def test_a_quadratic_surface_is_taken_off_wholly(terms: list[float]) -> None:
    y, x = np.meshgrid(np.arange(12.0), np.arange(17.0), indexing="ij")
    surface = sum(t * shape for t, shape in zip(terms, [1 + 0 * x, x, y, x * x, x * y, y * y], strict=True))
    left, span = without_surface(np.asarray(surface)[np.newaxis])
    assert np.abs(left).max() < 1e-9 * max(1, np.abs(surface).max())
    assert span[0] == pytest.approx(np.ptp(surface), abs=1e-7)


def test_the_middle_of_a_large_sensor_keeps_its_quads() -> None:
    mosaic = np.zeros((1200, 1400), np.uint16)
    mosaic[::2, ::2] = 7
    kept = middle(mosaic)
    assert kept.shape == (1024, 1024)
    assert (kept[::2, ::2] == 7).all()


def test_a_weighted_line_agrees_with_numpy() -> None:
    rng = np.random.default_rng(11)
    x, sigma = np.sort(rng.uniform(0, 5, 12)), rng.uniform(0.1, 2, 12)
    y = 3 + 0.5 * x + sigma * rng.standard_normal(12)
    (slope, offset), covariance = np.polyfit(x, y, 1, w=1 / sigma, cov="unscaled")
    line = weighted_line(x, y, sigma)
    assert (line.offset, line.slope) == pytest.approx((offset, slope))
    assert line.covariance == pytest.approx(covariance[::-1, ::-1])
    with pytest.raises(ValueError, match="different places"):
        weighted_line(np.ones(3), y[:3], sigma[:3])


def test_a_right_bench_has_no_fault_and_each_wrong_one_its_name() -> None:
    sensor = Poisson(Truth(), 12)
    dark, light = sensor.dark(), sensor.light()
    references = [sensor.stack(4_000, 0.5) for _ in range(3)]
    assert stacks_fault(dark, light, references) is None

    def name(*stacks: list[StackStatistics]) -> str | None:
        fault = stacks_fault(stacks[0], stacks[1], stacks[2])
        return fault and fault[0]

    leak = [sensor.stack(exposure, exposure / 8_000 * 0.005) for exposure in DARK_US]
    assert name(leak, light, references) == "cover_off"
    assert stacks_fault(dark, light, references, sensor.stack(DARK_US[-1], 0.0)) is None
    through = stacks_fault(dark, light, references, sensor.stack(DARK_US[-1], 0.002 * DARK_US[-1] / 8_000))
    assert through is not None
    assert through[0] == "cover_off"
    flicker = sensor.stack(4_000, 0.5, light=1 + 0.04 * np.cos(np.arange(16)))
    assert name(dark, light, [*references, flicker]) == "light_unstable"
    assert name(dark, light, [*references, sensor.stack(4_000, 0.46)]) == "light_unstable"
    ramp = np.linspace(0.93, 1.07, 64)[:, np.newaxis]
    tilted = [sensor.stack(4_000, 0.5, shape=ramp) for _ in range(3)]
    assert name(dark, [sensor.stack(part * 8e3, part, shape=ramp) for part in LADDER], tilted) == "light_uneven"
    assert name(dark, light[:12], references) == "too_dim"
    bright = [sensor.stack(stack.exposure_us, 3.0) for stack in light]
    assert name(dark, bright, [sensor.stack(4_000, 3.0)]) == "saturated_everywhere"


def test_a_warm_sensor_under_a_dim_lamp_is_no_open_cover() -> None:
    """2 % of the light's rate in the dark, the same at all sites whatever their colour."""
    truth = Truth(full_well_e=3_000.0, gain_dn_per_e=0.3, dark_e_per_s=300.0)
    sensor = Poisson(truth, 24)
    references = [sensor.stack(100_000, 0.5) for _ in range(3)]
    covered = sensor.stack(DARK_US[-1], 0.0)
    assert stacks_fault(sensor.dark(), sensor.light(200_000.0), references, covered) is None


@pytest.mark.parametrize(
    ("exposures", "fractions", "light", "name"),
    [
        ([2_000, 4_000], [0.2, 0.4], 0.4, None),
        ([2_000, 100], [1.0, 0.8], 0.8, "too_bright"),
        ([2_000, 4_000, 16_000], [0.3, 0.301, 0.302], 0.3, "controls_ignored"),
        ([2_000, 16_000, 200_000], [0.0, 0.01, 0.03], 1e-5, "cover_on"),
        ([2_000, 16_000, 200_000], [0.0, 0.01, 0.03], 0.002, "light_off"),
        ([2_000, 16_000, 200_000], [0.002, 0.016, 0.2], 0.18, "too_dim"),
    ],
)
def test_metering_names_the_light(
    exposures: list[float], fractions: list[float], light: float, name: str | None
) -> None:
    fault = metering_fault(exposures, fractions, (light, 1e-5), 200_000, 100)
    assert (fault and fault[0]) == name


def test_photons_are_known_with_a_calibrated_light() -> None:
    """Full well in 8 ms for the brightest colour, of so many photons that 55 % become electrons there."""
    truth = Truth(dark_e_per_s=200.0)
    sensor = Poisson(truth, 15)
    dark, light = sensor.dark(), sensor.light()
    estimate = estimate_sensor(dark, light)
    rate = truth.full_well_e / 8e-3 / 0.55
    found = sensitivity(light, estimate, CalibratedLight(rate, 0.01 * rate))
    assert found.quantum_efficiency == pytest.approx(0.55 * COLOURS, abs=4 * 0.002)
    assert found.quantum_efficiency_sigma / found.quantum_efficiency == pytest.approx(0.01, rel=0.2)
    threshold = np.sqrt(truth.read_noise_e**2 + 1 / 12 / truth.gain_dn_per_e**2) + 0.5
    assert found.threshold_photons == pytest.approx(threshold / (0.55 * COLOURS), rel=0.03)
    with pytest.raises(ValueError, match="above 0"):
        CalibratedLight(0, 1)


def test_the_gain_agrees_with_the_standards_own_fit() -> None:
    """The line through the origin of dark-corrected variance over mean, unweighted, up to 70 % (section 6.6)."""
    sensor = Poisson(Truth(dsnu_e=0.0), 16, side=48)
    dark, light = sensor.dark(), sensor.light()
    estimate = estimate_sensor(dark, light)
    site = 1
    black = dark[0]
    used = [stack for stack in light if stack.mean_dn[site] - black.mean_dn[site] <= 0.7 * (984 - 64)]
    x = np.array([stack.mean_dn[site] - black.mean_dn[site] for stack in used])
    y = np.array([stack.temporal_dn2[site] - black.temporal_dn2[site] for stack in used])
    gain = (x @ y) / (x @ x)
    assert estimate.site_gain_dn_per_e[site] == pytest.approx(gain, rel=0.012)
    noise = np.sqrt(black.temporal_dn2.mean() - 1 / 12) / gain
    assert estimate.read_noise_e.value == pytest.approx(noise, rel=0.02)


def test_dark_current_is_not_taken_for_light() -> None:
    sensor = Poisson(Truth(dark_e_per_s=300.0), 14)
    dark = sensor.dark()
    for part in (0.0, 0.001):
        light, sigma = light_above_darkness(sensor.stack(150_000, part, 4), dark)
        expected = part * 0.2 * 4600 * COLOURS.mean() / (1023 - 64)
        assert abs(light - expected) < 4 * sigma
        assert sigma < 1e-4


def test_a_stack_with_other_statistics_is_another_estimate() -> None:
    """Twice the variance at every light is twice the gain: nothing is fixed in advance."""
    sensor = Poisson(Truth(), 13)
    dark, light = sensor.dark(), sensor.light()
    doubled = [replace(stack, temporal_dn2=2 * stack.temporal_dn2) for stack in light]
    darker = [replace(stack, temporal_dn2=2 * stack.temporal_dn2) for stack in dark]
    once, twice = estimate_sensor(dark, light), estimate_sensor(darker, doubled)
    assert twice.system_gain_dn_per_e.value == pytest.approx(2 * once.system_gain_dn_per_e.value, rel=1e-6)
