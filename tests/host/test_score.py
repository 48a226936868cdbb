"""Scores: counted by hand, Wilson's interval against published values, matching of events, and files of counts."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from host.score import (
    Truth,
    TruthError,
    constant_truth,
    read_truth,
    score_measurements,
    score_table,
    wilson_interval,
)


def truth_of(people: list[int], uncertain: list[int] | None = None) -> Truth:
    return Truth(np.array(people), np.array(uncertain or [0] * len(people), dtype=bool))


def test_shares_counted_by_hand() -> None:
    truth = truth_of([0, 0, 1, 1, 2, 2, 0, 0], [0, 0, 1, 0, 0, 0, 0, 0])
    answers = [False, True, False, True, True, False, False, False]
    counts = [0, 1, 0, 1, 1, 0, 0, 0]
    score = score_measurements(zip(range(8), answers, counts, strict=True), truth, fps=10)
    assert (score.precision.hits, score.precision.total) == (2, 3)
    assert (score.recall.hits, score.recall.total) == (2, 3)
    assert (score.accuracy.hits, score.accuracy.total) == (5, 7)
    assert (score.specificity.hits, score.specificity.total) == (3, 4)
    assert score.f1 == pytest.approx(2 / 3)
    assert (score.count_exact.hits, score.count_exact.total) == (4, 7)
    assert score.count_mean_absolute_error == pytest.approx((1 + 1 + 2) / 7)
    assert score.always_occupied == pytest.approx(3 / 7)
    assert score.always_empty == pytest.approx(4 / 7)
    assert (score.frames, score.left_out, score.unmeasured, score.visits) == (7, 1, 0, 1)


def test_wilson_against_published_values() -> None:
    # Newcombe 1998 (doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E), table I, method 3.
    for hits, total, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        assert wilson_interval(hits, total) == pytest.approx((low, high), abs=1e-4)
    assert wilson_interval(0, 0) is None
    with pytest.raises(ValueError, match=r"0\.\.total"):
        wilson_interval(3, 2)


@given(total=st.integers(1, 5000), data=st.data())
def test_wilson_holds_the_share(total: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, total))
    interval = wilson_interval(hits, total)
    assert interval is not None
    assert 0 <= interval[0] <= hits / total + 1e-12
    assert hits / total - 1e-12 <= interval[1] <= 1


def test_blocks_are_wider_where_errors_come_together() -> None:
    people = [1] * 1000
    rng = np.random.default_rng(1)
    together = [not 300 <= frame < 400 for frame in range(1000)]
    scattered = list(rng.permutation(together))
    widths = []
    for answers in (together, scattered):
        score = score_measurements([(f, a, int(a)) for f, a in enumerate(answers)], truth_of(people), fps=10)
        assert score.recall.block_low is not None
        assert score.recall.block_high is not None
        assert score.recall.low is not None
        assert score.recall.high is not None
        widths.append((score.recall.block_high - score.recall.block_low) / (score.recall.high - score.recall.low))
    assert widths[0] > 2
    assert widths[1] < 1.3


def test_events_are_matched_one_to_one_within_the_tolerance() -> None:
    people = [0] * 20 + [1] * 30 + [0] * 30 + [1] * 20
    seen = [False] * 23 + [True] * 30 + [False] * 5 + [True] * 3 + [False] * 39
    score = score_measurements([(f, s, int(s)) for f, s in enumerate(seen)], truth_of(people), fps=10)
    assert (score.arrivals.expected, score.arrivals.matched) == (2, 1)
    assert (score.arrivals.missed, score.arrivals.invented) == (1, 1)
    assert score.arrivals.median_delay_s == pytest.approx(0.3)
    assert (score.departures.expected, score.departures.matched, score.departures.invented) == (1, 1, 1)


def test_nobody_ever_gives_no_share_of_nothing() -> None:
    score = score_measurements([(f, False, 0) for f in range(5)], constant_truth(0, 5), fps=10)
    assert score.precision.value is None
    assert score.recall.value is None
    assert score.f1 is None
    assert score.accuracy.value == 1
    console = Console(width=120, file=None, record=True, quiet=True)
    console.print(score_table(score))
    json.dumps(score.to_dict())


def test_a_constant_truth_counts_two_people() -> None:
    score = score_measurements([(f, True, 2 if f else 1) for f in range(35)], constant_truth(2, 35), fps=12.5)
    assert score.recall.value == 1
    assert score.count_exact.hits == 34
    # Who is there from the first frame on has arrived with it, in the truth and for the sensor.
    assert (score.arrivals.expected, score.arrivals.matched, score.arrivals.invented) == (1, 1, 0)
    with pytest.raises(ValueError, match="constant truth"):
        constant_truth(-1, 3)


def test_missing_and_repeated_measurements() -> None:
    truth = truth_of([0, 1, 1, 0])
    score = score_measurements([(1, False, 0), (1, True, 1), (3, False, 0), (9, True, 1)], truth, fps=10)
    assert score.frames == 2
    assert score.unmeasured == 2
    assert score.left_out == 1
    assert score.accuracy.value == 1
    with pytest.raises(ValueError, match="count from its first frame"):
        score_measurements([(9, True, 1)], truth, fps=10)
    with pytest.raises(ValueError, match="fps"):
        score_measurements([(1, True, 1)], truth, fps=0)


def test_a_table_shows_values_and_intervals() -> None:
    score = score_measurements([(f, f > 4, int(f > 4)) for f in range(10)], truth_of([0] * 5 + [1] * 5), fps=10)
    console = Console(width=140, record=True, quiet=True)
    console.print(score_table(score))
    with console.capture() as capture:
        console.quiet = False
        console.print(score_table(score))
    assert "precision" in capture.get()
    assert "100.0 %" in capture.get()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column frame"),
        ("frame,people\n0,1\n", "no column uncertain"),
        ("frame,people,uncertain\n", "no frame"),
        ("frame,people,uncertain\n0,1,0\n2,1,0\n", "line 3: frame is 2, expected 1"),
        ("frame,people,uncertain\n0,some,0\n", "line 2: people is 'some'"),
        ("frame,people,uncertain\n0,1,2\n", "line 2: people must be"),
        ("frame,people,uncertain\n0,1\n", "line 2: uncertain is None"),
    ],
)
def test_a_wrong_file_of_counts_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text(text)
    with pytest.raises(TruthError, match=message):
        read_truth(path)


def test_a_file_of_counts_is_read(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("frame,people,uncertain,note\n0,0,0,\n1,2,1,door\n", encoding="utf-8-sig")
    truth = read_truth(path)
    assert truth.people.tolist() == [0, 2]
    assert truth.uncertain.tolist() == [False, True]
    with pytest.raises(TruthError, match="cannot be read"):
        read_truth(tmp_path / "missing.csv")
