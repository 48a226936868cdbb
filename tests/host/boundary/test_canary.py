"""A canary in the scene: found in the boundary process, and nowhere else, in memory, on pipes, in files or logs."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from host.boundary.client import BoundaryCapture
from host.config import Camera, Gpio
from host.twin.board_process import board_executable
from optics.bundle import default_bundle_path, read_bundle
from tests.host.boundary.canary import Canary, descendants, memory
from tests.host.sensing import board_missing

ROOT = Path(__file__).resolve().parents[3]
FRAMES = 900
ROUNDS = 2


@pytest.fixture(scope="module")
def canary() -> Canary:
    return Canary()


@pytest.fixture(scope="module")
def scene(canary: Canary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the pattern's frames, and a kernel that does not blur: what falls on the sensor is the pattern."""
    folder = tmp_path_factory.mktemp("canary") / "pictures"
    folder.mkdir()
    first = folder / "0000.png"
    cv2.imwrite(str(first), canary.picture)
    for index in range(1, FRAMES):
        (folder / f"{index:04d}.png").hardlink_to(first)
    np.save(folder.parent / "sharp.npy", np.ones((1, 1), np.float32))
    return folder


def test_the_search_finds_it_however_it_is_stored(canary: Canary) -> None:
    rng = np.random.default_rng(1)
    share = canary.picture / 255.0
    noisy = share + rng.normal(0, 0.03, share.shape)
    mosaic = np.rint(64 + 900 * np.repeat(np.repeat(noisy, 2, axis=0), 2, axis=1)).astype(np.uint16)
    stored = {
        "uint8": canary.picture[7],
        "interleaved": np.repeat(canary.picture[7], 3),
        "mosaic": mosaic[200],
        "10 bit": np.rint(noisy[3] * 1023).clip(0, 1023).astype(np.uint16),
        "linear": (noisy[3].clip(0) ** 2.4).astype(np.float32),
        "float64": noisy[9],
    }
    for name, row in stored.items():
        before = rng.integers(0, 256, int(rng.integers(1, 50)) * 8, dtype=np.uint8).tobytes()
        assert canary.found_in(before + row.tobytes() + before), name
    nothing: list[NDArray[Any]] = [
        rng.integers(0, 256, 1 << 20, dtype=np.uint8),
        rng.normal(size=1 << 17),
        np.zeros(1 << 20, np.uint8),
    ]
    assert not any(canary.found_in(values.tobytes()) for values in nothing)
    # What does leave: the largest of 64 pixels, which is bright everywhere.
    assert not canary.found_in(np.full((60, 80, 3), 15, np.uint8).tobytes())


def test_no_byte_on_the_pipe_is_of_the_picture(canary: Canary, scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = bytearray()
    read = os.read

    def tapped(descriptor: int, length: int) -> bytes:
        data = read(descriptor, length)
        seen.extend(data)
        return data

    monkeypatch.setattr("host.boundary.child.os.read", tapped)
    path = default_bundle_path()
    capture = BoundaryCapture(
        "camera",
        read_bundle(path),
        path,
        Camera(device="twin"),
        Gpio(),
        scene={"scene": str(scene), "light": [], "kernel": str(scene.parent / "sharp.npy"), "seed": 0, "pace": "fast"},
        kernel=_sharp(scene),
    )
    try:
        capture.verify(10_000, 1.0)
        measured = [capture.read(5.0) for _ in range(60)]
        pid = capture.pid
        assert pid is not None
        opened = _opened(pid) if os.geteuid() == 0 else {}
    finally:
        capture.release()
    assert all(one is not None for one in measured)
    assert len(seen) > 60 * 7200
    assert not canary.found_in(bytes(seen))
    # Two pipes, nothing else: no socket, no file that could be written. (The twin's next picture may just be read.)
    for name, flags in opened.items():
        reads_the_scene = Path(name).is_relative_to(scene) and flags & os.O_ACCMODE == os.O_RDONLY
        assert name.startswith("pipe:") or name == "/dev/null" or reads_the_scene, opened


def _opened(pid: int) -> dict[str, int]:
    """What a process has open, and the flags of each; what it closes meanwhile is left out."""
    found = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            name = str(link.readlink())
            flags = Path(f"/proc/{pid}/fdinfo/{link.name}").read_text().split("flags:")[1].split()[0]
            found[name] = int(flags, 8)
    return found


def _sharp(scene: Path):  # type: ignore[no-untyped-def]
    from host.twin.kernel import kernel_use, load_kernel

    return kernel_use(load_kernel(scene.parent / "sharp.npy", 1), read_bundle(default_bundle_path()).encoding.kernels)


@pytest.fixture(params=["camera", "loop"])
def running(request: pytest.FixtureRequest, scene: Path) -> Iterator[tuple[int, Path]]:
    """A daemon of its own, with all its files under one folder."""
    if request.param == "loop" and board_missing():
        pytest.skip(f"no board program: {board_missing()}")
    # The path of a socket has to be short, and pytest's own folders are not.
    folder = Path(tempfile.mkdtemp(prefix="canary-"))
    for name in ("tmp", "state"):
        (folder / name).mkdir()
    config = folder / "canopic.yaml"
    config.write_text(
        f"capture:\n  path: {request.param}\n  scene: {scene}\n  kernel: {scene.parent / 'sharp.npy'}\n"
        f"camera:\n  device: twin\nstorage:\n  directory: {folder / 'state'}\noutput:\n  format: json\n"
    )
    environment = {**os.environ, "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"}
    if request.param == "loop":
        environment["CANOPIC_BOARD"] = str(board_executable())
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as errors:
        command = [sys.executable, "-c", "from host.cli import main; main()", "run", "--config", str(config)]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=errors)
        try:
            until_measuring(folder, process)
            yield process.pid, folder
        finally:
            process.terminate()
            process.wait(20)
            shutil.rmtree(folder, ignore_errors=True)


def until_measuring(folder: Path, process: "subprocess.Popen[bytes]", measurements: int = 15) -> None:
    end_s = time.monotonic() + 60
    while (folder / "stdout").read_bytes().count(b'"type":"measurement"') < measurements:
        assert process.poll() is None, (folder / "stderr").read_text()
        assert time.monotonic() < end_s, (folder / "stderr").read_text()
        time.sleep(0.1)


def boundary_of(processes: list[int]) -> int:
    (found,) = [pid for pid in processes if b"host.boundary.process" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return found


def test_it_is_in_the_boundary_process_and_nowhere_else(canary: Canary, running: tuple[int, Path]) -> None:
    daemon, folder = running
    started = descendants(daemon)
    boundary = boundary_of(started)
    if os.geteuid() == 0:
        # Else the kernel itself refuses to show it, which is better still.
        assert any(canary.found_in(piece) for piece in memory(boundary))
    else:
        with pytest.raises(PermissionError):
            next(memory(boundary))
    others = [daemon, *(pid for pid in started if pid != boundary)]
    for _ in range(ROUNDS):
        for pid in others:
            name = Path(f"/proc/{pid}/cmdline").read_bytes()
            assert not any(canary.found_in(piece) for piece in memory(pid)), name
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"stdout", "stderr", "canopic.sqlite3"} <= {path.name for path in files}
    for path in (*files, *Path("/dev/shm").glob("*")):
        if path.is_file():
            assert not canary.found_in(path.read_bytes()), path
    last = json.loads((folder / "stdout").read_bytes().splitlines()[-2])
    assert last["state"] == "sensing"  # it was measuring all the while
