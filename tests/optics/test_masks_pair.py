"""Two sub-apertures before one sensor: their pictures, cut out of the frame, are what each alone would give."""

import json

import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

from optics.mask import Geometry, Mask, MaskError
from optics.masks import AperturePair, cut_pictures, height_map_mask, pair_mask, sub_aperture_pair
from optics.materials import N_BK7

SMALL = Geometry(psf_px=(15, 15))


def masks(cells=30, **changes):
    rng = np.random.default_rng(0)
    return tuple(height_map_mask(rng.uniform(0, 1e-6, (cells, cells)), 2e-6, SMALL, **changes) for _ in range(2))


def sensor_frame(pair, kernels, scene, px):
    """What a sensor of px sees of a far scene (rows, columns) around the axis: both pictures, added."""
    frame = np.zeros(px)
    for centre, kernel in zip(pair.centres_px, kernels, strict=True):
        image = scipy.signal.fftconvolve(scene, kernel, mode="full")
        for axis in (0, 1):
            middle = scene.shape[axis] // 2 + kernel.shape[axis] // 2
            first = px[axis] // 2 + centre[axis] - middle
            # Light beyond the sensor is lost.
            keep = slice(max(0, -first), max(0, min(image.shape[axis], px[axis] - first)))
            image = np.take(image, range(keep.start, keep.stop), axis=axis)
            before = max(first, 0)
            padding = [(0, 0), (0, 0)]
            padding[axis] = (before, px[axis] - before - image.shape[axis])
            image = np.pad(image, padding)
        frame += image
    return frame


@pytest.mark.parametrize("along", ["columns", "rows"])
@pytest.mark.parametrize("scene_px", [(24, 32), (25, 31)])
def test_each_picture_is_what_its_own_aperture_gives(along, scene_px):
    rng = np.random.default_rng(4)
    pair = sub_aperture_pair(*masks(), scene_px, along)
    kernels = [rng.uniform(size=(15, 15)) for _ in range(2)]
    scene = rng.uniform(size=(scene_px[0] + 14, scene_px[1] + 14))  # all that the picture needs
    frame = sensor_frame(pair, kernels, scene, pair.sensor_px)
    for picture, kernel in zip(cut_pictures(frame, pair), kernels, strict=True):
        alone = scipy.signal.fftconvolve(scene, kernel, mode="valid")
        np.testing.assert_allclose(picture, alone, atol=1e-9)


def test_one_pixel_closer_and_the_pictures_mix():
    pair = sub_aperture_pair(*masks(), (24, 32))
    assert pair.separation_px == 32 + 15 - 1
    assert pair.field_rad == pytest.approx(pair.free_field_rad)
    with pytest.raises(MaskError, match=r"at least 46 pixels apart.*wall"):
        sub_aperture_pair(*masks(), (24, 32), separation_px=45)
    closer = AperturePair(pair.plus, pair.minus, pair.scene_px, "columns", 45, False)
    scene, kernels = np.ones((38, 46)), [np.ones((15, 15))] * 2
    for which in (pair, closer):
        picture, _ = cut_pictures(sensor_frame(which, kernels, scene, which.sensor_px), which)
        # Alone each gives 15 x 15 everywhere.
        assert (picture.max() > 226) == (which is closer)


def test_a_wall_lets_them_stand_closer_but_not_overlap():
    pair = sub_aperture_pair(*masks(), (24, 32), wall=True)
    assert pair.separation_px == 32
    assert pair.free_field_rad == np.pi / 2
    wide = sub_aperture_pair(*masks(cells=150), (24, 32), wall=True)
    assert wide.separation_px == 50  # 150 cells of 2 um are 50 pixels of 6 um


def test_angles_and_distances():
    pair = sub_aperture_pair(*masks(), (24, 32), separation_px=60)
    assert pair.separation_m == pytest.approx(360e-6)
    assert pair.centres_px == ((0, -30), (0, 30))
    np.testing.assert_allclose(pair.centres_m, [(0, -180e-6), (0, 180e-6)])
    assert np.tan(pair.field_rad) == pytest.approx((16 + 7) * 6e-6 / 5e-3)
    assert np.tan(pair.free_field_rad) == pytest.approx((60 - 16 - 7) * 6e-6 / 5e-3)
    # Similar triangles: a point at distance s has its pictures S (1 + z / s) apart.
    assert pair.misregistration_px(1.0) == pytest.approx(60 * 5e-3)
    assert pair.misregistration_px(pair.nearest_m) == pytest.approx(0.5)


def test_the_report_is_json_and_says_where_to_put_things():
    pair = sub_aperture_pair(*masks(), (24, 32), separation_px=60)
    report = json.loads(json.dumps(pair.report))
    assert report["separation_m"] == pytest.approx(360e-6)
    assert report["pictures_px"] == {"plus": [0, -30], "minus": [0, 30], "size": [24, 32]}
    assert report["sensor_px"] == list(pair.sensor_px)
    assert report["open_area_m2"]["plus"] == pytest.approx(np.pi * 30e-6**2, rel=0.03)
    assert "0.360 mm (60 pixels) apart along the columns" in report["sentence"]
    assert "degrees" in report["sentence"]
    assert "degrees" not in sub_aperture_pair(*masks(), (24, 32), wall=True).report["sentence"]


@given(st.integers(1, 60), st.integers(1, 60), st.booleans(), st.booleans())
def test_the_smallest_sensor_just_holds_both(rows, columns, wall, across):
    pair = sub_aperture_pair(*masks(cells=4), (rows, columns), "rows" if across else "columns", wall=wall)
    frame = np.arange(np.prod(pair.sensor_px)).reshape(pair.sensor_px)
    plus, minus = cut_pictures(frame, pair)
    assert plus.shape == minus.shape == (rows, columns)
    assert not np.intersect1d(plus, minus).size
    for axis in (0, 1):
        smaller = np.delete(frame, -1, axis)
        if 0 not in smaller.shape:
            with pytest.raises(MaskError, match="does not hold"):
                cut_pictures(smaller, pair)


@pytest.mark.parametrize("along", ["columns", "rows"])
def test_the_plate_holds_both_masks_at_their_distance(along):
    plus, minus = masks()
    pair = sub_aperture_pair(plus, minus, (24, 32), along)
    plate = pair_mask(pair)
    if along == "rows":
        np.testing.assert_array_equal(plate.height_m[:30], plus.height_m)
        np.testing.assert_array_equal(plate.stop[-30:], minus.stop)
    else:
        np.testing.assert_array_equal(plate.height_m[:, :30], plus.height_m)
        np.testing.assert_array_equal(plate.stop[:, -30:], minus.stop)
    assert plate.stop.sum() == plus.stop.sum() + minus.stop.sum()
    apart = max(plate.height_m.shape) - 30
    assert apart * plate.pitch_m == pytest.approx(pair.separation_m)


def test_masks_that_do_not_belong_together_are_refused():
    plus, minus = masks()
    with pytest.raises(MaskError, match="one material"):
        sub_aperture_pair(plus, masks(material=N_BK7)[1], (24, 32))
    with pytest.raises(MaskError, match="as many cells"):
        sub_aperture_pair(plus, masks(cells=31)[0], (24, 32))
    with pytest.raises(MaskError, match="one pitch_m"):
        sub_aperture_pair(plus, Mask(minus.height_m, 3e-6, geometry=SMALL), (24, 32))
    with pytest.raises(MaskError, match="along"):
        sub_aperture_pair(plus, minus, (24, 32), "sideways")
    with pytest.raises(MaskError, match="scene_px"):
        sub_aperture_pair(plus, minus, (24, 0))
    with pytest.raises(MaskError, match="4096"):
        pair_mask(sub_aperture_pair(plus, minus, (24, 32), separation_px=1400))


def test_cells_and_pixels_must_meet():
    four = [Mask(np.zeros((30, 30)), 4e-6, geometry=SMALL) for _ in range(2)]
    pair = sub_aperture_pair(*four, (24, 32))
    assert pair.separation_px == 46
    assert sub_aperture_pair(*four, (24, 33)).separation_px == 48  # 47 pixels are 70.5 cells
    with pytest.raises(MaskError, match=r"70\.500 cells.*choose 48"):
        sub_aperture_pair(*four, (24, 32), separation_px=47)
    odd = [Mask(np.zeros((30, 30)), np.pi * 1e-6, geometry=SMALL) for _ in range(2)]
    with pytest.raises(MaskError, match="no common multiple"):
        sub_aperture_pair(*odd, (24, 32))
