"""The daemon believes a boundary process nothing: whatever comes out of it but codes ends it and blinds the sensor."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from host.board.assembly import BoardMeasurement
from host.boundary.client import BoundaryCapture, BoundarySession, TwinFault, parse_twin_fault
from host.boundary.errors import BoundaryFailed
from host.boundary.wire import HEAD, Kind, packed, packed_arrays, packed_json, packed_measurement
from host.capture import thresholds_of
from host.causes import cause_of
from host.config import Camera, Gpio
from optics.bundle import default_bundle_path, read_bundle

BUNDLE = read_bundle(default_bundle_path())
DIGEST = thresholds_of(BUNDLE, board=False).digest
SHAPE = (60, 80, 3)
SANDBOX = {"seccomp": True, "landlock": 3, "memory": "locked", "missing": []}


def about(**changed: Any) -> bytes:
    camera = {
        "model": "imx219",
        "serial": "one",
        "rows_px": 972,
        "columns_px": 1296,
        "bayer": "RGGB",
        "bits": 10,
        "packing": "unpacked",
        "pixel_um": 1.12,
        "driver": "picamera2 0.3.27",
        "simulated": False,
    }
    said = {
        "camera": camera | changed.pop("camera", {}),
        "sandbox": SANDBOX | changed.pop("sandbox", {}),
        "thresholds_digest": DIGEST,
        "board": None,
        "scene": None,
        "kernel": None,
    }
    return packed_json(Kind.ABOUT, said | changed)


def measurement(shape: tuple[int, ...] = SHAPE, crc: int = int(DIGEST, 16)) -> bytes:
    return packed_measurement(BoardMeasurement(0, 1, 2, 3, 1000, crc, 0.0, np.zeros(shape, np.uint8)))


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Makes a capture whose process says these bytes, and then nothing more for a while."""
    started = subprocess.Popen
    made: list[BoundaryCapture] = []

    def capture(*said: bytes) -> BoundaryCapture:
        content = tmp_path / "said"
        content.write_bytes(b"".join(said))
        script = (
            f"import sys, time; sys.stdout.buffer.write(open({str(content)!r}, 'rb').read()); sys.stdout.flush(); "
            "sys.stdin.buffer.read() if len(sys.argv) < 2 else time.sleep(60)"
        )

        def popen(_command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
            return started([sys.executable, "-c", script], **options)

        monkeypatch.setattr("host.boundary.child.subprocess.Popen", popen)
        made.append(BoundaryCapture("camera", BUNDLE, default_bundle_path(), Camera(), Gpio(), scene={"scene": "demo"}))
        return made[-1]

    yield capture
    for one in made:
        one.release()


def test_a_real_camera_is_called_optical_and_only_that(pretend: Any) -> None:
    capture = pretend(about(), measurement())
    identity = capture.verify(10_000, 1.0)
    assert (identity.capture_path, identity.rehearsed_path) == ("camera", None)
    assert capture.read(5.0).codes.shape == SHAPE
    simulated = pretend(about(camera={"simulated": True}), measurement()).verify(10_000, 1.0)
    assert (simulated.capture_path, simulated.rehearsed_path) == ("twin", "camera")


def read_for(capture: BoundaryCapture, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        capture.read(0.2)


FRAME = np.zeros((972, 1296), np.uint16)


@pytest.mark.parametrize(
    "said",
    [
        packed_arrays({"frame": FRAME}),
        packed(Kind.MEASUREMENT, FRAME[:100].tobytes()),
        measurement((60, 80, 6)),
        measurement(crc=1),
        HEAD.pack(9, 10) + bytes(10),
        HEAD.pack(Kind.ABOUT, 1 << 30),
        b"Traceback (most recent call last):\n  a library that prints",
    ],
    ids=["arrays", "a picture", "more cells", "other thresholds", "unknown", "too long", "text"],
)
def test_anything_but_codes_ends_it(pretend: Any, said: bytes) -> None:
    capture = pretend(about(), measurement(), said)
    capture.verify(10_000, 1.0)
    assert capture.read(5.0) is not None
    with pytest.raises(BoundaryFailed) as raised:
        read_for(capture, 10.0)
    assert raised.value.kind == "boundary_untrusted"
    assert cause_of(raised.value).latched


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (about(thresholds_digest="00000000"), "thresholds"),
        (about(camera={"model": "x" * 5000}), "boundary_untrusted"),
        (packed_json(Kind.ABOUT, {"camera": {}}), "boundary_untrusted"),
        (packed(Kind.ABOUT, b"\xff\xfe"), "boundary_untrusted"),
        (about(sandbox={"missing": ["swap"] * 100}), "boundary_untrusted"),
        (about(sandbox={"missing": "swap"}), "boundary_untrusted"),
        (about(sandbox={"landlock": "a picture"}), "boundary_untrusted"),
        (about(sandbox={"memory": "x" * 5000}), "boundary_untrusted"),
        (measurement(), "boundary_untrusted"),
        (packed_json(Kind.FAILURE, {"kind": "camera_busy", "reason": "vlc has it", "latched": False}), "camera_busy"),
    ],
    ids=[
        "thresholds",
        "long name",
        "no camera",
        "no text",
        "lacks too much",
        "lacks a word",
        "no version",
        "long memory",
        "measures first",
        "failure",
    ],
)
def test_what_it_says_of_itself_is_checked(pretend: Any, first: bytes, kind: str) -> None:
    capture = pretend(first, measurement())
    with pytest.raises(BoundaryFailed) as raised:
        capture.verify(10_000, 1.0)
    assert raised.value.kind == kind
    assert capture.pid is None  # it is not left running


def test_what_a_sandbox_lacks_is_told_in_bounded_print_and_nothing_else_of_it(pretend: Any) -> None:
    lacks = ["no Landlock\x1b[2J\n", "y" * 9000]
    said = about(sandbox={"missing": lacks, "picture": "x" * 200})
    sandbox = pretend(said, measurement()).verify(10_000, 1.0).sandbox
    assert sandbox["missing"] == ["no Landlock [2J ", "y" * 1000]
    assert set(sandbox) == set(SANDBOX)


def test_a_calibration_hears_it_too(pretend: Any) -> None:
    pretend(about(sandbox={"missing": ["swap\r"]}))
    with BoundarySession("sensor", {"acquire": "host.boundary.acquire_sensor:acquire"}) as session:
        assert session.missing == ("swap ",)
        assert not session.simulated


def test_another_camera_than_before_is_refused(pretend: Any) -> None:
    capture = pretend(about(), measurement())
    capture.verify(10_000, 1.0)
    other = pretend(about(camera={"serial": "two"}), measurement())
    other._camera = capture._camera
    with pytest.raises(BoundaryFailed, match="this is camera 'imx219 two'") as raised:
        other.verify(10_000, 1.0)
    assert raised.value.latched


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("hang", TwinFault("hang")),
        ("unplugged@40", TwinFault("unplugged", 40)),
        ("busy@3+2.5", TwinFault("busy", 3, 2.5)),
    ],
)
def test_faults_of_a_rehearsal_in_words(text: str, fault: TwinFault) -> None:
    assert parse_twin_fault(text) == fault


@pytest.mark.parametrize("text", ["", "@3", "hang@", "hang@x", "hang@-1", "hang@3+nan", "hang@3+-1", "hang@1.5"])
def test_what_is_no_fault_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected NAME, NAME@FRAME or NAME@FRAME\\+SECONDS"):
        parse_twin_fault(text)
