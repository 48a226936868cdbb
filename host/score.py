"""How well measurements agree with a truth of counts per frame: shares with intervals, and arrivals and departures.

Frames of one visit are not independent: Wilson's interval treats them as if they were and is too narrow. Beside it
stands an interval from resampling whole blocks of consecutive frames, and the number of visits, which is what a claim
about another room rests on.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

COLUMNS = ("frame", "people", "uncertain")
Z_95 = 1.959963984540054


class TruthError(ValueError):
    """A file of counts that cannot be read; the message names file and line."""


@dataclass(frozen=True)
class Truth:
    """People per frame: int (frames,), and which frames are left out of scoring: bool (frames,)."""

    people: NDArray[np.int64]
    uncertain: NDArray[np.bool_]


@dataclass(frozen=True)
class Share:
    """hits out of total. low, high: Wilson's 95 % interval; block_low, block_high: 95 % interval by blocks of frames.

    Without a single trial, value and intervals are None.
    """

    hits: int
    total: int
    value: float | None
    low: float | None
    high: float | None
    block_low: float | None = None
    block_high: float | None = None


@dataclass(frozen=True)
class EventScore:
    """Changes of the truth matched with changes of `occupied`, one to one, in order. median_delay_s: of the matched."""

    expected: int
    matched: int
    missed: int
    invented: int
    median_delay_s: float | None


@dataclass(frozen=True)
class Score:
    """Agreement with the truth. always_occupied, always_empty: accuracy of answering the same every time.

    frames: scored; left_out: uncertain or without truth; unmeasured: frames with truth and without a measurement;
    visits: separate times with somebody in the truth.
    """

    frames: int
    left_out: int
    unmeasured: int
    visits: int
    precision: Share
    recall: Share
    accuracy: Share
    specificity: Share
    f1: float | None
    count_exact: Share
    count_mean_absolute_error: float | None
    always_occupied: float | None
    always_empty: float | None
    arrivals: EventScore
    departures: EventScore
    block_s: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def read_truth(path: Path) -> Truth:
    """Counts from a CSV file with the columns frame (from 0, without gaps), people and uncertain (0 or 1).

    Raises TruthError for a file that cannot be read, a missing column, or a wrong value, with file and line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
            if missing:
                raise TruthError(f"{path}: line 1: no column {', '.join(missing)}: expected {', '.join(COLUMNS)}")
            rows = [_row(row, index, path, reader.line_num) for index, row in enumerate(reader)]
    except (OSError, UnicodeDecodeError, csv.Error) as cause:
        raise TruthError(f"{path}: cannot be read as CSV: {cause}") from cause
    if not rows:
        raise TruthError(f"{path}: no frame: expected one line per frame below the column names")
    return Truth(np.array([people for people, _ in rows]), np.array([uncertain for _, uncertain in rows]))


def constant_truth(people: int, frames: int) -> Truth:
    """The same number of people in every frame, none of them uncertain."""
    if people < 0 or frames < 1:
        raise ValueError(f"a constant truth needs zero or more people and at least one frame, got {people}, {frames}")
    return Truth(np.full(frames, people, dtype=np.int64), np.zeros(frames, dtype=bool))


def _row(row: Mapping[str, str | None], index: int, path: Path, line: int) -> tuple[int, bool]:
    values = {}
    for name in COLUMNS:
        text = row[name]
        try:
            values[name] = int(text or "")
        except ValueError as cause:
            raise TruthError(f"{path}: line {line}: {name} is {text!r}, expected a whole number") from cause
    if values["frame"] != index:
        raise TruthError(f"{path}: line {line}: frame is {values['frame']}, expected {index}: frames count from 0 on")
    if values["people"] < 0 or values["uncertain"] not in (0, 1):
        raise TruthError(f"{path}: line {line}: people must be 0 or more and uncertain 0 or 1")
    return values["people"], bool(values["uncertain"])


def score_measurements(
    measurements: Iterable[tuple[int, bool, int]],
    truth: Truth,
    fps: float,
    block_s: float = 2.0,
    tolerance_s: float = 1.0,
    resamples: int = 1000,
    rng: np.random.Generator | None = None,
) -> Score:
    """Compare measurements (frame, occupied, count) with the truth.

    A frame that was measured twice counts with its last measurement. fps: frames per second of the recording. block_s:
    length of the blocks that are resampled. tolerance_s: how far an arrival or a departure may lie from the truth's.
    Raises ValueError if no measurement is of a frame with a certain truth.
    """
    if fps <= 0 or block_s <= 0:
        raise ValueError(f"fps and block_s must be positive, got {fps} and {block_s}")
    frames = len(truth.people)
    occupied = np.zeros(frames, dtype=bool)
    count = np.zeros(frames, dtype=np.int64)
    measured = np.zeros(frames, dtype=bool)
    beyond = 0
    for frame, is_occupied, people in measurements:
        if 0 <= frame < frames:
            occupied[frame], count[frame], measured[frame] = is_occupied, people, True
        else:
            beyond += 1
    scored = measured & ~truth.uncertain
    if not scored.any():
        raise ValueError(
            f"none of the measurements is of a frame with a certain truth ({frames} frames from 0 on): "
            "is this the truth of that recording, and does `frame` count from its first frame?"
        )
    somebody = truth.people > 0
    block = max(round(block_s * fps), 1)
    rng = rng or np.random.default_rng(0)
    shares = {
        name: _share(hit & scored, trial & scored, block, resamples, rng)
        for name, hit, trial in (
            ("precision", occupied & somebody, occupied),
            ("recall", occupied & somebody, somebody),
            ("accuracy", occupied == somebody, scored),
            ("specificity", ~occupied & ~somebody, ~somebody),
            ("count_exact", count == truth.people, scored),
        )
    }
    precision, recall = shares["precision"], shares["recall"]
    wrong = precision.total + recall.total
    arrivals, departures = (
        _match(_changes(somebody, rising, None), _changes(occupied, rising, measured), round(tolerance_s * fps), fps)
        for rising in (True, False)
    )
    return Score(
        frames=int(scored.sum()),
        left_out=int((measured & truth.uncertain).sum()) + beyond,
        unmeasured=int((~measured).sum()),
        visits=len(_changes(somebody, True, None)),
        **shares,
        f1=2 * precision.hits / wrong if wrong else None,
        count_mean_absolute_error=float(np.abs(count - truth.people)[scored].mean()),
        always_occupied=float(somebody[scored].mean()),
        always_empty=float(1 - somebody[scored].mean()),
        arrivals=arrivals,
        departures=departures,
        block_s=block_s,
    )


def wilson_interval(hits: int, total: int) -> tuple[float, float] | None:
    """95 % interval of a share (Wilson 1927, doi:10.1080/01621459.1927.10502953); None without a trial."""
    if not 0 <= hits <= total:
        raise ValueError(f"hits must lie in 0..total, got {hits} of {total}")
    if total == 0:
        return None
    share, square = hits / total, Z_95**2 / total
    centre = share + square / 2
    half = (share * (1 - share) * square + square**2 / 4) ** 0.5
    # At the ends the bound is exact, whatever rounding says.
    low = 0.0 if hits == 0 else (centre - half) / (1 + square)
    high = 1.0 if hits == total else (centre + half) / (1 + square)
    return low, high


def _share(
    hit: NDArray[np.bool_], trial: NDArray[np.bool_], block: int, resamples: int, rng: np.random.Generator
) -> Share:
    """A share with both intervals. hit, trial: bool (frames,); a hit is a trial too."""
    hits, total = int(hit.sum()), int(trial.sum())
    wilson = wilson_interval(hits, total)
    if wilson is None:
        return Share(0, 0, None, None, None)
    edges = np.arange(0, len(hit), block)
    hit_blocks, trial_blocks = np.add.reduceat(hit.astype(int), edges), np.add.reduceat(trial.astype(int), edges)
    used = trial_blocks > 0
    hit_blocks, trial_blocks = hit_blocks[used], trial_blocks[used]
    low = high = None
    if len(trial_blocks) > 1:
        # Percentile bootstrap over blocks (Künsch 1989, doi:10.1214/aos/1176347265).
        draws = rng.integers(0, len(trial_blocks), size=(resamples, len(trial_blocks)))
        shares = hit_blocks[draws].sum(axis=1) / trial_blocks[draws].sum(axis=1)
        low, high = (float(value) for value in np.quantile(shares, (0.025, 0.975)))
    return Share(hits, total, hits / total, *wilson, low, high)


def _changes(state: NDArray[np.bool_], rising: bool, measured: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    """Frames at which the state became true (or false), as seen by the frames that were measured. Before the first
    frame it is false, for the truth as for the sensor: who is there from the start arrives with it."""
    frames = np.arange(len(state)) if measured is None else np.flatnonzero(measured)
    changes = np.diff(state[frames].astype(np.int8), prepend=np.int8(0))
    return np.asarray(frames[changes == (1 if rising else -1)])


def _match(
    expected: Sequence[int] | NDArray[np.int64], seen: NDArray[np.int64], tolerance: int, fps: float
) -> EventScore:
    """Match in order: both ascend, so that the earliest that fits is the best for all that follow."""
    delays: list[float] = []
    position = 0
    for frame in expected:
        while position < len(seen) and seen[position] < frame - tolerance:
            position += 1
        if position < len(seen) and seen[position] <= frame + tolerance:
            delays.append(float(seen[position] - frame) / fps)
            position += 1
    return EventScore(
        expected=len(expected),
        matched=len(delays),
        missed=len(expected) - len(delays),
        invented=len(seen) - len(delays),
        median_delay_s=float(np.median(delays)) if delays else None,
    )


def score_table(score: Score) -> Table:
    """The score for a terminal."""
    table = Table(title=f"{score.frames} frames, {score.visits} visits, {score.left_out} frames left out")
    table.add_column("")
    for name in ("value", "of", "95 % (Wilson)", f"95 % ({score.block_s:g} s blocks)"):
        table.add_column(name, justify="right")
    for name in ("precision", "recall", "accuracy", "specificity", "count_exact"):
        share: Share = getattr(score, name)
        table.add_row(
            name.replace("_", " "),
            _percent(share.value),
            f"{share.hits}/{share.total}",
            _range(share.low, share.high),
            _range(share.block_low, share.block_high),
        )
    for name, value in (
        ("F1", _percent(score.f1)),
        ("count, mean absolute error", _number(score.count_mean_absolute_error)),
        ("accuracy of always occupied", _percent(score.always_occupied)),
        ("accuracy of always empty", _percent(score.always_empty)),
    ):
        table.add_row(name, value, "", "", "")
    for name, events in (("arrivals", score.arrivals), ("departures", score.departures)):
        delay = "" if events.median_delay_s is None else f"median delay {events.median_delay_s:+.2f} s"
        result = f"{events.matched}/{events.expected}"
        table.add_row(name, result, f"{events.missed} missed", f"{events.invented} invented", delay)
    if score.unmeasured:
        table.caption = f"{score.unmeasured} frames of the truth were not measured"
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _range(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f} %"
