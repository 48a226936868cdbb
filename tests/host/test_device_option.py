"""--device: a GPU that is not there is said before anything is read, by every command that could use one."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from host.cli import app

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'canopic[train]'")


@pytest.mark.parametrize(
    "command",
    [
        ["train", "encoder", "sharp", "--data", "{folder}", "--out", "{folder}/out"],
        ["train", "sweep", "quick", "--data", "{folder}", "--out", "{folder}/out"],
        ["train", "paper", "{folder}/none.yaml"],
        ["evaluate", "--data", "{folder}", "--out", "{folder}/out"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
@pytest.mark.parametrize("device", ["cuda", "tpu"])
def test_a_device_that_is_not_there_is_said(
    command: list[str], device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = [word.format(folder=tmp_path) for word in command]
    found = CliRunner().invoke(app, [*words, "--device", device])
    assert found.exit_code == 2
    assert {"cuda": "no GPU for the device cuda", "tpu": "expected cpu, cuda or auto"}[device] in found.stderr
    assert not list(tmp_path.iterdir())


def test_on_ray_points_are_learned_on_processors(tmp_path: Path) -> None:
    options = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--cluster", "here", "--device", "auto"]
    found = CliRunner().invoke(app, ["train", "sweep", "quick", *options])
    assert found.exit_code == 2
    assert "on Ray points are learned on processors" in found.stderr
