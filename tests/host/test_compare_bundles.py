"""canopic bundle compare: a table, JSON and a figure that say what was measured, and what was not."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from host.commands.bundle import show
from host.commands.compare_bundles import compare
from models.presence import VERSION
from optics.bundle import Bundle, shipped_bundles, write_bundle
from optics.encoding import Encoding
from tests.optics.presence_entries import presence, scene

PNG = b"\x89PNG\r\n\x1a\n"


def attacker(mean: float, chance: float) -> dict[str, Any]:
    return {"mean": mean, "interval_95": [mean - 0.02, mean + 0.02], "n": 400, "train_accuracy": 0.9,
            "chance": chance, "seeds": 3}  # fmt: skip


def write(
    path: Path,
    *,
    identity: float | None = 0.05,
    protocol: str = "a" * 64,
    taps: Any = ((0.7, -0.3),),
    scenes: tuple[dict[str, Any], ...] = (),
) -> None:
    encoding = Encoding(np.asarray([taps], np.float32), np.linspace(0.1, 0.9, 15, dtype=np.float32), pool=16)
    evidence: dict[str, Any] = {}
    if identity is not None:
        evidence["attacks"] = {
            "protocol": {"digest": protocol},
            "encoding_id": encoding.id,
            "results": {
                "identity": {"headline": "resnet18", "attackers": {"resnet18": attacker(identity, 1 / 71)}},
                "face": {"headline": "small", "attackers": {"small": attacker(0.93, 0.5)}},
            },
            "bits_per_measurement": 40.2,
        }
        evidence["distance"] = {
            "sizes_px": [12, 24],
            "identity": [0.02, 0.1],
            "identity_95": [[0, 0.04], [0.05, 0.2]],
            "chance": 0.014,
            "face": [0.7, 0.9],
            "private_below_px": 12,
            "rule": "within 2 times chance",
        }
    if scenes:
        evidence["presence"] = presence(encoding.id, hashlib.sha256(b"model").hexdigest(), *scenes)
    models = {"d.onnx": b"model"}
    write_bundle(
        Bundle(encoding, models=models, metadata={"d.onnx": {"encoding_id": encoding.id}}, evidence=evidence), path
    )


def row(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.strip().startswith(start))


def test_the_table_has_what_was_measured_and_says_what_was_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "mine.canopic")
    write(tmp_path / "bare.canopic", identity=None, taps=((0.5, 0.5),))
    assert compare([str(tmp_path / "mine.canopic"), str(tmp_path / "bare.canopic")], None, as_json=False) == 0
    done = capsys.readouterr()
    built = row(done.out, "can be built as")
    assert "a pair of masks" in built
    assert "one mask" in built
    who = row(done.out, "identity, one look")
    assert "5.0 % (3.0 % to 7.0 %)" in who
    assert "not measured" in who
    assert "chance 1.4 %, n 400" in done.out
    assert "resnet18, 3 seeds" in done.out
    assert row(done.out, "verification").count("not measured") == 2
    assert "at most 40" in row(done.out, "bits of a face crop")
    assert "faces up to 12 px" in row(done.out, "identity near chance")
    assert "Near chance: within 2 times chance." in done.out
    assert row(done.out, "pool, range").count("16 px, fixed") == 2
    assert done.err == ""


def test_presence_is_shown_for_each_scene_and_not_made_up_where_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = scene("room.mp4", found=0, right=96)
    write(tmp_path / "bare.canopic")
    write(tmp_path / "mine.canopic", scenes=(scene(), silent))
    assert compare([str(tmp_path / "bare.canopic"), str(tmp_path / "mine.canopic")], None, as_json=False) == 0
    done = capsys.readouterr()
    listed = row(done.out, "presence in scenes")
    assert "not measured" in listed
    assert "demo, room.mp4" in listed
    recall = row(done.out, "demo, recall")
    assert "not measured" in recall
    assert "98.5 % (96.5 % to 100.0 %)" in recall
    assert "330 of 335 occupied frames" in done.out
    assert "blocks: 78.8 % to 100.0 %" in done.out
    assert "99.1 % (97.1 % to 100.0 %)" in row(done.out, "demo, precision")
    assert "330 of 333 frames called occupied" in done.out
    assert done.out.count("always occupied: 77.7 %") == 2
    assert "0.0 % (0.0 % to 2.0 %)" in row(done.out, "room.mp4, recall")
    assert "no frames called occupied" in row(done.out, "room.mp4, precision")
    assert show(str(tmp_path / "mine.canopic"), as_json=False) == 0
    shown = capsys.readouterr().out
    assert "330 of 335 occupied frames" in row(shown, "demo, recall")
    assert show(str(tmp_path / "bare.canopic"), as_json=False) == 0
    assert "not measured" in row(capsys.readouterr().out, "presence in scenes")


def test_presence_is_in_the_json_and_other_seeds_are_not_compared_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "one.canopic", scenes=(scene(),))
    write(tmp_path / "two.canopic", scenes=(scene(seed=1),))
    write(tmp_path / "bare.canopic")
    assert compare([str(tmp_path / f"{name}.canopic") for name in ("one", "two", "bare")], None, as_json=True) == 0
    document = json.loads(capsys.readouterr().out)
    one, _, bare = (each["measured"]["presence"] for each in document["bundles"])
    assert one[0]["recall"]["hits"] == 330
    assert bare == []
    assert [warning.split(" was")[0] for warning in document["warnings"]] == ["presence in demo"]


@pytest.mark.parametrize("as_json", [False, True])
def test_presence_of_another_version_than_the_installed_one_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    now = scene("room.mp4", presence_version=VERSION)
    mine = str(tmp_path / "mine.canopic")
    write(tmp_path / "mine.canopic", scenes=(now, scene(presence_version=VERSION + 1)))
    stale = (
        f"in demo was measured with presence model {VERSION + 1}, and {VERSION} is installed, whose answers may be "
        "others: score the scenes again (`canopic score`)"
    )
    for command in (lambda: compare([mine], None, as_json=as_json), lambda: show(mine, as_json=as_json)):
        assert command() == 0
        done = capsys.readouterr()
        assert stale in " ".join(done.err.split())
        if not as_json:
            assert done.out.count(f"by presence model {VERSION + 1}, not {VERSION}") == 1
    assert compare([mine], None, as_json=True) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["version"] for one in document["bundles"][0]["measured"]["presence"]] == [VERSION, VERSION + 1]
    assert any(stale in warning for warning in document["warnings"])
    # What is of the installed one is not spoken of.
    write(tmp_path / "mine.canopic", scenes=(now,))
    for command in (lambda: compare([mine], None, as_json=as_json), lambda: show(mine, as_json=as_json)):
        assert command() == 0
        done = capsys.readouterr()
        assert done.err == ""
        assert "presence model" not in done.out or as_json


def test_json_has_every_number_and_nothing_else_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "mine.canopic")
    assert compare([str(tmp_path / "mine.canopic")], None, as_json=True) == 0
    document = json.loads(capsys.readouterr().out)
    mine = document["bundles"][0]
    assert mine["name"] == "mine"
    assert mine["encoding"]["built_with"] == "a pair of masks"
    assert mine["measured"]["attacks"]["identity"]["value"] == 0.05
    assert mine["measured"]["detection"] is None
    assert mine["measured"]["distance"]["private_below_px"] == 12
    assert document["warnings"] == []


def test_numbers_of_different_protocols_are_not_compared_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "one.canopic")
    write(tmp_path / "two.canopic", protocol="b" * 64)
    names = [str(tmp_path / "one.canopic"), str(tmp_path / "two.canopic")]
    assert compare(names, tmp_path / "plane.png", as_json=False) == 0
    done = capsys.readouterr()
    assert "identity was measured by different protocols and does not compare" in done.err
    assert (tmp_path / "plane.png").read_bytes().startswith(PNG)
    assert compare(names, None, as_json=True) == 0
    assert len(json.loads(capsys.readouterr().out)["warnings"]) == 2


def test_a_figure_of_bundles_without_evidence_is_drawn_and_says_so(tmp_path: Path) -> None:
    write(tmp_path / "bare.canopic", identity=None)
    assert compare([str(tmp_path / "bare.canopic")], tmp_path / "plane.png", as_json=True) == 0
    assert (tmp_path / "plane.png").read_bytes().startswith(PNG)


def test_without_names_all_that_ship_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare([], None, as_json=True) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["bundles"]] == list(shipped_bundles())


def test_bundles_that_are_not_there_or_named_twice_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        compare(["defualt"], None, as_json=False)
    assert ended.value.exit_code == 2
    assert 'did you mean "default"?' in capsys.readouterr().err
    with pytest.raises(typer.Exit):
        compare(["default", "default"], None, as_json=False)
    assert "named twice" in capsys.readouterr().err
    write(tmp_path / "default.canopic")
    assert compare(["default", str(tmp_path / "default.canopic")], None, as_json=True) == 0
    names = [one["name"] for one in json.loads(capsys.readouterr().out)["bundles"]]
    assert names == ["default", str(tmp_path / "default.canopic")]


def test_show_says_the_same_and_shows_a_bundle_whose_evidence_it_does_not_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "mine.canopic")
    assert show(str(tmp_path / "mine.canopic"), as_json=False) == 0
    text = capsys.readouterr().out
    assert "5.0 % (3.0 % to 7.0 %); chance 1.4 %, n 400; resnet18, 3 seeds" in row(text, "identity, one look")
    assert "by_seed" not in text
    encoding = Encoding(np.ones((1, 1, 1), np.float32), np.linspace(0.1, 0.9, 15, dtype=np.float32))
    write_bundle(Bundle(encoding, evidence={"attacks": {"form": "of tomorrow"}}), tmp_path / "newer.canopic")
    assert show(str(tmp_path / "newer.canopic"), as_json=False) == 0
    assert "in no form that this version" in row(capsys.readouterr().out, "evidence")
    assert show(str(tmp_path / "newer.canopic"), as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["evidence"] == {"attacks": {"form": "of tomorrow"}}
