"""Lithography masks read back with gdstk: etchings add up to the mask, levels cover it once, marks show corners."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import optics.fabrication.gds as gds
from optics.fabrication import FabricationError, write_gds
from optics.mask import Mask, circular_stop

from .readers import EXTRA, gds_cover, heights_from_gds, heights_from_gds_levels, sidecar

gdstk = pytest.importorskip("gdstk", reason=EXTRA)

PITCH_M = 2e-6
EXACT_M = 1e-12


def open_mask(height_m: NDArray[np.float64], pitch_m: float = PITCH_M) -> Mask:
    return Mask(height_m, pitch_m, stop=np.ones(height_m.shape))


def purposes(path: Path) -> dict[int, str]:
    return {layer["layer"]: layer["purpose"] for layer in sidecar(path)["layers"]}


@st.composite
def stairs(draw: st.DrawFn) -> NDArray[np.float64]:
    rows, columns = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    if draw(st.booleans()):
        choice = [0.2e-6 + number * 37.3e-9 for number in range(draw(st.sampled_from([1, 2, 3, 8, 13, 16])))]
    else:
        choice = draw(st.lists(st.floats(0, 2e-6), min_size=1, max_size=7))
    cells = draw(st.lists(st.sampled_from(choice), min_size=rows * columns, max_size=rows * columns))
    return np.array(cells).reshape(rows, columns)


@given(stairs(), st.sampled_from(["sensor", "scene"]))
@settings(max_examples=80, deadline=None)
def test_etchings_and_levels_both_give_the_mask(
    tmp_path_factory: pytest.TempPathFactory, height_m: NDArray[np.float64], faces: str
) -> None:
    path = tmp_path_factory.mktemp("gds") / "mask.gds"
    result = write_gds(open_mask(height_m), path, faces=faces)  # type: ignore[arg-type]
    seen = height_m if faces == "sensor" else height_m[:, ::-1]
    assert np.abs(heights_from_gds(path) - seen).max() <= 2 * EXACT_M
    assert np.abs(heights_from_gds_levels(path) - seen).max() <= EXACT_M
    assert result.quantization_m == EXACT_M


@pytest.mark.parametrize(
    ("levels", "masks"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (16, 4), (33, 6), (64, 6)]
)
def test_binary_weighted_etchings(levels: int, masks: int) -> None:
    step_m = 50e-9
    etches = gds.etch_masks(np.arange(levels)[np.newaxis] * step_m)
    assert [each.depth_m for each in etches] == pytest.approx([step_m * 2**bit for bit in range(masks)])
    assert all(each.opened.any() for each in etches)


def test_levels_that_are_not_all_used_still_have_equal_steps() -> None:
    # 0, 1, 4 and 7 of 8 levels: three etchings, not one per step.
    etches = gds.etch_masks(np.array([[0, 1, 4, 7]]) * 80e-9)
    assert [each.depth_m for each in etches] == pytest.approx([80e-9, 160e-9, 320e-9])
    # Steps without a common measure: one etching each.
    etches = gds.etch_masks(np.array([[0, 1, np.sqrt(2), np.pi]]) * 100e-9)
    assert [each.depth_m for each in etches] == pytest.approx(np.array([np.pi - 2**0.5, 2**0.5 - 1, 1]) * 100e-9)


def test_rectangles_are_joined_and_add_up_to_the_cells(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    level = np.kron(rng.integers(0, 4, (6, 7)), np.ones((5, 5), dtype=int))
    result = write_gds(open_mask(level * 1e-7), tmp_path / "mask.gds")
    (cell,) = gdstk.read_gds(tmp_path / "mask.gds").top_level()
    for number in range(4):
        areas = [polygon.area() for polygon in cell.polygons if polygon.layer == gds.LEVEL + number]
        assert sum(areas) == pytest.approx((level == number).sum() * 4.0)  # square micrometres
        assert len(areas) <= 6 * 7
    assert result.facts["rectangles"] < level.size / 2


def test_edges_lie_on_the_nanometre_grid_and_do_not_drift(tmp_path: Path) -> None:
    # Cells of 333.3 nm: each edge is rounded by itself, so that 101 of them are as wide as they should be.
    mask = open_mask(np.indices((3, 101)).sum(axis=0) % 2 * 1e-7, 333.3e-9)
    result = write_gds(mask, tmp_path / "mask.gds")
    assert 0 < result.facts["in_plane_rounding_m"] <= 0.501e-9
    (cell,) = gdstk.read_gds(tmp_path / "mask.gds").top_level()
    x = np.array([polygon.bounding_box() for polygon in cell.polygons if polygon.layer >= gds.LEVEL])[:, :, 0]
    assert x.max() - x.min() == pytest.approx(101 * 0.3333, abs=0.001)
    np.testing.assert_allclose(heights_from_gds(tmp_path / "mask.gds"), mask.height_m, atol=EXACT_M)


def test_the_opaque_layer_is_what_the_stop_and_the_pattern_close(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    pattern = rng.integers(0, 2, (20, 16)).astype(np.float64)
    mask = Mask(np.zeros((20, 16)), PITCH_M, transmission=pattern)
    write_gds(mask, tmp_path / "mask.gds")
    closed = (pattern == 0) | (circular_stop((20, 16), PITCH_M) == 0)
    np.testing.assert_array_equal(gds_cover(tmp_path / "mask.gds")[gds.OPAQUE], closed)
    grey = Mask(np.zeros((4, 4)), PITCH_M, stop=np.full((4, 4), 0.3))
    assert any("grey cells" in warning for warning in write_gds(grey, tmp_path / "grey.gds").warnings)


@pytest.mark.parametrize("cells", [5, 255])
@pytest.mark.parametrize(("faces", "side"), [("sensor", -1), ("scene", 1)])
def test_marks_lie_outside_and_show_the_corner_and_the_side(tmp_path: Path, faces: str, side: int, cells: int) -> None:
    path = tmp_path / "mask.gds"
    height_m = np.zeros((cells, cells))
    height_m[0, 0] = 1e-7
    write_gds(open_mask(height_m), path, faces=faces)  # type: ignore[arg-type]
    (cell,) = gdstk.read_gds(path).top_level()
    half = cells * 1.0  # um, at 2 um per cell
    marks = [polygon for polygon in cell.polygons if polygon.layer in (gds.MARKS, gds.ORIENTATION)]
    for polygon in marks:
        (left, bottom), (right, top) = polygon.bounding_box()
        assert left > half or right < -half or bottom > half or top < -half
    crosses = [polygon for polygon in marks if polygon.layer == gds.MARKS and polygon.size == 12]
    centres = {tuple(np.sign(np.mean(polygon.bounding_box(), axis=0))) for polygon in crosses}
    assert centres >= {(1, 1), (1, -1), (-1, 1), (-1, -1)}
    # "0,0" stands above the array on the side of cell [0, 0].
    text = [np.mean(polygon.bounding_box(), axis=0) for polygon in marks if polygon.layer == gds.ORIENTATION]
    assert all(np.sign(x) == side and y > half for x, y in text)
    raised = [polygon for polygon in cell.polygons if polygon.layer == gds.LEVEL + 1]
    x, y = np.mean(raised[0].bounding_box(), axis=0)
    assert (np.sign(x), np.sign(y)) == (side, 1)
    # Each etch mask has the same crosses, to be aligned with.
    etched = [polygon for polygon in cell.polygons if polygon.layer == gds.ETCH and polygon.size == 12]
    assert {tuple(map(tuple, polygon.bounding_box())) for polygon in crosses} <= {
        tuple(map(tuple, polygon.bounding_box())) for polygon in etched
    }
    assert any(label.layer == gds.LABELS and label.text == "cell [0,0]" for label in cell.labels)


def test_layers_are_written_down(tmp_path: Path) -> None:
    write_gds(open_mask(np.arange(4.0).reshape(2, 2) * 1e-7), tmp_path / "mask.gds")
    assert purposes(tmp_path / "mask.gds") == {
        1: "etch mask 1",
        2: "etch mask 2",
        20: "opaque layer",
        101: "level 0",
        102: "level 1",
        103: "level 2",
        104: "level 3",
        10: "alignment crosses and text",
        11: 'the text "0,0" beside the corner of cell [0, 0]',
        12: "labels, not printed",
    }


def test_a_mask_for_grey_scale_is_refused_with_advice(tmp_path: Path) -> None:
    smooth = Mask(np.linspace(0, 1e-6, 10_000).reshape(100, 100), PITCH_M, surface="smooth", stop=np.ones((100, 100)))
    with pytest.raises(FabricationError, match=r"10,000 different heights.*--tiff.*levels="):
        write_gds(smooth, tmp_path / "mask.gds")
    assert not list(tmp_path.iterdir())


def test_many_unequal_levels_have_areas_and_a_warning(tmp_path: Path) -> None:
    height_m = np.sqrt(np.arange(40.0)).reshape(5, 8) * 1e-7
    result = write_gds(open_mask(height_m), tmp_path / "mask.gds")
    assert result.facts["etch_masks"] == 0
    assert any("unequal steps" in warning for warning in result.warnings)
    assert np.abs(heights_from_gds_levels(tmp_path / "mask.gds") - height_m).max() <= EXACT_M


def test_too_many_rectangles_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gds, "LARGEST_RECTANGLES", 10)
    with pytest.raises(FabricationError, match=r"more than 10 rectangles.*--tiff"):
        write_gds(open_mask(np.indices((8, 8)).sum(axis=0) % 2 * 1e-7), tmp_path / "mask.gds")
