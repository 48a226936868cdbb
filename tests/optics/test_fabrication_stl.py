"""The solid: watertight by trimesh's judgement, of the volume that the cells have, at the heights of the mask."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import optics.fabrication.stl as stl
from optics.fabrication import FabricationError, write_stl
from optics.mask import Mask, circular_stop

from .readers import heights_from_stl, load_solid, sidecar

PITCH_M = 2e-6
BASE_M = 2e-6
# Levels that a process would tell apart, and some that lie within the file's rounding of each other.
HEIGHTS_M = (0.0, 4e-11, 1e-10, 3e-7, 3.001e-7, 3.0004e-7, 7e-7, 1.1e-6, 5e-6)


def open_mask(height_m: NDArray[np.float64], surface: str = "stepped") -> Mask:
    return Mask(height_m, PITCH_M, stop=np.ones(height_m.shape), surface=surface)  # type: ignore[arg-type]


def assert_solid(path: Path) -> None:
    solid = load_solid(path)
    assert solid.is_watertight
    assert solid.is_winding_consistent
    assert solid.volume > 0
    # A body, not several that touch: cells that meet at a corner are apart, yet all stand on one plate.
    assert solid.body_count == 1
    assert solid.area_faces.min() > 0


def cut_volume_m3(height_m: NDArray[np.float64]) -> float:
    """What is cut off where heights touch at a corner only, cell by cell."""
    volume = 0.0
    for row in range(height_m.shape[0] - 1):
        for column in range(height_m.shape[1] - 1):
            (a, b), (c, d) = height_m[row : row + 2, column : column + 2]
            if min(a, d) > max(b, c) or min(b, c) > max(a, d):
                volume += (stl.CUT * PITCH_M) ** 2 / 2 * abs(a - b)
    return volume


@st.composite
def reliefs(draw: st.DrawFn) -> NDArray[np.float64]:
    rows, columns = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    choice = draw(st.lists(st.sampled_from(HEIGHTS_M), min_size=1, max_size=5))
    cells = draw(st.lists(st.sampled_from(choice), min_size=rows * columns, max_size=rows * columns))
    return np.array(cells).reshape(rows, columns)


@given(reliefs(), st.booleans(), st.sampled_from(["sensor", "scene"]))
@settings(max_examples=80, deadline=None)
def test_any_relief_is_watertight_has_its_volume_and_its_heights(
    tmp_path_factory: pytest.TempPathFactory, height_m: NDArray[np.float64], rim: bool, faces: str
) -> None:
    path = tmp_path_factory.mktemp("stl") / "mask.stl"
    rim_m = 3 * PITCH_M if rim else 0.0
    result = write_stl(open_mask(height_m), path, base_m=BASE_M, rim_m=rim_m, faces=faces)  # type: ignore[arg-type]
    assert_solid(path)
    seen = height_m if faces == "sensor" else height_m[:, ::-1]
    assert np.abs(heights_from_stl(path) - seen).max() <= result.quantization_m
    rounded = np.round(seen / stl.Z_STEP_M) * stl.Z_STEP_M
    sides = [cells * PITCH_M + 2 * rim_m for cells in height_m.shape]
    plate = (sides[0] * sides[1] - rim_m**2) * BASE_M
    expected = plate + rounded.sum() * PITCH_M**2 - cut_volume_m3(rounded)
    # float32 holds each coordinate to 6e-8 of itself.
    assert load_solid(path).volume * 1e-9 == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("levels", [2, 3, 16])
@pytest.mark.parametrize("pattern", ["checkerboard", "random", "stripes", "flat", "single"])
def test_patterns_that_leak_when_written_naively(tmp_path: Path, pattern: str, levels: int) -> None:
    rng = np.random.default_rng(levels)
    rows, columns = np.indices((1, 1) if pattern == "single" else (14, 19))
    cells = {
        "checkerboard": (rows + columns) % 2 * (levels - 1),
        "random": rng.integers(0, levels, rows.shape),
        "stripes": columns // 3 % levels,
        "flat": np.full(rows.shape, levels - 1),
        "single": np.full(rows.shape, levels - 1),
    }[pattern]
    height_m = cells * 0.9e-6 / (levels - 1)
    result = write_stl(open_mask(height_m), tmp_path / "mask.stl")
    assert_solid(tmp_path / "mask.stl")
    assert np.abs(heights_from_stl(tmp_path / "mask.stl") - height_m).max() <= result.quantization_m
    assert result.facts["triangles"] == len(load_solid(tmp_path / "mask.stl").faces)


def test_equal_neighbours_are_joined(tmp_path: Path) -> None:
    flat = write_stl(open_mask(np.zeros((40, 40))), tmp_path / "flat.stl")
    rough = write_stl(open_mask(np.indices((40, 40)).sum(axis=0) % 2 * 1e-6), tmp_path / "rough.stl")
    assert flat.facts["triangles"] < 400 < 10 * 40 * 40 < rough.facts["triangles"]


@pytest.mark.parametrize("rim_m", [0.0, 10e-6])
def test_a_smooth_mask_is_a_surface_through_its_samples(tmp_path: Path, rim_m: float) -> None:
    y, x = (np.indices((9, 12)) + 0.5) * PITCH_M
    plane = 0.01 * x + 0.03 * y  # a plane, so that its volume is exact whichever way squares are cut into triangles
    result = write_stl(open_mask(plane, "smooth"), tmp_path / "mask.stl", base_m=BASE_M, rim_m=rim_m)
    assert_solid(tmp_path / "mask.stl")
    np.testing.assert_allclose(heights_from_stl(tmp_path / "mask.stl"), plane, rtol=0, atol=result.quantization_m)
    if not rim_m:
        # Half a cell along each edge keeps the height of the outermost samples: the mean stays.
        volume_m3 = plane.size * PITCH_M**2 * (BASE_M + plane.mean())
        assert load_solid(tmp_path / "mask.stl").volume * 1e-9 == pytest.approx(volume_m3, rel=1e-6)


@pytest.mark.parametrize(("faces", "side"), [("sensor", -1), ("scene", 1)])
def test_the_notch_is_at_the_corner_of_cell_0_0(tmp_path: Path, faces: str, side: int) -> None:
    write_stl(open_mask(np.zeros((4, 6))), tmp_path / "mask.stl", rim_m=10e-6, faces=faces)  # type: ignore[arg-type]
    outline = load_solid(tmp_path / "mask.stl").vertices
    corner = (side * (6 * 1e-3 + 10e-3), 4 * 1e-3 + 10e-3)  # half the array and the rim, in millimetres
    present = {
        (x, y): bool((np.abs(outline[:, :2] - (x, y)).max(axis=1) < 1e-6).any())
        for x in (corner[0], -corner[0])
        for y in (corner[1], -corner[1])
    }
    assert present == {each: each != corner for each in present}


def test_cells_that_no_light_passes_are_level(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    height_m = rng.integers(1, 5, (12, 12)) * 1e-7
    mask = Mask(height_m, PITCH_M)
    inside = circular_stop((12, 12), PITCH_M) > 0
    write_stl(mask, tmp_path / "flat.stl")
    flat = heights_from_stl(tmp_path / "flat.stl")
    np.testing.assert_allclose(flat, np.where(inside, height_m, 1e-7), atol=1e-10)
    write_stl(mask, tmp_path / "keep.stl", outside="keep")
    np.testing.assert_allclose(heights_from_stl(tmp_path / "keep.stl"), height_m, atol=1e-10)


def test_what_cannot_be_is_refused_and_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = open_mask(np.indices((8, 8)).sum(axis=0) % 2 * 1e-6)
    path = tmp_path / "mask.stl"
    with pytest.raises(FabricationError, match="base_m must be"):
        write_stl(mask, path, base_m=0)
    with pytest.raises(FabricationError, match="at least two cells"):
        write_stl(mask, path, rim_m=1e-6)
    path.write_text("what was there")
    monkeypatch.setattr(stl, "LARGEST_TRIANGLES", 100)
    with pytest.raises(FabricationError, match=r"more than 100 triangles.*export a TIFF"):
        write_stl(mask, path)
    assert path.read_text() == "what was there"
    assert [each.name for each in tmp_path.iterdir()] == ["mask.stl"]


def test_bands_of_rows_fit_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stl, "BAND_ROWS", 3)
    rng = np.random.default_rng(5)
    for surface in ("stepped", "smooth"):
        write_stl(open_mask(rng.integers(0, 2, (17, 9)) * 1e-6, surface), tmp_path / "mask.stl")
        assert_solid(tmp_path / "mask.stl")


def test_the_sidecar_says_what_the_solid_does_not(tmp_path: Path) -> None:
    stop = np.zeros((8, 8))
    stop[2:6, 2:6] = 1
    result = write_stl(Mask(np.zeros((8, 8)), PITCH_M, stop=stop), tmp_path / "mask.stl")
    about = sidecar(tmp_path / "mask.stl")
    assert about["units"] == "mm"
    assert about["orientation"]["cell_0_0"] == "upper left"
    assert about["triangles"] * 50 + 84 == result.bytes
    assert any("no opaque parts" in warning for warning in result.warnings)
