"""canopic optics as a person uses it: files in, files and numbers out, errors in one message; the twin at the end."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from host.cli import app
from optics.mask import Geometry, Mask, read_mask, write_mask
from optics.psf import psf
from tests.host.sensing import board_missing

# A small camera: designs take a second. Everything scales with it.
SMALL = ("--cells", "63", "--pitch-um", "4", "--distance-mm", "4", "--quick")


def canopic(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def gaussian(side: int, sigma: float) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - side // 2
    return np.exp(-(x**2 + y**2) / (2 * sigma**2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small target, an asymmetric mask and two pictures to judge codes on."""
    folder = tmp_path_factory.mktemp("optics")
    np.save(folder / "target.npy", gaussian(21, 3.0))
    height_m = np.outer(np.linspace(0, 1, 33), np.linspace(0, 1, 33) ** 2) * 0.8e-6
    write_mask(Mask(height_m, 4e-6, geometry=Geometry(sensor_distance_m=2e-3, psf_px=(25, 25))), folder / "wedge.npz")
    (folder / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        coarse = Image.fromarray(rng.integers(0, 255, (48, 64, 3)).astype(np.uint8))
        coarse.resize((320, 240), Image.Resampling.NEAREST).save(folder / "pictures" / name)
    return folder


@pytest.fixture(scope="module")
def designed(folder: Path) -> Path:
    """The output of `canopic optics design`."""
    done = canopic("optics", "design", folder / "target.npy", "--levels", 4, "--out", folder / "made", *SMALL,
                   "--images", folder / "pictures")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "codes:" in done.stdout
    return folder / "made"


def test_design_writes_a_mask_a_report_a_psf_and_a_figure(designed: Path) -> None:
    mask = read_mask(designed / "mask.npz")
    assert mask.levels == 4
    assert mask.geometry.psf_px == (21, 21)
    with np.load(designed / "mask.npz") as archive:
        assert {"height_m", "pitch_m", "material", "geometry"} <= set(archive)
    with np.load(designed / "psf.npz") as archive:
        np.testing.assert_array_equal(archive["psf"], psf(mask))
        assert float(archive["pixel_pitch_m"]) == pytest.approx(6e-6)
    report = json.loads((designed / "report.json").read_text())
    assert len(report["correlation_rgb"]) == 3
    assert report["correlation"] == pytest.approx(np.mean(report["correlation_rgb"]), abs=1e-5)
    # The figure in the report is the mask's own, computed again here from the file.
    wanted = gaussian(21, 3.0)
    again = [np.corrcoef(plane.ravel(), wanted.ravel())[0, 1] for plane in psf(mask)]
    assert report["correlation_rgb"] == pytest.approx(again, abs=1e-4)
    assert 0 < report["efficiency"] <= report["throughput"] <= 1
    change = report["code_change"]
    assert change["images"] == 2
    assert change["cells"] == 2 * 60 * 80 * 3
    assert 0 <= change["interval_low"] <= change["share_changed"] <= change["interval_high"] <= 1
    assert set(change["baselines"]) == {"noise", "half_a_pixel", "no_mask", "flat"}
    assert change["share_changed"] < change["baselines"]["no_mask"]["share_changed"]
    # A sensor is larger than the window and sees what misses it, too.
    assert report["code_change_with_stray"]["cells"] == change["cells"]
    assert isinstance(report["gradient_descent"], bool)
    assert report["seed"] == 0
    assert report["settings"]["levels"] == 4
    assert report["settings"]["geometry"]["source_distance_m"] is None
    with Image.open(designed / "design.png") as figure:
        assert figure.size[0] > 1000


def test_psf_writes_three_colours_that_sum_to_their_throughput(folder: Path) -> None:
    target = folder / "wedge_psf.npz"
    done = canopic("optics", "psf", folder / "wedge.npz", "--out", target, "--json", "--images", folder / "pictures")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    with np.load(target) as archive:
        taps = archive["psf"]
        assert taps.shape == (3, 25, 25)
        assert taps.dtype == np.float32
        assert archive["wavelengths_m"] == pytest.approx([640e-9, 550e-9, 460e-9])
    np.testing.assert_array_equal(taps, psf(read_mask(folder / "wedge.npz")))
    assert report["light_rgb"] == pytest.approx(taps.sum(axis=(1, 2)).tolist(), abs=1e-5)
    assert (folder / "wedge_psf.png").is_file()


def test_psf_at_another_window_distance_and_temperature(folder: Path) -> None:
    target = folder / "other.npz"
    done = canopic("optics", "psf", folder / "wedge.npz", "--out", target, "--window-px", 31, "--source-mm", 40,
                   "--celsius", 60, "--images", folder / "pictures", "--figure", folder / "named.png",
                   "--bandwidth-nm", 20, "--depth-mm", "20,40,inf", "--field-deg", "0,5,10")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "one PSF holds" in done.stdout
    assert "point 40 mm away" in done.stdout
    with np.load(target) as archive:
        assert archive["psf"].shape == (3, 31, 31)
        assert archive["depth_psf"].shape == (3, 3, 31, 31)
        inner = archive["psf"][:, 3:-3, 3:-3]
    assert np.abs(inner - psf(read_mask(folder / "wedge.npz"))).max() > 1e-4
    for name in ("named.png", "named-depth.png", "named-field.png"):
        assert (folder / name).is_file()


def test_a_mask_and_its_psf_compare_as_equal_and_a_moved_one_says_by_how_much(folder: Path, designed: Path) -> None:
    options = ("--images", folder / "pictures", "--figure", folder / "compared.png", "--json")
    same = canopic("optics", "compare", designed / "mask.npz", designed / "psf.npz", *options)
    assert same.exit_code == 0, same.output
    report = json.loads(same.stdout)
    assert report["correlation"] == pytest.approx(1, abs=1e-6)
    assert report["code_change"]["share_changed"] == 0
    assert report["ssim"]["first"] == report["ssim"]["second"]
    np.save(folder / "moved.npy", np.roll(gaussian(21, 3.0), (2, -1), axis=(0, 1)))
    moved = canopic("optics", "compare", folder / "target.npy", folder / "moved.npy", *options)
    report = json.loads(moved.stdout)
    assert report["correlation"] < 0.95
    assert report["aligned_correlation"] > 0.999
    assert report["aligned_shift_px"] == pytest.approx([2, -1], abs=0.05)
    # Plain kernels have no scale: they are compared at full light.
    assert report["first"]["light_rgb"] == pytest.approx([1, 1, 1], abs=1e-6)
    shown = canopic("optics", "compare", folder / "target.npy", folder / "moved.npy", *options[:-1])
    assert "+2.00 pixels down, -1.00 right" in shown.stdout


def test_tolerance_names_the_most_sensitive_parameter(folder: Path, designed: Path) -> None:
    done = canopic("optics", "tolerance", designed / "mask.npz", "--target", folder / "target.npy", "--samples", 6,
                   "--code-samples", 3, "--images", folder / "pictures", "--out", folder / "tolerance", "--json",
                   "--distance-um", 400)  # fmt: skip
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["samples"] == 6
    assert report["most_sensitive"] == "distance_m"
    assert report["deviations"]["tilt_rad"] == pytest.approx(math.radians(0.57))
    assert json.loads((folder / "tolerance" / "tolerance.json").read_text())["sentence"] == report["sentence"]
    assert (folder / "tolerance" / "tolerance.png").is_file()


def test_export_writes_every_kind(folder: Path, designed: Path) -> None:
    pytest.importorskip("gdstk", reason="GDSII needs gdstk: pip install 'canopic[fabrication]'")
    pytest.importorskip("tifffile", reason="TIFF needs tifffile: pip install 'canopic[fabrication]'")
    names = {"stl": "m.stl", "gds": "m.gds", "tiff": "m.tiff", "png": "m.png", "slm": "phase.png"}
    options = [part for kind, name in names.items() for part in (f"--{kind}", folder / name)]
    done = canopic("optics", "export", designed / "mask.npz", *options, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert {each["kind"] for each in report["files"]} == set(names)
    for each in report["files"]:
        assert Path(each["path"]).stat().st_size == each["bytes"]
        assert each["quantization_m"] < 50e-9
    shown = canopic("optics", "export", designed / "mask.npz", "--png", folder / "m2.png", "--faces", "scene")
    assert "mirrored left-right" in shown.stdout
    for figure in (report["figure"], folder / "mask-export.png"):
        with Image.open(figure) as drawn:
            assert min(drawn.size) > 400


def test_design_does_not_write_over_its_target(designed: Path) -> None:
    before = (designed / "psf.npz").read_bytes()
    done = canopic("optics", "design", designed / "psf.npz", "--out", designed, *SMALL)
    assert done.exit_code == 2
    assert "would be written over" in done.output
    assert (designed / "psf.npz").read_bytes() == before


def test_a_signed_kernel_becomes_a_pair_of_masks(folder: Path) -> None:
    np.save(folder / "signed.npy", gaussian(21, 2.0) / 4 - gaussian(21, 4.0) / 20)
    done = canopic("optics", "design", folder / "signed.npy", "--levels", 4, "--out", folder / "pair", *SMALL,
                   "--images", folder / "pictures", "--no-descent")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "PSF+ gets" in done.stdout
    report = json.loads((folder / "pair" / "report.json").read_text())
    assert report["plan"]["aperture_plus"] + report["plan"]["aperture_minus"] == pytest.approx(1)
    assert report["masks"]["plus"]["gradient_descent"] is False
    # Pictures of the bundle's 480 x 640 pixels side by side, a window of 21 pixels apart.
    assert report["placement"]["sentence"] in done.stdout
    assert report["placement"]["sentence"].startswith("Put the apertures")
    difference = np.load(folder / "pair" / "difference.npy")
    halves = [psf(read_mask(folder / "pair" / f"mask_{name}.npz")) for name in ("plus", "minus")]
    plus, minus = (half * report["plan"][f"aperture_{name}"] * report[f"gain_{name}"]
                   for half, name in zip(halves, ("plus", "minus"), strict=True))  # fmt: skip
    np.testing.assert_allclose(difference, plus - minus, atol=1e-6)
    for name in report["figures"]:
        assert (folder / "pair" / name).is_file()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("psf", "absent.npz", "--out", "p.npz"), "absent.npz is not a readable mask"),
        (("psf", "{wedge}", "--out", "p.txt"), "does not end in .npz"),
        (("psf", "{wedge}", "--out", "p.npz", "--depth-mm", "far"), "not a list of numbers"),
        (("psf", "{wedge}", "--out", "p.npz", "--field-deg", "10,5"), "must ascend"),
        (("psf", "{target}", "--out", "p.npz"), "is not a mask"),
        (("design", "absent.npy", "--out", "d"), "absent.npy is not a readable"),
        (("design", "{target}", "--out", "d", "--levels", "1"), "levels must be a whole number from 2"),
        (("design", "{target}", "--out", "d", "--material", "glue"), "material 'glue' is not known"),
        (("design", "{target}", "--out", "d", "--wavelengths-nm", "640,550"), "expected three"),
        (("design", "{target}", "--out", "d", "--wavelengths-nm", "red"), "not a list of numbers"),
        (("design", "{target}", "--out", "{target}/d"), "Not a directory"),
        (("design", "{target}", "--out", "{target}"), "name a folder"),
        (("design", "{three}", "--out", "d"), "shape (2, 5, 5)"),
        (("design", "{target}", "--out", "d", "--images", "absent"), "absent does not exist"),
        (("tolerance", "{wedge}", "--samples", "2", "--limit", "2"), "limit between 0 and 1"),
        (("tolerance", "{target}",), "is not a mask"),
        (("export", "{wedge}"), "nothing to write"),
        (("export", "{wedge}", "--png", "m.png", "--faces", "up"), 'faces must be "sensor" or "scene"'),
        (("export", "{wedge}", "--slm", "m.png", "--display-px", "9"), "--display-px COLUMNSxROWS"),
        (("compare", "{target}", "absent.npy"), "absent.npy is not a readable"),
        (("compare", "{target}", "{signed}"), "has negative taps"),
        (("compare", "{target}", "{archive}"), "name one of them"),
        (("compare", "{target}", "{archive}:other:7"), "there are 2 filters"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_message_and_status_2(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                 arguments: tuple[str, ...], says: str) -> None:  # fmt: skip
    np.save(folder / "three.npy", np.ones((2, 5, 5)))
    np.save(folder / "negative.npy", -gaussian(5, 1))
    np.savez(folder / "archive.npz", other=np.ones((2, 5, 5)))
    names = {"wedge": "wedge.npz", "target": "target.npy", "three": "three.npy", "signed": "negative.npy",
             "archive": "archive.npz"}  # fmt: skip
    paths = {key: str(folder / name) for key, name in names.items()}
    monkeypatch.chdir(tmp_path)
    done = canopic("optics", *(argument.format(**paths) for argument in arguments))
    assert done.exit_code == 2, done.output
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_without_descent_a_full_design_goes_through_all_its_moves(folder: Path) -> None:
    """What a base install, without PyTorch, does."""
    done = canopic("optics", "design", folder / "target.npy", "--out", folder / "moves", *SMALL[:-1], "--no-descent",
                   "--images", folder / "pictures", "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["gradient_descent"] is False
    assert report["correlation"] > report["gerchberg_saxton_only"]["correlation"]


def test_an_even_target_has_nothing_to_be_aligned_by(folder: Path) -> None:
    np.save(folder / "even.npy", np.ones((9, 9)))
    done = canopic("optics", "design", folder / "even.npy", "--out", folder / "even", *SMALL, "--no-descent",
                   "--images", folder / "pictures", "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["aligned_correlation"] is None
    assert report["efficiency"] > 0.1


def test_a_filter_in_an_archive_is_a_target(folder: Path) -> None:
    np.savez(folder / "two.npz", kernels=np.stack([gaussian(21, 3.0), gaussian(21, 1.0)]))
    done = canopic("optics", "compare", f"{folder / 'two.npz'}:kernels:0", folder / "target.npy", "--json",
                   "--images", folder / "pictures", "--figure", folder / "two.png")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["correlation"] == pytest.approx(1)


@pytest.mark.skipif(bool(board_missing()), reason=f"no board program: {board_missing()}")
def test_the_twin_runs_with_the_designed_mask(designed: Path) -> None:
    done = canopic("run", "--kernel", designed / "mask.npz", "--frames", 20, "--json", "--pace", "fast")
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    named = {line["provenance"]["simulated_kernel"] for line in lines if line["type"] == "measurement"}
    assert len(named) == 1
    assert named.pop().startswith("mask.npz:")
