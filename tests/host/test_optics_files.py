"""Files of `canopic optics`: what is read is not written over, folders are made, and what is no mask is named."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
from typer.testing import CliRunner, Result

from host.cli import app
from host.optic_files import read_optic, without_rounding, write_psf
from optics.mask import Geometry, Mask, write_mask

EXPORTS = {"stl": "m.stl", "gds": "m.gds", "tiff": "m.tif", "png": "m.png", "slm": "phase.bmp"}


def canopic(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["optics", *(str(argument) for argument in arguments)])


def refused(done: Result, *says: str) -> None:
    """One message and status 2, in words of ours."""
    assert done.exit_code == 2, done.output
    text = " ".join(done.stderr.split())
    for each in says:
        assert each in text
    for never in ("Traceback", ".unfinished", "pickle", "zip file", "GDSTK"):
        assert never not in text
    assert done.stdout == ""


def blurred() -> dict[str, np.ndarray]:
    """Two blurs without a negative tap but for the rounding of the transforms that made them."""
    y, x = np.mgrid[:21, :21] - 10
    gaussian = np.exp(-(x**2 + y**2) / 8.0)
    disc = (x**2 + y**2 <= 9).astype(np.float64)
    return {
        "there and back": np.fft.ifft2(np.fft.fft2(np.where(gaussian > 1e-3, gaussian, 0))).real,
        "convolved": scipy.signal.fftconvolve(disc, gaussian**4, mode="same"),
    }


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictures")
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 32, 3)).astype(np.uint8))
    coarse.resize((160, 120), Image.Resampling.NEAREST).save(folder / "a.png")
    return folder


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    """A mask of four levels with an aperture of its own, so that there are pictures beside its heights."""
    levels = (np.arange(21)[:, np.newaxis] + np.arange(21)) // 3 % 4
    geometry = Geometry(sensor_distance_m=2e-3, psf_px=(21, 21))
    write_mask(Mask(levels * 0.2e-6, 4e-6, geometry=geometry, stop=np.ones((21, 21))), tmp_path / "m.npz")
    return tmp_path / "m.npz"


@pytest.mark.parametrize("name", ["there and back", "convolved"])
def test_rounding_does_not_make_a_target_signed(name: str, tmp_path: Path, mask: Path, pictures: Path) -> None:
    target = blurred()[name]
    assert -1e-14 < target.min() < 0
    np.save(tmp_path / "t.npy", target)
    assert not read_optic(tmp_path / "t.npy").signed
    images = ("--images", pictures)
    done = canopic("design", tmp_path / "t.npy", "--out", tmp_path / "made", "--quick", "--no-descent", "--cells", 31,
                   "--pitch-um", 4, "--distance-mm", 2, "--levels", 4, *images)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert (tmp_path / "made" / "mask.npz").is_file()
    done = canopic("compare", tmp_path / "t.npy", mask, "--figure", tmp_path / "c.png", *images)
    assert done.exit_code == 0, done.output
    done = canopic("tolerance", mask, "--target", tmp_path / "t.npy", "--samples", 2, "--code-samples", 0, *images)
    assert done.exit_code == 0, done.output


def test_what_is_more_than_rounding_stays_signed() -> None:
    assert without_rounding(np.array([1.0, -2e-6])).min() < 0
    assert without_rounding(np.array([-1.0, -1e-9])).min() == -1
    np.testing.assert_array_equal(without_rounding(np.array([1.0, 0.5, -0.9e-6])), [1, 0.5, 0])


@pytest.mark.parametrize(
    "arguments",
    [
        ("psf", "m.npz", "--out", "m.npz"),
        ("psf", "m.npz", "--out", "link.npz"),
        ("psf", "m.npz", "--out", "hard.npz"),
        ("psf", "m.npz", "--out", "sub/../m.npz"),
        ("psf", "mask.png", "--out", "mask.npz"),
        ("psf", "mask.png", "--out", "p.npz", "--figure", "mask.png"),
        ("psf", "mask-depth.png", "--out", "mask.npz"),
        ("export", "mask.png", "--png", "mask.png"),
        ("export", "mask.png.json", "--png", "mask.png"),
        ("export", "m.stop.png", "--png", "m.png"),
        ("export", "m.npz", "--slm", "p.png", "--display-px", "64x64", "--display-pitch-um", "8",
         "--display-lut", "p.png.json"),
        ("compare", "m.npz", "kernel.png", "--figure", "kernel.png"),
        ("tolerance", "mask.png", "--figure", "mask.png"),
        ("tolerance", "m.npz", "--target", "tolerance.json", "--out", "."),
    ],
)  # fmt: skip
def test_what_is_read_is_not_written_over(
    arguments: tuple[str, ...], tmp_path: Path, mask: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.npz").symlink_to(mask)
    (tmp_path / "hard.npz").hardlink_to(mask)
    for copy in ("mask.png", "mask-depth.png", "mask.png.json", "m.stop.png"):
        (tmp_path / copy).write_bytes(mask.read_bytes())
    for name in ("kernel.png", "tolerance.json", "p.png.json"):
        with (tmp_path / name).open("wb") as file:
            np.save(file, np.ones((5, 5)))
    (tmp_path / "p.png.json").write_text("\n".join(str(each * 0.02) for each in range(256)))
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    refused(canopic(*arguments), "which is read: name another file")
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    ("option", "name", "says"),
    [
        ("--stl", "m.npz", "m.npz is not a name for --stl: that file ends in .stl"),
        ("--gds", "m.txt", "ends in .gds or .gds2 or .gdsii"),
        ("--tiff", "m.png", "ends in .tif or .tiff"),
        ("--png", "m.tiff", "ends in .png"),
        ("--slm", "m", "ends in .png or .bmp"),
    ],
)
def test_a_name_that_says_something_else_is_refused(
    option: str, name: str, says: str, mask: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mask.parent)
    refused(canopic("export", mask, "--png", "fine.png", option, name), says) if option != "--png" else refused(
        canopic("export", mask, option, name), says
    )
    assert [path.name for path in mask.parent.iterdir()] == ["m.npz"]


def test_folders_are_made(mask: Path, pictures: Path) -> None:
    pytest.importorskip("gdstk", reason="GDSII needs gdstk: pip install 'canopic[fabrication]'")
    pytest.importorskip("tifffile", reason="TIFF needs tifffile: pip install 'canopic[fabrication]'")
    folder = mask.parent
    done = canopic("psf", mask, "--out", folder / "a" / "b" / "p.npz", "--figure", folder / "c" / "f.png",
                   "--images", pictures, "--depth-mm", "30,inf")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert {path.name for path in (folder / "c").iterdir()} == {"f.png", "f-depth.png"}
    assert (folder / "a" / "b" / "p.npz").is_file()
    paths = {kind: folder / kind / "of" / name for kind, name in EXPORTS.items()}
    done = canopic("export", mask, *(part for kind, path in paths.items() for part in (f"--{kind}", path)))
    assert done.exit_code == 0, done.output
    assert all(path.is_file() for path in paths.values())
    done = canopic("compare", mask, folder / "a" / "b" / "p.npz", "--figure", folder / "d" / "c.png",
                   "--images", pictures)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert not list(folder.rglob("*.unfinished"))


@pytest.mark.parametrize(("kind", "name"), EXPORTS.items())
def test_a_path_that_cannot_be_written_is_named_as_it_was_given(
    kind: str, name: str, mask: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gdstk", reason="GDSII needs gdstk: pip install 'canopic[fabrication]'")
    pytest.importorskip("tifffile", reason="TIFF needs tifffile: pip install 'canopic[fabrication]'")
    folder = mask.parent / name
    folder.mkdir()
    fine = mask.parent / ("fine.bmp" if kind != "slm" else "fine.png")
    also = ("--slm", fine) if kind != "slm" else ("--png", fine)
    refused(canopic("export", mask, *also, f"--{kind}", folder), f"{folder} is a folder: name a file in it")
    assert not fine.exists()
    inside = mask / name
    refused(canopic("export", mask, f"--{kind}", inside), f"{inside} cannot be written: {mask} is a file")
    if Path("/proc").is_dir():
        refused(canopic("export", mask, f"--{kind}", f"/proc/{name}"), f"/proc/{name} cannot be written (")
        refused(canopic("export", mask, f"--{kind}", f"/proc/no/{name}"), f"/proc/no/{name} cannot be written (")
    assert "GDSTK" not in "".join(capfd.readouterr())


def test_a_psf_or_figure_that_cannot_be_written_is_named_before_the_work(mask: Path) -> None:
    (mask.parent / "folder.npz").mkdir()
    refused(canopic("psf", mask, "--out", mask.parent / "folder.npz"), "folder.npz is a folder: name a file in it")
    if Path("/proc").is_dir():
        refused(canopic("psf", mask, "--out", "/proc/foo.npz"), "/proc/foo.npz cannot be written (")
        refused(canopic("compare", mask, mask, "--figure", "/proc/f.png"), "/proc/f.png cannot be written (")
        refused(canopic("tolerance", mask, "--out", "/proc/foo"), "the folder /proc/foo cannot be made (")
        with pytest.raises(ValueError, match=r"^/proc/p\.npz cannot be written"):
            write_psf(Path("/proc/p.npz"), np.ones((3, 3, 3), np.float32), 6e-6, (1e-6,) * 3)


def test_a_file_of_another_kind_is_no_mask(mask: Path) -> None:
    folder = mask.parent
    (folder / "text.npz").write_text("solid canopic\nendsolid\n")
    (folder / "solid.stl").write_bytes(bytes(500))
    (folder / "empty.npz").write_bytes(b"")
    (folder / "short.npz").write_bytes(mask.read_bytes()[:-300])
    np.savez(folder / "objects.npz", psf=np.array([None, {}], dtype=object))
    for name in ("text.npz", "solid.stl", "empty.npz", "short.npz"):
        for command in (("psf", folder / name, "--out", folder / "p.npz"), ("tolerance", folder / name),
                        ("export", folder / name, "--png", folder / "p.png")):  # fmt: skip
            refused(canopic(*command), f"{name} is not a readable mask", "`canopic optics design`")
        refused(canopic("compare", mask, folder / name), f"{name} is not a readable .npy or .npz", "a mask (`canopic")
    refused(canopic("compare", mask, folder / "objects.npz"), "its array 'psf' cannot be read")
    damaged = bytearray(mask.read_bytes())
    damaged[60:90] = bytes(30)
    (folder / "damaged.npz").write_bytes(damaged)
    refused(canopic("psf", folder / "damaged.npz", "--out", folder / "p.npz"), "damaged.npz is not a readable mask")
    refused(canopic("psf", folder, "--out", folder / "p.npz"), "is not a readable mask (Is a directory)")


def test_a_table_that_is_none_is_named(mask: Path) -> None:
    folder = mask.parent
    (folder / "text.npy").write_text("0\n1\n")
    (folder / "words.txt").write_text("not a number\n")
    np.save(folder / "object.npy", np.array([None]))
    display = ("--slm", folder / "p.png", "--display-px", "64x64", "--display-pitch-um", "8", "--display-lut")
    for name in ("text.npy", "words.txt", "object.npy", "absent.txt"):
        refused(canopic("export", mask, *display, folder / name), f"{name} is not a readable list of numbers",
                "text with one number a line")  # fmt: skip


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--display-bits", "99"), "need both"),
        (("--display-lut", "lut.txt"), "need both"),
        (("--display-pitch-um", "8"), "--display-px COLUMNSxROWS"),
        (("--display-px", "64x64"), "--display-pitch-um"),
        (
            ("--display-px", "1000000x1000000", "--display-pitch-um", "8"),
            "1000000 x 1000000 pixels is too large: at most",
        ),
        (("--display-px", "16385x4", "--display-pitch-um", "8"), "at most 16384 a side"),
        (("--display-px", "16384x16384", "--display-pitch-um", "8"), "67,108,864 in all"),
        (("--display-px", "64x64", "--display-pitch-um", "8", "--display-bits", "99"), "from 1 to 16"),
    ],
)
def test_a_display_that_is_none_is_refused(options: tuple[str, ...], says: str, mask: Path) -> None:
    refused(canopic("export", mask, "--slm", mask.parent / "p.png", *options), says)


def test_a_display_without_its_picture_is_refused(mask: Path) -> None:
    options = ("--display-px", "64x64", "--display-pitch-um", "8")
    refused(canopic("export", mask, "--png", mask.parent / "p.png", *options), "--slm, too")


def test_a_phase_picture_states_half_a_level_of_its_display(tmp_path: Path) -> None:
    """Sixteen levels over a wave are among the 256 of the display; a mask of any other height is off by half a one."""
    from optics.materials import refractive_index

    geometry = Geometry(psf_px=(15, 15))
    mask = Mask(np.zeros((16, 16)), 8e-6, geometry=geometry)
    wave_m = 550e-9 / (refractive_index(mask.material, 550e-9) - 1)
    levels = np.arange(256).reshape(16, 16) % 16
    write_mask(Mask(levels * wave_m / 16, 8e-6, geometry=geometry), tmp_path / "m.npz")
    done = canopic("export", tmp_path / "m.npz", "--slm", tmp_path / "p.png", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["files"][0]["quantization_m"] == pytest.approx(wave_m / 512, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--celsius", "nan"), "--celsius nan: give a temperature from -100 to 300 degrees"),
        (("--celsius", "1e9"), "give a temperature from -100 to 300 degrees"),
        (("--celsius", "-273"), "give a temperature from -100 to 300 degrees"),
        (("--field-deg", "95"), "--field-deg 95: give angles to the axis from 0 to 89 degrees"),
        (("--field-deg", "0,nan"), "from 0 to 89 degrees"),
        (("--bandwidth-nm", "inf"), "give a width in nanometres"),
    ],
)
def test_numbers_that_no_camera_has_are_refused(options: tuple[str, ...], says: str, mask: Path) -> None:
    refused(canopic("psf", mask, "--out", mask.parent / "p.npz", *options), says)
    assert not (mask.parent / "p.npz").exists()


def test_a_target_of_tolerances_is_light(mask: Path) -> None:
    np.save(mask.parent / "zeros.npy", np.zeros((9, 9)))
    np.save(mask.parent / "signed.npy", np.eye(9) - 0.1)
    refused(canopic("tolerance", mask, "--target", mask.parent / "zeros.npy"), "zeros.npy is zero everywhere")
    refused(canopic("tolerance", mask, "--target", mask.parent / "signed.npy"), "signed.npy has negative taps")
