"""canopic calibrate psf | board | sensor | slm | range | faults: guided, resumable, with a figure and a verdict."""

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from calibration.outcome import Kind, Outcome, wrong_setup
from host.calibrate.catalogue import CannotCalibrate, Opened, on_devices, on_twin, procedure_of
from host.calibrate.coverage import coverage
from host.calibrate.procedure import Procedure, Step, StepData
from host.calibrate.results import kept_kinds, save_outcome
from host.calibrate.run import SessionError, run_procedure
from host.calibrate.store import StepStore
from host.commands.common import DONE, FAILED, WRONG_INPUT, expected, out, print_json, say
from host.config import default_state_directory
from host.config_file import ConfigError, LoadedConfig, load_config
from host.stop import sigterm_interrupts
from host.twin.bench import BenchError, all_faults
from optics.archive import BundleError
from optics.bundle import Bundle, read_bundle, resolve_bundle

INTERRUPTED = 130


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for; None where it does not say."""

    kind: Kind
    path: str | None = None
    board: str | None = None
    config: Path | None = None
    bundle: str | None = None
    seed: int | None = None
    twin_fault: str | None = None
    out: Path | None = None
    quick: bool = False
    fresh: bool = False
    yes: bool = False
    figure: Path | None = None
    as_json: bool = False


def calibrate(wanted: Wanted) -> int:
    """Run one calibration. Status 0: passed, 1: failed, 2: cannot be done as asked, 130: interrupted (resumable)."""
    with expected(ConfigError, BundleError, BenchError, CannotCalibrate, ValueError, status=WRONG_INPUT, prefix=""):
        loaded = load_config(wanted.config, _overrides(wanted))
        twin = _is_twin(wanted, loaded)
        path = resolve_bundle(loaded.config.bundle)
        bundle = read_bundle(path)
        procedure = procedure_of(wanted.kind, bundle, wanted.quick, loaded.config.exposure.mains_hz)
    with ExitStack() as stack:
        directory = _directory(wanted, loaded, twin, stack)
        try:
            with (
                expected(BenchError, CannotCalibrate, OSError, ValueError, status=WRONG_INPUT, prefix=""),
                sigterm_interrupts(),
            ):
                outcome, data, truth, store = _acquired(wanted, procedure, (bundle, path), loaded, directory, twin)
        except KeyboardInterrupt:
            say("interrupted; what was acquired is kept: run the same command again to go on" if _kept(wanted, twin)
                else "interrupted")  # fmt: skip
            return INTERRUPTED
        with expected(OSError):
            # A set-up that was wrong measured nothing: what was measured before still holds.
            if outcome.result["wrong_setup"] is None or wanted.kind not in kept_kinds(directory):
                save_outcome(outcome, directory, truth)
            elif _kept(wanted, twin):
                say(f"the earlier result in {directory} is kept")
        if store is not None:
            store.forget()  # concluded and kept: the next run acquires anew
        figure = _drawn(procedure, outcome, data, wanted.figure or directory / f"{wanted.kind}.png")
        _tell(wanted, outcome, truth, directory, figure, _kept(wanted, twin))
    return DONE if outcome.passed else FAILED


def list_faults(as_json: bool) -> int:
    """Print the wrong set-ups that a twin can be given, by calibration."""
    known = all_faults()
    if as_json:
        print_json(known)
        return DONE
    table = Table("calibration", "--twin-fault", "what is wrong", box=None, pad_edge=False)
    for kind, names in known.items():
        for name, meaning in names.items():
            table.add_row(kind, name, meaning)
    out().print(table)
    return DONE


def _overrides(wanted: Wanted) -> dict[str, tuple[object, str]]:
    given: dict[str, tuple[object, str]] = {}
    if wanted.board is not None:
        given["capture.port"] = (wanted.board, "--board")
    if wanted.bundle is not None:
        given["bundle"] = (wanted.bundle, "--bundle")
    return given


def _is_twin(wanted: Wanted, loaded: LoadedConfig) -> bool:
    """Whether to calibrate a twin. Raises CannotCalibrate for options that contradict each other."""
    path = wanted.path or ("board" if wanted.board else loaded.config.capture.path)
    if path not in ("twin", "camera", "loop", "board"):
        raise CannotCalibrate(f"--path: {path!r} is none of twin, camera, loop, board")
    twin = path == "twin"
    if twin and wanted.board is not None:
        raise CannotCalibrate("--board names a real board, --path twin a simulated one: give one of them")
    if not twin and (wanted.seed is not None or wanted.twin_fault is not None):
        raise CannotCalibrate(f"--seed and --twin-fault are a twin's; the path is {path}: add --path twin")
    return twin


def _directory(wanted: Wanted, loaded: LoadedConfig, twin: bool, stack: ExitStack) -> Path:
    """Where steps and results go: as asked; a device's among the sensor's state; a twin's nowhere that lasts."""
    if wanted.out is not None:
        return wanted.out
    if twin:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="canopic-calibrate-")))
    return (loaded.config.storage.directory or default_state_directory()) / "calibration"


def _kept(wanted: Wanted, twin: bool) -> bool:
    return wanted.out is not None or not twin


def _acquired(
    wanted: Wanted, procedure: Procedure, bundle: tuple[Bundle, Path], loaded: LoadedConfig, directory: Path, twin: bool
) -> tuple[Outcome, dict[str, StepData], Mapping[str, Any] | None, StepStore | None]:
    """The outcome, the steps' data, a twin's truth, and the store of the steps where the run was concluded."""
    truth: Mapping[str, Any] | None = None
    try:
        with _opened(wanted, procedure, bundle, loaded, twin) as opened, _progress(procedure) as (progress, paused):
            truth = opened.truth
            for sentence in opened.missing:
                say(f"not enforced on this computer: {sentence}")
            store = StepStore(directory / wanted.kind, procedure, opened.session.device)
            if wanted.fresh:
                store.forget()
                store = StepStore(directory / wanted.kind, procedure, opened.session.device)
            ask = (lambda _step: None) if twin or wanted.yes else _person(paused)
            outcome, data = run_procedure(procedure, opened.session, store, ask=ask, progress=progress)
            marked = {**outcome.result, "simulated": opened.simulated}
            return replace(outcome, result=marked), data, truth, store
    except SessionError as error:
        return wrong_setup(wanted.kind, error.name or "device_failed", str(error)), {}, truth, None


def _drawn(procedure: Procedure, outcome: Outcome, data: dict[str, StepData], path: Path) -> Path | None:
    """The figure's path; None where there is nothing to draw, or it cannot be written, which is said."""
    if not data:
        return None
    try:
        procedure.draw(outcome, data, path)
    except OSError as error:
        say(f"the figure cannot be written: {error}")
        return None
    return path


def _opened(
    wanted: Wanted, procedure: Procedure, bundle: tuple[Bundle, Path], loaded: LoadedConfig, twin: bool
) -> AbstractContextManager[Opened]:
    if twin:
        return on_twin(procedure, *bundle, wanted.seed or 0, wanted.twin_fault)
    return on_devices(procedure, bundle[0], loaded.config)


def _person(paused: Callable[[], AbstractContextManager[None]]) -> Callable[[Step], None]:
    """Asks the person at the bench to arrange something, and waits for Enter."""

    def ask(step: Step) -> None:
        if not sys.stdin.isatty():
            raise CannotCalibrate(
                "this calibration asks for hands at the bench, and nobody is there to answer (standard input is no "
                "terminal): run it in a terminal, or with --yes where the bench arranges itself"
            )
        with paused():
            say(f"\n{step.ask}\nThen press Enter (Ctrl-C stops; what was acquired is kept). ")
            sys.stdin.readline()

    return ask


@contextmanager
def _progress(
    procedure: Procedure,
) -> Iterator[tuple[Callable[[Step, int, int, bool], None], Callable[[], AbstractContextManager[None]]]]:
    """A line of progress on stderr, and a way to pause it while somebody is asked."""
    console = Console(stderr=True, markup=False, highlight=False)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(), console=console, transient=not console.is_terminal,
    )  # fmt: skip
    task = bar.add_task(f"calibrate {procedure.kind}", total=len(procedure.steps))

    def show(step: Step, number: int, _count: int, resumed: bool) -> None:
        bar.update(task, completed=number, description=f"{step.text}{' (kept)' if resumed else ''}")

    @contextmanager
    def paused() -> Iterator[None]:
        bar.stop()
        try:
            yield
        finally:
            bar.start()

    with bar:
        yield show, paused
        bar.update(task, completed=len(procedure.steps), description=f"calibrate {procedure.kind}")


def _tell(
    wanted: Wanted,
    outcome: Outcome,
    truth: Mapping[str, Any] | None,
    directory: Path,
    figure: Path | None,
    kept: bool,
) -> None:
    if wanted.as_json:
        document = {
            "kind": outcome.kind, "passed": outcome.passed, "reason": outcome.reason, "result": outcome.result,
        }  # fmt: skip
        print_json(document if truth is None else {**document, "truth": dict(truth)})
        return
    console = out()
    console.print(f"{'passed' if outcome.passed else 'FAILED'}: {outcome.reason}")
    if limits := outcome.result.get("limits"):
        table = Table("", "value", "limit", "", box=None, pad_edge=False)
        for limit in limits:
            at = "least" if "least" in limit else "most"
            value = "-" if limit["value"] is None else f"{limit['value']:.4g} {limit['unit']}"
            bound = f"at {at} {limit[at]:.4g} {limit['unit']}"
            table.add_row(limit["meaning"], value, bound, "ok" if limit["holds"] else "NOT KEPT",
                          style="" if limit["holds"] else "red")  # fmt: skip
        console.print(table)
    if truth is not None:
        console.print("simulated: these are a twin's numbers")
    if kept:
        console.print(f"results: {directory / (wanted.kind + '.json')}" + (f", figure: {figure}" if figure else ""))
    elif wanted.figure is not None and figure is not None:
        console.print(f"figure: {figure}; give --out DIR to keep the results")


def show_coverage(kind: Kind, setups: int, first_seed: int, bundle_name: str, quick: bool, as_json: bool) -> int:
    """Calibrate many twins, and print how often their hidden parameters lie within the stated uncertainties."""
    with expected(BundleError, ValueError, status=WRONG_INPUT, prefix=""):
        bundle = read_bundle(resolve_bundle(bundle_name))
        procedure_of(kind, bundle, quick)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(), console=Console(stderr=True),
    )  # fmt: skip
    with expected(SessionError), bar:
        task = bar.add_task(f"calibrate {kind} on twins", total=setups)
        seeds = range(first_seed, first_seed + setups)
        found, failed = coverage(kind, bundle, seeds, quick, lambda done: bar.update(task, completed=done))
    if as_json:
        print_json({"kind": kind, "setups": setups, "not_passed": failed, "parameters": [asdict(e) for e in found]})
        return DONE if not failed else FAILED
    table = Table("parameter", "values", "set-ups", "within 1 sigma", "within 2 sigma", "95 % interval", "worst",
                  "sigma (median)", box=None, pad_edge=False)  # fmt: skip
    for each in found:
        low, high = each.within_2_interval
        table.add_row(
            each.parameter, str(each.values), str(each.setups), f"{each.within_1:.1%}", f"{each.within_2:.1%}",
            f"{low:.1%} to {high:.1%}", f"{each.worst:.1f}", f"{each.median_sigma:.3g}",
        )  # fmt: skip
    console = out()
    console.print(table)
    console.print("of a right uncertainty 68.3 % lie within 1 sigma and 95.4 % within 2; simulated set-ups")
    for line in failed:
        console.print(f"not passed: {line}")
    return DONE if not failed else FAILED
