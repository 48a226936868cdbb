"""A bundle whose detector finds almost nobody says so when a sensor starts, with what was measured of presence; no
other bundle does."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from host.config import Config
from host.weak_detector import weak_detector_warning
from models.presence import VERSION
from optics.bundle import Bundle
from optics.encoding import Encoding
from tests.optics.presence_entries import presence, scene

ENCODING = Encoding(np.full((1, 1, 1), 0.5, np.float32), np.linspace(0.1, 0.9, 15, dtype=np.float32))
SHA256 = hashlib.sha256(b"model").hexdigest()
INSTEAD = "for counting use the bundle default or useful"


def bundle(codes: float | None, *scenes: dict[str, Any], plain: float | None = 0.58) -> Bundle:
    """With this average precision on codes and on unencoded pictures, and presence in these scenes."""
    evidence: dict[str, Any] = {}
    for view, value in (("codes", codes), ("plain", plain)):
        if codes is not None and value is not None:
            precision = {"value": value, "interval_95": [0.0, 1.0], "faces": 409}
            evidence.setdefault("detector", {})[view] = {"scenes": 120, "ap": precision, "ap_by_size": []}
    if scenes:
        evidence["presence"] = presence(ENCODING.id, SHA256, *scenes)
    return Bundle(
        ENCODING, models={"d.onnx": b"model"}, metadata={"d.onnx": {"encoding_id": ENCODING.id}}, evidence=evidence
    )


def warned(*given: Any, **named: Any) -> str:
    warning = weak_detector_warning(bundle(*given), **named)
    assert warning is not None
    assert "\n" not in warning
    return warning


def test_a_detector_that_finds_almost_nobody_is_not_to_be_relied_on_for_empty() -> None:
    assert warned(0.03) == (
        "this bundle's detector finds almost no faces in whole scenes: average precision 0.03 (unencoded pictures: "
        f'0.58). Do not rely on its "empty"; {INSTEAD}'
    )
    without_ceiling = weak_detector_warning(bundle(0.03, plain=None))
    assert without_ceiling is not None
    assert "precision 0.03. Do not" in without_ceiling


def test_a_detector_that_finds_faces_and_one_that_was_not_measured_are_not_warned_of() -> None:
    assert weak_detector_warning(bundle(0.15)) is None
    assert weak_detector_warning(bundle(0.4, scene(found=3))) is None
    assert weak_detector_warning(bundle(None, scene())) is None


def test_measured_presence_is_said_with_its_numbers_and_the_count_is_not_to_be_relied_on() -> None:
    room = scene("room.mp4", found=1013, occupied=1034, right=360, empty=360)
    warning = warned(0.002, scene(), room)
    assert "average precision 0.00 (unencoded pictures: 0.58)" in warning
    assert (
        "Whether somebody is there comes from change against the learned empty room: measured on 2 scenes, "
        "demo (made up): somebody found in 330 of 335 occupied frames, nobody in 93 of 96 empty ones; "
        "room.mp4: somebody found in 1013 of 1034 occupied frames, nobody in 360 of 360 empty ones."
    ) in warning
    assert "Do not rely on the count: where no face is found it is 1 while the room is occupied" in warning
    assert '"empty"' not in warning
    assert warning.endswith(INSTEAD)
    assert "measured on one scene, room.mp4: " in warned(0.002, room)
    assert "presence model" not in warning
    later = warned(0.002, scene(presence_version=VERSION + 1), room)
    assert f"nobody in 93 of 96 empty ones (by presence model {VERSION + 1}, here is {VERSION}); room.mp4:" in later


@pytest.mark.parametrize(
    "scenes",
    [
        (scene(found=167),),
        (scene(), scene("room.mp4", found=0)),
        (scene(), scene("room.mp4", right=0)),
        # One that always says occupied does as well.
        (scene("corridor.gif", found=35, occupied=35, right=0, empty=0, exact=0),),
        # So does one that never does.
        (scene("night.mp4", found=0, occupied=0, right=90, empty=90, exact=90),),
    ],
    ids=["misses most", "misses all of one", "never empty", "only occupied frames", "only empty frames"],
)
def test_presence_that_is_poor_or_half_measured_reassures_nobody(scenes: tuple[dict[str, Any], ...]) -> None:
    warning = warned(0.002, *scenes)
    assert f'Do not rely on its "empty" or "occupied"; {INSTEAD}' in warning
    assert (
        f"{scenes[-1]['recall']['hits']} of {scenes[-1]['occupied_frames']}" in warning
        or not (scenes[-1]["occupied_frames"])
    )
    assert "Do not rely on the count" not in warning


def test_a_sensor_that_does_not_look_for_change_is_not_reassured_by_it() -> None:
    assert warned(0.002, scene(), by_change=False) == warned(0.002)
    assert Config().presence.enabled


def test_evidence_of_another_encoding_or_model_is_left_to_who_shows_the_bundle() -> None:
    other = Encoding(np.full((1, 1, 1), 0.4, np.float32), ENCODING.thresholds)
    evidence = dict(bundle(0.03, scene()).evidence)
    assert weak_detector_warning(Bundle(other, evidence=evidence)) is None
    assert weak_detector_warning(replace(bundle(0.03, scene()), models={"d.onnx": b"another"})) is None
