"""canopic seal: encoding, mask, calibrations and models into one bundle that the daemon holds its parts against."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.table import Table

from calibration.outcome import Kind
from host.calibrate.results import Kept, ResultError, kept_kinds, load_outcome
from host.commands.common import DONE, WRONG_INPUT, expected, out, print_json, say
from host.config import default_state_directory
from host.optic_files import read_any_mask
from host.seal.sealed_optics import LEAST_KERNEL_CORRELATION, pitches_um
from host.seal.sealing import SealError, seal, seal_of
from optics.archive import BundleError
from optics.bundle import SUFFIX, Bundle, read_bundle, resolve_bundle, write_bundle


def seal_bundle(
    name: str,
    calibration: Path | None,
    target: Path,
    mask_file: Path | None,
    *,
    force: bool,
    as_json: bool,
) -> int:
    """Seal the bundle `name` with every calibration in a directory (default: where `canopic calibrate` keeps those of
    this sensor), write it to `target`, and print what it is bound to. Status 2 for what cannot be sealed."""
    directory = calibration or default_state_directory() / "calibration"
    with expected(SealError, ResultError, BundleError, ValueError, OSError, status=WRONG_INPUT):
        if target.suffix != SUFFIX:
            raise SealError(f"{target}: a bundle's file ends in {SUFFIX}: give --out NAME{SUFFIX}")
        source = resolve_bundle(name)
        if target.exists() and target.samefile(source):
            raise SealError(f"{target} is the bundle that is sealed: give --out another name, so that both are kept")
        bundle = read_bundle(source)
        if not directory.is_dir():
            raise SealError(
                f"{directory} is no directory: give --calibration the one that `canopic calibrate` wrote to"
            )
        kept: dict[Kind, Kept] = {kind: load_outcome(directory, kind) for kind in kept_kinds(directory)}
        sealed = seal(
            bundle,
            kept,
            sealed_at=datetime.now(UTC).isoformat(timespec="seconds"),
            by=f"canopic {version('canopic')}",
            mask=None if mask_file is None else read_any_mask(mask_file),
            force=force,
        )
        write_bundle(sealed, target)
    _tell(sealed, kept, target, as_json)
    return DONE


def _tell(sealed: Bundle, kept: dict[Kind, Kept], target: Path, as_json: bool) -> None:
    named = seal_of(sealed) or {}
    if as_json:
        print_json({"file": str(target), "id": sealed.id, "seal": named})
        return
    board, mask = named["board"] or {}, named["mask"] or {}
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("sealed", f"{target}, for {'a twin' if named['simulated'] else 'real parts'}")
    table.add_row("bundle id", sealed.id)
    table.add_row("encoding", named["encoding_id"])
    for name, digest in named["models"].items():
        table.add_row("model", f"{name} ({digest[:12]})")
    table.add_row("mask", f"{mask['id']}" if mask else "none: the daemon cannot tell another mask by its id")
    table.add_row("board", f"{board['serial']}, thresholds {board['thresholds_digest']}" if board else "none")
    table.add_row("camera", named["camera"] or "none")
    if (likeness := named["kernel_correlation"]) is not None:
        verdict = "FAILED, sealed by force: the daemon will refuse it, " if "kernel" in named["forced"] else ""
        each_colour = ", ".join(f"{value:.3f}" for value in likeness)
        table.add_row(
            "PSF", f"{verdict}correlation with the encoding's kernel {each_colour} (red, green, blue; at least "
            f"{LEAST_KERNEL_CORRELATION})"
        )  # fmt: skip
    if "pitch" in named["forced"]:
        designed_um, plane_um = pitches_um(sealed.mask, kept["psf"].outcome.result)
        table.add_row(
            "pixels", f"FAILED, sealed by force: the mask's {designed_um:.4g} um, the camera's {plane_um:.4g} um"
        )
    for kind, each in kept.items():
        verdict = "passed" if each.outcome.passed else "FAILED, sealed by force: the daemon will refuse it"
        table.add_row(kind, f"{verdict}, {each.made_at}: {each.outcome.reason}")
    out().print(table)
    if named["simulated"]:
        say("Measured on a twin: the bundle is for rehearsals, and a sensor with real parts refuses it.")
    say(
        "Write the bundle id down, away from the sensor: digests show that a part was changed, only the id shows that "
        "it is still this bundle."
    )
