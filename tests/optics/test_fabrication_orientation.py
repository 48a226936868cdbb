"""End to end: an asymmetric mask to a file, read by another library, placed as it says: the PSF is unflipped."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from optics.fabrication import ExportedFile, FabricationError, export_mask
from optics.mask import Geometry, Mask
from optics.masks import Slm
from optics.materials import refractive_index
from optics.psf import psf

from .readers import (
    EXTRA,
    Heights,
    heights_from_gds,
    heights_from_gds_levels,
    heights_from_png,
    heights_from_slm,
    heights_from_stl,
    heights_from_tiff,
    sidecar,
)

CELLS = 61
PITCH_M = 4e-6
DISTANCE_M = 5e-3
# One colour three times: a display that wraps the phase is right at one wavelength only.
GEOMETRY = Geometry(sensor_distance_m=DISTANCE_M, psf_px=(33, 33), wavelengths_m=(550e-9, 550e-9, 550e-9))
STEP_M = 60e-9
FLIPS: dict[str, Callable[[Heights], Heights]] = {
    "left-right": lambda view: view[:, ::-1],
    "up-down": lambda view: view[::-1],
    "half a turn": lambda view: view[::-1, ::-1],
    "transposed": lambda view: view.T,
}


def prism_m() -> Heights:
    """Thickest at the right, and a little at the bottom."""
    y, x = np.indices((CELLS, CELLS)) / (CELLS - 1)
    return np.asarray(1.9e-6 * x + 0.7e-6 * y, dtype=np.float64)


@pytest.fixture(scope="module")
def mask() -> Mask:
    """The prism in steps, with a raised F off the middle."""
    height_m = prism_m()
    letter = np.zeros((CELLS, CELLS), dtype=bool)
    letter[12:40, 14:19] = letter[12:17, 14:30] = letter[24:29, 14:26] = True
    height_m[letter] += 0.5e-6
    return Mask(np.rint(height_m / STEP_M) * STEP_M, PITCH_M, geometry=GEOMETRY)


@pytest.fixture(scope="module")
def wanted(mask: Mask) -> NDArray[np.float64]:
    return psf(mask)[1].astype(np.float64)


READERS: dict[str, tuple[str, str, Callable[[Path], Heights]]] = {
    "stl by trimesh": ("stl", "mask.stl", heights_from_stl),
    "gds etchings by gdstk": ("gds", "mask.gds", heights_from_gds),
    "gds levels by gdstk": ("gds", "mask.gds", heights_from_gds_levels),
    "tiff by tifffile": ("tiff", "mask.tif", heights_from_tiff),
    "png by Pillow": ("png", "mask.png", heights_from_png),
    "slm by OpenCV": ("slm", "mask.bmp", heights_from_slm),
}


@pytest.fixture(scope="module", params=["sensor", "scene"])
def exported(request: pytest.FixtureRequest, mask: Mask, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    for package in ("gdstk", "tifffile"):
        pytest.importorskip(package, reason=EXTRA)
    folder = tmp_path_factory.mktemp("exported")
    # Cells outside the round stop keep their heights, so that every cell can be compared.
    export_mask(
        mask,
        **{kind: folder / name for kind, name, _ in READERS.values()},
        display=Slm(CELLS, CELLS, PITCH_M, wavelength_m=550e-9),
        faces=request.param,
        outside="keep",
    )
    return folder, request.param


def placed(view: Heights, faces: str) -> Heights:
    """The view of the structured side, as the sensor has it: the plate turned about its upright axis, or not."""
    return view if faces == "sensor" else view[:, ::-1]


def likeness(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def psf_of(height_m: Heights, mask: Mask) -> NDArray[np.float64]:
    return psf(Mask(np.maximum(height_m, 0), PITCH_M, mask.material, GEOMETRY))[1].astype(np.float64)


def test_a_prism_bends_light_to_its_thick_side() -> None:
    # The centre of all the light moves by (n - 1) times the slope times the distance: right, and a little down.
    wide = replace(GEOMETRY, psf_px=(101, 101))
    prism = Mask(prism_m(), PITCH_M, geometry=wide, surface="smooth")
    spot = psf(prism)[1].astype(np.float64)
    y, x = np.indices(spot.shape) - 50
    centre_x, centre_y = ((axis * spot).sum() / spot.sum() * wide.pixel_pitch_m for axis in (x, y))
    per_height = (refractive_index(prism.material, 550e-9) - 1) * DISTANCE_M / (PITCH_M * (CELLS - 1))
    # The stop's sharp edge spreads a little light beyond any window: a tenth of a pixel.
    assert centre_x == pytest.approx(1.9e-6 * per_height, abs=0.6e-6)
    assert centre_y == pytest.approx(0.7e-6 * per_height, abs=0.6e-6)


@pytest.mark.parametrize("reader", READERS)
def test_each_file_gives_the_psf_unflipped(
    reader: str, exported: tuple[Path, str], mask: Mask, wanted: NDArray[np.float64]
) -> None:
    folder, faces = exported
    kind, name, read = READERS[reader]
    view = read(folder / name)
    height_m = placed(view, faces)
    off_m = np.abs(height_m - mask.height_m)
    if kind == "slm":
        wave_m = sidecar(folder / name)["wave_height_m"]
        off_m = np.abs((height_m - mask.height_m + wave_m / 2) % wave_m - wave_m / 2)
    assert off_m.max() <= sidecar(folder / name)["quantization_m"] * (1 + 1e-9) + 1e-12
    found = psf_of(height_m, mask)
    # 8 bits of phase err by up to 0.012 rad; the others are exact to 1e-3 of a degree.
    assert np.abs(found - wanted).max() <= (2e-2 if kind == "slm" else 1e-4) * wanted.max()


@pytest.mark.parametrize("flip", FLIPS)
def test_a_flip_would_not_go_unnoticed(
    flip: str, exported: tuple[Path, str], mask: Mask, wanted: NDArray[np.float64]
) -> None:
    folder, faces = exported
    view = heights_from_tiff(folder / "mask.tif")
    assert likeness(psf_of(placed(view, faces), mask), wanted) > 0.9999
    assert likeness(psf_of(placed(FLIPS[flip](view), faces), mask), wanted) < 0.6


def test_all_files_say_the_same_about_their_orientation(exported: tuple[Path, str]) -> None:
    folder, faces = exported
    said = [sidecar(folder / name)["orientation"] for _, name, _ in READERS.values()]
    assert all(each == said[0] for each in said)
    assert said[0]["structured_side_faces"] == faces
    assert said[0]["mirrored_left_right"] == (faces == "scene")


# --- one call for all ---------------------------------------------------------------------------------------------


def small() -> Mask:
    return Mask(np.random.default_rng(0).integers(0, 4, (9, 11)) * 1e-7, 2e-6)


def all_paths(folder: Path) -> dict[str, Path]:
    return {kind: folder / name for kind, name, _ in READERS.values()}


def test_one_call_writes_all_and_says_what_it_wrote(tmp_path: Path) -> None:
    results = export_mask(small(), **all_paths(tmp_path))
    assert [result.kind for result in results] == ["stl", "gds", "tiff", "png", "slm"]
    for result in results:
        assert isinstance(result, ExportedFile)
        assert result.bytes == result.path.stat().st_size > 0
        assert result.files == (result.path, result.path.with_name(result.path.name + ".json"))
        assert result.facts["smallest_feature_m"] == 2e-6
        assert result.facts["levels"] == 4
    assert {each.name for each in tmp_path.iterdir()} == {each.name for result in results for each in result.files}


def test_equal_masks_give_equal_files(tmp_path: Path) -> None:
    contents = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        export_mask(small(), **all_paths(folder))
        contents.append({each.name: each.read_bytes() for each in folder.iterdir()})
    assert contents[0] == contents[1]


def test_nothing_is_written_when_one_file_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smooth = Mask(np.linspace(0, 1e-6, 900).reshape(30, 30), 2e-6, surface="smooth")
    with pytest.raises(FabricationError, match="--tiff"):
        export_mask(smooth, stl=tmp_path / "a.stl", gds=tmp_path / "a.gds")
    for package, kind in (("gdstk", "gds"), ("tifffile", "tiff")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(FabricationError, match=rf"{package}: pip install 'canopic\[fabrication\]'"):
            export_mask(small(), stl=tmp_path / "a.stl", **{kind: tmp_path / "b"})
    with pytest.raises(FabricationError, match="name at least one"):
        export_mask(small())
    with pytest.raises(FabricationError, match="same path"):
        export_mask(small(), stl=tmp_path / "a", png=tmp_path / "a")
    with pytest.raises(FabricationError, match="same path"):  # a coded aperture would be written over
        export_mask(small(), png=tmp_path / "a.png", slm=tmp_path / "a.stop.png")
    with pytest.raises(FabricationError, match=r"a\.npz is not a name for --stl: that file ends in \.stl"):
        export_mask(small(), png=tmp_path / "a.png", stl=tmp_path / "a.npz")
    with pytest.raises(FabricationError, match='faces must be "sensor" or "scene"'):
        export_mask(small(), png=tmp_path / "a.png", faces="up")  # type: ignore[arg-type]
    with pytest.raises(FabricationError, match='outside must be "flat" or "keep"'):
        export_mask(small(), png=tmp_path / "a.png", outside="cut")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_missing_is_made_and_one_that_cannot_be_is_named(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "mask.png"
    export_mask(small(), png=target)
    assert {path.name for path in target.parent.iterdir()} == {"mask.png", "mask.png.json"}
    with pytest.raises(FabricationError, match=r"inside\.png cannot be written: .*mask\.png is a file, not a folder"):
        export_mask(small(), png=target / "inside.png")


def test_high_walls_on_narrow_features_are_told_about(tmp_path: Path) -> None:
    steep = Mask(np.indices((9, 9))[1] % 2 * 3e-6, 2e-6, stop=np.ones((9, 9)))
    for result in export_mask(steep, stl=tmp_path / "a.stl", png=tmp_path / "a.png"):
        assert any("walls up to 3 um stand on features of 2 um" in warning for warning in result.warnings)
