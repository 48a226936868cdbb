"""What a person sees on a terminal, in a pipe, without colour; and claims that follow from provenance only."""

import io
import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from host.capture import Identity
from host.measurement import STEPS, KernelUse, Measurement, Provenance
from host.outputs.claims import claim, levels_line, provenance_line
from host.outputs.json_lines import JsonLines, started_detail
from host.outputs.lines import Lines, event_text, standing_text
from host.outputs.live import LiveView, fits
from host.outputs.picture import MARK, CodesPicture, codes_to_pixels
from host.outputs.report import About, Event, Reading, Standing, Summary

NO_FACES = np.zeros((0, 4), np.float32)
NAMES = ("convolution", "pooling", "thresholds")
ABOUT = About("default", "b" * 64, "e" * 64, 8, 480, 640, "twin", "twin, scene demo, fast", "state")
SUMMARY = Summary(100, 100, 0, 5.0, {"arrived": 1}, 0.5, 20.0, 4.0, 9.0, "sensing", None, "end of the scene")


def provenance(path: str = "twin") -> Provenance:
    return Provenance(path, "e" * 64, "TWIN-0001", "0.1.0", "0badcafe", 7, 3, 3, 0.3, 10_000, 1.5, 12.0, 1e9)


def reading(codes: np.ndarray | None = None, faces: np.ndarray = NO_FACES, path: str = "twin") -> Reading:
    codes = np.zeros((60, 80, 3), np.uint8) if codes is None else codes
    return Reading(3, 0.3, len(faces), len(faces) > 0, Measurement(codes, provenance(path)), faces, False, 4.2, {})


def steps(path: str) -> dict[str, str]:
    return dict(zip(NAMES, STEPS[path], strict=True))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("board", "Convolution, pooling and thresholds came before anything digital: only codes ever existed as data."),
        ("camera", "Only convolution came before anything digital; pooling and thresholds did not."),
        ("loop", "Only convolution and thresholds came before anything digital; pooling did not."),
        ("twin", "Simulated convolution, pooling and thresholds: shows how the sensor behaves, protects nobody."),
    ],
)
def test_the_claim_of_each_capture_path(path, expected):
    assert claim(steps(path)) == expected


@given(st.tuples(*[st.sampled_from(["optical", "analog", "digital", "simulated"])] * 3))
def test_no_claim_for_a_step_that_was_digital_or_simulated(where):
    made = dict(zip(NAMES, where, strict=True))
    said = claim(made)
    protected = "came before anything digital: only codes ever existed" in said
    assert protected == all(step in ("optical", "analog") for step in where)
    if "simulated" in where:
        assert "protects nobody" in said
    assert all(f"{name} {step}" in provenance_line(made) for name, step in made.items())


def test_another_kernel_is_said_in_every_view():
    kernel = KernelUse("mask.npz", "0123456789ab", (0.7, 0.7, 0.69), 0.912)
    about = replace(ABOUT, kernel=kernel)
    stream = io.StringIO()
    Lines(stream).start(about)
    assert "mask.npz (0123456789ab) in place of the bundle's kernel: correlation 0.912" in stream.getvalue()
    assert "passes 69% to 70% of the light" in stream.getvalue()
    console = Console(file=io.StringIO(), force_terminal=True, width=120, height=40)
    view = LiveView(console)
    view.start(about)
    view.stop()
    shown = Console(file=io.StringIO(), width=120, height=40)
    shown.print(view.view())
    assert "0123456789ab" in shown.file.getvalue()
    identity = Identity("TWIN-0001", "0.1.0", 1, "00000000", "twin")
    assert started_detail(about, identity)["kernel"]["file"] == "mask.npz"
    assert started_detail(ABOUT, identity)["kernel"] is None


def test_a_rehearsal_claims_nothing_and_says_which_path_it_rehearses():
    for rehearsed in ("camera", "loop"):
        identity = Identity("imx219", "twin", 1, "00000000", "twin", "imx219", rehearsed, {"seccomp": True})
        said = started_detail(ABOUT, identity)
        assert set(said["steps"].values()) == {"simulated"}
        assert f"rehearsal of path {rehearsed}" in said["claim"]
        assert "protects nobody" in said["claim"]
        assert said["capture_path"] == "twin"
        assert said["rehearsed_path"] == rehearsed
    # Where nothing was simulated, there was no rehearsal, whatever is said of one.
    assert "rehearsal" not in claim(steps("camera"), "camera")


def test_levels():
    assert levels_line(8) == "4 bits, 8 effective levels"
    assert levels_line(1) == "4 bits, 1 effective level"


@given(
    rows=st.integers(1, 70),
    columns=st.integers(1, 90),
    channels=st.sampled_from([1, 3, 6]),
    fit=st.tuples(st.integers(1, 200), st.integers(1, 60)),
    faces=st.lists(st.tuples(*[st.floats(-1e4, 1e4)] * 4), max_size=3),
)
def test_any_codes_fit_any_terminal(rows, columns, channels, fit, faces):
    codes = np.full((rows, columns, channels), 15, np.uint8)
    boxes = np.array(faces, np.float32).reshape(-1, 4)
    pixels = codes_to_pixels(codes, boxes, (rows * 8, columns * 8), *fit)
    assert pixels.shape[0] % 2 == 0
    assert 1 <= pixels.shape[1] <= max(fit[0], 1)
    assert pixels.shape[0] // 2 <= max(fit[1], 1)


def test_orientation_and_the_mark_of_a_face():
    codes = np.zeros((60, 80, 3), np.uint8)
    codes[:30, :40, 0] = 15  # red in the upper left quarter
    pixels = codes_to_pixels(codes, np.array([[320, 240, 160, 120]], np.float32), (480, 640), 80, 30)
    assert pixels.shape == (60, 80, 3)
    assert tuple(pixels[5, 5]) == (255, 0, 0)
    assert tuple(pixels[5, 75]) == (0, 0, 0)
    assert tuple(pixels[30, 40]) == MARK
    assert tuple(pixels[44, 59]) == MARK
    assert tuple(pixels[37, 50]) == (0, 0, 0)


def render(renderable: object, **options: object) -> str:
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system="truecolor", **options)
    console.print(renderable)
    return console.file.getvalue()


def test_the_picture_with_and_without_colour():
    codes = np.zeros((60, 80, 3), np.uint8)
    codes[:, 40:] = 15
    pixels = codes_to_pixels(codes, NO_FACES, (480, 640), 40, 15)
    assert "▀" in render(CodesPicture(pixels))
    assert "38;2;255;255;255" in render(CodesPicture(pixels))
    plain = render(CodesPicture(pixels, colour=False))
    assert "▀" not in plain
    assert " " * 20 + "@" * 20 in plain


def live_text(width: int, height: int, feed) -> str:
    console = Console(
        file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None, legacy_windows=False
    )
    ticks = itertools.count(0.0, 0.05)
    view = LiveView(console, clock=lambda: next(ticks))
    view.start(ABOUT)
    feed(view)
    printed = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    printed.print(view.view())
    view.close(SUMMARY)
    return printed.file.getvalue()


@pytest.mark.parametrize("size", [(64, 22), (80, 24), (130, 42), (300, 100)])
def test_the_live_view_says_what_matters(size):
    def feed(view):
        view.standing(Standing("sensing"))
        view.event(Event("arrived", 0.3, {"count": 2}))
        view.reading(reading(faces=np.array([[0, 0, 80, 80], [200, 200, 80, 80]], np.float32)))

    text = live_text(*size, feed)
    for part in (
        "OCCUPIED",
        "2 people",
        "4 bits, 8 effective levels",
        "sensing",
        "protects nobody",
        "10.0 ms, gain 1.50",
    ):
        assert part in text
    assert "arrived: 2 people" in text
    assert len(text.rstrip("\n").splitlines()) <= size[1]
    assert max(len(line) for line in text.splitlines()) <= size[0]


def test_the_live_view_of_a_blind_sensor_shows_the_reason_and_no_codes():
    def feed(view):
        view.standing(Standing("sensing"))
        view.reading(reading(codes=np.full((60, 80, 3), 15, np.uint8)))
        view.standing(Standing("blind", "a DAC channel drifted", "clear the fault", "disk full"))

    text = live_text(120, 40, feed)
    assert "BLIND: a DAC channel drifted (clear the fault)" in text
    assert "disk full" in text
    assert "▀" not in text


def test_the_live_view_needs_a_terminal():
    def terminal(width: int, height: int, **options: object) -> Console:
        return Console(file=io.StringIO(), width=width, height=height, **options)

    assert fits(terminal(80, 24, force_terminal=True))
    assert not fits(terminal(80, 24, force_terminal=False))
    assert not fits(terminal(40, 24, force_terminal=True))
    assert not fits(terminal(80, 24, force_terminal=True, _environ={"TERM": "dumb"}))


def test_lines_come_once_a_second():
    now = [0.0]
    stream = io.StringIO()
    lines = Lines(stream, clock=lambda: now[0])
    lines.start(ABOUT)
    for _ in range(31):
        now[0] += 0.1
        lines.reading(reading())
    lines.event(Event("arrived", 2.0, {"count": 1}))
    lines.close(SUMMARY)
    text = stream.getvalue()
    assert text.count("frames/s") in (3, 4)
    assert "0:02.0 arrived: 1 person" in text
    assert "end of the scene: 100 measurements of 100 frames" in text


def test_texts():
    assert standing_text(Standing("blind", "why", "do this")) == "BLIND: why (do this)"
    assert event_text(Event("state", 61.5, {"to": "blind", "reason": "why"})) == "1:01.5 blind (why)"
    assert event_text(Event("left", 3.0, {"count": 0})) == "0:03.0 left"


class Gone(io.StringIO):
    """A pipe whose reader has left."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError

    def fileno(self) -> int:
        raise OSError("no descriptor")


def test_a_reader_that_left_is_no_error():
    lines = Lines(Gone())
    lines.start(ABOUT)
    assert lines.wanted is False
    lines.event(Event("arrived", 0.0, {"count": 1}))


def test_json_of_codes_has_no_codes():
    stream = io.StringIO()
    outputs = JsonLines(stream)
    outputs.reading(reading(codes=np.full((60, 80, 3), 9, np.uint8)))
    told = json.loads(stream.getvalue())
    assert "codes" not in told
    assert told["latency_ms"] == 4.2
    assert told["provenance"]["steps"] == dict.fromkeys(NAMES, "simulated")
    assert len(stream.getvalue()) < 1000
