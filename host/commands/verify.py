"""canopic calibrate verify: a deployed sensor against its seal, in a minute; the daemon reads the verdict."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from host.calibrate.catalogue import CannotCalibrate
from host.calibrate.procedure import Step
from host.commands.common import DONE, FAILED, WRONG_INPUT, expected, out, print_json, say
from host.config import default_state_directory
from host.config_file import ConfigError, LoadedConfig, load_config
from host.seal.mismatch import bundle_mismatch
from host.seal.verification import Verification, VerificationError, read_verification, verification, write_verification
from host.seal.verification_parts import DeviceParts, Parts, TwinParts
from host.seal.verifying import NotLooked, NotSealed, verify, with_earlier
from host.twin.bench import BenchError
from optics.archive import BundleError
from optics.bundle import Bundle, read_bundle, resolve_bundle


def verify_sensor(
    config: Path | None,
    *,
    bundle: str | None,
    path: str | None,
    board: str | None,
    seed: int | None,
    twin_fault: str | None,
    state: Path | None,
    unattended: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Check the sealed parts, write the record, print it. Status 0: passed (or nothing to check unattended), 1: failed,
    2: cannot be done as asked, or a part could not be looked at; the last record stays then, unless another part has
    failed before."""
    with expected(ConfigError, BundleError, BenchError, CannotCalibrate, NotSealed, ValueError, status=WRONG_INPUT,
                  prefix=""):  # fmt: skip
        loaded = load_config(config, _overrides(bundle, board, state))
        parts_of = _parts(loaded, path, board, seed, twin_fault)
        sealed = read_bundle(resolve_bundle(loaded.config.bundle))
        if (cause := bundle_mismatch(sealed)) is not None:
            raise NotSealed(f"{cause.reason}: {cause.advice}")
        parts = parts_of(sealed)
        with _progress() as (progress, pause):
            ask = (lambda _step: None) if yes or parts.arranges_itself or unattended else _person(pause)
            stopped = ""
            try:
                checks = verify(sealed, parts, unattended=unattended, ask=ask, progress=progress)
            except NotLooked as error:
                checks, stopped = [check for check in error.checks if not check.passed], str(error)
    if stopped:
        say(stopped)
        if not checks:
            say("no record is written, so what was verified last stands")
            return WRONG_INPUT
    if not checks:
        # A record would either say that a sensor passed which nobody has looked at, or blind it for no reason.
        say(
            "nothing of this sensor can be checked without hands at it, so no record is written: leave --unattended out"
        )
        return DONE
    directory = _directory(loaded)
    with expected(OSError):
        record = verification(sealed.id, with_earlier(checks, _earlier(directory), sealed.id))
        kept = None if directory is None else write_verification(record, directory)
    _tell(record, kept, as_json)
    return DONE if record.passed else FAILED


def _overrides(bundle: str | None, board: str | None, state: Path | None) -> dict[str, tuple[object, str]]:
    given: dict[str, tuple[object, str]] = {}
    if board is not None:
        given |= {"capture.path": ("board", "--board"), "capture.port": (board, "--board")}
    if bundle is not None:
        given["bundle"] = (bundle, "--bundle")
    if state is not None:
        given["storage.directory"] = (str(state), "--state")
    return given


def _parts(
    loaded: LoadedConfig, path: str | None, board: str | None, seed: int | None, twin_fault: str | None
) -> Callable[[Bundle], Parts]:
    """What is to be looked at. Raises CannotCalibrate for options that contradict each other."""
    chosen = path or loaded.config.capture.path
    if chosen not in ("twin", "camera", "loop", "board"):
        raise CannotCalibrate(f"--path: {chosen!r} is none of twin, camera, loop, board")
    if chosen == "twin":
        if board is not None:
            raise CannotCalibrate("--board names a real board, --path twin a simulated one: give one of them")
        of = loaded.config.capture.seed if seed is None else seed
        TwinParts(of, twin_fault)  # says at once that there is no such fault
        return lambda sealed: TwinParts(of, twin_fault, sealed)
    if seed is not None or twin_fault is not None:
        raise CannotCalibrate(f"--seed and --twin-fault are a twin's; the path is {chosen}: add --path twin")
    return lambda sealed: DeviceParts(sealed, loaded.config)


def _directory(loaded: LoadedConfig) -> Path | None:
    """Where the daemon of this configuration looks for the record; None where there is no such daemon."""
    if loaded.config.storage.directory is not None:
        return loaded.config.storage.directory
    return default_state_directory() if loaded.path is not None else None


def _earlier(directory: Path | None) -> Verification | None:
    """The last record; one that cannot be read is replaced by this one."""
    try:
        return None if directory is None else read_verification(directory)
    except VerificationError as error:
        say(f"{error}; it is replaced")
        return None


def _person(pause: Callable[[], None]) -> Callable[[Step], None]:
    """Asks the person at the bench to arrange something, and waits for Enter."""

    def ask(step: Step) -> None:
        if not sys.stdin.isatty():
            raise CannotCalibrate(
                "this verification asks for hands at the bench, and standard input is no terminal: run it in a "
                "terminal, or with --unattended for the parts that need none"
            )
        pause()
        say(f"\n{step.ask}\nThen press Enter. ")
        sys.stdin.readline()

    return ask


@contextmanager
def _progress() -> Iterator[tuple[Callable[[str], None], Callable[[], None]]]:
    """A line on stderr that says what is being looked at, and a way to stop it while somebody is asked."""
    console = Console(stderr=True, markup=False, highlight=False)
    bar = Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console,
                   transient=not console.is_terminal)  # fmt: skip
    task = bar.add_task("verifying", total=None)

    def show(text: str) -> None:
        bar.start()
        bar.update(task, description=text)

    try:
        yield show, bar.stop
    finally:
        bar.stop()


def _tell(record: Verification, kept: Path | None, as_json: bool) -> None:
    if as_json:
        print_json(record.as_json() | {"record": None if kept is None else str(kept)})
        return
    console = out()
    table = Table("", "value", "at most", "verdict", box=None, pad_edge=False)
    for check in record.checks:
        value = "-" if check.value is None else f"{check.value:.4g} {check.unit}".strip()
        limit = "" if check.value is None else f"{check.limit:.4g} {check.unit}".strip()
        table.add_row(check.name, value, limit, "ok" if check.passed else "FAILED",
                      style="" if check.passed else "red")  # fmt: skip
    console.print(table)
    console.print(f"{'passed' if record.passed else 'FAILED'}: {record.reason}")
    if kept is None:
        console.print("not kept: give --config or --state, so that the sensor hears of it")
    else:
        verdict = "measures with these parts" if record.passed else "stays blind until a verification passes"
        console.print(f"record: {kept}; the sensor {verdict}, from its next start")
