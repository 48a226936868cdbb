"""canopic optics figures: every picture of docs/conventions.md and docs/guide-blur-to-mask.md, from nothing."""

import contextlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from host.commands import design, optics, tolerance
from host.commands.common import DONE, FAILED, WRONG_INPUT, expected, out, say
from host.figures.conventions import PICTURES

PALETTE = 256  # colours of a picture in the documentation: a third of the bytes, and hardly a difference to see
WIDTH_PX = 1200


def draw_all(folder: Path) -> int:
    """Draw them into `folder`; the guide's are what its own commands draw."""
    with expected(OSError, status=WRONG_INPUT):
        folder.mkdir(parents=True, exist_ok=True)
        for name, draw in PICTURES.items():
            draw(folder / name)
        with tempfile.TemporaryDirectory(prefix="canopic-") as directory:
            for name, made in _guide(Path(directory)).items():
                if not made.is_file():
                    say(f"canopic: {name} was not drawn")
                    return FAILED
                made.replace(folder / name)
    pictures = sorted(folder.glob("*.png"))
    for picture in pictures:
        _smaller(picture)
    out().print(f"{folder}: {', '.join(picture.name for picture in pictures)}")
    return DONE


def gaussian(sigma_px: float = 8.0, side_px: int = 63) -> np.ndarray:
    """The guide's wanted blur."""
    y, x = np.mgrid[:side_px, :side_px] - side_px // 2
    return np.asarray(np.exp(-(x**2 + y**2) / (2 * sigma_px**2)))


def _guide(folder: Path) -> dict[str, Path]:
    """Run the guide's commands in `folder`; where each of its figures lies."""
    np.save(folder / "blur.npy", gaussian())
    for levels in (16, 2):
        _quietly(
            lambda levels=levels: design.design(  # type: ignore[misc]
                str(folder / "blur.npy"), folder / f"blur{levels}", options={**DESIGN_OPTIONS, "levels": levels},
                seed=0, quick=True, bundle="default", images=None, figure=None, as_json=False,
            )
        )  # fmt: skip
    mask = folder / "blur16" / "mask.npz"
    _quietly(
        lambda: tolerance.simulate(
            mask, {}, target=None, samples=40, code_samples=20, limit=0.95, seed=0, bundle="default", images=None,
            limit_images=2, directory=folder / "tolerance", figure=None, as_json=False,
        )
    )  # fmt: skip
    _quietly(
        lambda: optics.psf(
            mask, folder / "psf.npz", window_px=None, source_mm=None, celsius=20.0, bandwidth_nm=0.0,
            depths_mm="50,100,200,500,1000,inf", fields_deg="0,5,10,15,20", bundle="default", images=None, figure=None,
            as_json=False,
        )
    )  # fmt: skip
    return {
        "guide-design-16.png": folder / "blur16" / "design.png",
        "guide-design-2.png": folder / "blur2" / "design.png",
        "guide-tolerance.png": folder / "tolerance" / "tolerance.png",
        "guide-depth.png": folder / "psf-depth.png",
        "guide-field.png": folder / "psf-field.png",
    }


DESIGN_OPTIONS = {
    "height_range_um": None, "min_feature_um": None, "smoothness": 0.0, "scenes": 1.0, "light": 0.1,
    "material": "fused_silica", "cells": 255, "pitch_um": 2.0, "distance_mm": 5.0, "pixel_um": 6.0,
    "wavelengths_nm": "640,550,460",
    "iterations": 500, "moves": 60, "descent": True,
}  # fmt: skip


def _quietly(command: Callable[[], int]) -> None:
    """What a command says on standard output is the guide's business, not this one's."""
    with contextlib.redirect_stdout(io.StringIO()):
        command()


def _smaller(path: Path) -> None:
    """At most WIDTH_PX wide, with a palette: small enough for a repository."""
    with Image.open(path) as picture:
        made = picture.convert("RGB")
    if made.width > WIDTH_PX:
        made = made.resize((WIDTH_PX, round(made.height * WIDTH_PX / made.width)), Image.Resampling.LANCZOS)
    made.quantize(PALETTE, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
