"""Figures: the file is there, of its size, the same bytes again, drawn from what it is given; the documentation's."""

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from typer.testing import CliRunner

from host.cli import app
from host.figures import panels
from host.figures.cards import Bar, Example, comparison_card, depth_card, field_card, psf_card, tolerance_card
from host.figures.conventions import draw_orientation
from host.figures.exports import export_card
from host.figures.style import DPI, figure
from optics.mask import Geometry, Mask
from optics.psf import psf
from tests.host.sensing import board_missing

ROOT = Path(__file__).resolve().parents[3]
WAVES = (640e-9, 550e-9, 460e-9)
PITCH_M = 6e-6


@pytest.fixture(scope="module")
def mask() -> Mask:
    height_m = np.round(np.outer(np.linspace(0, 1, 31), np.linspace(0, 1, 31) ** 2) * 3) / 3 * 0.6e-6
    return Mask(height_m, 4e-6, geometry=Geometry(sensor_distance_m=1.5e-3, psf_px=(17, 17)))


@pytest.fixture(scope="module")
def taps(mask: Mask) -> np.ndarray:
    return psf(mask)


@pytest.fixture(scope="module")
def example() -> Example:
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 16, (6, 8, 3)).astype(np.uint8) for _ in range(2))
    return Example(rng.random((48, 64, 3)).astype(np.float32), "one", first, "other", second)


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        picture.load()
        assert np.ptp(np.asarray(picture.convert("L"))) > 100  # something is drawn
        return picture.size


def test_the_card_of_a_mask_is_the_same_file_again(
    tmp_path: Path, mask: Mask, taps: np.ndarray, example: Example
) -> None:
    wanted = np.repeat(taps.mean(axis=0, keepdims=True), 3, axis=0)
    history = [{"stage": "start", "correlation": 0.5}, {"stage": "descent", "correlation": 0.9}]
    for name in ("a.png", "b.png"):
        psf_card(tmp_path / name, taps, PITCH_M, WAVES, title="A mask", facts="facts", mask=mask, wanted=wanted,
                 example=example, history=history)  # fmt: skip
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert _size(tmp_path / "a.png")[0] == 14 * DPI
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.png", "b.png"]


def test_every_card_is_drawn(tmp_path: Path, taps: np.ndarray, example: Example) -> None:
    psf_card(tmp_path / "psf.png", taps, PITCH_M, WAVES, title="A PSF", facts="")
    comparison_card(tmp_path / "compare.png", (taps, taps[:, ::-1]), ("a", "b"), PITCH_M, WAVES, facts="",
                    example=example)  # fmt: skip
    depths = np.stack([taps, taps, taps])
    depth_card(tmp_path / "depth.png", depths, [0.1, 1.0, np.inf], PITCH_M, [[1, 1, 1]] * 3, title="Depth")
    field = {
        "angles_deg": [0, 5], "correlation_with_axis": [[1, 1, 1], [0.9, 0.8, 0.7]], "throughput": [[1, 1, 1]] * 2,
        "drift_px": [[0, 0], [0.1, 0.2]], "held_at_correlation": 0.9,
    }  # fmt: skip
    field_card(tmp_path / "field.png", field, title="Field")
    values = np.linspace(0.8, 1, 9)
    bars = [Bar("tilt\n1 degree", 0.1, 0.02), Bar("shift", 0.0, None)]
    tolerance_card(tmp_path / "tolerance.png", title="Tolerances", facts="", aligned=values, plain=values - 0.1,
                   limit=0.95, changed=1 - values, alone=bars)  # fmt: skip
    for name in ("psf", "compare", "depth", "field", "tolerance"):
        assert _size(tmp_path / f"{name}.png")[0] >= 13 * DPI


def test_panels_show_the_arrays_in_their_orientation(mask: Mask, taps: np.ndarray) -> None:
    made = Figure()
    first, second = made.subplots(1, 2)
    panels.height_panel(made, first, mask)
    shown = first.images[0]
    np.testing.assert_allclose(np.ma.filled(shown.get_array(), 0), np.where(mask.stop > 0, mask.height_m * 1e6, 0))
    assert shown.get_extent() == pytest.approx([-0.062, 0.062, 0.062, -0.062])  # y points down
    image = panels.psf_panel(second, taps[0], PITCH_M, float(taps.max()), "red")
    floor = taps.max() * 10.0**-panels.DECADES
    np.testing.assert_allclose(np.asarray(image.get_array()), np.maximum(taps[0], floor))
    # The middle of pixel 17 // 2 lies on the axis.
    left, right, bottom, top = image.get_extent()
    assert (left + right, bottom + top) == pytest.approx((0, 0))


def test_the_change_panel_counts_colours(example: Example) -> None:
    made = Figure()
    axes = made.subplots()
    panels.change_panel(made, axes, example.codes, example.other_codes, "change")
    differs = (example.codes != example.other_codes).sum(axis=2)
    np.testing.assert_array_equal(axes.images[0].get_array(), differs)


def test_a_figure_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), figure(tmp_path / "f.png", 2, 2):
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    (tmp_path / "no").write_text("a file")
    with pytest.raises(OSError, match=r"exists.*no'$"), figure(tmp_path / "no" / "f.png", 2, 2):
        pass
    (tmp_path / "f.png").mkdir()
    with pytest.raises(OSError, match=r"f\.png'$"), figure(tmp_path / "f.png", 2, 2):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.png", "no"]


def test_the_folder_of_a_figure_is_made(tmp_path: Path) -> None:
    with figure(tmp_path / "new" / "f.png", 2, 2):
        pass
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["f.png"]


def test_the_orientation_picture_shows_the_letter_unflipped(tmp_path: Path) -> None:
    """The PSF in it comes from the physics: were light flipped anywhere, the picture would show it."""
    from host.figures.conventions import _letter_mask

    mask = _letter_mask()
    taps = psf(mask)[1]
    blocks = mask.transmission[:60, :60].reshape(30, 2, 30, 2).mean(axis=(1, 3))
    cut = taps[:30, :30]  # pixels of 4 um over cells of 2 um, half a pixel aside for an even number of cells
    turned = {name: np.corrcoef(cut.ravel(), other.ravel())[0, 1] for name, other in (
        ("as it is", blocks), ("left-right", blocks[:, ::-1]), ("up-down", blocks[::-1]), ("turned", blocks.T),
    )}  # fmt: skip
    assert max(turned, key=turned.__getitem__) == "as it is"
    draw_orientation(tmp_path / "o.png")
    assert _size(tmp_path / "o.png")[0] == 13 * DPI


@pytest.mark.skipif(bool(board_missing()), reason=f"no board program to calibrate: {board_missing()}")
def test_one_command_draws_every_picture_that_the_documentation_shows(tmp_path: Path) -> None:
    linked = {
        name
        for page in (ROOT / "docs").glob("*.md")
        for name in re.findall(r"!\[[^\]]*\]\(images/([^)]+)\)", page.read_text())
    }
    assert linked
    done = CliRunner().invoke(app, ["optics", "figures", "--out", str(tmp_path), "--sketch"])
    assert done.exit_code == 0, done.output
    drawn = {path.name for path in tmp_path.iterdir()}
    assert linked <= drawn
    assert {path.name for path in (ROOT / "docs" / "images").iterdir()} == linked == drawn
    for name in drawn:
        assert _size(tmp_path / name)[0] >= 1000


@pytest.mark.parametrize("faces", ["sensor", "scene"])
def test_the_card_for_the_maker_shows_what_is_in_the_files(tmp_path: Path, mask: Mask, faces: str) -> None:
    drive = np.random.default_rng(0).integers(0, 256, (31, 31)).astype(np.uint8)
    Image.fromarray(drive).save(tmp_path / "drive.png")
    for name, picture in (("with.png", tmp_path / "drive.png"), ("without.png", None)):
        export_card(tmp_path / name, mask, faces, "flat", picture, title="Maker", facts="")  # type: ignore[arg-type]
    assert _size(tmp_path / "with.png") == _size(tmp_path / "without.png")
    assert (tmp_path / "with.png").read_bytes() != (tmp_path / "without.png").read_bytes()
