"""Scores in a bundle's evidence: whole ones of this encoding and detector alone. A bundle is scored first, then shipped
again with its scores."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.detector.card import model_card
from models.detector.ship import ShipError, main, presence_of
from models.presence import VERSION
from optics.bundle import read_bundle
from optics.bundle_evidence import findings
from tests.models.detector.test_ship import ENCODING, OTHER, bound_evaluation, evidence_of, training

MODEL = b"model"
SHA256 = hashlib.sha256(MODEL).hexdigest()


def share(hits: int, total: int) -> dict[str, Any]:
    """The form of `host.score.Share`."""
    if total == 0:
        return dict.fromkeys(("value", "low", "high", "block_low", "block_high")) | {"hits": 0, "total": 0}
    bounds = {"low": 0.9 * hits / total, "high": 1.0, "block_low": 0.8 * hits / total, "block_high": 1.0}
    return {"hits": hits, "total": total, "value": hits / total, **bounds}


def scored(name: str = "demo", *, run: Any = None, score: Any = None, **more: Any) -> dict[str, Any]:
    """The form of what `canopic score --json` writes."""
    ran = {"measurements": 500, "frames": 500, "unmeasured": 0, "state": "sensing", "why_stopped": "end of the scene",
           "reason": None, "failed": False}  # fmt: skip
    found = {"frames": 431, "left_out": 69, "unmeasured": 0, "visits": 2, "block_s": 2.0, "f1": 0.9,
             "precision": share(330, 333), "recall": share(330, 335), "accuracy": share(423, 431),
             "specificity": share(93, 96), "count_exact": share(200, 431), "always_occupied": 335 / 431}  # fmt: skip
    return {
        "scene": name,
        "truth": "built in",
        "truth_frames": 500,
        "data_sha256": {},
        "bundle_id": "b0" * 32,
        "encoding_id": ENCODING.id,
        "model_sha256": SHA256,
        "presence_version": VERSION,
        "capture_path": "twin",
        "seed": 0,
        "light": [],
        "frames": None,
        "kernel": None,
        "run": ran | (run or {}),
        "score": found | (score or {}),
        **more,
    }


def test_what_is_kept_of_a_score_is_what_the_reader_of_evidence_knows() -> None:
    entry = presence_of({"demo.json": scored(), "room.json": scored("room.mp4", seed=4)}, ENCODING.id, MODEL)
    assert (entry["encoding_id"], entry["model_sha256"]) == (ENCODING.id, SHA256)
    demo, room = entry["scenes"]
    assert (demo["scene"], demo["frames"], demo["occupied_frames"], demo["visits"]) == ("demo", 431, 335, 2)
    assert demo["recall"] == {
        "value": 330 / 335,
        "hits": 330,
        "total": 335,
        "interval_95": [0.9 * 330 / 335, 1.0],
        "block_interval_95": [0.8 * 330 / 335, 1.0],
    }
    assert (room["scene"], room["seed"]) == ("room.mp4", 4)
    # The bundle that was scored had no score in it, so it had another id.
    assert "bundle_id" not in demo
    assert "b0b0" not in json.dumps(entry)


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (scored(encoding_id=OTHER.id), f"a.json is of encoding {OTHER.id}, the bundle is to hold"),
        (scored(model_sha256="0" * 64), "a.json is of the model 0{64}, the bundle is to hold"),
        (scored(kernel={"file": "psf.npz", "digest": "0" * 12}), "behind kernel psf.npz: score without --kernel"),
        (scored(presence_version=VERSION + 1), f"by presence model {VERSION + 1}, installed is {VERSION}: score the"),
        (scored(presence_version="1"), "by presence model 1, installed is"),
        (scored(frames=80), "of a part of scene demo: score all of it, without --frames"),
        (scored(score={"unmeasured": 3}), "of a part of scene demo"),
        (scored(truth_frames=499), "with a truth of all of its frames"),
        (scored(run={"unmeasured": 1}), "of a part of scene demo"),
        (scored(run={"frames": None}), "of a part of scene demo"),
        (scored(run={"measurements": 499}), "of a part of scene demo"),
        (scored(run={"failed": True, "why_stopped": "the twin ended"}), r"ended sensing \(the twin ended\)"),
        (scored(run={"state": "blind"}), "a.json is of a run that ended blind"),
        (scored(score={"recall": None}), "is not what `canopic score --json` of this version writes"),
        (scored() | {"run": 3}, "is not what `canopic score --json` of this version writes"),
        (scored() | {"score": {}}, "is not what `canopic score --json` of this version writes"),
    ],
)
def test_a_score_of_something_else_or_of_a_part_is_refused(score: dict[str, Any], said: str) -> None:
    with pytest.raises(ShipError, match=said):
        presence_of({"a.json": score}, ENCODING.id, MODEL)


def test_the_version_of_the_presence_model_is_kept_and_an_older_score_names_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (named,) = presence_of({"a.json": scored()}, ENCODING.id, MODEL)["scenes"]
    assert named["presence_version"] == VERSION
    older = {name: value for name, value in scored().items() if name != "presence_version"}
    monkeypatch.setattr("models.detector.ship.VERSION", 1)
    (unnamed,) = presence_of({"a.json": older}, ENCODING.id, MODEL)["scenes"]
    assert "presence_version" not in unnamed
    monkeypatch.setattr("models.detector.ship.VERSION", 2)
    with pytest.raises(ShipError, match="by presence model 1, installed is 2: score the scene again"):
        presence_of({"a.json": older}, ENCODING.id, MODEL)


@pytest.mark.parametrize("missing", ["encoding_id", "model_sha256", "data_sha256"])
def test_a_score_from_before_scores_were_bound_is_refused(missing: str) -> None:
    older = {name: value for name, value in scored().items() if name != missing}
    with pytest.raises(ShipError, match=f"a.json has no {missing}, so nothing binds its numbers"):
        presence_of({"a.json": older}, ENCODING.id, MODEL)


@pytest.mark.parametrize(
    "missing", ["scene", "truth", "truth_frames", "frames", "seed", "kernel", "run", "score", "light"]
)
def test_a_score_that_lacks_something_is_refused(missing: str) -> None:
    broken = {name: value for name, value in scored().items() if name != missing}
    with pytest.raises(ShipError, match="is not what `canopic score --json` of this version writes"):
        presence_of({"a.json": broken}, ENCODING.id, MODEL)


def test_a_scene_that_is_scored_twice_is_refused() -> None:
    with pytest.raises(ShipError, match=r"b\.json is of scene demo, as is another score"):
        presence_of({"a.json": scored(), "b.json": scored(seed=1)}, ENCODING.id, MODEL)


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    """A folder as `train` makes it, with evaluation and evidence beside it."""
    folder = tmp_path / "detector"
    folder.mkdir()
    (folder / "detector.onnx").write_bytes(MODEL)
    np.savez(folder / "encoding.npz", kernels=ENCODING.kernels, thresholds=ENCODING.thresholds, pool=8, range="fixed")
    (folder / "training.json").write_text(json.dumps(training(ENCODING)))
    (tmp_path / "evaluation.json").write_text(json.dumps(bound_evaluation()))
    (tmp_path / "evidence.json").write_text(json.dumps(evidence_of(ENCODING)))
    return folder


def ship(detector: Path, scores: list[Path] | None) -> Path:
    files, out = detector.parent, detector.parent / "mine.canopic"
    main(detector, files / "evaluation.json", out, files / "evidence.json", score=scores)
    return out


def test_a_bundle_is_shipped_without_scored_and_shipped_again_with_its_score(detector: Path) -> None:
    bare = read_bundle(ship(detector, None))
    assert findings(bare).presence == ()
    named = {
        "bundle_id": bare.id,
        "encoding_id": bare.encoding.id,
        "model_sha256": hashlib.sha256(bare.models["detector.onnx"]).hexdigest(),
    }
    files = [detector.parent / f"{name}.json" for name in ("demo", "room")]
    for file, scene in zip(files, ("demo", "room.mp4"), strict=True):
        file.write_text(json.dumps(scored(scene) | named))
    path = ship(detector, files)
    whole = read_bundle(path)
    assert whole.id != bare.id
    assert [scene.scene for scene in findings(whole).presence] == ["demo", "room.mp4"]
    assert str(detector.parent) not in json.dumps(dict(whole.evidence))
    assert path.with_suffix(".md").read_text() == model_card(whole)
    assert "## Does it know that somebody is there?" in model_card(whole)
    # A score of the bundle that has it is as good, and changes nothing.
    files[0].write_text(json.dumps(scored() | named | {"bundle_id": whole.id}))
    assert read_bundle(ship(detector, files)).id == whole.id


@pytest.mark.parametrize("content", ["{", "[]", "{}", json.dumps(scored(frames=3)), json.dumps(scored(light=[[1]]))])
def test_a_score_that_is_refused_ends_the_command_with_a_message_and_no_bundle(
    detector: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (detector.parent / "demo.json").write_text(content)
    with pytest.raises(SystemExit):
        ship(detector, [detector.parent / "demo.json"])
    said = capsys.readouterr().err
    assert said
    assert "Traceback" not in said
    assert not (detector.parent / "mine.canopic").exists()
