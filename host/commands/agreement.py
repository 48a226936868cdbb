"""canopic calibrate agreement: codes predicted from a sealed bundle beside those of the twin that it was sealed on."""

from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from calibration.outcome import Kind
from host.board.errors import BoardError, BoardProgramError
from host.calibrate.catalogue import CannotCalibrate, procedure_of
from host.calibrate.results import Kept
from host.calibrate.run import SessionError, run_procedure
from host.commands.common import DONE, WRONG_INPUT, expected, out, print_json
from host.figures.agreement import draw
from host.seal.agreement import Agreement, Share, agreement, hidden_camera
from host.seal.sealing import SealError, seal, seal_of
from host.seal.verification_parts import TwinParts
from host.twin.bench import BenchError
from optics.archive import BundleError
from optics.bundle import Bundle, read_bundle, resolve_bundle
from optics.code_change import PhotographError, load_photographs, photographs

CALIBRATED: tuple[Kind, ...] = ("board", "psf", "sensor", "range")


def compare_codes(
    bundle: str | None,
    seed: int,
    images: Path | None,
    limit_images: int | None,
    figure: Path | None,
    as_json: bool,
) -> int:
    """Calibrate the twin of a seed (or take the bundle that was sealed on it), predict and measure photographs, print
    the shares of equal codes. Status 2 for what cannot be compared."""
    errors = (BundleError, BenchError, CannotCalibrate, SealError, PhotographError, SessionError, BoardError,
              BoardProgramError, ValueError, OSError)  # fmt: skip
    console = Console(stderr=True, markup=False, highlight=False)
    with (
        expected(*errors, status=WRONG_INPUT),
        Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn(), console=console,
            transient=not console.is_terminal,
        ) as bar,
    ):  # fmt: skip
        task = bar.add_task("bundle and photographs", total=None)
        given = read_bundle(resolve_bundle(bundle or "default"))
        pictures = (
            photographs(given.rows_px, given.columns_px)[:limit_images]
            if images is None
            else load_photographs(images, limit_images, given.rows_px, given.columns_px)
        )
        sealed = given if seal_of(given) is not None else calibrated_twin(
            given, seed, lambda text: bar.update(task, description=text)
        )  # fmt: skip
        _check_twin(sealed)
        camera = hidden_camera(seed, sealed)
        found = agreement(
            sealed,
            camera,
            pictures,
            lambda done, total, what: bar.update(task, description=what, completed=done, total=total),
        )
        if figure is not None:
            draw(found, figure)
    if as_json:
        print_json({**found.as_json(), "seed": seed, "encoding_id": sealed.encoding.id})
        return DONE
    _tell(found, figure)
    return DONE


def calibrated_twin(bundle: Bundle, seed: int, progress: Callable[[str], None]) -> Bundle:
    """The bundle sealed with short calibrations of the twin of a seed. Raises SealError where one does not pass,
    ValueError, before anything is acquired, for an encoding that one mask cannot be."""
    # All of them first: the board's calibration takes minutes, and a pair of masks would be refused only after it.
    procedures = {kind: procedure_of(kind, bundle, quick=kind != "board") for kind in CALIBRATED}
    kept: dict[Kind, Kept] = {}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for kind, procedure in procedures.items():
        with TwinParts(seed, bundle=bundle).calibrating(procedure, bundle) as session:
            outcome, _ = run_procedure(
                procedure, session, progress=lambda step, *_, of=kind: progress(f"calibrate {of}: {step.text}")
            )
        kept[kind] = Kept(outcome, {}, now)
    return seal(bundle, kept, sealed_at=now, by=f"canopic {version('canopic')}")


def _check_twin(sealed: Bundle) -> None:
    named = seal_of(sealed)
    if named is None or not named["simulated"]:
        raise SealError(
            "the bundle was sealed on real parts: no twin has their masks and comparators. Give one that was sealed "
            "with calibrations of a twin, and the seed of that twin"
        )


def _tell(found: Agreement, figure: Path | None) -> None:
    table = Table("the model knows", "equal codes", "95 % interval", box=None, pad_edge=False)

    def row(each: Share, name: str) -> None:
        table.add_row(name, f"{each.share:.1%}", f"{each.low:.1%} to {each.high:.1%}")

    for each in found.rows:
        row(each, each.name)
    row(found.exposures, "(limit: two exposures of the twin)")
    console = out()
    console.print(table)
    console.print(
        f"{found.cells} cells of each of {len(found.names)} photographs, {found.levels} effective levels; the interval "
        "is over the photographs. One exposure can agree with a good model more often than two exposures with each "
        "other, as only one of them is noisy."
    )
    if figure is not None:
        console.print(f"figure: {figure}")
