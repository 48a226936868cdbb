"""What bundles say of themselves: every form of evidence is read, nothing is made up, protocols are kept apart."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from optics.archive import BundleError
from optics.bundle import Bundle, bundle_from_bytes, bundle_to_bytes, read_bundle, shipped_bundles
from optics.bundle_evidence import (
    DETECTION,
    EQUAL_ERROR,
    FACE,
    IDENTITY,
    SAME_PHOTOGRAPHS,
    SEVERAL_LOOKS,
    findings,
    protocols_differ,
)
from optics.description import NONE, ONE_MASK, PAIR, built_with
from optics.encoding import Encoding

THRESHOLDS = np.linspace(0.1, 0.9, 15, dtype=np.float32)


def encoding(taps: Any = ((0.5, 0.5),), **more: Any) -> Encoding:
    return Encoding(np.asarray([taps], np.float32), THRESHOLDS, **more)


def attack(mean: float, low: float, high: float, chance: float = 1 / 71, seeds: int = 3) -> dict[str, Any]:
    """One attacker's summary, as `canopic evaluate` gives it."""
    return {"mean": mean, "interval_95": [low, high], "n": 400, "per_class": mean, "train_accuracy": 0.9,
            "n_train": 2000, "chance": chance, "constant": 0.1, "seeds": seeds, "by_seed": [mean] * seeds}  # fmt: skip


def attacks(encoding_id: str, protocol: str = "a" * 64) -> dict[str, Any]:
    identity = {"small": attack(0.04, 0.02, 0.06), "resnet18": attack(0.05, 0.03, 0.08)}
    return {
        "protocol": {"digest": protocol},
        "subject": "mine",
        "encoding_id": encoding_id,
        "bits_per_measurement": 61.5,
        "results": {
            IDENTITY: {"headline": "resnet18", "attackers": identity},
            SEVERAL_LOOKS: {"headline": "resnet18", "attackers": {"resnet18": attack(0.09, 0.06, 0.12)}},
            FACE: {"headline": "small", "attackers": {"small": attack(0.93, 0.91, 0.95, 0.5)}},
        },
    }


def precision(value: float | None) -> dict[str, Any]:
    return {"value": value, "interval_95": [0.2, 0.4], "faces": 409}


def detector(value: float = 0.3) -> dict[str, Any]:
    sizes = [{"from_px": 16, "to_px": 24, **precision(None)}, {"from_px": 24, "to_px": 40, **precision(0.25)}]
    return {
        "codes": {"scenes": 120, "ap": precision(value), "ap_by_size": sizes},
        "plain": {"scenes": 120, "ap": precision(0.6), "ap_by_size": sizes[1:]},
    }


def bundle(**evidence: Any) -> Bundle:
    made = Bundle(encoding(), evidence=evidence)
    # As it comes out of a file: evidence has to survive JSON.
    return bundle_from_bytes(bundle_to_bytes(made))


def test_what_the_attackers_found_is_read_of_the_best_of_them() -> None:
    found = findings(bundle(attacks=attacks(encoding().id), detector=detector()))
    who = found.attacks[IDENTITY]
    assert (who.value, who.low, who.high, who.n, who.seeds) == (0.05, 0.03, 0.08, 400, 3)
    assert (who.attacker, who.protocol, who.chance) == ("resnet18", "a" * 12, 1 / 71)
    assert found.attacks[SEVERAL_LOOKS].value == 0.09
    assert found.bits == 61.5
    assert found.share_of_ceiling == pytest.approx(0.5)
    assert SAME_PHOTOGRAPHS not in found.attacks
    assert EQUAL_ERROR not in found.attacks
    small, large = found.by_size
    assert (small.codes, small.ceiling) == (None, None)
    assert large.codes is not None
    assert (large.from_px, large.to_px, large.codes.value) == (24, 40, 0.25)


def test_a_bundle_without_evidence_says_nothing() -> None:
    found = findings(bundle())
    assert not found.attacks
    assert not found.by_size
    assert (found.detection, found.ceiling, found.share_of_ceiling, found.bits, found.distance) == (None,) * 5


def test_evidence_of_another_encoding_is_refused() -> None:
    with pytest.raises(BundleError, match=r"\(attacks\) was measured on encoding 0{64}, it holds"):
        findings(bundle(attacks=attacks("0" * 64)))
    with pytest.raises(BundleError, match=r"\(training\)"):
        findings(bundle(training={"encoding_id": "0" * 64}))
    for entry in ("detector", "encoder"):
        with pytest.raises(BundleError, match=rf"\({entry}\) was measured on encoding 0"):
            findings(bundle(**{entry: {"encoding_id": "0" * 64}}))


def test_detection_is_of_the_model_that_the_bundle_holds_and_of_named_pictures() -> None:
    older = findings(bundle(detector=detector()))
    assert not older.detection_bound
    one = encoding()
    named = {"encoding_id": one.id, "model_sha256": hashlib.sha256(b"model").hexdigest()}
    held = Bundle(one, models={"d.onnx": b"model"}, metadata={"d.onnx": {"encoding_id": one.id}})

    def on(digest: str) -> Bundle:
        return replace(held, evidence={"detector": detector() | named | {"data_sha256": {"scenes.tar": digest}}})

    found = {name: findings(on(name * 64)) for name in "ab"} | {"older": older}
    assert found["a"].detection_bound
    # As many scenes and faces, but others.
    (sentence,) = protocols_differ(found)
    assert sentence.startswith(DETECTION)
    assert sentence.count("120 scenes, 409 faces of ") == 3
    assert protocols_differ({"one": found["a"], "two": findings(on("a" * 64))}) == []
    with pytest.raises(BundleError, match=r"\(detector\) was measured on the model with SHA-256"):
        findings(replace(on("a" * 64), models={"d.onnx": b"another"}))


def test_evidence_in_an_unknown_form_is_refused_and_not_taken_for_none() -> None:
    forms: list[dict[str, Any]] = [{"attacks": {"results": {}}}, {"attacks": 3}]
    forms += [{"detector": {"codes": {}}}, {"distance": {"x": 1}}]
    for wrong in forms:
        with pytest.raises(BundleError, match="in no form that this version"):
            findings(bundle(**wrong))


def test_distance_is_read() -> None:
    report = {"sizes_px": [12, 24], "identity": [0.02, 0.1], "identity_95": [[0.0, 0.04], [0.05, 0.15]],
              "chance": 0.014, "face": [0.7, 0.9], "private_below_px": 12, "rule": "within 2 times chance"}  # fmt: skip
    found = findings(bundle(distance=report)).distance
    assert found is not None
    assert (found.sizes_px, found.private_below_px) == ((12.0, 24.0), 12.0)
    never = findings(bundle(distance=report | {"private_below_px": None})).distance
    assert never is not None
    assert never.private_below_px is None


def test_numbers_of_different_protocols_are_named() -> None:
    mine, other = attacks(encoding().id), attacks(encoding().id, "b" * 64)
    found = {
        "mine": findings(bundle(attacks=mine, detector=detector())),
        "same": findings(bundle(attacks=mine, detector=detector())),
        "other": findings(bundle(attacks=other)),
        "none": findings(bundle()),
    }
    assert protocols_differ({name: found[name] for name in ("mine", "same", "none")}) == []
    sentences = protocols_differ(found)
    assert len(sentences) == 3
    assert sentences[0].startswith(f"{IDENTITY} was measured by different protocols")
    assert "mine, same: aaaaaaaaaaaa; other: bbbbbbbbbbbb" in sentences[0]
    fewer = detector() | {"codes": detector()["codes"] | {"scenes": 60}}
    more = {"mine": found["mine"], "fewer": findings(bundle(detector=fewer))}
    assert [sentence.split(" was")[0] for sentence in protocols_differ(more)] == [DETECTION]


def test_evidence_of_older_bundles_is_read() -> None:
    result = {"accuracy": 0.3, "accuracy_95": [0.2, 0.4], "n": 468, "runs": [{}, {}], "train_accuracy": 1.0}
    older = {"people": 69, "views": {"codes": {"identity": result, "face": result | {"n": 1400}}}}
    found = findings(bundle(identity=older | {"encoding_id": encoding().id}))
    assert (found.attacks[IDENTITY].value, found.attacks[IDENTITY].chance) == (0.3, 1 / 69)
    assert "69 people" in found.attacks[IDENTITY].protocol
    new = {"new": findings(bundle(attacks=attacks(encoding().id))), "older": found}
    assert len(protocols_differ(new)) == 2


@pytest.mark.parametrize(
    ("taps", "built"),
    [
        (((0.5, 0.5),), ONE_MASK),
        (((1.0,),), ONE_MASK),
        (((0.75, 0.5),), NONE),
        (((0.6, -0.4),), PAIR),
        (((-0.5, 0.25),), PAIR),
        (((0.8, -0.4),), NONE),
    ],
)
def test_how_an_encoding_can_be_built(taps: Any, built: str) -> None:
    assert built_with(encoding(taps)) == built
    assert encoding(taps).realisable == (built == ONE_MASK)


def test_a_range_of_each_frame_can_not_be_built() -> None:
    assert built_with(encoding(range="per_frame")) == NONE


@pytest.mark.parametrize("name", shipped_bundles())
def test_every_shipped_bundle_can_be_built_and_says_how_it_was_measured(name: str) -> None:
    path = shipped_bundles()[name]
    shipped = read_bundle(path)
    assert built_with(shipped.encoding) in (ONE_MASK, PAIR)
    model = shipped.models["detector.onnx"]
    assert len(model) < 1_000_000
    assert b"QuantizeLinear" in model
    assert shipped.metadata["detector.onnx"]["encoding_id"] == shipped.encoding.id
    card = path.with_suffix(".md").read_text()
    assert shipped.id[:16] in card
    found = findings(shipped)
    for measured in (found.attacks[IDENTITY], found.attacks[FACE]):
        assert measured.n >= 300
        assert 0 <= measured.low <= measured.value <= measured.high <= 1
        assert measured.chance is not None
        assert measured.seeds is not None
    assert found.detection is not None
    assert found.share_of_ceiling is not None
