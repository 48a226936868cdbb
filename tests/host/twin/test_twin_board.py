"""The twin with the real firmware behind it: scene to codes over the wire, and what is left after a board dies."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from host.board.errors import BoardProgramError
from host.twin.board_process import board_executable
from host.twin.player import Twin
from host.twin.scene import open_scene
from host.twin.sensor import IDEAL
from optics.encoding import encode, pooled

from .support import COLUMNS_PX, ROWS_PX, THRESHOLDS, Host, small_encoding, until, write_pictures, write_small_bundle

FRAMES = 120
CELLS = (ROWS_PX // 8, COLUMNS_PX // 8)


@pytest.fixture(scope="module", autouse=True)
def _firmware() -> None:
    try:
        board_executable()
    except BoardProgramError as error:
        pytest.skip(f"no firmware for the host: {error}")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_small_bundle(tmp_path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path, FRAMES)


def _attach(twin: Twin, exposure: tuple[float, float] | None = None) -> Host:
    return Host(twin, *CELLS, THRESHOLDS, small_encoding().id, exposure)


def _frames(host: Host) -> list[int]:
    return [measurement.frame for measurement in host.measurements]


@pytest.fixture
def attached(pictures: Path, bundle: Path) -> Iterator[tuple[Twin, Host]]:
    with Twin(str(pictures), bundle) as twin:
        host = _attach(twin)
        yield twin, host
        host.stop()


def test_every_frame_is_measured_once_and_in_order(attached: tuple[Twin, Host]) -> None:
    twin, host = attached
    until(lambda: twin.finished and len(host.measurements) == FRAMES)
    assert _frames(host) == list(range(FRAMES))
    assert [measurement.sequence for measurement in host.measurements] == list(range(FRAMES))
    assert [measurement.capture_time_us for measurement in host.measurements] == [n * 100_000 for n in range(FRAMES)]
    assert host.losses == 0
    assert twin.frames == FRAMES


def test_codes_are_those_of_the_encoding_where_there_is_no_noise(pictures: Path, bundle: Path) -> None:
    with Twin(str(pictures), bundle, sensor=IDEAL, offset_volts=0.0, noise_volts=0.0) as twin:
        host = _attach(twin)
        until(lambda: len(host.measurements) == FRAMES)
        host.stop()
    encoding, close_calls = small_encoding(), []
    with open_scene(str(pictures), ROWS_PX, COLUMNS_PX) as scene:
        for frame, measurement in zip(scene, host.measurements, strict=True):
            cells = pooled(frame.radiance, encoding)
            # A DAC step is 1.5e-5 of full scale; an "ideal" sensor still has noise of 1e-6.
            clear = (np.abs(cells[..., None] - encoding.thresholds) > 3e-5).all(axis=-1)
            close_calls.append(1 - clear.mean())
            expected = encode(frame.radiance, encoding)
            np.testing.assert_array_equal(measurement.codes[clear], expected[clear])
    assert np.mean(close_calls) < 0.01


def test_noise_and_offsets_move_only_few_codes_by_one(attached: tuple[Twin, Host], pictures: Path) -> None:
    _, host = attached
    until(lambda: len(host.measurements) == FRAMES)
    with open_scene(str(pictures), ROWS_PX, COLUMNS_PX) as scene:
        expected = np.stack([encode(frame.radiance, small_encoding()) for frame in scene])
    codes = np.stack([measurement.codes for measurement in host.measurements])
    moved = codes.astype(int) - expected
    # The largest of 64 noisy pixels is brighter than the largest of 64 quiet ones, so codes move up if they move.
    assert set(np.unique(moved)) <= {-1, 0, 1}
    assert 0 < (moved != 0).mean() < 0.35
    assert (moved > 0).sum() > (moved < 0).sum()


def test_a_killed_board_loses_no_frame_and_none_comes_twice(pictures: Path, bundle: Path) -> None:
    with Twin(str(pictures), bundle, loop=True) as twin:
        host = _attach(twin)
        for _ in range(2):
            seen = len(host.measurements)
            until(lambda seen=seen: len(host.measurements) > seen + 50)
            until(lambda: twin.status.board_pid is not None)
            killed = twin.status.board_pid
            assert killed is not None
            os.kill(killed, signal.SIGKILL)
            until(lambda killed=killed: twin.status.board_pid not in (None, killed))
        seen = len(host.measurements)
        until(lambda: len(host.measurements) > seen + 50)
        assert twin.status.board_restarts == 2
        host.stop()
    assert host.losses >= 2
    assert _frames(host) == list(range(len(host.measurements)))


def test_a_board_reset_by_its_control_line_loses_no_frame(attached: tuple[Twin, Host]) -> None:
    twin, host = attached
    until(lambda: len(host.measurements) > 10)
    twin.control("reset")
    until(lambda: len(host.measurements) == FRAMES)
    assert _frames(host) == list(range(FRAMES))


def test_the_hosts_exposure_reaches_the_light(pictures: Path, bundle: Path) -> None:
    with Twin(str(pictures), bundle, loop=True) as twin:
        host = _attach(twin)
        until(lambda: len(host.measurements) > 3)
        host.stop()
        first = host.measurements[0]
        assert (first.exposure_us, first.gain) == (10_000, 1.0)
        host = _attach(twin, (40_000, 2.0))
        until(lambda: any(measurement.exposure_us == 40_000 for measurement in host.measurements))
        host.stop()
        bright = next(measurement for measurement in host.measurements if measurement.exposure_us == 40_000)
        assert bright.gain == 2.0
    with open_scene(str(pictures), ROWS_PX, COLUMNS_PX) as scene:
        radiance = next(frame.radiance for frame in scene if frame.index == bright.frame % FRAMES)
    expected = encode(radiance * np.float32(8), small_encoding())
    assert expected.max() > encode(radiance, small_encoding()).max()
    assert np.abs(bright.codes.astype(int) - expected).max() <= 1


def test_without_a_host_the_scene_waits_and_a_new_host_goes_on(pictures: Path, bundle: Path) -> None:
    with Twin(str(pictures), bundle) as twin:
        host = _attach(twin)
        until(lambda: len(host.measurements) > 5)
        host.stop()
        time.sleep(0.3)
        measured = twin.status.measured
        assert measured < FRAMES
        again = _attach(twin)
        until(lambda: twin.finished)
        until(lambda: bool(again.measurements) and again.measurements[-1].frame == FRAMES - 1)
        again.stop()
        assert _frames(again) == list(range(again.measurements[0].frame, FRAMES))


def test_realtime_without_a_host_begins_when_one_comes(pictures: Path, bundle: Path) -> None:
    with Twin(str(pictures), bundle, pace="realtime", fps=60) as twin:
        time.sleep(0.5)
        host = _attach(twin)
        until(lambda: twin.finished)
        host.stop()
    frames = _frames(host)
    assert frames[0] == 0
    assert frames == sorted(set(frames))
    assert twin.frames == FRAMES
