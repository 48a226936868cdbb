"""Sweeps: points of a file, the front, and that whatever happens to a worker, the rest is done and nothing twice."""

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from host.commands.sweep import train_sweep
from host.stop import StopRequest
from host.sweep.local import LocalExecutor
from host.sweep.report import write_report
from host.sweep.run import Progress, SweepBusyError, folder_of, reasons, run_points
from host.sweep.table import LiveTable
from models.encoder.plan import checked_plan
from models.encoder.sweep import SWEEPS, JudgePlan, Point, SweepError, SweepPlan, points_of, read_sweep
from models.encoder.sweep_cost import rough_seconds
from models.encoder.sweep_front import Joined, Measure, beaten_beyond, join, pareto_front
from tests.models.encoder.sweep_tasks import WHAT, told

ROOT = Path(__file__).parents[3]
ALPHAS = [float(value) for value in range(6)]


# The file


@given(
    alphas=st.lists(st.sampled_from(ALPHAS), min_size=1, max_size=4, unique=True),
    pools=st.lists(st.sampled_from([4, 8, 16]), max_size=3, unique=True),
    levels=st.lists(st.integers(2, 16), max_size=3, unique=True),
    seeds=st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
)
@settings(deadline=None, max_examples=40)
def test_a_grid_is_every_combination_once_for_each_seed(
    alphas: list[float], pools: list[int], levels: list[int], seeds: list[int]
) -> None:
    grid: dict[str, list[Any]] = {"alpha": alphas}
    if pools:
        grid["pool"] = pools
    if levels:
        grid["chain.levels"] = levels
    points = points_of(SweepPlan(grid=grid, seeds=seeds), {})
    wanted = {(a, p, n, s) for a in alphas for p in pools or [8] for n in levels or [16] for s in seeds}
    plans = [point.plan for point in points]
    assert {(one.privacy.alpha, one.chain.pool, one.chain.levels, one.seed) for one in plans} == wanted
    assert len({point.digest for point in points}) == len(points) == len(wanted)
    # One more value leaves every point that there was.
    more = points_of(SweepPlan(grid=grid | {"alpha": [*alphas, 77.0]}, seeds=seeds), {})
    assert {point.digest for point in points} < {point.digest for point in more}


def test_the_digest_is_of_plan_and_data_and_of_nothing_else() -> None:
    def digest(sweep: SweepPlan, data: dict[str, str] | None = None) -> str:
        return points_of(sweep, data or {})[0].digest

    plain = digest(SweepPlan(points=[{"alpha": 5}]))
    judge = JudgePlan(epochs=3)
    assert digest(SweepPlan(name="other", points=[{"name": "five", "alpha": 5.0}], judge=judge)) == plain
    assert digest(SweepPlan(base={"privacy": {"alpha": 5}, "name": "x"}, points=[{}])) == plain
    assert digest(SweepPlan(points=[{"alpha": 5}], seeds=[1])) != plain
    assert digest(SweepPlan(points=[{"alpha": 5}]), {"faces_other_lfw64.tar": "ab"}) != plain
    assert digest(SweepPlan(points=[{"alpha": 5}]), {"captions.tar": "ab"}) == plain


def test_filters_are_that_many_starts_of_different_widths() -> None:
    widths = [point.plan.chain.start.sigma_px for point in points_of(SweepPlan(grid={"filters": [1, 3]}), {})]
    assert widths[0] == [4.0]
    assert widths[1] == pytest.approx([4.0, 4 * 2**0.5, 8.0])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("grid: {alhpa: [1]}", ["grid: 'alhpa' is no setting", "did you mean 'alpha'?"]),
        ("grid: {alpha: 3}", ["grid.alpha: 3 is refused", "`alpha: [3]`"]),
        ("grid: [{alpha: [3]}, {pool: {a: 1}}]\njudge: {epochs: 0}", ["grid 2 of 2.pool: {'a': 1}", "judge.epochs"]),
        ("grid: 3", ["grid: 3 is refused", "`alpha: [5, 20]`"]),
        ("grid:", ["grid: nothing is refused"]),
        ("grid: {1: [2]}", ["grid: 1 is no setting"]),
        ("grid: {width: [1]}", ["'width' could be any of choice.network.width, recognition.networks"]),
        ("points: [{name: one, alhpa: 1}]", ["point 'one'", "'alhpa' is no setting"]),
        ("grid: {alpha: [-1]}", ["point 'alpha -1'", "privacy.alpha", "-1", "greater than or equal to 0"]),
        ("grid: {alpha: []}", ["grid.alpha", "empty"]),
        ("grid: {batch: [8]}", ["'batch'", "schedule.batch", "choice.batch"]),
        ("grid: {alpha: [1], privacy.alpha: [2]}", ["'alpha' and 'privacy.alpha' are the same"]),
        ("grid: {seed: [1]}", ["'seed'", "`seeds:`"]),
        ("grid: {levels: [null]}", ["chain.levels: null", "2 to 16"]),
        ("grid: {filters: [0]}", ["filters: 0", "1 to 16"]),
        ("base: {privcy: {}}\npoints: [{}]", ["base: privcy", "no setting"]),
        ("base: {privacy: 3}\npoints: [{alpha: 1}]", ["base has no section 'privacy'"]),
        ("girds: {}", ["girds", "did you mean 'grid'?"]),
        ("judge: {epochs: 0}", ["judge.epochs", "0 is refused"]),
        ("seeds: []", ["seeds", "[]"]),
        ("name: empty", ["empty", "points: [{}]"]),
        ("points: [{name: a, alpha: 1}, {name: a, alpha: 2}]", ["two points are called 'a'"]),
        ("grid: {cycles: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], alpha: [1, 2, 3], encoder_steps: [1, 2, 3, 4, 5, 6, 7], "
         "slope: [1, 2, 3, 4, 5, 6, 7, 8], pool: [1, 2, 3, 4, 5, 6, 7]}", ["11760 points", "10000"]),
        ("[1]", ["expected keys such as `base:`"]),
        ("a: [", ["is not YAML"]),
    ],
)  # fmt: skip
def test_an_error_names_file_key_and_value(text: str, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(SweepError) as caught:
        points_of(read_sweep(path), {}, str(path))
    for word in [str(path), *words]:
        assert word in str(caught.value)
    assert "dict[" not in str(caught.value)
    assert "'base'" not in str(caught.value)


@pytest.mark.parametrize("path", sorted(SWEEPS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_sweeps_are_read(path: Path) -> None:
    points = points_of(read_sweep(path), {}, str(path))
    assert len({point.digest for point in points}) == len(points) > 3
    assert all(point.plan.chain.range == "fixed" and point.plan.chain.kernels in ("psf", "pair") for point in points)


# The front


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=24))
def test_the_front_is_what_no_other_point_beats(points: list[tuple[int, int]]) -> None:
    front = pareto_front([one[0] for one in points], [one[1] for one in points])

    def beaten(one: tuple[int, int]) -> bool:
        return any(other != one and other[0] <= one[0] and other[1] >= one[1] for other in points)

    assert sorted(front) == [index for index, one in enumerate(points) if not beaten(one)]
    assert [points[index][0] for index in front] == sorted(points[index][0] for index in front)


def test_a_front_needs_pairs_of_numbers() -> None:
    with pytest.raises(ValueError, match="both values"):
        pareto_front([0.1], [])
    with pytest.raises(ValueError, match="finite"):
        pareto_front([float("nan")], [0.5])


def result(name: str, seed: int, small: float, large: float, face: float) -> dict[str, Any]:
    """As `run_point` gives it, of two attackers on ten people."""

    def attacker(share: float) -> dict[str, Any]:
        return {"balanced": share, "per_person": [share] * 10}

    return {
        "name": name, "seed": seed, "digest": f"{name}{seed}", "overrides": {}, "effective_levels": 2 + seed,
        "bits": {"per_measurement": 8.0 + seed},
        "identity": {"attackers": {"small": attacker(small), "large": attacker(large)}},
        "face": {"attackers": {"small": {"accuracy": face, "n": 400}, "large": {"accuracy": 0.5, "n": 400}}},
    }  # fmt: skip


def test_seeds_are_joined_and_the_best_attacker_over_them_counts() -> None:
    one, other = join([result("a", 0, 0.3, 0.1, 0.9), result("b", 0, 0.2, 0.2, 0.8), result("a", 1, 0.1, 0.2, 0.7)])
    assert (one.name, one.seeds, one.digests, one.levels) == ("a", (0, 1), ("a0", "a1"), (2, 3))
    assert (one.identity.attacker, one.identity.mean) == ("small", pytest.approx(0.2))
    assert (one.face.attacker, one.face.mean, one.bits) == ("small", pytest.approx(0.8), pytest.approx(8.5))
    # People do not differ here, so the interval is as wide as the seeds lie apart.
    assert (one.identity.low, one.identity.high) == (pytest.approx(0.1), pytest.approx(0.3))
    assert (one.face.low, one.face.high) == (pytest.approx(0.7), pytest.approx(0.9))
    # Wilson, 320 of 400.
    assert (other.face.low, other.face.high) == (pytest.approx(0.758, abs=1e-3), pytest.approx(0.836, abs=1e-3))


def test_beaten_beyond_the_interval() -> None:
    def point(name: str, identity: tuple[float, float, float], face: tuple[float, float, float]) -> Joined:
        return Joined(name, {}, (0,), Measure(*identity), Measure(*face), 1.0, (2, 2), (name,))

    good = point("good", (0.1, 0.05, 0.15), (0.9, 0.88, 0.92))
    worse = point("worse", (0.2, 0.14, 0.25), (0.87, 0.85, 0.89))
    clearly = point("clearly", (0.2, 0.16, 0.25), (0.9, 0.88, 0.92))
    trade = point("trade", (0.3, 0.28, 0.32), (0.91, 0.9, 0.92))
    points = [good, worse, clearly, trade]
    assert [beaten_beyond(points, index) for index in range(4)] == [None, None, "good", None]


# At work


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers import the tasks of these tests."""
    monkeypatch.syspath_prepend(str(ROOT))


def points(*whats: str) -> list[Point]:
    return points_of(SweepPlan(points=[{"name": what, "alpha": WHAT[what]} for what in whats]), {})


def run(
    some: list[Point],
    out: Path,
    watch: Callable[[Progress], None] = lambda _: None,
    stop: StopRequest | None = None,
    workers: int = 2,
) -> Progress:
    return run_points(
        some, out, out, told, lambda: LocalExecutor(workers), watch, StopRequest() if stop is None else stop
    )


def calls(out: Path, point: Point) -> int:
    return len((folder_of(out, point) / "calls").read_text().split())


@pytest.mark.usefixtures("importable")
def test_failures_are_kept_and_stop_nothing_and_only_what_is_not_done_is_done_again(tmp_path: Path) -> None:
    some = points("broken", "fine", "dies once", "dies always")
    progress = run(some, tmp_path)
    states = {one.point.name: one.state for one in progress.standings.values()}
    assert states == {"broken": "failed", "fine": "done", "dies once": "done", "dies always": "failed"}
    assert {one.name: calls(tmp_path, one) for one in some} == {
        "broken": 1, "fine": 1, "dies once": 2, "dies always": 3,
    }  # fmt: skip
    said = reasons(progress, tmp_path)
    assert "broken, seed 0: ValueError: the encoder melted" in said[0]
    assert "died 3 times (status 3)" in said[1]
    failure = json.loads((folder_of(tmp_path, some[0]) / "failure.json").read_text())
    assert "raise ValueError" in failure["traceback"]
    assert "said by the worker" in (folder_of(tmp_path, some[1]) / "log.txt").read_text()

    document = write_report(tmp_path, "test", progress)
    assert [one["state"] for one in document["points"]] == ["failed", "done", "done", "failed"]
    assert document["points"][0]["reason"] == "ValueError: the encoder melted"
    # Alike in identity, so the one with the better face is all of the front.
    assert document["front"] == ["dies once"]
    rows = list(csv.DictReader((tmp_path / "sweep.csv").open()))
    assert [(row["point"], row["face"]) for row in rows] == [("fine", "0.61000"), ("dies once", "0.64000")]
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")

    again = run([*some[:3], *points("fine too")], tmp_path)
    assert [(one.state, one.kept) for one in again.standings.values()] == [
        ("failed", False), ("done", True), ("done", True), ("done", False),
    ]  # fmt: skip
    assert [calls(tmp_path, one) for one in some[:3]] == [2, 1, 2]


@pytest.mark.usefixtures("importable")
def test_another_judge_judges_again_and_another_name_does_not(tmp_path: Path) -> None:
    (point,) = points("fine")
    run([point], tmp_path)
    other = SweepPlan(points=[{"name": "renamed", "alpha": WHAT["fine"]}])
    (renamed,) = run(points_of(other, {}), tmp_path).results()
    assert renamed["name"] == "renamed"
    assert calls(tmp_path, point) == 1
    run(points_of(other.model_copy(update={"judge": JudgePlan(epochs=1)}), {}), tmp_path)
    assert calls(tmp_path, point) == 2


@pytest.mark.usefixtures("importable")
def test_a_stop_ends_the_workers_and_the_next_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever is shown is drawn, also when the stop comes within a second of the news before.
    monkeypatch.setattr("host.sweep.table.REFRESH_S", -1.0)
    stop = StopRequest()
    (waits, _) = some = points("waits", "fine")
    shown = Console(file=(tmp_path / "screen").open("w"), force_terminal=True, width=120)

    def watch(progress: Progress) -> None:
        live.show(progress)
        first = progress.standings[waits.digest]
        if first.stage == "waiting" and progress.of("done"):
            assert (first.state, first.cycle) == ("running", 1)
            with pytest.raises(SweepBusyError, match="another sweep"):
                run(some, tmp_path)
            stop.ask("enough")

    with LiveTable(shown) as live:
        progress = run(some, tmp_path, watch, stop)
    assert [one.state for one in progress.standings.values()] == ["waiting", "done"]
    assert not alive(int((folder_of(tmp_path, waits) / "calls").read_text()))
    screen = (tmp_path / "screen").read_text()
    assert "1/12 waiting" in screen
    assert "* fine" in screen

    (folder_of(tmp_path, waits) / "go").touch()
    progress = run(some, tmp_path)
    assert [(one.state, one.kept) for one in progress.standings.values()] == [("done", False), ("done", True)]


def test_workers_end_with_a_sweep_that_is_killed(tmp_path: Path) -> None:
    code = (
        "from tests.models.encoder.test_sweep import *\n"
        f"if __name__ == '__main__': run(points('waits'), Path({str(tmp_path)!r}))"
    )
    script = tmp_path / "driver.py"
    script.write_text(code)
    driver = subprocess.Popen([sys.executable, str(script)], env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        (point,) = points("waits")
        noted = folder_of(tmp_path, point) / "progress.json"
        wait_for(noted.exists, 40)
        worker = int((folder_of(tmp_path, point) / "calls").read_text())
        assert alive(worker)
    finally:
        driver.kill()
        driver.wait()
    wait_for(lambda: not alive(worker), 20)


def alive(process_id: int) -> bool:
    """Whether it runs; one that has ended and that nobody has waited for does not."""
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "ZX"


def wait_for(done: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


# The command


def test_the_command_lists_and_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import typer

    assert train_sweep("quick", data=None, directory=tmp_path, dry_run=True, as_json=True) == 0
    listed = json.loads(capsys.readouterr().out)
    assert len(listed) > 3
    assert all(not one["done"] and one["rough_seconds"] > 5 for one in listed)
    for options, word in (
        ({"file": "nowhere.yaml", "data": None}, "no such file"),
        ({"file": "quick", "data": None}, "--data"),
        ({"file": "quick", "data": tmp_path}, "faces_identity_lfw64.tar"),
        ({"file": "quick", "data": None, "workers": 0}, "--workers 0"),
    ):
        with pytest.raises(typer.Exit) as ended:
            train_sweep(directory=tmp_path, **options)  # type: ignore[arg-type]
        assert ended.value.exit_code == 2
        assert word in capsys.readouterr().err


def test_scenes_cost_time_in_each_cycle_and_more_in_the_first() -> None:
    def seconds(**values: Any) -> float:
        return rough_seconds(checked_plan(values, "test"), JudgePlan())

    crops, few = seconds(schedule={"cycles": 4}), seconds(schedule={"cycles": 4}, scenes={})
    longer = seconds(schedule={"cycles": 5}, scenes={}) - few
    assert longer > seconds(schedule={"cycles": 5}) - crops
    assert few - crops > 4 * (longer - (seconds(schedule={"cycles": 5}) - crops))
