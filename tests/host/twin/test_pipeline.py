"""What stands between the pipeline's threads: the channel, the scene's clock, late exposures, the stopwatch."""

import threading
import time

import numpy as np
import pytest

from host.twin.channel import Channel
from host.twin.feed import HEADER, MAGIC, Cells, packed
from host.twin.pipeline import EXPOSURE_LATENCY_FRAMES, DelayedExposure, SceneClock, Stopwatch


def test_channel_hands_over_in_order_and_one_at_a_time() -> None:
    channel: Channel[int] = Channel()
    given: list[int] = []

    def give() -> None:
        for item in range(50):
            assert channel.put(item)
            given.append(item)
        channel.end()

    thread = threading.Thread(target=give)
    thread.start()
    taken = []
    while (item := channel.get()) is not None:
        taken.append(item)
        assert len(given) <= len(taken) + 1
    thread.join()
    assert taken == list(range(50))
    assert channel.ended


def test_channel_end_leaves_the_last_item_and_close_frees_everybody() -> None:
    channel: Channel[int] = Channel()
    assert channel.poll() is None
    channel.put(1)
    channel.end()
    assert not channel.ended
    assert channel.get() == 1
    assert channel.ended
    assert not channel.put(2)

    channel = Channel()
    channel.put(1)
    answers: list[object] = []
    waiting = threading.Thread(target=lambda: answers.append(channel.put(2)))
    waiting.start()
    channel.close()
    waiting.join(5)
    assert answers == [False]
    assert channel.get() is None


def test_channel_notifies_of_items_and_of_the_end() -> None:
    calls: list[int] = []
    channel: Channel[int] = Channel(lambda: calls.append(1))
    channel.put(1)
    channel.end()
    assert len(calls) == 2


def test_an_exposure_command_lands_three_frames_after_the_last_one_sent() -> None:
    exposure = DelayedExposure()
    first = exposure.at(0)
    exposure.command(4, 20_000, 2.0)
    exposure.command(5, 30_000, 3.0)
    by_frame = [exposure.at(number) for number in range(4, 12)]
    assert EXPOSURE_LATENCY_FRAMES == 3
    assert by_frame == [first] * 3 + [(20_000, 2.0)] + [(30_000, 3.0)] * 4


def test_an_exposure_command_before_the_first_frame() -> None:
    exposure = DelayedExposure()
    exposure.command(-1, 5_000, 1.5)
    assert [exposure.at(number)[0] for number in range(4)] == [10_000, 10_000, 5_000, 5_000]


def test_a_fast_clock_never_waits_or_skips() -> None:
    clock = SceneClock(realtime=False, period_s=0.1)
    assert all(clock.wanted(index, index * 100.0) for index in range(10))
    assert clock.skipped == 0


def test_a_realtime_clock_starts_with_the_first_measured_frame_and_skips_late_ones() -> None:
    clock = SceneClock(realtime=True, period_s=0.05)
    assert clock.wanted(0, 0.0)
    assert not clock.running
    threading.Timer(0.1, clock.start, args=(0.0,)).start()
    began_s = time.monotonic()
    assert clock.wanted(1, 0.05)
    assert time.monotonic() - began_s >= 0.14
    time.sleep(0.2)
    assert not clock.wanted(2, 0.1)
    assert clock.skipped == 1


def test_a_stopped_clock_frees_whoever_waits() -> None:
    clock = SceneClock(realtime=True, period_s=0.05)
    clock.wanted(0, 0.0)
    threading.Timer(0.05, clock.stop).start()
    assert not clock.wanted(1, 1000.0)


def test_stopwatch_gives_running_medians() -> None:
    stopwatch = Stopwatch()
    for duration_s in [*[9.0] * 100, *[0.001] * 30, *[0.002] * 40, *[0.003] * 30]:
        stopwatch.add("stage", duration_s)
    with stopwatch.stage("other"):
        pass
    medians = stopwatch.medians_ms()
    assert medians["stage"] == pytest.approx(2)
    assert medians["other"] >= 0


def test_a_frame_is_packed_as_the_protocol_says() -> None:
    volts = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    data = packed(Cells(0, 2**32 + 5, 1.25, 12_000, 1.5, volts))
    assert HEADER.unpack_from(data) == (MAGIC, 5, 1_250_000, 12_000, 1500, 2, 2, 3, 0)
    assert data[:4] == b"CFRM"
    assert data[HEADER.size :] == volts.tobytes()
