"""What a score says that it is of: bundle, encoding, model, scene and truth, by names and digests, and no folder."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from host.commands.score import scored_what
from host.config import Config
from host.outputs.report import About, Summary
from host.score import Truth, score_measurements
from models.detector.ship import presence_of
from models.presence import VERSION
from optics.archive import BundleError
from optics.bundle import Bundle, default_bundle_path, read_bundle
from optics.bundle_presence import read_presence


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(default_bundle_path())


def about(bundle_id: str) -> About:
    return About("default", bundle_id, "", 16, 480, 640, "twin", "twin", "state")


def config(scene: str = "demo", **more: object) -> Config:
    return Config.model_validate({"capture": {"scene": scene, **more}, "bundle": "default"})


def test_the_built_in_scene_has_no_file(bundle: Bundle) -> None:
    assert scored_what(config(seed=3), about(bundle.id), None, None, None) == {
        "scene": "demo",
        "truth": "built in",
        "data_sha256": {},
        "bundle_id": bundle.id,
        "encoding_id": bundle.encoding.id,
        "model_sha256": hashlib.sha256(bundle.models["detector.onnx"]).hexdigest(),
        "presence_version": VERSION,
        "capture_path": "twin",
        "seed": 3,
        "light": [],
        "frames": None,
    }


def test_files_are_named_without_their_folder_and_by_their_digests(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "room.mp4").write_bytes(b"room")
    (tmp_path / "room.csv").write_bytes(b"counts")
    given = config(str(tmp_path / "room.mp4"), light=[[1.0, 0.5]])
    found = scored_what(given, about(bundle.id), tmp_path / "room.csv", None, 40)
    assert (found["scene"], found["truth"], found["frames"]) == ("room.mp4", "counts room.csv", 40)
    assert found["light"] == [[1.0, 0.5]]
    assert found["data_sha256"] == {
        "room.mp4": hashlib.sha256(b"room").hexdigest(),
        "room.csv": hashlib.sha256(b"counts").hexdigest(),
    }
    assert str(tmp_path) not in json.dumps(found)


def test_a_folder_that_is_called_as_the_built_in_scene_is_not_taken_for_it(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    found = scored_what(config(str(tmp_path / "demo")), about(bundle.id), None, 2, None)
    assert (found["scene"], found["truth"], found["data_sha256"]) == ("./demo", "always 2", {})


def test_a_bundle_that_changed_meanwhile_is_not_the_one_that_measured() -> None:
    for measured in (about("0" * 64), None):
        with pytest.raises(BundleError, match="default changed while the scene was measured: score it again"):
            scored_what(config(), measured, None, None, None)


@pytest.mark.parametrize("people", [[0, 0, 1, 1, 2, 0], [0] * 6, [1] * 6], ids=["both", "nobody", "always"])
@pytest.mark.parametrize("occupied", [[0, 1, 1, 0, 1, 0], [0] * 6, [1] * 6], ids=["mostly right", "never", "always"])
def test_what_is_scored_is_what_ships_and_what_is_read(bundle: Bundle, people: list[int], occupied: list[int]) -> None:
    """Every share that can be without a single frame is, in one of them."""
    run = Summary(6, 6, 0, 1.0, {}, 0.5, 6.0, None, None, "sensing", None, "end of the scene")
    truth = Truth(np.array(people), np.zeros(6, dtype=bool))
    score = score_measurements([(frame, bool(one), one) for frame, one in enumerate(occupied)], truth, 1.0)
    document = scored_what(config(), about(bundle.id), None, None, None) | {"truth_frames": 6, "kernel": None}
    written = json.loads(json.dumps(document | {"run": run.to_dict(), "score": score.to_dict()}))
    entry = presence_of({"demo.json": written}, bundle.encoding.id, bundle.models["detector.onnx"])
    (scene,) = read_presence(json.loads(json.dumps(entry)))
    for found, expected in (
        (scene.precision, score.precision),
        (scene.recall, score.recall),
        (scene.specificity, score.specificity),
        (scene.count_exact, score.count_exact),
    ):
        if expected.value is None:
            assert found is None
        else:
            assert found is not None
            assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
            assert (found.hits, found.n) == (expected.hits, expected.total)
            assert (found.block_low, found.block_high) == (expected.block_low, expected.block_high)
    assert scene.version == VERSION
    assert (scene.frames, scene.occupied_frames, scene.visits) == (6, sum(one > 0 for one in people), score.visits)
