"""The sensor's noise against the analytic results of the linear camera model (EMVA 1288)."""

from itertools import pairwise

import numpy as np
import pytest

from host.twin.sensor import IDEAL, SensorModel, expose, make_sensor

SHAPE = (1, 200, 300)
PIXELS = 60_000


def _flat(value: float) -> np.ndarray:
    return np.full(SHAPE, value, np.float32)


def _expose(
    value: float, model: SensorModel, exposure_us: float = 10_000, gain: float = 1.0, seed: int = 0
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    sensor = make_sensor(model, SHAPE, rng)
    return expose(_flat(value), exposure_us, gain, sensor, rng)


def _temporal_variance(value: float, model: SensorModel, **settings: float) -> tuple[float, float]:
    """Mean and variance over time: from the difference of two exposures, so that the fixed pattern drops out."""
    rng = np.random.default_rng(1)
    sensor = make_sensor(model, SHAPE, rng)
    settings = {"exposure_us": 10_000, "gain": 1.0, **settings}
    first, second = (expose(_flat(value), sensor=sensor, rng=rng, **settings).copy() for _ in range(2))
    return float((first.mean() + second.mean()) / 2), float((first - second).var() / 2)


@pytest.mark.parametrize("gain", [0.5, 1.0, 4.0])
def test_photon_transfer_slope_is_the_gain(gain: float) -> None:
    # Variance against mean is a line; its slope is the gain from electrons to output: gain / full well.
    model = SensorModel(full_well_electrons=5000, read_noise_electrons=2, prnu_percent=1)
    points = [_temporal_variance(value / gain, model, gain=gain) for value in np.linspace(0.05, 0.4, 8)]
    means, variances = np.array(points).T
    slope, offset = np.polyfit(means, variances, 1)
    assert slope == pytest.approx(gain / 5000, rel=0.04)
    assert offset == pytest.approx(0, abs=0.05 * slope)


def test_read_noise_is_the_floor_without_light() -> None:
    model = SensorModel(full_well_electrons=10_000, read_noise_electrons=7, dark_current_electrons_per_s=0)
    mean, variance = _temporal_variance(0, model)
    assert np.sqrt(variance) == pytest.approx(7 / 10_000, rel=0.02)
    assert mean == pytest.approx(0, abs=5 * 7 / 10_000 / np.sqrt(PIXELS))


def test_dark_signal_grows_with_the_exposure_and_has_shot_noise() -> None:
    model = SensorModel(read_noise_electrons=0, dark_current_electrons_per_s=20_000, prnu_percent=0)
    short = _temporal_variance(0, model, exposure_us=10_000)
    long = _temporal_variance(0, model, exposure_us=30_000)
    assert short[0] == pytest.approx(200 / 10_000, rel=0.01)
    assert long[0] == pytest.approx(600 / 10_000, rel=0.01)
    assert long[1] == pytest.approx(600 / 10_000**2, rel=0.03)


def test_prnu_is_a_fixed_pattern_in_proportion_to_the_light() -> None:
    model = SensorModel(
        full_well_electrons=1e12, read_noise_electrons=0, dark_current_electrons_per_s=0, prnu_percent=2
    )
    sensor = make_sensor(model, SHAPE, np.random.default_rng(2))
    dim, bright = (expose(_flat(value), 10_000, 1, sensor, np.random.default_rng(3)).copy() for value in (0.1, 0.4))
    assert dim.std() / dim.mean() == pytest.approx(0.02, rel=0.02)
    np.testing.assert_allclose(bright, 4 * dim, rtol=1e-4)


def test_mean_follows_exposure_and_gain() -> None:
    for exposure_us, gain in ((10_000, 1.0), (5_000, 1.0), (5_000, 3.0), (20_000, 1.5)):
        values = _expose(0.2, SensorModel(), exposure_us, gain)
        assert values.mean() == pytest.approx(0.2 * exposure_us * gain / 10_000, rel=2e-3)


def test_saturation_clips_at_full_scale_and_at_the_full_well() -> None:
    assert (_expose(3.0, SensorModel()) == 1.0).all()
    assert (_expose(0.5, SensorModel(), gain=16) == 1.0).all()
    # Below gain 1 the well is full before the scale is.
    assert (_expose(3.0, SensorModel(), gain=0.5) == 0.5).all()


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_quantization_noise_is_a_twelfth_of_a_step(bits: int) -> None:
    model = SensorModel(
        full_well_electrons=1e16, read_noise_electrons=0, dark_current_electrons_per_s=0, prnu_percent=0, bits=bits,
        black_level_dn=4,
    )  # fmt: skip
    rng = np.random.default_rng(4)
    light = rng.random(SHAPE, dtype=np.float32) * np.float32(0.9)
    values = expose(light, 10_000, 1, make_sensor(model, SHAPE, rng), rng)
    steps = 2**bits - 1 - 4
    error = (values.astype(np.float64) - light) * steps
    assert error.var() == pytest.approx(1 / 12, rel=0.03)
    assert np.abs(error).max() < 0.51
    np.testing.assert_allclose(values * steps, np.rint(values * steps), atol=0.01)


def test_black_level_keeps_the_noise_around_black() -> None:
    model = SensorModel(read_noise_electrons=20, dark_current_electrons_per_s=0, bits=10, black_level_dn=64)
    values = _expose(0, model)
    assert values.min() < 0
    assert values.mean() == pytest.approx(0, abs=1e-4)
    without = _expose(0, SensorModel(read_noise_electrons=20, dark_current_electrons_per_s=0, bits=10))
    assert without.min() == 0


def test_an_ideal_sensor_changes_nothing() -> None:
    rng = np.random.default_rng(5)
    light = rng.random(SHAPE, dtype=np.float32)
    np.testing.assert_allclose(expose(light, 10_000, 1, make_sensor(IDEAL, SHAPE, rng), rng), light, atol=2e-5)


def test_light_that_rounding_left_below_zero_is_no_light() -> None:
    model = SensorModel(read_noise_electrons=0, dark_current_electrons_per_s=0)
    values = _expose(-1e-7, model)
    assert np.isfinite(values).all()


def test_samples_are_normal_and_independent() -> None:
    model = SensorModel(
        full_well_electrons=1e4, read_noise_electrons=10, dark_current_electrons_per_s=0, prnu_percent=0
    )
    rng = np.random.default_rng(6)
    sensor = make_sensor(model, SHAPE, rng)
    exposures = np.stack([expose(_flat(0), 10_000, 1, sensor, rng)[0] * 1000 for _ in range(12)])
    assert exposures.mean() == pytest.approx(0, abs=0.01)
    assert exposures.std() == pytest.approx(1, rel=0.01)
    assert ((exposures / exposures.std()) ** 4).mean() == pytest.approx(3, abs=0.1)
    limit = 5 / np.sqrt(PIXELS)
    for one, other in pairwise(exposures):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < limit, "two exposures at the same pixel"
    for frame in exposures:
        assert abs(np.corrcoef(frame[:, 1:].ravel(), frame[:, :-1].ravel())[0, 1]) < limit
        assert abs(np.corrcoef(frame[1:].ravel(), frame[:-1].ravel())[0, 1]) < limit


def test_a_seed_repeats_everything() -> None:
    np.testing.assert_array_equal(_expose(0.3, SensorModel(), seed=7), _expose(0.3, SensorModel(), seed=7))
    assert (_expose(0.3, SensorModel(), seed=7) != _expose(0.3, SensorModel(), seed=8)).any()


def test_work_memory_is_used_and_the_light_is_left_alone() -> None:
    rng = np.random.default_rng(8)
    sensor = make_sensor(SensorModel(), SHAPE, rng)
    light, work = _flat(0.3), np.empty((2, *SHAPE), np.float32)
    values = expose(light, 10_000, 1, sensor, rng, work)
    assert np.shares_memory(values, work)
    np.testing.assert_array_equal(light, _flat(0.3))


@pytest.mark.parametrize(
    "wrong",
    [
        {"full_well_electrons": 0}, {"read_noise_electrons": -1}, {"prnu_percent": float("nan")}, {"bits": 7},
        {"bits": 17}, {"black_level_dn": 64}, {"bits": 8, "black_level_dn": 128}, {"full_well_electrons": float("nan")},
    ],
)  # fmt: skip
def test_an_impossible_sensor_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"sensor|bits|black level"):
        SensorModel(**wrong)


def test_wrong_light_or_settings_are_refused() -> None:
    rng = np.random.default_rng(9)
    sensor = make_sensor(SensorModel(), SHAPE, rng)
    with pytest.raises(ValueError, match="irradiance must be float32"):
        expose(np.zeros((1, 2, 3), np.float32), 10_000, 1, sensor, rng)
    with pytest.raises(ValueError, match="irradiance must be float32"):
        expose(np.zeros(SHAPE), 10_000, 1, sensor, rng)
    for exposure_us, gain in ((0, 1), (10_000, 0), (float("nan"), 1)):
        with pytest.raises(ValueError, match="must be above 0"):
            expose(_flat(0), exposure_us, gain, sensor, rng)
