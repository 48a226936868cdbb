"""Sweeps that learn, on made-up people: here, on a Ray of two workers, and when a worker is killed in its middle."""

import csv
import importlib.util
import io
import os
import signal
import tarfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from host.stop import StopRequest
from host.sweep.local import LocalExecutor
from host.sweep.run import Progress, folder_of, reasons, run_points
from host.sweep.work import learn_and_judge
from models.encoder.sweep import Point, SweepPlan, points_of

pytest.importorskip("torch", reason="learning needs torch: pip install 'canopic[train]'")

ROOT = Path(__file__).parents[3]
SWEEP = SweepPlan.model_validate(
    {
        "base": {
            "chain": {"levels": 3, "pool": 16, "start": {"side_px": 9}},
            "schedule": {"cycles": 1, "encoder_steps": 8, "batch": 8, "looks": 1},
            "recognition": {"epochs": 2, "networks": [{"width": 0.05}]},
            "detection": {"epochs": 1, "networks": [{"width": 0.05}]},
            "choice": {"keep": "last", "identity_epochs": 1, "face_epochs": 1, "network": {"width": 0.05}},
            "material": {"fewest_images": 3, "photographs": False},
        },
        "grid": {"alpha": [1, 10]},
        "judge": {
            "networks": [{"network": "small", "width": 0.05}],
            "epochs": 2, "face_epochs": 1, "looks": 2, "people": 4, "faces_training": 20, "faces_test": 10,
        },
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives of the form of the shared ones."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    looks = rng.integers(30, 226, (20, 2, 2, 3))
    known = [(f"p{n % 4}", "test" if n > 15 else "train", looks[n % 4]) for n in range(24)]
    write(folder / "faces_identity_lfw64.tar", known)
    others = [(f"q{n % 8}", "test" if n > 39 else "train", looks[4 + n % 8]) for n in range(60)]
    write(folder / "faces_other_lfw64.tar", others)
    nothing = [("", "test" if n > 29 else "train", rng.integers(0, 256, (8, 8, 3))) for n in range(50)]
    write(folder / "nonface_images64.tar", nothing)
    return folder


def write(path: Path, crops: "list[tuple[str, str, Any]]") -> None:
    rng = np.random.default_rng(len(crops))
    table = io.StringIO()
    writer = csv.DictWriter(table, ["file", "person", "split"])
    writer.writeheader()
    with tarfile.open(path, "w") as tar:
        for number, (person, split, colours) in enumerate(crops):
            side = 64 // len(colours)
            image = colours.repeat(side, axis=0).repeat(side, axis=1) + rng.integers(-20, 21, (64, 64, 3))
            name = f"{number}_0.jpg"
            writer.writerow({"file": name, "person": person, "split": split})
            add(tar, name, cv2.imencode(".jpg", np.clip(image, 0, 255).astype(np.uint8))[1].tobytes())
        add(tar, "index.csv", table.getvalue().encode())


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    about = tarfile.TarInfo(name)
    about.size = len(content)
    tar.addfile(about, io.BytesIO(content))


@pytest.fixture
def points(data: Path) -> list[Point]:
    return points_of(SWEEP, {path.name: path.name for path in data.iterdir()})


@pytest.fixture(scope="module")
def here(data: Path, tmp_path_factory: pytest.TempPathFactory) -> "tuple[list[dict[str, Any]], int]":
    """Results of this machine, of which the first worker was killed once it had learned a while; and its calls."""
    points = points_of(SWEEP, {path.name: path.name for path in data.iterdir()})
    out = tmp_path_factory.mktemp("here")
    executor = LocalExecutor(2)
    killed: list[float] = []

    def watch(progress: Progress) -> None:
        checkpoint = folder_of(out, points[0]) / "checkpoint.pt"
        if not killed and checkpoint.exists() and progress.of("running"):
            killed.append(time.monotonic())
            os.kill(executor.process_ids[0], signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        # A learning so small is over within two looks of half a second.
        patch.setattr("host.sweep.run.POLL_S", 0.02)
        progress = run_points(points, data, out, learn_and_judge, lambda: executor, watch, StopRequest())
    assert reasons(progress, out) == []
    assert killed
    return progress.results(), len(killed)


def comparable(result: "dict[str, Any]") -> "dict[str, Any]":
    return {key: value for key, value in result.items() if key != "seconds"}


def test_a_point_says_what_attackers_found_and_on_how_many(here: "tuple[list[dict[str, Any]], int]") -> None:
    first, second = here[0]
    assert (first["name"], second["name"]) == ("alpha 1", "alpha 10")
    assert first["encoding_id"] != second["encoding_id"]
    for one in (first, second):
        identity, face = one["identity"], one["face"]
        assert (identity["n"], identity["chance"], face["n"], face["chance"]) == (8, 0.25, 20, 0.5)
        attacker = identity["attackers"]["small"]
        assert attacker["accuracy_95"][0] <= attacker["accuracy"] <= attacker["accuracy_95"][1]
        assert attacker["balanced"] == pytest.approx(np.mean(attacker["per_person"]))
        assert 0 < one["bits"]["per_measurement"] <= 4 * 4 * 3 * np.log2(one["effective_levels"])
        assert one["realisable"]
        assert one["plan"]["chain"]["levels"] == 3


def test_a_learning_whose_worker_was_killed_ends_as_one_that_was_not(
    here: "tuple[list[dict[str, Any]], int]", points: list[Point], data: Path, tmp_path: Path
) -> None:
    from models.encoder.sweep_point import run_point

    killed = here[0][0]
    found = run_point(points[0].plan, points[0].judge, data, tmp_path / "points" / "one")
    assert {key: killed[key] for key in found} == found


def test_ray_with_two_workers_gives_what_this_machine_gives(
    here: "tuple[list[dict[str, Any]], int]",
    points: list[Point],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Not imported here: on which interface it listens it reads when it is imported.
    if importlib.util.find_spec("ray") is None:
        pytest.skip("sweeps on a cluster need Ray: pip install 'canopic[train,cluster]'")
    from host.sweep.cluster import HERE, ClusterExecutor

    monkeypatch.syspath_prepend(str(ROOT))
    before = set(children(os.getpid()))
    executor = ClusterExecutor(HERE, 2)
    try:
        started = set(children(os.getpid())) - before
        assert listening(started) <= {"127.0.0.1"}
        progress = run_points(points, data, tmp_path, learn_and_judge, lambda: executor, lambda _: None, StopRequest())
    finally:
        started |= set(children(os.getpid())) - before
        executor.close()
    assert started
    assert reasons(progress, tmp_path) == []
    assert [comparable(one) for one in progress.results()] == [comparable(one) for one in here[0]]
    end = time.monotonic() + 20
    while left := [one for one in started if running(one)]:
        assert time.monotonic() < end, f"Ray has left processes: {left}"
        time.sleep(0.1)


def children(process_id: int) -> list[int]:
    """All processes below one."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (found := stat(int(entry.name))):
            parents.setdefault(int(found[1]), []).append(int(entry.name))
    wanted, found_ones = [process_id], []
    while wanted:
        below = parents.get(wanted.pop(), [])
        wanted += below
        found_ones += below
    return found_ones


def stat(process_id: int) -> "list[str] | None":
    """State, parent and so on."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


def running(process_id: int) -> bool:
    found = stat(process_id)
    return found is not None and found[0] not in "ZX"


def listening(processes: "set[int]") -> "set[str]":
    """IPv4 addresses on which these processes listen."""
    sockets = set()
    for process in processes:
        try:
            sockets |= {str(one.readlink()) for one in Path(f"/proc/{process}/fd").iterdir()}
        except OSError:
            continue
    addresses = set()
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = row.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                last = fields[1].split(":")[0][-8:]
                addresses.add(".".join(str(int(last[at : at + 2], 16)) for at in (6, 4, 2, 0)))
    return addresses
