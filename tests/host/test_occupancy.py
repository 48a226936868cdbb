"""Occupancy: counts, smoothing, holds; and invariants of the events over made-up histories and restarts."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.occupancy import Occupancy, OccupancyConfig, OccupancyEvent, OccupancyState, observe

CONFIG = OccupancyConfig(smoothing_s=0.5, arrived_hold_s=1.0, left_hold_s=3.0, count_hold_s=2.0, gap_s=2.0)
Sample = tuple[float, int, bool]


def play(samples: list[Sample], state: OccupancyState | None = None) -> tuple[OccupancyState, list[OccupancyEvent]]:
    state = state or OccupancyState()
    events: list[OccupancyEvent] = []
    for time_s, faces, present in samples:
        state, completed = observe(state, time_s, faces, present, CONFIG)
        events += completed
    return state, events


def steady(start_s: float, end_s: float, faces: int, present: bool, fps: float = 10.0) -> list[Sample]:
    return [(index / fps, faces, present) for index in range(round(start_s * fps), round(end_s * fps))]


def test_a_visit() -> None:
    samples = steady(0, 5, 0, False) + steady(5, 20, 0, True) + steady(20, 30, 0, False)
    _, events = play(samples)
    assert [(event.event, event.count) for event in events] == [("arrived", 1), ("left", 0)]
    # Half of the smoothing, then the hold.
    assert events[0].since_s == pytest.approx(5.2)
    assert events[0].time_s == pytest.approx(6.2)
    assert events[1].since_s == pytest.approx(20.2)
    assert events[1].time_s == pytest.approx(23.2)


def test_a_face_counts_without_presence_and_presence_without_a_face() -> None:
    assert play(steady(0, 2, 3, False))[0].count == 3
    assert play(steady(0, 2, 0, True))[0].count == 1
    assert play(steady(0, 2, 2, True))[0].count == 2
    assert play(steady(0, 2, 0, False))[0].count == 0


def test_occupied_follows_within_half_a_second() -> None:
    for before, after in ((False, True), (True, False)):
        state, _ = play(steady(0, 5, 0, before))
        for time_s, faces, present in steady(5, 5.5, 0, after):
            state, _ = observe(state, time_s, faces, present, CONFIG)
        assert state.occupied is after


def test_a_flicker_of_the_detector_is_smoothed() -> None:
    samples = [(index / 10, 2 if index % 4 else 0, True) for index in range(100)]
    state, events = play(samples)
    assert state.count == 2
    assert [event.event for event in events] == ["arrived"]
    assert events[0].count == 2


def test_another_count_is_told_after_its_hold() -> None:
    _, events = play(
        steady(0, 6, 1, True) + steady(6, 7.5, 2, True) + steady(7.5, 12, 1, True) + steady(12, 16, 3, True)
    )
    assert [(event.event, event.count) for event in events] == [("arrived", 1), ("count_changed", 3)]
    assert events[1].time_s - events[1].since_s == pytest.approx(2.0)


def test_a_pause_interrupts_a_hold() -> None:
    _, events = play([(0.0, 0, True), (3600.0, 0, True), (3600.5, 0, True)])
    assert events == []
    later = [(3600.0 + index / 2, 0, True) for index in range(4)]
    # The first one after the pause alone does not outvote what was before.
    assert [(event.event, event.since_s) for event in play([(0.0, 0, True), *later])[1]] == [("arrived", 3600.5)]


def test_one_false_face_in_the_first_measurement_is_nobody() -> None:
    state, _ = play([(0.0, 3, False)])
    assert not state.occupied
    assert not play([(0.0, 3, False), (0.1, 0, False)])[0].occupied


def test_a_clock_that_steps_back_interrupts_too() -> None:
    state, _ = play(steady(100, 100.9, 0, True))
    _, events = play(steady(0, 1.0, 0, True), state)
    assert events == []
    assert [event.event for event in play(steady(0, 1.2, 0, True), state)[1]] == ["arrived"]


def test_without_smoothing_and_holds_every_measurement_speaks_for_itself() -> None:
    config = OccupancyConfig(0.0, 0.0, 0.0, 0.0)
    occupancy = Occupancy(config)
    events = [occupancy.update(index / 10, 0, index % 2 == 1) for index in range(4)]
    assert [[event.event for event in some] for some in events] == [[], ["arrived"], ["left"], ["arrived"]]


@pytest.mark.parametrize(
    ("values", "message"),
    [({"smoothing_s": 0.6}, "at most 0.5"), ({"left_hold_s": -1}, "left_hold_s"), ({"gap_s": float("nan")}, "gap_s")],
)
def test_wrong_settings_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OccupancyConfig(**values)


def test_wrong_measurements_are_refused() -> None:
    with pytest.raises(ValueError, match="faces"):
        observe(OccupancyState(), 0.0, -1, False, CONFIG)
    with pytest.raises(ValueError, match="finite"):
        observe(OccupancyState(), float("nan"), 0, False, CONFIG)


@pytest.mark.parametrize(
    "change",
    [
        {"count": "many"},
        {"recent": [[1.0]]},
        {"occupied": True},
        {"announced": -1},
        {"extra": 1},
    ],
)
def test_a_damaged_state_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="stored occupancy"):
        OccupancyState.from_dict(OccupancyState().to_dict() | change)


@st.composite
def histories(draw: st.DrawFn) -> list[Sample]:
    """Stretches of the same answer, at 10 a second, with pauses in between."""
    samples: list[Sample] = []
    time_s = 0.0
    stretch = st.tuples(
        st.integers(1, 40), st.integers(0, 3), st.booleans(), st.sampled_from([0.1, 0.1, 0.1, 1.0, 5.0])
    )
    for length, faces, present, pause_s in draw(st.lists(stretch, min_size=1, max_size=12)):
        for _ in range(length):
            samples.append((round(time_s, 3), faces, present))
            time_s += 0.1
        time_s += pause_s - 0.1
    return samples


@settings(deadline=None)
@given(samples=histories())
def test_arrived_and_left_alternate_and_every_event_was_held(samples: list[Sample]) -> None:
    state = OccupancyState()
    occupied_at: list[tuple[float, bool, int]] = []
    inside = False
    for time_s, faces, present in samples:
        state, events = observe(state, time_s, faces, present, CONFIG)
        occupied_at.append((time_s, state.occupied, state.count))
        assert state.occupied == (state.count > 0)
        assert len(events) <= 1
        for event in events:
            hold_s = {"arrived": 1.0, "left": 3.0, "count_changed": 2.0}[event.event]
            assert event.time_s == time_s
            assert event.time_s - event.since_s >= hold_s - 1e-5
            held = [entry for entry in occupied_at if entry[0] >= event.since_s]
            assert all(was == (event.event != "left") for _, was, _ in held)
            if event.event == "count_changed":
                assert all(count == event.count for _, _, count in held)
            assert (event.event == "arrived") != inside
            inside = event.event != "left"
            assert (event.count > 0) == inside


@settings(deadline=None)
@given(samples=histories(), cut=st.integers(0, 500))
def test_a_restart_anywhere_changes_nothing(samples: list[Sample], cut: int) -> None:
    uninterrupted, events = play(samples)
    cut %= len(samples) + 1
    before, first = play(samples[:cut])
    stored = OccupancyState.from_dict(json.loads(json.dumps(before.to_dict())))
    after, second = play(samples[cut:], stored)
    assert first + second == events
    assert after == uninterrupted


@settings(deadline=None)
@given(samples=histories())
def test_a_measurement_that_comes_twice_changes_nothing(samples: list[Sample]) -> None:
    _, events = play(samples)
    _, twice = play([sample for sample in samples for _ in range(2)])
    assert twice == events
