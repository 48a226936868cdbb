"""canopic optics figures: every picture of the documentation, from nothing: conventions, masks, calibrations."""

import contextlib
import io
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from calibration.outcome import Kind
from host.board.errors import BoardError, BoardProgramError
from host.calibrate.catalogue import procedure_of
from host.calibrate.results import Kept
from host.calibrate.run import SessionError, run_procedure
from host.commands import design, optics, tolerance
from host.commands.agreement import CALIBRATED
from host.commands.common import DONE, WRONG_INPUT, expected, out
from host.figures.agreement import draw as draw_agreement
from host.figures.conventions import PICTURES
from host.seal.agreement import agreement, hidden_camera
from host.seal.sealing import SealError, seal
from host.seal.verification_parts import TwinParts
from optics.bundle import default_bundle_path, read_bundle
from optics.code_change import photographs

# The guide's pictures, and where its commands draw them.
GUIDE = {
    "guide-design-16.png": "blur16/design.png",
    "guide-design-2.png": "blur2/design.png",
    "guide-tolerance.png": "tolerance/tolerance.png",
    "guide-depth.png": "psf-depth.png",
    "guide-field.png": "psf-field.png",
}
CALIBRATED_SEED = 3  # the twin of docs/guide-calibrate.md
AGREEMENT = "guide-calibrate-agreement.png"
SKETCH_OPTIONS: dict[str, Any] = {"cells": 63, "pitch_um": 4.0, "distance_mm": 4.0, "descent": False}
PALETTE = 256  # colours of a picture in the documentation: a third of the bytes, and hardly a difference to see
WIDTH_PX = 1200


def draw_all(folder: Path, sketch: bool = False) -> int:
    """Draw them into `folder`; the guides' are what their own commands draw. sketch: of a toy mask, with one photograph
    and a board's shorter ramps, in half a minute."""
    errors = (OSError, BoardError, BoardProgramError, SessionError, SealError)
    with expected(*errors, status=WRONG_INPUT), tempfile.TemporaryDirectory(prefix="canopic-") as directory:
        folder.mkdir(parents=True, exist_ok=True)
        for name, draw in PICTURES.items():
            draw(folder / name)
        _guide(Path(directory), sketch)
        for name, made in GUIDE.items():
            shutil.copyfile(Path(directory) / made, folder / name)
        names = [*PICTURES, *GUIDE, *_calibrations(folder, sketch)]
        for name in names:
            _smaller(folder / name)
    out().print(f"{folder}: {', '.join(names)}")
    return DONE


def gaussian(sigma_px: float = 8.0, side_px: int = 63) -> NDArray[np.float64]:
    """The guide's wanted blur: (side, side)."""
    y, x = np.mgrid[:side_px, :side_px] - side_px // 2
    return np.asarray(np.exp(-(x**2 + y**2) / (2 * sigma_px**2)))


def _guide(folder: Path, sketch: bool) -> None:
    """Run the guide's commands in `folder`; GUIDE says where each of its figures lies then."""
    np.save(folder / "blur.npy", gaussian(3.0, 21) if sketch else gaussian())
    options = SKETCH_OPTIONS if sketch else {}
    for levels in (16, 2):
        _quietly(
            design.design, str(folder / "blur.npy"), folder / f"blur{levels}", options={**options, "levels": levels},
            seed=0, quick=sketch, bundle="default", images=None, figure=None, as_json=False,
        )  # fmt: skip
    mask = folder / "blur16" / "mask.npz"
    samples = 2 if sketch else 60
    _quietly(
        tolerance.simulate, mask, {}, target=None, samples=samples, code_samples=samples // 2, limit=0.95, seed=0,
        bundle="default", images=None, limit_images=2, directory=folder / "tolerance", figure=None, as_json=False,
    )  # fmt: skip
    _quietly(
        optics.psf, mask, folder / "psf.npz", window_px=None, source_mm=None, celsius=20.0, bandwidth_nm=0.0,
        depths_mm="50,100,200,500,1000,inf", fields_deg="0,5,10,15,20", bundle="default", images=None, figure=None,
        as_json=False,
    )  # fmt: skip


def _calibrations(folder: Path, sketch: bool) -> list[str]:
    """Calibrate the guide's twin, draw each outcome and how well the sealed model predicts codes; names of the files.

    Raises SealError where a calibration did not pass.
    """
    bundle = read_bundle(default_bundle_path())
    now = datetime.now(UTC).isoformat(timespec="seconds")
    kept: dict[Kind, Kept] = {}
    names = []
    for kind in CALIBRATED:
        procedure = procedure_of(kind, bundle, quick=sketch or kind != "board")
        with TwinParts(CALIBRATED_SEED, bundle=bundle).calibrating(procedure, bundle) as session:
            outcome, data = run_procedure(procedure, session)
        kept[kind] = Kept(outcome, {}, now)
        names.append(f"guide-calibrate-{kind}.png")
        procedure.draw(outcome, data, folder / names[-1])
    sealed = seal(bundle, kept, sealed_at=now, by="canopic optics figures")
    pictures = photographs(sealed.rows_px, sealed.columns_px)[: 1 if sketch else None]
    draw_agreement(agreement(sealed, hidden_camera(CALIBRATED_SEED, sealed), pictures), folder / AGREEMENT)
    return [*names, AGREEMENT]


def _quietly(command: Callable[..., int], *arguments: Any, **options: Any) -> None:
    """What a command says on standard output is the guide's business, not this one's."""
    with contextlib.redirect_stdout(io.StringIO()):
        command(*arguments, **options)


def _smaller(path: Path) -> None:
    """At most WIDTH_PX wide, with a palette: small enough for a repository."""
    with Image.open(path) as picture:
        made = picture.convert("RGB")
    if made.width > WIDTH_PX:
        made = made.resize((WIDTH_PX, round(made.height * WIDTH_PX / made.width)), Image.Resampling.LANCZOS)
    made.quantize(PALETTE, method=Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE).save(
        path, optimize=True
    )
