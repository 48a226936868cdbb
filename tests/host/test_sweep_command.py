"""What `canopic train sweep` says before it begins: what it was asked for, and what it refuses without a long wait."""

import importlib.util
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from host.cli import app
from host.commands import sweep as command
from host.sweep import cluster
from host.sweep.cluster import HERE, AddressError, ClusterError, ClusterExecutor, check_address
from models.detector.archives import FACES, FACES_BY_PERSON, NON_FACES


def sweep(*words: object) -> Any:
    return CliRunner().invoke(app, ["train", "sweep", *(str(word) for word in words)])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Archives by name alone."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in (FACES, FACES_BY_PERSON, NON_FACES):
        (folder / name).write_text("no archive")
    return folder


@pytest.mark.parametrize(
    "address", ["here", "auto", "localhost:6379", "10.0.0.1:6379", "[::1]:6379", "ray://head.local:10001"]
)
def test_addresses_of_clusters(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize(
    "address", ["nonsense", "", "local", "10.0.0.1", "host:", ":6379", "host:0", "host:65536", "host:²", "http://host:1",
                "a b:1", "::1:6379"]
)  # fmt: skip
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(AddressError, match="expected here"):
        check_address(address)


def test_an_address_of_no_form_and_an_out_that_is_a_file_are_said_at_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_digests", lambda *_: pytest.fail("it reads"))
    (tmp_path / "taken").touch()
    for words, said in (
        (["--out", tmp_path / "out", "--cluster", "nonsense"], "--cluster nonsense: expected here"),
        (["--out", tmp_path / "taken"], f"--out {tmp_path / 'taken'}: {tmp_path / 'taken'} is a file"),
        (["--out", tmp_path / "taken", "--dry-run"], "is a file"),
    ):
        found = sweep("quick", "--data", data, *words)
        assert found.exit_code == 2
        assert said in found.stderr


def test_ctrl_c_while_archives_are_read_is_one_sentence(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_digests", interrupted)
    found = sweep("quick", "--data", data, "--out", tmp_path / "out")
    assert (found.exit_code, found.stderr) == (130, "canopic: interrupted before anything began\n")


@pytest.mark.parametrize(("module", "install"), [("torch", "canopic[train]"), ("ray", "canopic[train,cluster]")])
def test_what_is_not_installed_is_said(
    module: str, install: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = importlib.util.find_spec("json")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else there)
    found = sweep("quick", "--data", data, "--out", tmp_path / "out", "--cluster", "here")
    assert found.exit_code == 2
    assert f"pip install '{install}'" in found.stderr


def test_one_point_is_said_as_one_and_what_its_settings_are(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("name: one\ngrid: {alpha: [3]}")
    found = sweep(tmp_path / "one.yaml", "--out", tmp_path / "out", "--dry-run")
    assert found.exit_code == 0, found.output
    assert "one: 1 point (1 seed), 0 of them done" in found.stderr
    assert "settings: alpha (privacy.alpha) 3" in found.stderr
    (tmp_path / "two.yaml").write_text("name: two\ngrid: {alpha: [3, 4], chain.pool: [8]}")
    found = sweep(tmp_path / "two.yaml", "--out", tmp_path / "out", "--dry-run")
    assert "two: 2 points (1 seed)" in found.stderr
    assert "settings: alpha (privacy.alpha) 2 values, chain.pool 8" in found.stderr


class Ray:
    """Starts only from the `n`-th time on, as where Ray's own processes take too long."""

    def __init__(self, n: int) -> None:
        self.left, self.folders, self.shutdowns = n - 1, [], 0

    def init(self, **options: Any) -> None:
        self.folders.append(Path(options["_temp_dir"]))
        assert self.folders[-1].is_dir()
        if self.left:
            self.left -= 1
            raise RuntimeError("the raylet did not start in 30 s")

    def is_initialized(self) -> bool:
        return False

    def nodes(self) -> list[dict[str, str]]:
        return [{"NodeManagerAddress": "127.0.0.1"}]

    def remote(self, **_: Any) -> Any:
        return lambda function: function

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def shutdown(self) -> None:
        self.shutdowns += 1


def test_where_nobody_listens_ray_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = Ray(1)
    monkeypatch.setattr(cluster, "importlib", SimpleNamespace(import_module=lambda _: ray))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    with socket.socket() as taken:
        # Bound and not listening: nobody else gets the port meanwhile.
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ClusterError, match=f"'{address}' does not answer: .*refused"):
            ClusterExecutor(address)
    assert not ray.folders


@pytest.mark.parametrize("times", [1, 2, 3])
def test_ray_is_started_once_more_and_nothing_is_left_behind(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = Ray(times)
    monkeypatch.setattr(cluster, "importlib", SimpleNamespace(import_module=lambda _: ray))
    monkeypatch.setenv(cluster.ELSEWHERE, "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    if times > 2:
        with pytest.raises(ClusterError, match="'here' does not answer: the raylet did not start"):
            ClusterExecutor(HERE, 2)
    else:
        executor = ClusterExecutor(HERE, 2)
        assert executor.workers == 2
        executor.close()
    assert len(ray.folders) == min(times, 2) == ray.shutdowns
    assert not any(folder.exists() for folder in ray.folders)
