"""canopic train sweep: learn and judge every point of a file, here or on a Ray cluster, and draw the front."""

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from host.commands.checks import OptionError, asked_device, check_out, check_ray, check_torch
from host.commands.common import DONE, FAILED, WRONG_INPUT, expected, out, print_json, say
from host.stop import StopRequest, stop_on_signals
from host.sweep.cluster import AddressError, ClusterError, ClusterExecutor, check_address
from host.sweep.local import LocalExecutor
from host.sweep.report import FIGURE, SUMMARY, TABLE, joined_points, write_report
from host.sweep.run import Progress, SweepBusyError, reasons, run_points, standings
from host.sweep.table import LiveTable, line, span, table
from host.sweep.work import Executor, Run, learn_and_judge
from models.detector.archives import DataMissingError, archive_path, file_digest
from models.encoder.sweep import Point, SweepError, archives_of, full_name, points_of, read_sweep, sweep_file
from models.encoder.sweep_cost import rough_seconds
from models.encoder.sweep_images import IMAGES, limits, questions

INTERRUPTED = 130


def train_sweep(
    file: str,
    *,
    data: Path | None,
    directory: Path,
    cluster: str | None = None,
    workers: int | None = None,
    device: str = "cpu",
    dry_run: bool = False,
    as_json: bool = False,
) -> int:
    """Run the sweep in `file` (a path, or a shipped one's name).

    device: "cpu", or on this machine "cuda" or "auto". Status 0: all done, 1: a point failed or the cluster did, 2: it
    cannot be run as asked, 130: interrupted (the same command goes on).
    """
    with (
        expected(SweepError, DataMissingError, OptionError, AddressError, status=WRONG_INPUT),
        expected(OSError),
    ):
        path = sweep_file(file)
        sweep = read_sweep(path)
        if workers is not None and workers < 1:
            raise SweepError(f"--workers {workers}: a sweep needs at least one")
        if cluster is not None:
            check_address(cluster)
            if device != "cpu":
                raise SweepError(
                    f"--device {device}: on Ray points are learned on processors; leave out one of the two"
                )
        check_out(directory)
        where = asked_device(device)
        work = learn_and_judge if where == "cpu" else partial(learn_and_judge, device=where)
        if not dry_run and data is None:
            raise DataMissingError("a sweep learns from photographs; give the folder of the archives, --data DIR")
        # Twice, since which archives there have to be is a matter of the points.
        points = points_of(sweep, {}, str(path))
        try:
            points = points_of(sweep, _digests(points, data), str(path))
        except KeyboardInterrupt:
            say("canopic: interrupted before anything began")
            return INTERRUPTED
    there = standings(points, directory)
    waiting = [one.point for one in there.values() if one.state == "waiting"]
    count = workers or (os.cpu_count() or 1)
    rough = sum(rough_seconds(point.plan, point.judge) for point in waiting)
    _announce(sweep.name, points, waiting, count, cluster, rough)
    if dry_run:
        return _list(points, {point.digest for point in waiting}, as_json)
    if waiting:
        with expected(OptionError, status=WRONG_INPUT):
            check_torch()
            if cluster is not None:
                check_ray()
    images = (data or Path()).resolve()
    return _run(sweep.name, points, images, directory, _executor(cluster, workers, count), work, as_json)


def _run(
    name: str,
    points: list[Point],
    data: Path,
    directory: Path,
    make_executor: Callable[[], Executor],
    work: Run,
    as_json: bool,
) -> int:
    stop = StopRequest()
    with (
        ExitStack() as signals,
        expected(DataMissingError, status=WRONG_INPUT),
        expected(ClusterError, SweepBusyError, OSError),
        LiveTable(Console(stderr=True)) as live,
    ):

        def ready() -> Executor:
            signals.enter_context(stop_on_signals(stop))
            _decode(points, data, directory)
            executor = make_executor()
            # Again, for Ray handles signals in its own way.
            signals.enter_context(stop_on_signals(stop))
            return executor

        ended = -1

        def watch(progress: Progress) -> None:
            nonlocal ended
            now = len(progress.of("done")) + len(progress.of("failed"))
            if now != ended:
                ended = now
                write_report(directory, name, progress)
            live.show(progress)

        progress = run_points(points, data, directory.resolve(), work, ready, watch, stop)
        document = write_report(directory, name, progress)
    for reason in reasons(progress, directory):
        say(f"canopic: failed: {reason}")
    if as_json:
        print_json(document)
    else:
        out().print(table(progress, *joined_points(progress)))
        out().print(f"{line(progress)}; * the front")
        out().print(", ".join(str(directory / one) for one in (SUMMARY, TABLE, FIGURE) if (directory / one).is_file()))
    if stop:
        say("canopic: interrupted; the same command goes on where it stopped")
        return INTERRUPTED
    return FAILED if progress.of("failed") else DONE


def _executor(cluster: str | None, workers: int | None, count: int) -> Callable[[], Executor]:
    if cluster is None:
        return lambda: LocalExecutor(count)
    return lambda: ClusterExecutor(cluster, workers)


def _digests(points: list[Point], data: Path | None) -> dict[str, str]:
    """SHA-256 of every archive that a point needs."""
    if data is None:
        return {}
    needed = dict.fromkeys(name for point in points for name in archives_of(point.plan, point.judge))
    return {name: file_digest(archive_path(data, name)) for name in needed}


def _announce(
    name: str, points: list[Point], waiting: list[Point], workers: int, cluster: str | None, as_rough: float
) -> None:
    """What is about to happen, on stderr."""
    seeds = len({point.plan.seed for point in points})
    where = "this machine" if cluster is None else f"Ray ({cluster})"
    some = f"{len(points)} point{'s' * (len(points) != 1)}"
    say(f"{name}: {some} ({seeds} seed{'s' * (seeds != 1)}), {len(points) - len(waiting)} of them done")
    # The end of a setting's name is enough in a file, and a list of one value makes one point: so both are said.
    overrides = dict.fromkeys(key for point in points for key in point.overrides)
    if overrides:
        say("settings: " + ", ".join(_told(key, points) for key in overrides))
    if waiting:
        rough = span(as_rough / workers)
        say(f"{len(waiting)} to do on {where}, {workers} at a time: roughly {rough} where cores are free")


def _told(key: str, points: list[Point]) -> str:
    """A setting that points change, with its full name, and its values: the one there is, or how many."""
    values = list(dict.fromkeys(json.dumps(point.overrides[key]) for point in points if key in point.overrides))
    full = full_name(key)
    name = key if key == full else f"{key} ({full})"
    return f"{name} {values[0]}" if len(values) == 1 else f"{name} {len(values)} values"


def _list(points: list[Point], waiting: set[str], as_json: bool) -> int:
    """Every point, what it would be learned with, and whether it is done."""
    if as_json:
        print_json([_entry(point, point.digest not in waiting) for point in points])
        return DONE
    listed = Table("point", "seed", "digest", "state", "roughly")
    for point in points:
        state = "to do" if point.digest in waiting else "done"
        rough = span(rough_seconds(point.plan, point.judge))
        listed.add_row(Text(point.name), str(point.plan.seed), point.digest[:12], state, rough)
    out().print(listed)
    return DONE


def _entry(point: Point, done: bool) -> dict[str, Any]:
    return {
        "digest": point.digest,
        "name": point.name,
        "seed": point.plan.seed,
        "done": done,
        "overrides": dict(point.overrides),
        "rough_seconds": round(rough_seconds(point.plan, point.judge)),
    }


def _decode(points: list[Point], data: Path, directory: Path) -> None:
    """The judge's images, once for all workers."""
    from models.evidence.material import read_material

    judge = points[0].judge
    read_material(data, questions(judge), limits(judge), directory / IMAGES)
