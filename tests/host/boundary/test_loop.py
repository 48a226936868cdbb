"""Path loop: the comparators of the firmware's host build give the codes; a board that goes blinds the sensor."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from host.boundary.client import BoundaryCapture
from host.boundary.errors import BoundaryFailed
from host.capture import Capture, thresholds_of
from host.config import Camera, Gpio
from host.twin.board_process import BoardProcess
from optics.bundle import Attachment, Bundle, default_bundle_path, read_bundle, write_bundle
from tests.host.sensing import Running, board_missing, make_room

pytestmark = pytest.mark.skipif(bool(board_missing()), reason=f"no board program: {board_missing()}")

LOOP: dict[str, Any] = {"capture.path": "loop", "camera.device": "twin", "camera.capture_timeout_s": 1.0}
FRAMES = 6


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_room(tmp_path_factory.mktemp("scene") / "room", frames=60)


def boundary(path: str, room: Path, bundle_path: Path, port: str | None) -> BoundaryCapture:
    scene: dict[str, Any] = {"scene": str(room), "light": [], "kernel": None, "seed": 4, "pace": "fast"}
    return BoundaryCapture(
        "loop" if path == "loop" else "camera",
        read_bundle(bundle_path),
        bundle_path,
        Camera(device="twin"),
        Gpio(),
        scene=scene,
        port=port,
    )


def codes_of(capture: BoundaryCapture) -> np.ndarray:
    try:
        identity = capture.verify(10_000, 1.0)
        measured = [capture.read(5.0) for _ in range(FRAMES)]
    finally:
        capture.release(disarm=True)
    assert identity.capture_path == "twin"
    assert identity.rehearsed_path == capture.path
    return np.stack([one.codes for one in measured if one is not None])


def test_comparators_without_offsets_give_the_codes_of_the_digital_thresholds(room: Path) -> None:
    path = default_bundle_path()
    with BoardProcess(offset_volts=0.0, noise_volts=0.0) as board:
        looped = codes_of(boundary("loop", room, path, str(board.pty)))
    digital = codes_of(boundary("camera", room, path, None))
    # Levels are rounded to the DAC's codes on their way: a cell within half of one may fall on either side.
    assert np.mean(looped == digital) > 0.999
    assert len(np.unique(digital)) > 3


def test_offsets_of_comparators_are_seen(room: Path) -> None:
    with BoardProcess(offset_volts=0.01, noise_volts=0.0, seed=1) as board:
        looped = codes_of(boundary("loop", room, default_bundle_path(), str(board.pty)))
    digital = codes_of(boundary("camera", room, default_bundle_path(), None))
    assert np.mean(looped != digital) > 0.001


def test_a_lost_board_blinds_and_comes_back(room: Path, tmp_path: Path) -> None:
    with Running(room, tmp_path, **{**LOOP, "capture.pace": "realtime"}) as running:
        memory = running.memory
        running.until(lambda: len(memory.measurements) > 3)
        assert running.source is not None
        assert running.source.board is not None
        running.source.board.kill()
        running.until(lambda: "blind" in memory.states())
        cause = next(event for event in memory.events if event.get("to") == "blind")
        assert not cause["latched"]
        assert "board" in cause["reason"]
        before = len(memory.measurements)
        running.until(lambda: memory.state == "sensing")
        running.until(lambda: len(memory.measurements) > before + 2)
        frames = [m["provenance"]["frame"] for m in memory.measurements]
    assert frames == sorted(set(frames))
    assert memory.measurements[0]["provenance"]["board_serial"].startswith("TWIN")


def test_a_port_without_a_board_is_said(room: Path) -> None:
    capture = boundary("loop", room, default_bundle_path(), "/dev/serial/by-id/none")
    with pytest.raises(BoundaryFailed, match="/dev/serial/by-id/none") as raised:
        capture.verify(10_000, 1.0)
    assert not raised.value.latched


def test_sealed_trims_are_written_and_in_the_digest(tmp_path: Path) -> None:
    plain = read_bundle(default_bundle_path())
    trims = np.arange(-7, 8, dtype=np.int16)
    trimmed = Bundle(
        plain.encoding,
        plain.rows_px,
        plain.columns_px,
        plain.models,
        plain.metadata,
        calibration=Attachment({"board": {}}, {"board.trims": trims}),
    )
    path = tmp_path / "trimmed.canopic"
    write_bundle(trimmed, path)
    with BoardProcess(serial="TWIN-0042") as board:
        capture = Capture(str(board.pty), read_bundle(path))
        try:
            identity = capture.verify(10_000, 1.0)
        finally:
            capture.release(disarm=True)
    assert identity.thresholds_digest == thresholds_of(trimmed).digest
    assert identity.thresholds_digest != thresholds_of(plain).digest
    # Without a board there is nothing to trim.
    assert thresholds_of(trimmed, board=False).digest == thresholds_of(plain).digest
