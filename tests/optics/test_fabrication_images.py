"""Height pictures and phase pictures, read back by libraries that did not write them, and what their sidecars say."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from optics.fabrication import (
    ExportedFile,
    FabricationError,
    read_height_image,
    write_height_png,
    write_height_tiff,
    write_slm,
)
from optics.mask import Geometry, Mask
from optics.masks import Slm
from optics.materials import refractive_index

from .readers import EXTRA, heights_from_png, heights_from_slm, heights_from_tiff, sidecar

Writer = Callable[..., ExportedFile]
FORMATS: list[tuple[Writer, str]] = [(write_height_tiff, "tif"), (write_height_png, "png")]
# Counts times a scale, in float64.
ROUNDING_M = 1e-18


@pytest.fixture(autouse=True)
def _tifffile() -> None:
    pytest.importorskip("tifffile", reason=EXTRA)


def random_mask(seed: int = 0, shape: tuple[int, int] = (9, 14)) -> Mask:
    height_m = np.random.default_rng(seed).random(shape) * 1.3e-6 + 0.2e-6
    return Mask(height_m, 2.5e-6, stop=np.ones(shape), about={"made_by": "a test"})


# --- height maps --------------------------------------------------------------------------------------------------


@given(arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(0, 3e-6)))
@settings(max_examples=60, deadline=None)
def test_heights_come_back_within_the_stated_quantization(
    tmp_path_factory: pytest.TempPathFactory, height_m: np.ndarray
) -> None:
    folder = tmp_path_factory.mktemp("picture")
    mask = Mask(height_m, 2e-6, stop=np.ones(height_m.shape))
    tiff = write_height_tiff(mask, folder / "mask.tif")
    png = write_height_png(mask, folder / "mask.png")
    for heights in (
        heights_from_tiff(folder / "mask.tif"),
        heights_from_png(folder / "mask.png"),
        read_height_image(folder / "mask.tif").height_m,
        read_height_image(folder / "mask.png").height_m,
    ):
        assert np.abs(heights - height_m).max() <= tiff.quantization_m + ROUNDING_M
    assert tiff.quantization_m == png.quantization_m <= max(np.ptp(height_m) / 65535 / 2, 0.5e-9)


@pytest.mark.parametrize(("write", "suffix"), FORMATS)
def test_three_libraries_read_the_same_counts(tmp_path: Path, write: Writer, suffix: str) -> None:
    path = tmp_path / f"mask.{suffix}"
    write(random_mask(), path)
    with Image.open(path) as picture:
        by_pillow = np.asarray(picture)
    by_opencv = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert by_pillow.dtype == by_opencv.dtype == np.uint16
    np.testing.assert_array_equal(by_pillow, by_opencv)
    if suffix == "tif":
        import tifffile

        np.testing.assert_array_equal(tifffile.imread(path), by_opencv)
    assert (by_opencv.min(), by_opencv.max()) == (0, 65535)


def test_the_pitch_is_in_the_picture_too(tmp_path: Path) -> None:
    import tifffile

    write_height_tiff(random_mask(), tmp_path / "mask.tif")
    with tifffile.TiffFile(tmp_path / "mask.tif") as tiff:
        tags = tiff.pages[0].tags
        per_unit = tags["XResolution"].value[0] / tags["XResolution"].value[1]
        assert tags["ResolutionUnit"].value == 3  # centimetres
        assert tags["YResolution"].value == tags["XResolution"].value
        assert 1e-2 / per_unit == pytest.approx(2.5e-6)
    write_height_png(random_mask(), tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as picture:
        assert picture.info["dpi"][0] == pytest.approx(0.0254 / 2.5e-6, rel=1e-6)


@pytest.mark.parametrize("levels", [2, 4, 16, 256])
def test_levels_that_divide_the_range_are_exact(tmp_path: Path, levels: int) -> None:
    height_m = (np.arange(levels) * 1.1e-6 / (levels - 1)).reshape(2, -1)
    write_height_tiff(Mask(height_m, 2e-6, stop=np.ones(height_m.shape)), tmp_path / "mask.tif")
    np.testing.assert_allclose(heights_from_tiff(tmp_path / "mask.tif"), height_m, rtol=0, atol=1e-20)


@pytest.mark.parametrize("faces", ["sensor", "scene"])
@pytest.mark.parametrize(("write", "suffix"), FORMATS)
def test_a_mask_comes_back_whole(tmp_path: Path, write: Writer, suffix: str, faces: str) -> None:
    rng = np.random.default_rng(1)
    stop = np.zeros((12, 10))
    stop[1:9, 3:] = 1
    mask = Mask(
        rng.random((12, 10)) * 1e-6,
        3e-6,
        geometry=Geometry(sensor_distance_m=4e-3, source_distance_m=2.0),
        stop=stop,
        transmission=rng.integers(0, 2, (12, 10)).astype(float),
        surface="smooth",
        about={"target": "ring"},
    )
    path = tmp_path / f"mask.{suffix}"
    result = write(mask, path, faces=faces, outside="keep")
    back = read_height_image(path)
    assert np.abs(back.height_m - mask.height_m).max() <= result.quantization_m + ROUNDING_M
    np.testing.assert_array_equal(back.stop, mask.stop)
    np.testing.assert_array_equal(back.transmission, mask.transmission)
    assert (back.pitch_m, back.material, back.geometry) == (mask.pitch_m, mask.material, mask.geometry)
    assert (back.surface, back.about) == ("smooth", {"target": "ring"})
    assert [each.name for each in result.files] == [
        path.name, f"mask.stop.{suffix}", f"mask.transmission.{suffix}", f"{path.name}.json"
    ]  # fmt: skip
    assert any("opaque layer" in warning for warning in result.warnings)
    closed = cv2.imread(str(tmp_path / f"mask.stop.{suffix}"), cv2.IMREAD_UNCHANGED)
    seen = stop if faces == "sensor" else stop[:, ::-1]
    np.testing.assert_array_equal(closed, seen * 65535)


def test_the_sidecar_says_what_a_person_needs(tmp_path: Path) -> None:
    mask = random_mask()
    result = write_height_png(mask, tmp_path / "mask.png", faces="scene")
    about = sidecar(tmp_path / "mask.png")
    assert about["format"] == "canopic-fabrication-1"
    assert (about["rows"], about["columns"], about["pitch_m"], about["levels"]) == (9, 14, 2.5e-6, 9 * 14)
    assert about["orientation"]["structured_side_faces"] == "scene"
    assert about["orientation"]["mirrored_left_right"] is True
    assert about["orientation"]["cell_0_0"] == "upper right"
    assert about["material"]["name"] == "fused_silica"
    assert about["refractive_index_at_20_celsius"]["550 nm"] == pytest.approx(refractive_index(mask.material, 550e-9))
    assert about["quantization_m"] == result.quantization_m
    assert about["geometry"]["source_distance_m"] is None
    assert about["about"] == {"made_by": "a test"}
    assert result.bytes == (tmp_path / "mask.png").stat().st_size


def test_a_wavelength_that_the_material_does_not_know_is_left_out(tmp_path: Path) -> None:
    mask = Mask(np.zeros((3, 3)), 2e-6, geometry=Geometry(wavelengths_m=(10e-6, 550e-9, 460e-9)))
    write_height_png(mask, tmp_path / "mask.png")
    assert list(sidecar(tmp_path / "mask.png")["refractive_index_at_20_celsius"]) == ["550 nm", "460 nm"]


def test_a_given_scale_is_kept_or_refused(tmp_path: Path) -> None:
    mask = random_mask()
    result = write_height_tiff(mask, tmp_path / "mask.tif", metres_per_count=1e-9)
    assert result.quantization_m == 0.5e-9
    assert np.abs(heights_from_tiff(tmp_path / "mask.tif") - mask.height_m).max() <= 0.5e-9 + ROUNDING_M
    with pytest.raises(FabricationError, match=r"do not fit into 16 bits at 1e-12 m.*use at least"):
        write_height_tiff(mask, tmp_path / "fine.tif", metres_per_count=1e-12)
    with pytest.raises(FabricationError, match="positive number"):
        write_height_tiff(mask, tmp_path / "fine.tif", metres_per_count=0)
    assert not (tmp_path / "fine.tif").exists()


def damage(path: Path, **changes: object) -> None:
    side = path.with_name(path.name + ".json")
    document = json.loads(side.read_text())
    for name, value in changes.items():
        if value is None:
            del document[name]
        else:
            document[name] = value
    side.write_text(json.dumps(document))


def test_a_damaged_or_foreign_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    write_height_png(random_mask(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20] + b"\0" + whole[-19:])
    with pytest.raises(FabricationError, match=r"mask\.png is not the picture that its sidecar describes"):
        read_height_image(path)
    path.unlink()
    with pytest.raises(FabricationError, match=r"mask\.png, the picture, cannot be read"):
        read_height_image(path)
    path.write_bytes(whole)
    damage(path, pitch_m=None)
    with pytest.raises(FabricationError, match="'pitch_m' is missing"):
        read_height_image(path)
    damage(path, pitch_m=-1.0)
    with pytest.raises(FabricationError, match="pitch_m must be a positive"):
        read_height_image(path)
    damage(path, pitch_m=2e-6, rows=8)
    with pytest.raises(FabricationError, match="not a 16-bit grey picture of 8 x 14"):
        read_height_image(path)
    damage(path, kind="stl")
    with pytest.raises(FabricationError, match='kind "stl": expected'):
        read_height_image(path)
    (tmp_path / "mask.png.json").write_text("{")
    with pytest.raises(FabricationError, match="is not JSON"):
        read_height_image(path)
    (tmp_path / "mask.png.json").unlink()
    with pytest.raises(FabricationError, match="the sidecar that says what a count means"):
        read_height_image(path)


# --- phase pictures -----------------------------------------------------------------------------------------------


def wrapped_difference(a: np.ndarray, b: np.ndarray, wave: float) -> np.ndarray:
    return np.abs((a - b + wave / 2) % wave - wave / 2)


@pytest.mark.parametrize("suffix", ["png", "bmp"])
@pytest.mark.parametrize("faces", ["sensor", "scene"])
def test_a_cell_per_pixel_gives_the_heights_up_to_a_wave(tmp_path: Path, suffix: str, faces: str) -> None:
    mask = random_mask(4)
    path = tmp_path / f"phase.{suffix}"
    result = write_slm(mask, path, wavelength_m=550e-9, faces=faces)  # type: ignore[arg-type]
    wave_m = 550e-9 / (refractive_index(mask.material, 550e-9) - 1)
    assert result.facts["wave_height_m"] == pytest.approx(wave_m)
    seen = mask.height_m if faces == "sensor" else mask.height_m[:, ::-1]
    off_m = wrapped_difference(heights_from_slm(path), seen, wave_m)
    assert off_m.max() <= result.quantization_m + ROUNDING_M
    assert result.quantization_m <= wave_m / 256 / 2 * 1.000001
    assert any("no display was named" in warning for warning in result.warnings)


def test_the_mask_lies_in_the_middle_of_the_display(tmp_path: Path) -> None:
    # Cells of 16 um on pixels of 8 um: two by two each; 5 x 7 cells on 20 x 30 pixels leave 5 and 8 around them.
    height_m = np.random.default_rng(1).integers(1, 200, (5, 7)) * 5e-9
    mask = Mask(height_m, 16e-6, stop=np.ones((5, 7)))
    result = write_slm(mask, tmp_path / "phase.png", slm=Slm(20, 30, 8e-6), wavelength_m=550e-9)
    shown = heights_from_slm(tmp_path / "phase.png")
    expected = np.zeros((20, 30))
    expected[5:15, 8:22] = np.kron(height_m, np.ones((2, 2)))
    wave_m = result.facts["wave_height_m"]
    assert wrapped_difference(shown, expected, wave_m).max() <= result.quantization_m + ROUNDING_M
    assert result.facts["kept_light"] == pytest.approx(1)


def test_the_display_s_own_table_is_applied(tmp_path: Path) -> None:
    # A display whose phase grows with the square of the drive, and whose table was measured at another wavelength.
    table = tuple((np.arange(256) / 255) ** 2 * 2.2 * np.pi)
    mask = random_mask(5)
    slm = Slm(9, 14, 2.5e-6, wavelength_m=532e-9, lut_rad=table)
    result = write_slm(mask, tmp_path / "phase.png", slm=slm, wavelength_m=560e-9)
    drive = cv2.imread(str(tmp_path / "phase.png"), cv2.IMREAD_UNCHANGED)
    done = np.asarray(table)[drive] * 532 / 560
    wanted = 2 * np.pi * (refractive_index(mask.material, 560e-9) - 1) * mask.height_m / 560e-9
    assert np.abs(np.angle(np.exp(1j * (done - wanted)))).max() == pytest.approx(result.facts["phase_error_rad"])
    assert result.facts["phase_error_rad"] < np.diff(table).max() / 2 + 1e-9


def test_coarse_pixels_take_the_mean_field_and_say_what_it_costs(tmp_path: Path) -> None:
    # Cells of phase 0 and pi/2 in equal parts: the mean field has pi/4 and cos(pi/4)^2 of the light.
    quarter_m = 550e-9 / (refractive_index(random_mask().material, 550e-9) - 1) / 4
    mask = Mask(np.indices((8, 8))[1] % 2 * quarter_m, 4e-6, stop=np.ones((8, 8)))
    result = write_slm(mask, tmp_path / "phase.png", slm=Slm(4, 4, 8e-6))
    np.testing.assert_allclose(heights_from_slm(tmp_path / "phase.png"), quarter_m / 2, atol=result.quantization_m)
    assert result.facts["kept_light"] == pytest.approx(0.5)
    assert any("too coarse" in warning for warning in result.warnings)


def test_fine_pixels_follow_a_smooth_surface_between_its_samples(tmp_path: Path) -> None:
    x = np.arange(6) * 1e-7
    mask = Mask(np.tile(x, (6, 1)), 8e-6, surface="smooth", stop=np.ones((6, 6)))
    result = write_slm(mask, tmp_path / "phase.png", slm=Slm(24, 24, 2e-6))
    at = np.clip((np.arange(24) - 11.5) / 4 + 2.5, 0, 5)  # pixel centres in cells
    shown = heights_from_slm(tmp_path / "phase.png")
    wave_m = result.facts["wave_height_m"]
    assert wrapped_difference(shown, np.tile(at * 1e-7, (24, 1)), wave_m).max() <= result.quantization_m + ROUNDING_M


def test_displays_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    mask = random_mask()
    with pytest.raises(FabricationError, match=r"columns are 0\.035 mm, the display's 0\.02 mm"):
        write_slm(mask, tmp_path / "phase.png", slm=Slm(20, 8, 2.5e-6))
    with pytest.raises(FabricationError, match=r"\.png or a \.bmp"):
        write_slm(mask, tmp_path / "phase.jpg")
    with pytest.raises(FabricationError, match="8 bits"):
        write_slm(mask, tmp_path / "phase.bmp", slm=Slm(20, 20, 2.5e-6, bits=10))
    with pytest.raises(FabricationError, match="fused_silica is described from"):
        write_slm(mask, tmp_path / "phase.png", wavelength_m=10e-6)
    assert not list(tmp_path.iterdir())


def test_a_display_of_less_than_a_wave_is_told_about(tmp_path: Path) -> None:
    result = write_slm(random_mask(), tmp_path / "phase.png", slm=Slm(9, 14, 2.5e-6, phase_range_rad=np.pi))
    assert any("does not reach a whole wave" in warning for warning in result.warnings)


def test_ten_bits_go_into_sixteen(tmp_path: Path) -> None:
    write_slm(random_mask(), tmp_path / "phase.png", slm=Slm(9, 14, 2.5e-6, bits=10))
    drive = cv2.imread(str(tmp_path / "phase.png"), cv2.IMREAD_UNCHANGED)
    assert drive.dtype == np.uint16
    assert 255 < drive.max() < 1024
