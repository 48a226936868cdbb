"""Digital numbers of a mosaic against the linear camera model of EMVA Standard 1288, release 4.0 Linear, section 2.

mean = black + K * (quantum efficiency * photons + dark electrons) and temporal variance = K^2 * (electrons + read^2)
+ 1/12, with K = span * gain / full well.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from host.twin.mosaic import ROLLING_BANDS, MosaicSensor
from host.twin.sensor import SensorModel, expose, make_sensor
from tests.host.camera.worlds import QUIET, Changing, Fixed, flat

ROWS, COLUMNS = 120, 160
PIXELS = 4 * ROWS * COLUMNS


def _sensor(model: SensorModel, light: float = 0.3, bits: int = 12, seed: int = 0) -> MosaicSensor:
    world = flat(light, light, light, ROWS, COLUMNS)
    return MosaicSensor(world, model, np.random.default_rng(seed), bits=bits, black_dn=2.0 ** (bits - 4))


def _frames(sensor: MosaicSensor, count: int, exposure_us: float = 1e4, gain: float = 1.0) -> NDArray[np.uint16]:
    out = np.empty((count, 2 * ROWS, 2 * COLUMNS), np.uint16)
    for frame in out:
        sensor.take(0.0, exposure_us, gain, frame)
    return out


def _temporal(frames: NDArray[np.uint16]) -> tuple[float, float]:
    """Mean and temporal variance, from differences of frames, so that what does not change drops out."""
    differences = np.stack([one.astype(float) - other for one, other in pairwise(frames)])
    return float(frames.mean()), float(differences.var(axis=(1, 2)).mean() / 2)


@pytest.mark.parametrize("gain", [1.0, 4.0])
@pytest.mark.parametrize("efficiency", [1.0, 0.55])
@pytest.mark.parametrize("exposure_us", [2_500.0, 10_000.0])
def test_mean_and_variance_are_those_of_the_linear_model(gain: float, efficiency: float, exposure_us: float) -> None:
    model = SensorModel(
        full_well_electrons=8_000, read_noise_electrons=4, dark_current_electrons_per_s=2_000, prnu_percent=1.5,
        quantum_efficiency=efficiency, dsnu_electrons=2,
    )  # fmt: skip
    light, span = 0.15, 4095 - 256
    mean, variance = _temporal(_frames(_sensor(model, light), 6, exposure_us, gain))
    k = span * gain / 8_000
    electrons = efficiency * light * 8_000 * exposure_us / 1e4 + 2_000 * exposure_us / 1e6
    assert mean == pytest.approx(256 + k * electrons, rel=2e-3)
    assert variance == pytest.approx(k**2 * (electrons + 4**2) + 1 / 12, rel=0.02)


def test_dark_signal_non_uniformity_is_an_offset_that_stays() -> None:
    model = SensorModel(
        full_well_electrons=4_000, read_noise_electrons=1, dark_current_electrons_per_s=0, prnu_percent=0,
        dsnu_electrons=6,
    )  # fmt: skip
    k = (65535 - 4096) / 4_000
    sensor = _sensor(model, light=0.0, bits=16)
    dark, longer = _frames(sensor, 30), _frames(sensor, 30, exposure_us=4e4)
    # Averaging leaves the fixed pattern and a thirtieth of the temporal variance (its section 4.2).
    for frames in (dark, longer):
        spatial = frames.mean(axis=0).var() - _temporal(frames)[1] / 30
        assert np.sqrt(spatial) == pytest.approx(6 * k, rel=0.02)
    assert np.corrcoef(dark.mean(axis=0).ravel(), longer.mean(axis=0).ravel())[0, 1] > 0.99
    other = _frames(_sensor(model, light=0.0, bits=16, seed=1), 30)
    assert abs(np.corrcoef(dark.mean(axis=0).ravel(), other.mean(axis=0).ravel())[0, 1]) < 0.03, "another example"


def test_photo_response_non_uniformity_grows_with_the_light() -> None:
    model = SensorModel(full_well_electrons=1e9, read_noise_electrons=0, dark_current_electrons_per_s=0, prnu_percent=2)
    for light in (0.1, 0.5):
        frame = _frames(_sensor(model, light, bits=16), 1)[0].astype(float) - 4096
        assert frame.std() / frame.mean() == pytest.approx(0.02, rel=0.03)


def test_saturation_is_the_converters_end() -> None:
    assert (_frames(_sensor(SensorModel(), 5.0, bits=10), 1) == 1023).all()
    assert (_frames(_sensor(SensorModel(), 0.5, bits=10), 1, gain=8) == 1023).all()
    dim = _frames(_sensor(SensorModel(read_noise_electrons=60), 0.0, bits=10), 1)
    assert dim.min() < 64 < dim.max(), "noise around black is not cut off"


def test_every_site_sees_its_own_colour() -> None:
    sensor = MosaicSensor(flat(0.1, 0.2, 0.4, 8, 8), QUIET, np.random.default_rng(0), bits=12, black_dn=0, bayer="GBRG")
    out = np.empty((16, 16), np.uint16)
    sensor.take(0, 1e4, 1, out)
    expected = np.rint(4095 * np.array([[0.2, 0.4], [0.1, 0.2]]))
    np.testing.assert_allclose(out.reshape(8, 2, 8, 2).mean(axis=(0, 2)), expected, atol=1)
    assert sensor.size_px == (16, 16)


@pytest.mark.parametrize("rows", [3, 64])
def test_bands_of_a_rolling_shutter_are_exposed_one_after_the_other(rows: int) -> None:
    asked: list[float] = []

    def light(time_s: float) -> float:
        asked.append(time_s)
        return 0.1

    world = Changing(light, rows, 4)
    sensor = MosaicSensor(world, QUIET, np.random.default_rng(0), rolling_shutter_s=0.02)
    out = np.empty((2 * rows, 8), np.uint16)
    sensor.take(5.0, 4_000, 1, out)
    assert len(asked) == min(rows, ROLLING_BANDS)
    assert asked == sorted(asked)
    assert asked[0] >= 5.002, "the first row's middle"
    assert asked[-1] <= 5.022, "the last one's"
    assert (asked[0] + asked[-1]) / 2 == pytest.approx(5.012)


def test_new_terms_change_nothing_by_default() -> None:
    shape = (1, 20, 30)
    sensors = [
        make_sensor(SensorModel(dsnu_electrons=more), shape, np.random.default_rng(3))
        for more in (0.0, SensorModel().dsnu_electrons)
    ]
    light = np.full(shape, 0.2, np.float32)
    one, other = (expose(light, 1e4, 1, sensor, np.random.default_rng(4)) for sensor in sensors)
    np.testing.assert_array_equal(one, other)
    assert sensors[0].offset is None


@pytest.mark.parametrize(
    "wrong",
    [{"quantum_efficiency": 0}, {"quantum_efficiency": 1.1}, {"dsnu_electrons": -1}, {"dsnu_electrons": np.nan}],
)
def test_impossible_terms_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a sensor"):
        SensorModel(**wrong)


def test_a_sensor_model_with_a_converter_of_its_own_is_refused() -> None:
    with pytest.raises(ValueError, match="give it bits and black_dn"):
        MosaicSensor(Fixed(np.zeros((3, 2, 2), np.float32)), SensorModel(bits=10), np.random.default_rng(0))
