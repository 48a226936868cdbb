"""What `canopic evaluate` refuses before it reads an image or imports PyTorch, and what it asks when in a hurry."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from host.cli import app
from host.commands import evaluate as command
from models.evidence.jobs import Evaluation
from models.evidence.material import ARCHIVES

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Archives by name alone: whoever reads one of them fails."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in {name for names in ARCHIVES.values() for name in names}:
        (folder / name).write_text("no archive")
    return folder


def evaluate(*words: object) -> Any:
    return CliRunner().invoke(app, ["evaluate", *(str(word) for word in words)])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--width", "0"], "--width"),
        (["--width", "nan"], "--width"),
        (["--width", "inf"], "--width inf: expected a finite number above 0"),
        (["--sizes", "12,large"], "--sizes 12,large: expected numbers"),
        (["--sizes", "24,12"], "sizes of faces 24, 12: expected pixels of the face's larger side, ascending"),
        (["--questions", "who"], 'no question "who"'),
        (["--attackers", "spy"], 'no attacker "spy"'),
        (["--against", "nobody"], 'cannot compare against "nobody"'),
        (["--out", "{taken}"], "--out {taken}: {taken} is a file"),
        (["--out", "{taken}/below"], "--out {taken}/below: {taken} is a file"),
        (["--attackers", "pretrained"], "mobilefacenet.onnx is missing"),
        (["nonsense"], "no such bundle"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_read(
    words: list[str], said: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_evaluated", lambda *_: pytest.fail("it began"))
    taken = tmp_path / "taken"
    taken.touch()
    filled = [word.format(taken=taken) for word in words]
    found = evaluate("--attackers", "small", "--data", data, "--out", tmp_path / "out", *filled)
    assert found.exit_code == 2, found.output
    assert said.format(taken=taken) in found.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_folder_and_a_missing_archive_are_said(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for words, said in (
        (["default", "--out", out], "--data is missing"),
        (
            ["--attackers", "small", "--data", tmp_path / "nowhere", "--out", out],
            f"--data {tmp_path / 'nowhere'}: there",
        ),
    ):
        found = evaluate(*words)
        assert found.exit_code == 2
        assert said in found.stderr
    (data / "nonface_images64.tar").unlink()
    found = evaluate("--attackers", "small", "--questions", "identity,face", "--data", data, "--out", out)
    assert found.exit_code == 2
    assert "nonface_images64.tar is missing" in found.stderr


def test_without_torch_it_says_what_to_install(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else there(name))
    found = evaluate("--attackers", "small", "--data", data, "--out", tmp_path / "out")
    assert found.exit_code == 2
    assert "pip install 'canopic[train]'" in found.stderr


def test_wrong_words_do_not_wait_for_torch() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom host.cli import app\n"
        "found = CliRunner().invoke(app, ['evaluate', '--data', '.'])\n"
        "assert found.exit_code == 2, found.output\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


@pytest.mark.parametrize("during", ["material_of", "_all_runs", "write_evidence"])
def test_ctrl_c_at_any_time_is_one_sentence(
    during: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="attackers need torch: pip install 'canopic[train]'")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("material_of", "_all_runs", "write_evidence"):
        monkeypatch.setattr(command, name, interrupted if name == during else lambda *_: None)
    found = evaluate("--attackers", "small", "--data", data, "--out", tmp_path / "out")
    assert found.exit_code == 130
    assert f"What was finished is in {tmp_path / 'out'}" in found.stderr
    assert "Traceback" not in found.output


@pytest.mark.parametrize(
    ("words", "attackers", "seeds"),
    [
        (["--quick"], ("small",), 1),
        (["--quick", "--attackers", "resnet18,linear"], ("resnet18", "linear"), 1),
        (["--attackers", "small,resnet18"], ("small", "resnet18"), 3),
    ],
)
def test_in_a_hurry_the_small_attacker_is_asked_alone(
    words: list[str],
    attackers: tuple[str, ...],
    seeds: int,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("torch", reason="attackers need torch: pip install 'canopic[train]'")
    asked: list[Evaluation] = []

    def note(evaluation: Evaluation, _workers: int) -> dict[str, Any]:
        asked.append(evaluation)
        return {"subjects": []}

    monkeypatch.setattr(command, "_evaluated", note)
    found = evaluate("--data", data, "--out", tmp_path / "out", *words)
    assert found.exit_code == 0, found.output
    settings = asked[0].settings
    assert (settings.attackers, settings.seeds, settings.quick) == (attackers, seeds, "--quick" in words)
    assert settings.sizes_px is None


def test_sizes_of_faces_are_those_that_were_given(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="attackers need torch: pip install 'canopic[train]'")
    asked: list[Evaluation] = []
    monkeypatch.setattr(command, "_evaluated", lambda evaluation, _: asked.append(evaluation) or {"subjects": []})
    found = evaluate("--attackers", "small", "--sizes", "12, 16.5,24", "--data", data, "--out", tmp_path / "out")
    assert found.exit_code == 0, found.output
    assert asked[0].settings.sizes_px == (12.0, 16.5, 24.0)
