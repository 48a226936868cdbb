"""The PSF over depth and field: a lens goes out of focus where it must, and stops being itself where it must."""

import json
import math

import numpy as np
import pytest

from optics.field import depth_scan, field_dependence
from optics.mask import Geometry, Mask, MaskError, cell_positions_m
from optics.materials import FUSED_SILICA, refractive_index
from optics.metrics import energy_radius

WAVELENGTH_M = 550e-9
GEOMETRY = Geometry(4e-3, 6e-6, (41, 41), (WAVELENGTH_M,) * 3)


def lens(cells: int = 101, pitch_m: float = 3e-6, object_m: float = math.inf) -> Mask:
    """Thin lens of 0.3 mm that images a point at `object_m` onto the sensor, 4 mm behind it."""
    x_m = cell_positions_m(cells, pitch_m)
    squared = x_m**2 + x_m[:, np.newaxis] ** 2
    height_m = -squared / 2 * (1 / 4e-3 + 1 / object_m) / (refractive_index(FUSED_SILICA, WAVELENGTH_M) - 1)
    return Mask(height_m - height_m.min(), pitch_m, geometry=GEOMETRY, surface="smooth")


def test_a_depth_scan_finds_the_plane_in_focus() -> None:
    distances_m = [12e-3, 20e-3, 50e-3, math.inf]
    scan = depth_scan(lens(object_m=20e-3), distances_m)
    assert scan.shape == (4, 3, 41, 41)
    assert scan.dtype == np.float32
    radii_m = np.array([energy_radius(each[1], 6e-6, 0.8)[0] for each in scan])
    assert radii_m.argmin() == 1
    # Out of focus light fills a cone: 80 % of it a circle of sqrt(0.8) of the stop's size times the defocus. In focus
    # diffraction remains, 9 um.
    for distance_m, radius_m in zip(distances_m, radii_m, strict=True):
        blur_m = math.sqrt(0.8) * 0.15e-3 * 4e-3 * abs(1 / distance_m - 1 / 20e-3)
        assert radius_m == pytest.approx(blur_m, abs=10e-6)


def test_a_distance_that_is_none() -> None:
    with pytest.raises(MaskError, match="source_distance_m"):
        depth_scan(lens(), [-1.0])


def test_a_lens_off_the_axis_is_astigmatic() -> None:
    """A thin lens at an angle focuses short of the plane (field curvature), more so across than along (Coddington)."""
    report = field_dependence(lens(), np.radians([0, 3, 15]), held=0.9)
    np.testing.assert_allclose(report.correlation[0], 1, atol=1e-6)
    assert (np.diff(report.correlation[:, 1]) < 0).all()
    assert report.correlation[1, 1] > 0.99
    assert report.correlation[2, 1] < 0.9
    low, high = report.correlation[1:, 1]
    by_hand = 3 + 12 * (low - 0.9) / (low - high)
    assert math.degrees(report.holds_to_rad[1]) == pytest.approx(by_hand)
    # The chief ray goes through the middle of a symmetric lens: along y nothing moves.
    assert np.abs(report.drift_px[:, 0]).max() <= 0.03
    plain = json.loads(json.dumps(report.summary(), allow_nan=False))
    assert plain["angles_deg"] == [0, 3, 15]


def test_the_field_is_the_same_in_all_directions_for_a_round_lens() -> None:
    along_x = field_dependence(lens(), [0.2])
    along_y = field_dependence(lens(), [0.2], azimuth_rad=math.pi / 2)
    assert along_x.angles_rad.tolist() == [0, 0.2]  # the axis is looked at in any case
    np.testing.assert_allclose(along_x.correlation, along_y.correlation, atol=1e-3)
    assert (field_dependence(lens(), [0.01]).holds_to_rad == math.inf).all()


def test_an_opening_casts_the_same_shadow_at_all_small_angles() -> None:
    """A hole of 0.2 mm, 0.5 mm above the sensor: its shadow follows the chief ray and keeps its shape and light."""
    stop = np.zeros((51, 51))
    stop[9:42, 9:42] = 1
    mask = Mask(np.zeros((51, 51)), 6e-6, geometry=Geometry(0.5e-3, 6e-6, (61, 61), (WAVELENGTH_M,) * 3), stop=stop)
    report = field_dependence(mask, np.radians([0, 10]))
    assert report.correlation.min() > 0.98
    np.testing.assert_allclose(report.throughput, 1, atol=0.03)
    assert np.abs(report.drift_px).max() < 0.2


@pytest.mark.parametrize("angles", [[], [-0.1, 0.2], [0.2, 0.1]])
def test_angles_that_do_not_ascend(angles: list[float]) -> None:
    with pytest.raises(ValueError, match="ascend"):
        field_dependence(lens(), angles)
    with pytest.raises(ValueError, match="held"):
        field_dependence(lens(), [0.1], held=1.5)
