"""Shipping: evidence that belongs to the encoding and is for quoting, and a card that says it in plain sentences."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.detector.card import model_card
from models.detector.ship import ShipError, assembled, attacks_of, detector_of, encoder_of, main
from optics.archive import BundleError
from optics.bundle import bundle_from_bytes, bundle_to_bytes, read_bundle, shipped_bundles
from optics.bundle_evidence import FACE, IDENTITY, findings
from optics.encoding import Encoding

ENCODING = Encoding(np.full((1, 3, 3), 1 / 9, np.float32), np.repeat(np.float32([0.2, 0.9]), [8, 7]))
OTHER = Encoding(np.full((1, 3, 3), 1 / 10, np.float32), ENCODING.thresholds)


def attacker(mean: float, chance: float, trained: float = 0.95) -> dict[str, Any]:
    return {"mean": mean, "interval_95": [max(0.0, mean - 0.03), mean + 0.03], "n": 420, "per_class": mean,
            "n_train": 1700, "train_accuracy": trained, "chance": chance, "constant": 0.08, "seeds": 3,
            "by_seed": [mean] * 3}  # fmt: skip


def results(identity: float, trained: float = 0.95) -> dict[str, Any]:
    small = attacker(identity - 0.01, 1 / 71, trained)
    control = attacker(0.01, 1 / 71) | {"train_accuracy": None, "seeds": 1, "by_seed": [0.01]}
    return {
        "identity": {
            "headline": "resnet18",
            "attackers": {"small": small, "resnet18": attacker(identity, 1 / 71, trained), "nearest": control},
        },
        "retrieval": {"headline": "small", "attackers": {"small": attacker(identity + 0.027, 1 / 71, trained)}},
        "verification, equal error rate": {
            "headline": "small",
            "attackers": {
                "small": {
                    "mean": 0.41,
                    "interval_95": [0.36, 0.45],
                    "n": 900,
                    "people": 100,
                    "chance": 0.5,
                    "train_accuracy": None,
                    "seeds": 3,
                    "by_seed": [0.41] * 3,
                }
            },
        },
        "identity, several looks": {
            "headline": "small",
            "attackers": {"small": attacker(identity + 0.02, 1 / 71, trained)},
        },
        "face": {"headline": "small", "attackers": {"small": attacker(0.93, 0.5)}},
    }


def evidence_of(encoding: Encoding, identity: float = 0.123, trained: float = 0.95) -> dict[str, Any]:
    """The form of what `canopic evaluate` writes."""
    mine = {
        "name": "mine",
        "kind": "ours",
        "encoding_id": encoding.id,
        "bits_per_measurement": 88.4,
        "codes_per_measurement": 192,
        "faces_measured": 420,
        "results": results(identity, trained),
    }
    return {
        "schema": "canopic-evidence-1",
        "quick": False,
        "settings": {"questions": ["identity", "face"], "attackers": ["small", "resnet18"], "seeds": 3, "width": 0.25,
                     "looks": 16, "quick": False},
        "data_sha256": {"faces_identity_lfw64.tar": "c0" * 32},
        "subjects": [{"name": "clean", "kind": "baseline", "results": results(0.7)}, mine],
        "verdicts": [],
        "goals": [],
        "runs": [],
    }  # fmt: skip


def learning(encoding: Encoding) -> dict[str, Any]:
    """The form of what `canopic train encoder` writes."""
    fresh = {"accuracy": 0.07}
    return {
        "plan": {
            "name": "mine",
            "seed": 3,
            "chain": {"kernels": "psf", "levels": 3, "pool": 8},
            "privacy": {"alpha": 50.0},
        },
        "kept_cycle": 1,
        "finished": True,
        "encoding_id": encoding.id,
        "material": {"counts": {"people": 900, "faces": 4000, "negatives": 2800}, "sha256": "0", "archives": {}},
        "cycles": [{"cycle": 0, "seconds": {}}, {"cycle": 1, "identity": fresh, "face": {"accuracy": 0.94}}],
        "seconds": 1860.0,
        "versions": {"torch": "2"},
    }


def training(encoding: Encoding) -> dict[str, Any]:
    return {"encoding_id": encoding.id, "score_threshold": 0.4, "parameters": 12, "data_sha256": {"a.tar": "ab" * 32},
            "validation_scenes": 3, "scenes": 10}  # fmt: skip


def evaluation() -> dict[str, Any]:
    precision = {"value": 0.4, "interval_95": [0.3, 0.5], "faces": 409}
    count = {"mean_absolute_error": 1.5, "mean_absolute_error_95": [1.1, 1.9], "exact_share": 0.4, "mean_faces": 3.4,
             "exact_share_95": [0.3, 0.5], "constant_exact_share": 0.5, "empty_mean_absolute_error": 3.4,
             "constant": 1.0, "constant_mean_absolute_error": 2.4}  # fmt: skip
    sizes = [{"from_px": 16, "to_px": 24, **precision, "value": 0.05}, {"from_px": 24, "to_px": 40, **precision}]
    view = {"scenes": 120, "score_threshold": 0.4, "ap": precision, "ap_by_size": sizes, "count": count}
    return {"codes": view, "plain": view}


def bound_evaluation(encoding: Encoding = ENCODING, model: bytes = b"model") -> dict[str, Any]:
    """As versions write it that say what they measured."""
    named = {"encoding_id": encoding.id, "model_sha256": hashlib.sha256(model).hexdigest()}
    return evaluation() | named | {"data_sha256": {"scenes.tar": "d1" * 32}, "surroundings": "black"}


def card(**entries: Any) -> str:
    found = {"detector": evaluation(), "attacks": attacks_of(evidence_of(ENCODING), ENCODING.id)} | entries
    bundle = assembled(ENCODING, b"model", training(ENCODING), found)
    return model_card(bundle_from_bytes(bundle_to_bytes(bundle)))


def test_one_command_makes_a_bundle_and_its_card(tmp_path: Path) -> None:
    folder = tmp_path / "detector"
    folder.mkdir()
    (folder / "detector.onnx").write_bytes(b"model")
    np.savez(folder / "encoding.npz", kernels=ENCODING.kernels, thresholds=ENCODING.thresholds, pool=8, range="fixed")
    files = {"evaluation": bound_evaluation(), "evidence": evidence_of(ENCODING), "learning": learning(ENCODING)}
    for name, document in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    (folder / "training.json").write_text(json.dumps(training(ENCODING)))
    out = tmp_path / "mine.canopic"
    main(
        folder,
        tmp_path / "evaluation.json",
        out,
        tmp_path / "evidence.json",
        subject="mine",
        encoder=tmp_path / "learning.json",
    )
    bundle = read_bundle(out)
    assert bundle.encoding == ENCODING
    found = findings(bundle)
    assert found.detection_bound
    assert (found.attacks[IDENTITY].value, found.attacks[IDENTITY].attacker) == (0.123, "resnet18")
    assert found.bits == 88.4
    assert bundle.evidence["encoder"]["plan"]["seed"] == 3
    assert bundle.evidence["encoder"]["kept"]["face"]["accuracy"] == 0.94
    assert (tmp_path / "mine.md").read_text() == model_card(bundle)
    assert "the test photographs of `scenes.tar` (`d1d1d1d1d1d1d1d1`)" in (tmp_path / "mine.md").read_text()


def test_the_card_says_who_attacked_and_what_they_reached() -> None:
    text = " ".join(card().split())
    assert "resnet18, small, and nearest as weak controls; networks at 0.25 of their published width" in text
    assert (
        "The best of them (resnet18) names the right person in 12.3 % (9.3 % to 15.3 %) of 420 other pictures" in text
    )
    assert "Guessing names 1.4 %, always the same name at most 8.0 %." in text
    assert "From 16 looks" in text
    assert "14.3 % (11.3 % to 17.3 %)" in text
    assert "it has learned them by heart" in text
    assert "nearest training picture, by what the last layer of small reads, is right in 15.0 %" in text
    assert "head start" not in text
    assert "Codes do not make a person anonymous" in text
    assert "holds at most 88 bits" in text
    assert "| clean | 70.0 % (67.0 % to 73.0 %)" in text
    assert "about 48 px" in text
    assert "| who is it, one look | nearest, 1 seed | 1.0 % | 0.0 % to 4.0 % | 420 | 1.4 % | - |" in text
    assert (
        "| same person or not: equal error rate | small, 3 seeds | 41.0 % | 36.0 % to 45.0 % | 900 | 50.0 % | - |"
        in text
    )
    assert "faces of 16 to 24 px are mostly missed" in text
    assert "research only" in text
    assert "## How the encoding was learned" not in text


def test_the_card_of_a_detector_that_finds_almost_nothing_says_so_first() -> None:
    assert "For counting faces turned towards the camera" in card()
    found = evaluation()
    found["codes"]["ap"] = found["codes"]["ap"] | {"value": 0.03}
    text = " ".join(card(detector=found).split())
    assert "in whole scenes this detector finds almost nobody" in text
    assert "For counting faces turned" not in text


def test_the_card_claims_no_anonymity_where_attackers_are_at_chance() -> None:
    found = attacks_of(evidence_of(ENCODING, identity=0.014, trained=0.03), ENCODING.id)
    found["results"]["identity, several looks"]["attackers"]["small"] |= {"interval_95": [0.01, 0.05]}
    found["results"]["retrieval"]["attackers"]["small"] |= {"interval_95": [0.02, 0.06]}
    strong = " ".join(card(attacks=found).split())
    assert "make a person anonymous" in strong  # by the nearest picture
    found["results"]["retrieval"]["attackers"]["small"] |= {"interval_95": [0.01, 0.05]}
    found["results"]["identity"]["attackers"]["pretrained"] = found["results"]["identity"]["attackers"]["small"]
    text = " ".join(card(attacks=found).split())
    assert "The one called pretrained has a head start" in text
    assert "not told from guessing. That is no proof" in text
    assert "make a person anonymous" not in text
    assert "by heart" not in text


def test_the_card_says_how_it_was_learned_and_how_far_away_it_protects() -> None:
    distance = {"sizes_px": [12, 24], "identity": [0.02, 0.1], "identity_95": [[0.0, 0.04], [0.05, 0.15]],
                "chance": 1 / 71, "face": [0.7, 0.9], "private_below_px": 12,
                "attackers": [{"face_px": size, "best": "small, identity", "attackers": {"small, identity": {},
                               "resnet18, identity, several looks": {}}} for size in (12, 24)],
                "rule": "within 2 times chance"}  # fmt: skip
    text = " ".join(card(encoder=encoder_of(learning(ENCODING), ENCODING.id), distance=distance).split())
    assert "alpha 50, seed 3), on 4000 pictures of 900 people" in text
    assert "Cycle 1 of 1 was kept; the learning took 31 min." in text
    assert "these numbers chose the cycle and are no evidence" in text
    assert "by the best of resnet18, small (from one look, and from several), at each size" in text
    assert "Up to 12 px it is near chance (within 2 times chance)." in text
    assert "| 24 | 10.0 % | 5.0 % to 15.0 % | 90.0 % |" in text
    assert "canopic train encoder" in text


def test_the_card_says_what_its_detector_had_before_and_the_ceiling_had_not() -> None:
    assert "ceiling had no such" not in card()
    found = {"detector": evaluation(), "attacks": attacks_of(evidence_of(ENCODING), ENCODING.id)}
    begun = training(ENCODING) | {
        "started_from": {"encoding_id": "ab" * 32, "steps_done": 10000},
        "steps_done": 5000,
        "settings": {"learning_rate": 0.001},
    }
    text = " ".join(model_card(assembled(ENCODING, b"model", begun, found)).split())
    assert "of encoding `abababababababab`, and trained 5,000 steps more; the ceiling had no such 10,000 steps" in text
    assert "--out detector --steps 5000 --from FOLDER --learning-rate 0.001" in text


def test_a_card_of_a_learning_that_keeps_its_last_cycle_says_so() -> None:
    learned = learning(ENCODING)
    learned["plan"]["choice"] = {"keep": "last"}
    text = " ".join(card(encoder=encoder_of(learned, ENCODING.id)).split())
    assert "the last cycle was kept, whatever these numbers were, and they are no evidence" in text
    assert "chose the cycle" not in text
    learned["plan"]["schedule"] = {"settled_cycles": 3}
    text = " ".join(card(encoder=encoder_of(learned, ENCODING.id)).split())
    assert "such numbers decided when the learning ended, its last cycle was kept" in text


def test_evidence_of_another_encoding_or_a_quick_trial_is_refused() -> None:
    document = evidence_of(ENCODING)
    with pytest.raises(ShipError, match=f"only mine \\({ENCODING.id[:12]}\\)"):
        attacks_of(document, OTHER.id)
    with pytest.raises(ShipError, match="no subject mine with encoding"):
        attacks_of(document, OTHER.id, "mine")
    with pytest.raises(ShipError, match="no subject clean with"):
        attacks_of(document, ENCODING.id, "clean")
    with pytest.raises(ShipError, match="quick trial"):
        attacks_of(document | {"quick": True}, ENCODING.id)
    with pytest.raises(ShipError, match="the detector was trained for"):
        encoder_of(learning(OTHER), ENCODING.id)
    with pytest.raises(ShipError, match="not finished"):
        encoder_of(learning(ENCODING) | {"finished": False}, ENCODING.id)
    with pytest.raises(BundleError, match="was trained for encoding"):
        assembled(ENCODING, b"model", training(OTHER), {})
    attacks = attacks_of(evidence_of(OTHER), OTHER.id)
    with pytest.raises(BundleError, match=r"its evidence \(attacks\) was measured on encoding"):
        assembled(ENCODING, b"model", training(ENCODING), {"attacks": attacks})


def test_an_evaluation_of_another_detector_or_of_none_is_refused() -> None:
    assert detector_of(bound_evaluation(), ENCODING.id, b"model") == bound_evaluation()
    with pytest.raises(ShipError, match="has no encoding_id, so nothing binds"):
        detector_of(evaluation(), ENCODING.id, b"model")
    with pytest.raises(ShipError, match=f"is of encoding {OTHER.id}"):
        detector_of(bound_evaluation(OTHER), ENCODING.id, b"model")
    with pytest.raises(ShipError, match=r"detector\.onnx in the detector's folder has"):
        detector_of(bound_evaluation(), ENCODING.id, b"trained again")
    with pytest.raises(BundleError, match=r"\(detector\) was measured on the model"):
        assembled(ENCODING, b"trained again", training(ENCODING), {"detector": bound_evaluation()})


def test_the_protocol_is_the_settings_and_the_pictures_not_the_list_of_questions() -> None:
    def digest(**changes: Any) -> str:
        document = evidence_of(ENCODING)
        document["settings"] |= changes
        return str(attacks_of(document, ENCODING.id)["protocol"]["digest"])

    assert digest(questions=["identity"]) == digest()
    assert digest(seeds=2) != digest()
    other = evidence_of(ENCODING) | {"data_sha256": {"faces_identity_lfw64.tar": "c1" * 32}}
    assert attacks_of(other, ENCODING.id)["protocol"]["digest"] != digest()


def test_a_face_s_number_comes_from_its_own_question() -> None:
    bundle = assembled(ENCODING, b"m", training(ENCODING), {"attacks": attacks_of(evidence_of(ENCODING), ENCODING.id)})
    assert findings(bundle).attacks[FACE].chance == 0.5


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_files_in_another_form_end_the_command_with_a_message(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("evaluation.json", "evidence.json", "training.json"):
        (tmp_path / name).write_text(content)
    np.savez(tmp_path / "encoding.npz", kernels=ENCODING.kernels, thresholds=ENCODING.thresholds, pool=8, range="fixed")
    with pytest.raises(SystemExit):
        main(tmp_path, tmp_path / "evaluation.json", tmp_path / "mine.canopic", tmp_path / "evidence.json")
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "mine.canopic").exists()


@pytest.mark.parametrize("name", shipped_bundles())
def test_the_card_of_every_shipped_bundle_is_written_from_it(name: str) -> None:
    path = shipped_bundles()[name]
    assert path.with_suffix(".md").read_text() == model_card(read_bundle(path))
