"""Predicted codes: exact without noise, right in the median with it, and as near to a twin's as its noise lets them."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from calibration.outcome import Kind
from host.board.thresholds import REFERENCE_VOLTS
from host.calibrate.results import Kept
from host.seal.sealed_model import (
    CodeModel,
    PixelNoise,
    designed_model,
    expected_cells,
    light_of_white,
    nominal_levels,
    predicted_codes,
    sealed_levels,
    sealed_model,
    sealed_noise,
)
from host.seal.sealing import seal
from host.twin.sensor import SensorModel
from host.twin.simulation import behind_mask, cell_volts, exposed, make_camera, workspace
from optics.bundle import Bundle, default_bundle_path, read_bundle
from optics.code_change import photographs
from optics.encoding import Encoding, encode
from tests.host.seal import parts

ROWS, COLUMNS = 96, 128


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(default_bundle_path())


@pytest.fixture(scope="module")
def scene() -> NDArray[np.float32]:
    return dict(photographs(ROWS, COLUMNS))["astronaut"]


def test_the_design_predicts_what_the_encoder_gives(bundle: Bundle, scene: NDArray[np.float32]) -> None:
    encoding = bundle.encoding
    rounded = Encoding(encoding.kernels, nominal_levels(bundle).astype(np.float32), encoding.pool)
    predicted = predicted_codes(designed_model(bundle), scene)
    # Cells within rounding of a threshold may fall on either side of it.
    assert (predicted == encode(scene, rounded)).mean() > 0.999
    assert predicted.max() > predicted.min()


def test_light_is_linear_in_exposure_and_gain(bundle: Bundle, scene: NDArray[np.float32]) -> None:
    half, double = designed_model(bundle, 5_000), designed_model(bundle, 5_000, 2.0)
    full = designed_model(bundle)
    assert np.array_equal(predicted_codes(double, scene), predicted_codes(full, scene))
    assert np.array_equal(predicted_codes(half, scene), predicted_codes(full, scene * np.float32(0.5)))


def test_comparators_may_cross(bundle: Bundle, scene: NDArray[np.float32]) -> None:
    model = designed_model(bundle)
    crossed = replace(model, levels=np.random.default_rng(1).permutation(model.levels))
    assert np.array_equal(predicted_codes(crossed, scene), predicted_codes(model, scene))


def plain_model(noise: PixelNoise | None, pool: int = 8, gain: float = 1.0) -> CodeModel:
    return CodeModel(np.ones((1, 3, 1, 1), np.float32), pool, np.linspace(0.05, 0.95, 15), 1.0, gain, noise)


@pytest.mark.parametrize("pool", [1, 2, 8, 16])
def test_a_flat_cell_reads_the_median_of_the_maximum_of_its_pixels(pool: int) -> None:
    noise = PixelNoise(10_000.0, 30.0, 2.0)
    value = 0.4
    planes = np.full((3, 2 * pool, 3 * pool), value, np.float32)
    sigma = np.sqrt(value / 10_000 + (30 / 10_000) ** 2 + (0.02 * value) ** 2)
    expected = value + sigma * norm.ppf(0.5 ** (1 / pool**2))
    assert np.allclose(expected_cells(planes, plain_model(noise, pool)), expected, atol=sigma / 100)


def test_colours_that_two_sites_measure_are_quieter() -> None:
    planes = np.full((3, 8, 8), 0.4, np.float32)
    found = expected_cells(planes, plain_model(PixelNoise(10_000.0, 3.0, 0.0, (1, 2, 1))))[0, 0] - 0.4
    assert found[0] == pytest.approx(found[2])
    assert found[1] == pytest.approx(found[0] / np.sqrt(2), rel=0.01)


def test_colours_that_were_scaled_have_scaled_noise() -> None:
    planes = np.full((3, 8, 8), 0.4, np.float32)
    planes[2] *= 2
    found = expected_cells(planes, plain_model(PixelNoise(10_000.0, 3.0, 0.0, gains=(1.0, 1.0, 2.0))))[0, 0]
    assert found[2] == pytest.approx(2 * found[0])


def test_uneven_cells_agree_with_many_simulated_exposures() -> None:
    rng = np.random.default_rng(2)
    planes = rng.uniform(0, 0.5, (3, 16, 16)).astype(np.float32) ** 2
    noise = PixelNoise(2_000.0, 20.0, 0.0)
    sigma = np.sqrt(planes / 2_000.0 + (20 / 2_000.0) ** 2)
    drawn = planes + sigma * rng.standard_normal((4_000, *planes.shape))
    cells = drawn.reshape(4_000, 3, 2, 8, 2, 8).max(axis=(3, 5)).transpose(0, 2, 3, 1)
    # The median of 4,000 draws has a standard error of 1.25 / sqrt(4000) standard deviations.
    tolerance = 5 * 1.25 / np.sqrt(4_000) * cells.std(axis=0).max()
    assert np.abs(expected_cells(planes, plain_model(noise)) - np.median(cells, axis=0)).max() < tolerance


def sealed(bundle: Bundle, given: dict[Kind, Kept] | None = None) -> Bundle:
    return seal(bundle, given or parts.all_parts(bundle), sealed_at=parts.SEALED_AT, by=parts.BY)


def test_each_calibration_takes_the_place_of_its_part_of_the_design(bundle: Bundle) -> None:
    made = sealed(bundle)
    designed = designed_model(bundle)
    full = sealed_model(made, "loop")
    levels = sealed_levels(made)
    assert levels is not None
    assert np.allclose(full.levels * REFERENCE_VOLTS, np.linspace(0.1, 2, 15))
    assert full.kernels.shape == (1, 3, 63, 63)
    # The boundary evens the colours out; a board sees them as they are.
    assert np.allclose(full.kernels.sum(axis=(0, 2, 3)), [0.9, 0.8, 0.7])
    assert np.allclose(sealed_model(made, "board").kernels.sum(axis=(0, 2, 3)), [0.9, 0.8 / 1.125, 0.7 / 1.25])
    assert full.light == pytest.approx(8_000 * 2 / 10_000)
    assert sealed_model(made, "loop", (4_000.0, 2.0)).light == pytest.approx(0.8)
    assert np.array_equal(sealed_model(made, "camera").levels, nominal_levels(bundle))
    nothing = sealed_model(made, "loop", parts=frozenset())
    assert np.array_equal(nothing.kernels, designed.kernels)
    assert np.array_equal(nothing.levels, designed.levels)
    assert sealed_model(bundle, "twin").light == 1.0


def test_the_sensors_noise_comes_from_its_calibration(bundle: Bundle) -> None:
    result = {"camera": parts.CAMERA, "bits": 10, "black_level_dn": 63.0, "system_gain_dn_per_e": 0.096,
              "read_noise_e": 2.0, "dsnu_e": 1.5, "prnu_percent": 0.8}  # fmt: skip
    made = sealed(bundle, {"sensor": parts.kept("sensor", result)})
    found = sealed_noise(made, "camera")
    assert found == PixelNoise(pytest.approx(10_000.0), 2.5, 0.8, (1, 2, 1))  # type: ignore[arg-type]
    assert sealed_noise(bundle, "camera") is None
    incomplete = sealed(bundle, {"sensor": parts.sensor()})
    assert sealed_noise(incomplete, "camera") is None


@pytest.mark.parametrize("white", [0.05, 1.0, 7.0])
def test_the_light_is_found_from_the_exposure_that_a_known_chart_asked_for(
    bundle: Bundle, scene: NDArray[np.float32], white: float
) -> None:
    chart = np.ascontiguousarray(scene.transpose(2, 0, 1))
    noise = PixelNoise(3_000.0, 5.0, 1.0)
    top = float(nominal_levels(bundle)[-1])
    exposed_model = replace(designed_model(bundle, 10_000 / white), noise=noise)
    # A simulation of its own: the exposure, for this light, at which 2 % of noisy cells reach the top.
    rng, factor = np.random.default_rng(5), 1.0
    for _ in range(6):
        light = chart * (white * exposed_model.light * factor)
        sigma = np.sqrt(light / 3_000 + (5 / 3_000) ** 2 + (0.01 * light) ** 2)
        noisy = light + sigma * rng.standard_normal(light.shape)
        cells = noisy.reshape(3, ROWS // 8, 8, COLUMNS // 8, 8).max(axis=(2, 4))
        factor *= top / np.quantile(cells, 0.98)
    model = replace(exposed_model, light=exposed_model.light * factor)
    assert light_of_white(model, chart, 0.02, top) == pytest.approx(white, rel=0.02)


def test_a_right_model_agrees_with_a_noisy_camera_as_well_as_the_camera_with_itself(
    bundle: Bundle, scene: NDArray[np.float32]
) -> None:
    """The twin's own simulation, another implementation: its noise is drawn pixel by pixel and pooled."""
    sensor = SensorModel(full_well_electrons=4_000.0, read_noise_electrons=8.0, prnu_percent=0.0)
    camera = make_camera(bundle.encoding, ROWS, COLUMNS, sensor, np.random.default_rng(3))
    light, work, rng = behind_mask(camera, scene), workspace(camera), np.random.default_rng(4)
    volts = [cell_volts(camera, exposed(camera, light, 10_000, 1.0, rng, work)) for _ in range(2)]
    levels = nominal_levels(bundle)
    one, other = ((each[..., np.newaxis] / REFERENCE_VOLTS >= levels).sum(axis=-1) for each in volts)
    model = designed_model(bundle)
    noisy = replace(model, noise=PixelNoise(4_000.0, 8.0, 0.0))
    limit = (one == other).mean()
    assert 0.5 < limit < 0.97
    knowing, naive = ((predicted_codes(each, scene) == one).mean() for each in (noisy, model))
    assert knowing > limit
    assert naive < knowing - 0.01
