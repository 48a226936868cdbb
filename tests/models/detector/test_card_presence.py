"""A card says how often a sensor knew that somebody was there, what that is worth, and what of it not to rely on."""

import hashlib
from typing import Any

import pytest

from models.detector.card import model_card
from models.detector.ship import assembled, attacks_of
from optics.bundle import bundle_from_bytes, bundle_to_bytes
from tests.models.detector.test_ship import ENCODING, evaluation, evidence_of, training
from tests.optics.presence_entries import presence, scene

SHA256 = hashlib.sha256(b"model").hexdigest()
ROOM = scene("room.mp4", found=1013, occupied=1034, right=360, empty=360, exact=1300)


def card(*scenes: dict[str, Any], precision: float = 0.002) -> str:
    """On one line, of a detector of this average precision with presence in these scenes."""
    detector = evaluation()
    detector["codes"]["ap"] = detector["codes"]["ap"] | {"value": precision}
    entries = {"detector": detector, "attacks": attacks_of(evidence_of(ENCODING), ENCODING.id)}
    if scenes:
        entries["presence"] = presence(ENCODING.id, SHA256, *scenes)
    bundle = assembled(ENCODING, b"model", training(ENCODING), entries)
    return " ".join(model_card(bundle_from_bytes(bundle_to_bytes(bundle))).split())


def test_a_bundle_without_presence_has_no_such_section_and_claims_none() -> None:
    text = card()
    assert "somebody is there?" not in text
    assert "--score" not in text
    assert "nor for telling whether anybody is there" in text


def test_every_scene_has_its_numbers_intervals_and_what_a_constant_answer_gets() -> None:
    text = card(scene(), ROOM)
    assert "## Does it know that somebody is there?" in text
    assert (
        "| demo (seed 0) | 2 | 335 of 431 | 330/333, 99.1 % (97.1 % to 100.0 %; 79.3 % to 100.0 %) "
        "| 330/335, 98.5 % (96.5 % to 100.0 %; 78.8 % to 100.0 %) "
        "| 93/96, 96.9 % (94.9 % to 98.9 %; 77.5 % to 100.0 %) | 77.7 % |"
    ) in text
    assert "| room.mp4 (seed 0) | 2 | 1034 of 1394 | 1013/1013, 100.0 %" in text
    assert "resampling blocks of 2 s." in text
    assert "version 1 of the presence model" in text
    assert "version 1 or 2 of the presence model" in card(scene(), scene("room.mp4", presence_version=2))
    assert "Always answering occupied has a recall of 100 %, calls no empty frame empty" in text
    assert "demo is made up" in text
    assert "One recording is few (room.mp4)" in text
    assert "canopic score --scene demo --bundle ./mine.canopic --json > demo.json" in text


def test_where_faces_are_missed_presence_is_the_use_and_the_count_is_not() -> None:
    text = card(scene(), ROOM)
    assert "For telling an occupied room from an empty one by change against the learned empty room" in text
    assert "**Not for counting: in whole scenes this detector finds almost nobody**" in text
    assert "nor for telling whether anybody is there" not in text
    assert "Do not rely on the count: faces are hardly found (average precision 0.002)" in text
    assert "where none is found the count is 1 for as long as the room is occupied, however many people" in text
    assert "exact in 200 of 431 frames of demo, 1300 of 1394 frames of room.mp4" in text


def test_where_faces_are_found_the_count_is_not_spoken_ill_of() -> None:
    text = card(scene(), precision=0.4)
    assert "For counting faces turned towards the camera" in text
    assert "## Does it know that somebody is there?" in text
    assert "Do not rely on the count" not in text
    assert "No recording was scored" in text


@pytest.mark.parametrize("poor", [{"found": 100}, {"right": 10}], ids=["misses", "false alarms"])
def test_presence_that_is_mostly_wrong_in_a_scene_is_no_use_of_the_bundle(poor: dict[str, int]) -> None:
    text = card(scene(), scene("room.mp4", **poor))
    assert "nor for telling whether anybody is there" in text
    assert "For telling an occupied room" not in text
    assert 'Do not rely on "empty" or "occupied": in room.mp4 most of the occupied frames' in text


def test_scenes_without_empty_frames_tell_nothing_apart() -> None:
    text = card(scene("corridor.gif", found=35, occupied=35, right=0, empty=0, exact=35, light=[[3.0, 0.5]]))
    assert "| corridor.gif, light x 0.5 from 3 s (seed 0) | 2 | 35 of 35 |" in text
    assert "| no such frame | 100.0 % |" in text
    assert "nor for telling whether anybody is there" in text
    assert "were not both scored" in text
    assert "demo is made up" not in text
