"""The optics benchmark compares equal work; how fast this machine is, is not asserted."""

import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

import host.bench.optics as bench
from host.cli import app

KEYS = {"task", "grid", "ours_ms", "peer", "peer_ms", "ratio"}
PEERS = [
    pytest.param(name, marks=pytest.mark.skipif(bench._module(name) is None, reason=how))
    for name, how in bench.INSTALL.items()
    if name != "torch"
]


@pytest.fixture(scope="module")
def lines() -> list[bench.Line]:
    return list(bench.bench_optics([32], rounds=1, tasks=["angular_spectrum", "propagate", "scaling"]))


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("task", ["angular_spectrum", "propagate"])
def test_peers_do_the_same_work(lines: list[bench.Line], task: str, peer: str) -> None:
    found = [line for line in lines if (line.task, line.peer) == (task, peer)]
    assert len(found) == 1
    # The same formula in float64: rounding. torchoptics' single-precision distance would show up as 1e-4.
    assert found[0].difference is not None
    assert found[0].difference < 1e-6


def test_ratios_follow_from_the_times(lines: list[bench.Line]) -> None:
    for line in lines:
        assert line.ours_ms > 0
        assert line.ratio == pytest.approx(line.peer_ms / line.ours_ms)
    assert "scipy.fft" in {line.peer for line in lines}


def test_scaling_is_fitted_to_n_log_n(lines: list[bench.Line]) -> None:
    ladder = [line for line in lines if line.task == "scaling"]
    assert [line.grid for line in ladder] == [16, 32, 64]
    # Twice the side is four times the samples, and two more steps of the logarithm's ten.
    assert ladder[1].peer_ms / ladder[0].peer_ms == pytest.approx(4 * 12 / 10)
    product = 1.0
    for line in ladder:
        product *= line.ratio
    assert product == pytest.approx(1)


def test_a_step_of_design_has_the_gradient_of_the_naive_chain() -> None:
    pytest.importorskip("torch", reason="pip install 'canopic[train]'")
    steps = list(bench._gradient_step(rounds=1, cells=63))
    assert [line.peer for line in steps] == ["torch autograd, naive", "torch autograd, no shifts"]
    for line in steps:
        # Single precision on both sides.
        assert line.difference is not None
        assert line.difference < 1e-4


def test_the_result_can_be_printed_and_stored(lines: list[bench.Line]) -> None:
    for line in lines:
        assert set(json.loads(json.dumps(line.as_json()))) >= KEYS
    console = Console(record=True, width=150)
    console.print(bench.as_table(lines))
    text = " ".join(console.export_text().split())
    for words in ("times faster", "load average", "scaling: 1 is exactly N log N", "but for poppy"):
        assert words in text


def test_the_command_prints_an_object_a_line() -> None:
    result = CliRunner().invoke(
        app, ["bench", "optics", "--json", "--grids", "32,64", "--rounds", "1", "--tasks", "angular_spectrum"]
    )
    assert result.exit_code == 0
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert {line["grid"] for line in found} == {32, 64}
    assert all(set(line) >= KEYS for line in found)
    assert "measuring angular_spectrum 32 x 32" in result.stderr


def test_missing_peers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_module", lambda _: None)
    result = CliRunner().invoke(app, ["bench", "optics", "--json", "--grids", "32", "--rounds", "1"])
    assert result.exit_code == 0
    assert {json.loads(line)["peer"] for line in result.stdout.splitlines()} == {"scipy.fft", "N log N"}
    assert "prysm is not installed, and left out: pip install prysm" in result.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--grids", "6x"], 'separated by commas, got "6x"'),
        (["--grids", "52"], "grid 52: expected a multiple of 4"),
        (["--tasks", "focus"], 'task "focus" is unknown: expected angular_spectrum'),
    ],
)
def test_wrong_options_are_named(options: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["bench", "optics", *options])
    assert result.exit_code == 2
    assert words in result.stderr
