"""Presence in a bundle's evidence: read with what it takes to judge it, refused where it is another's or contradicts
itself, and absent from older bundles."""

import copy
import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optics.archive import BundleError
from optics.bundle import Bundle, bundle_from_bytes, bundle_to_bytes
from optics.bundle_evidence import findings, protocols_differ
from optics.encoding import Encoding
from tests.optics.presence_entries import presence, scene

ENCODING = Encoding(np.full((1, 1, 1), 0.5, np.float32), np.linspace(0.1, 0.9, 15, dtype=np.float32))
MODEL = b"model"
SHA256 = hashlib.sha256(MODEL).hexdigest()
BARE = Bundle(ENCODING, models={"d.onnx": MODEL}, metadata={"d.onnx": {"encoding_id": ENCODING.id}})


def bundle(*scenes: dict[str, Any]) -> Bundle:
    made = replace(BARE, evidence={"presence": presence(ENCODING.id, SHA256, *scenes)})
    # As it comes out of a file: evidence has to survive JSON.
    return bundle_from_bytes(bundle_to_bytes(made))


def test_every_number_of_a_scene_is_read() -> None:
    demo, room = findings(bundle(scene(), scene("room.mp4", found=1013, occupied=1034, right=360, empty=360))).presence
    assert demo.recall is not None
    assert (demo.recall.hits, demo.recall.n, demo.recall.value) == (330, 335, 330 / 335)
    assert demo.recall.low < demo.recall.value < demo.recall.high
    assert (demo.recall.block_low, demo.recall.block_high) == (0.8 * 330 / 335, 1.0)
    assert demo.precision is not None
    assert (demo.precision.hits, demo.precision.n) == (330, 333)
    assert demo.specificity is not None
    assert (demo.specificity.hits, demo.specificity.n) == (93, 96)
    assert demo.count_exact is not None
    assert demo.count_exact.value == 200 / 431
    assert (demo.frames, demo.occupied_frames, demo.empty_frames, demo.visits, demo.seed) == (431, 335, 96, 2, 0)
    assert demo.built_in
    assert not room.built_in
    assert room.precision is not None
    assert (room.scene, room.truth, room.precision.value) == ("room.mp4", "counts room.csv", 1.0)


def test_a_scene_that_names_no_version_of_the_presence_model_is_of_the_first() -> None:
    old, new = findings(bundle(scene(), scene("room.mp4", presence_version=3))).presence
    assert (old.version, new.version) == (1, 3)
    for wrong in (0, -1, 1.5, "2", True, None):
        with pytest.raises(BundleError, match="presence_version"):
            findings(bundle(scene(presence_version=wrong)))


def test_presence_of_two_versions_does_not_compare() -> None:
    old, new = findings(bundle(scene())), findings(bundle(scene(presence_version=2)))
    (sentence,) = protocols_differ({"old": old, "new": new})
    assert "presence model 1" in sentence
    assert "presence model 2" in sentence
    assert protocols_differ({"old": old, "same": findings(bundle(scene(presence_version=1)))}) == []


def test_a_bundle_without_the_entry_has_no_presence() -> None:
    assert findings(BARE).presence == ()


def test_a_scene_with_nobody_or_always_somebody_has_no_share_of_the_other_frames() -> None:
    always, never, silent = findings(
        bundle(
            scene("corridor.gif", found=35, occupied=35, right=0, empty=0, exact=30),
            scene("night.mp4", found=0, occupied=0, right=9, empty=10, exact=9),
            scene("missed.mp4", found=0, occupied=9, right=10, empty=10, exact=10),
        )
    ).presence
    assert always.specificity is None
    assert never.recall is None
    assert never.precision is not None
    assert never.precision.value == 0
    assert silent.precision is None
    assert silent.recall is not None
    assert silent.recall.value == 0


def test_presence_of_another_encoding_or_model_is_refused() -> None:
    for wrong, said in (
        (presence("0" * 64, SHA256), r"\(presence\) was measured on encoding 0"),
        (presence(ENCODING.id, "0" * 64), r"\(presence\) was measured on the model with SHA-256 0"),
    ):
        with pytest.raises(BundleError, match=said):
            findings(replace(BARE, evidence={"presence": wrong}))


@pytest.mark.parametrize(
    "change",
    [
        {"frames": 430},
        {"occupied_frames": 334},
        {"visits": -1},
        {"visits": 1.5},
        {"seed": None},
        {"seed": True},
        {"scene": ""},
        {"scene": 3},
        {"truth": None},
        {"light": [[1]]},
        {"light": [[-1.0, 2.0]]},
        {"light": None},
        {"block_s": "2"},
        {"data_sha256": []},
        {"recall": None},
        {"recall": scene(found=100)["recall"]},
        {"precision": scene(found=100)["precision"]},
        {"specificity": scene(right=96)["specificity"]},
        {"count_exact": {"value": None, "hits": 0, "total": 0, "interval_95": None, "block_interval_95": None}},
    ],
)
def test_a_scene_that_is_malformed_or_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="in no form that this version"):
        findings(bundle(scene(**change)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name in sorted(scene()["recall"])
        for value in (None, -1, 7.5, "many", True, [], [0.9], [0.9, 0.1], [0.99, 2.0])
        # Frames of a single block have no interval by blocks.
        if (name, value) != ("block_interval_95", None)
    ],
)
def test_a_share_that_is_not_its_hits_out_of_its_total_is_refused(name: str, value: Any) -> None:
    with pytest.raises(BundleError, match="in no form that this version"):
        findings(bundle(scene(recall=scene()["recall"] | {name: value})))


@pytest.mark.parametrize("missing", sorted(set(scene()) - {"capture_path"}))
def test_a_scene_that_lacks_something_is_refused(missing: str) -> None:
    with pytest.raises(BundleError, match="in no form that this version"):
        findings(bundle({name: value for name, value in scene().items() if name != missing}))


def test_a_scene_that_is_in_it_twice_is_refused() -> None:
    with pytest.raises(BundleError, match="a scene is in it twice"):
        findings(bundle(scene(), scene(seed=1)))


@pytest.mark.parametrize("wrong", [0, False, "", [], {}, "yes", {"scenes": []}, {"scenes": {}}, {"scenes": [3]}])
def test_an_entry_that_is_none_is_not_taken_for_not_measured(wrong: Any) -> None:
    bound = {"encoding_id": ENCODING.id, "model_sha256": SHA256}
    entry = bound | wrong if isinstance(wrong, dict) and wrong else wrong
    with pytest.raises(BundleError, match="in no form that this version"):
        findings(replace(BARE, evidence={"presence": entry}))


def test_presence_that_names_no_encoding_or_model_is_refused() -> None:
    whole = presence(ENCODING.id, SHA256)
    for missing in ("encoding_id", "model_sha256"):
        entry = {name: value for name, value in whole.items() if name != missing}
        with pytest.raises(BundleError, match="in no form that this version"):
            findings(replace(BARE, evidence={"presence": entry}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=3), part, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_whatever_stands_in_the_entry_it_is_read_or_refused_with_a_message(data: st.DataObject) -> None:
    entry = copy.deepcopy(presence(ENCODING.id, SHA256))
    at: Any = entry
    while isinstance(at, (dict, list)) and at:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if not isinstance(at[key], (dict, list)) or data.draw(st.booleans()):
            at[key] = data.draw(JSON)
            break
        at = at[key]
    try:
        scenes = findings(replace(BARE, evidence={"presence": entry})).presence
    except BundleError:
        return
    for one in scenes:
        for measured in (one.precision, one.recall, one.specificity, one.count_exact):
            assert measured is None or (0 <= measured.hits <= measured.n and 0 <= measured.value <= 1)


def test_the_same_scene_with_another_seed_light_or_file_does_not_compare() -> None:
    first = findings(bundle(scene(), scene("room.mp4")))
    assert protocols_differ({"one": first, "two": findings(bundle(scene(found=300)))}) == []
    for other in (scene(seed=1), scene(light=[[3.0, 0.5]]), scene(data_sha256={"demo": "0" * 64}), scene(truth="x")):
        (sentence,) = protocols_differ({"one": first, "two": findings(bundle(other)), "none": findings(BARE)})
        assert sentence.startswith("presence in demo was measured by different protocols")
