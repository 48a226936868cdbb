"""The encoding: what it accepts, its orientation and edges, and equality with the slow implementation."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optics.encoding import (
    Encoding,
    RemainderWarning,
    convolve_planes,
    convolve_psf,
    encode,
    normalised,
    pool_planes,
    pooled,
    quantize,
)

from .oracle import close_calls, slow_cells, slow_codes, slow_convolution

LEVELS = np.linspace(0.05, 0.95, 15, dtype=np.float32)
TOLERANCE = 1e-5


def delta(height: int = 3, width: int = 3, row: int | None = None, column: int | None = None) -> np.ndarray:
    kernel = np.zeros((1, height, width), dtype=np.float32)
    kernel[0, height // 2 if row is None else row, width // 2 if column is None else column] = 1
    return kernel


def point_scene(row: int, column: int, size: int = 96) -> np.ndarray:
    scene = np.zeros((size, size, 3), dtype=np.float32)
    scene[row, column] = (1.0, 0.5, 0.25)
    return scene


# --- what it is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(3, 5), (4, 6), (5, 4), (21, 33), (24, 18), (63, 63)])
def test_a_point_of_light_becomes_the_kernel_itself(height: int, width: int) -> None:
    # True convolution: a correlation would show the kernel rotated by 180 degrees. Small kernels are summed directly,
    # large ones transformed; odd and even sizes put the tap at (height // 2, width // 2) on the point.
    rng = np.random.default_rng(1)
    kernel = rng.random((1, height, width), dtype=np.float32)
    planes = convolve_planes(point_scene(40, 50), Encoding(kernel, LEVELS))
    top, left = 40 - height // 2, 50 - width // 2
    for colour, brightness in enumerate((1.0, 0.5, 0.25)):
        spot = planes[colour, top : top + height, left : left + width]
        np.testing.assert_allclose(spot, kernel[0] * brightness, atol=1e-5)
        outside = planes[colour].copy()
        outside[top : top + height, left : left + width] = 0
        assert np.abs(outside).max() < 1e-5


def test_an_asymmetric_kernel_moves_light_the_way_it_points() -> None:
    scene = point_scene(4 * 8 + 3, 5 * 8 + 3)
    down_right = Encoding(delta(33, 33, 16 + 8, 16 + 16), LEVELS)
    lit = np.argwhere(encode(scene, down_right)[:, :, 0])
    assert lit.tolist() == [[5, 7]]


def test_channels_are_filter_major_and_every_colour_has_the_same_kernel() -> None:
    kernels = np.concatenate([delta(), 0.5 * delta(), 0.25 * delta()])
    scene = np.broadcast_to(np.float32([1.0, 0.8, 0.4]), (16, 24, 3)).copy()
    cells = pooled(scene, Encoding(kernels, LEVELS))
    assert cells.shape == (2, 3, 9)
    np.testing.assert_allclose(cells[1, 2], [1.0, 0.8, 0.4, 0.5, 0.4, 0.2, 0.25, 0.2, 0.1], rtol=1e-6)


def test_the_edge_pixels_continue_beyond_the_edges() -> None:
    scene = np.zeros((16, 16, 3), dtype=np.float32)
    scene[:, -1] = 1
    to_the_left = Encoding(delta(1, 63, 0, 0), LEVELS)  # brings the light from 31 pixels further right
    assert pooled(scene, to_the_left).min() == pytest.approx(1, abs=1e-6)


def test_a_code_counts_the_thresholds_at_or_below_the_value() -> None:
    thresholds = np.float32([0.25] * 5 + [0.5] * 5 + [0.75] * 5)
    values = np.float32([0.0, np.nextafter(np.float32(0.25), 0), 0.25, 0.4, 0.5, 0.75, 1.0, 7.0])
    assert quantize(values, thresholds).tolist() == [0, 0, 5, 5, 10, 15, 15, 15]
    scene = np.zeros((8, 64, 3), dtype=np.float32)
    scene[3, 5::8] = values[:, None]
    assert encode(scene, Encoding(delta(), thresholds))[0, :, 1].tolist() == [0, 0, 5, 5, 10, 15, 15, 15]


def test_a_cell_is_the_maximum_of_its_pixels() -> None:
    scene = point_scene(9, 23, 32)
    cells = pooled(scene, Encoding(delta(), LEVELS))
    assert cells[1, 2].tolist() == [1.0, 0.5, 0.25]
    assert np.count_nonzero(cells) == 3


def test_pool_planes_is_what_pooled_does() -> None:
    rng = np.random.default_rng(2)
    scene = rng.random((50, 70, 3), dtype=np.float32)
    encoding = Encoding(rng.random((2, 9, 9), dtype=np.float32) / 81, LEVELS)
    with pytest.warns(RemainderWarning):
        cells = pooled(scene, encoding)
    np.testing.assert_allclose(pool_planes(convolve_planes(scene, encoding), 8), cells, atol=1e-6)
    with pytest.raises(ValueError, match="hold no cell"):
        pool_planes(np.zeros((3, 7, 80), dtype=np.float32), 8)


# --- range --------------------------------------------------------------------------------------------------------


def test_per_frame_stretches_over_all_channels_together() -> None:
    scene = np.zeros((16, 16, 3), dtype=np.float32)
    scene[:8, :8, 0], scene[8:, 8:, 2] = 0.1, 0.4
    cells = pooled(scene, Encoding(delta(), LEVELS, range="per_frame"))
    assert (cells.min(), cells.max()) == (0, 1)
    assert cells[0, 0, 0] == pytest.approx(0.25)


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("size", [3, 31])
def test_a_constant_frame_has_no_contrast_to_stretch(level: float, size: int) -> None:
    kernel = np.random.default_rng(3).random((1, size, size), dtype=np.float32)
    scene = np.full((64, 80, 3), level, dtype=np.float32)
    encoding = Encoding(kernel / kernel.sum(), LEVELS, range="per_frame")
    assert not pooled(scene, encoding).any()
    assert not encode(scene, encoding).any()
    fixed = pooled(scene, Encoding(encoding.kernels, LEVELS))
    assert fixed == pytest.approx(np.full(fixed.shape, level), abs=1e-6)


@pytest.mark.parametrize("size", [5, 31])
def test_a_faint_contrast_on_bright_light_keeps_its_digits(size: int) -> None:
    # Behind a wide kernel a few parts in a million are left, near the resolution of float32 at the light's level.
    rng = np.random.default_rng(8)
    scene = np.float32(0.8) + np.float32(1e-3) * rng.random((64, 64, 3), dtype=np.float32)
    encoding = Encoding(np.full((1, size, size), 1 / size**2, dtype=np.float32), LEVELS, range="per_frame")
    assert np.abs(pooled(scene, encoding) - slow_cells(scene, encoding)).max() <= TOLERANCE


@pytest.mark.parametrize("size", [5, 31])
def test_a_constant_frame_behind_a_kernel_without_sum_is_constant(size: int) -> None:
    kernel = np.random.default_rng(9).standard_normal((1, size, size)).astype(np.float32)
    kernel -= kernel.mean()
    scene = np.full((40, 40, 3), 0.7, dtype=np.float32)
    assert not pooled(scene, Encoding(kernel, LEVELS, range="per_frame")).any()


def test_normalised_keeps_order_and_ends() -> None:
    cells = np.float32([[-3.0, 1.0, 5.0]])
    assert normalised(cells).tolist() == [[0.0, 0.5, 1.0]]


# --- equality with the slow implementation ------------------------------------------------------------------------


@st.composite
def encodings_and_scenes(draw: st.DrawFn) -> tuple[Encoding, np.ndarray]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pool = draw(st.sampled_from([1, 2, 5, 8]))
    filters = draw(st.integers(1, 3))
    kernels = rng.random((filters, draw(st.integers(1, 24)), draw(st.integers(1, 24))), dtype=np.float32)
    signed = draw(st.booleans())
    if signed:
        kernels -= np.float32(0.5)
    kernels[rng.random(kernels.shape) < draw(st.sampled_from([0, 0.5, 0.95]))] = 0
    kernels /= max(float(np.abs(kernels).sum(axis=(1, 2)).max()), 1e-3)
    scene = rng.random((draw(st.integers(pool, 48)), draw(st.integers(pool, 48)), 3), dtype=np.float32)
    scene = scene ** np.float32(draw(st.sampled_from([1, 4])))
    thresholds = np.sort(rng.random(15, dtype=np.float32))
    if draw(st.booleans()):
        thresholds = np.sort(rng.choice(thresholds[:3], 15))
    return Encoding(kernels, thresholds, pool, draw(st.sampled_from(["fixed", "per_frame"]))), scene


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(encodings_and_scenes())
def test_codes_equal_the_slow_ones_away_from_thresholds(case: tuple[Encoding, np.ndarray]) -> None:
    encoding, scene = case
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RemainderWarning)
        codes, cells = encode(scene, encoding), pooled(scene, encoding)
        assert np.array_equal(codes, encode(scene, encoding, threads=1))
    expected = slow_cells(scene, encoding)
    assert codes.dtype == np.uint8
    assert codes.shape == (scene.shape[0] // encoding.pool, scene.shape[1] // encoding.pool, encoding.filters * 3)
    assert np.abs(cells - expected).max() <= TOLERANCE
    clear = ~close_calls(expected, encoding, TOLERANCE)
    assert np.array_equal(codes[clear], slow_codes(expected, encoding)[clear])


def test_a_large_frame_of_many_tiles_equals_the_slow_one() -> None:
    rng = np.random.default_rng(4)
    kernels = rng.standard_normal((1, 40, 31)).astype(np.float32)
    kernels /= np.abs(kernels).sum()
    scene = rng.random((248, 1208, 3), dtype=np.float32)
    encoding = Encoding(kernels, LEVELS)
    assert np.abs(pooled(scene, encoding) - slow_cells(scene, encoding)).max() < 1e-6


@pytest.mark.parametrize("kernel_px", [(1, 1), (5, 7), (6, 6), (31, 20)])
@pytest.mark.parametrize("filters", [None, 2])
def test_each_colour_can_have_its_own_psf(kernel_px: tuple[int, int], filters: int | None) -> None:
    rng = np.random.default_rng(5)
    scene = rng.random((150, 203, 3), dtype=np.float32)
    psf = rng.random(((filters,) if filters else ()) + (3, *kernel_px), dtype=np.float32) - np.float32(0.2)
    psf /= np.abs(psf).sum(axis=(-2, -1), keepdims=True)
    planes = convolve_psf(scene, psf)
    for channel, kernel in enumerate(psf.reshape(-1, *kernel_px).astype(np.float64)):
        slow = slow_convolution(scene[:, :, channel % 3].astype(np.float64), kernel)
        np.testing.assert_allclose(planes[channel], slow, atol=2e-6)
    # The same kernel for all colours is what an encoding does.
    if filters is None:
        same = np.repeat(psf[:1], 3, axis=0)
        encoding = Encoding(psf[:1], np.linspace(0, 1, 15, dtype=np.float32))
        np.testing.assert_allclose(convolve_psf(scene, same), convolve_planes(scene, encoding), atol=2e-6)


def test_a_psf_without_three_colours_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, h, w\)"):
        convolve_psf(point_scene(4, 4), np.ones((2, 3, 3), np.float32))


def test_results_depend_neither_on_threads_nor_on_memory_layout() -> None:
    rng = np.random.default_rng(5)
    scene = rng.random((480, 640, 3), dtype=np.float32)
    scene.flags.writeable = False
    encoding = Encoding(rng.random((1, 63, 63), dtype=np.float32) / 2000, LEVELS)
    cells = pooled(scene, encoding)
    for threads in (1, 3, 5):
        assert np.array_equal(cells, pooled(scene, encoding, threads))
    assert np.array_equal(cells, pooled(np.asfortranarray(scene), encoding))
    mirrored = np.ascontiguousarray(scene[::-1])[::-1]
    assert np.array_equal(cells, pooled(mirrored, encoding))


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel_px", [3, 31])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "NaN or infinity in 1 of its 76800 values, first at row 90, column 100, colour 2"),
        (np.inf, "NaN or infinity"),
        (-0.01, "negative light"),
        (2e6, "light above"),
    ],
)
def test_light_that_is_none_is_refused_with_its_place(kernel_px: int, value: float, message: str) -> None:
    scene = np.full((160, 160, 3), 0.5, dtype=np.float32)
    scene[90, 100, 2] = value
    with pytest.raises(ValueError, match=message):
        encode(scene, Encoding(delta(kernel_px, kernel_px, 0, 0), LEVELS))


@pytest.mark.parametrize(
    ("scene", "kind", "message"),
    [
        (np.zeros((16, 16, 3)), TypeError, "float32.*got float64"),
        (np.zeros((16, 16, 3), dtype=np.uint8), TypeError, "got uint8: linearise"),
        ([[0.0]], TypeError, "got list"),
        (np.zeros((16, 16), dtype=np.float32), ValueError, r"\(height, width, 3\), got \(16, 16\)"),
        (np.zeros((16, 16, 4), dtype=np.float32), ValueError, r"got \(16, 16, 4\)"),
        (np.zeros((7, 16, 3), dtype=np.float32), ValueError, "7 x 16 pixels holds no cell of 8 x 8"),
    ],
)
def test_what_is_no_scene_is_refused(scene: np.ndarray, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        encode(scene, Encoding(delta(), LEVELS))


def test_a_remainder_is_dropped_and_said() -> None:
    scene = np.zeros((21, 35, 3), dtype=np.float32)
    scene[16:, :], scene[:, 32:] = 1, 1
    with pytest.warns(RemainderWarning, match="last 5 rows and 3 columns are not measured"):
        codes = encode(scene, Encoding(delta(), LEVELS))
    assert codes.shape == (2, 4, 3)
    assert not codes.any()


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"kernels": np.zeros((1, 3, 3))}, TypeError, "kernels must be a float32"),
        ({"kernels": np.zeros((3, 3), dtype=np.float32)}, ValueError, r"\(filters, height, width\)"),
        ({"kernels": np.zeros((0, 3, 3), dtype=np.float32)}, ValueError, "none of them 0"),
        ({"kernels": np.full((1, 3, 3), np.nan, dtype=np.float32)}, ValueError, "kernels must be finite"),
        ({"kernels": np.full((1, 3, 3), 1e30, dtype=np.float32)}, ValueError, "add up to at most"),
        ({"thresholds": np.zeros(15)}, TypeError, "thresholds must be a float32"),
        ({"thresholds": np.zeros(14, dtype=np.float32)}, ValueError, r"shape \(15,\)"),
        ({"thresholds": LEVELS[::-1].copy()}, ValueError, "must ascend"),
        ({"thresholds": LEVELS * 15}, ValueError, r"fractions of full scale in \[0, 1\]"),
        ({"thresholds": np.full(15, np.nan, dtype=np.float32)}, ValueError, "thresholds must be finite"),
        ({"pool": 0}, ValueError, "pool must be between"),
        ({"pool": 8.0}, TypeError, "whole number"),
        ({"pool": True}, TypeError, "whole number"),
        ({"range": "per_image"}, ValueError, '"fixed" or "per_frame"'),
    ],
)
def test_what_is_no_encoding_is_refused(changes: dict[str, object], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Encoding(**{"kernels": delta(), "thresholds": LEVELS, **changes})  # type: ignore[arg-type]


# --- identity and description -------------------------------------------------------------------------------------


def test_the_id_is_of_the_content_and_of_all_of_it() -> None:
    base = Encoding(delta(), LEVELS)
    assert base == Encoding(delta().copy(), LEVELS.copy(), np.int64(8))  # type: ignore[arg-type]
    assert hash(base) == hash(Encoding(delta(), LEVELS))
    assert base == Encoding(-1 * (-1 * delta()), LEVELS)  # with zeros that carry a sign
    others = [
        Encoding(delta(5, 3), LEVELS),
        Encoding(delta() * np.float32(0.5), LEVELS),
        Encoding(delta(), LEVELS * np.float32(0.5)),
        Encoding(delta(), LEVELS, pool=4),
        Encoding(delta(), LEVELS, range="per_frame"),
        Encoding(delta().reshape(1, 1, 9), LEVELS),
    ]
    assert len({base.id, *(other.id for other in others)}) == 7
    assert base != "an encoding"


def test_an_encoding_cannot_change_behind_its_id() -> None:
    kernels = delta()
    encoding = Encoding(kernels, LEVELS)
    kernels[:] = 0
    assert encoding.kernels.sum() == 1
    with pytest.raises(ValueError, match="read-only"):
        encoding.thresholds[0] = 0.5


def test_effective_levels_count_distinct_thresholds() -> None:
    assert Encoding(delta(), LEVELS).effective_levels == 16
    assert Encoding(delta(), np.full(15, 0.5, dtype=np.float32)).effective_levels == 2


def test_realisable_means_a_passive_mask_could_do_it() -> None:
    blur = np.random.default_rng(6).random((2, 63, 63), dtype=np.float32)
    blur /= blur.sum(axis=(1, 2), keepdims=True)
    encoding = Encoding(blur, LEVELS)
    assert encoding.realisable
    assert encoding.throughput == pytest.approx([1, 1], abs=1e-6)
    signed = blur.copy()
    signed[1, 0, 0] = -1e-6
    assert not Encoding(signed, LEVELS).realisable
    assert not Encoding(blur * np.float32([[[1]], [[1.01]]]), LEVELS).realisable
