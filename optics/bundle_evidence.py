"""What a bundle's evidence says, number by number, whichever version wrote it; docs/bundle.md describes the entries.

Nothing is computed here that was not measured: what a bundle has no evidence of is None, and every number carries the
protocol that it was measured by, since numbers of two protocols do not compare.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optics.archive import BundleError, canonical_json
from optics.bundle import Bundle
from optics.bundle_presence import ScenePresence, read_presence

IDENTITY, SEVERAL_LOOKS, FACE, SAME_PHOTOGRAPHS = "identity", "identity, several looks", "face", "same-photographs"
EQUAL_ERROR, TRUE_ACCEPT = "verification, equal error rate", "verification, true accept at 1 % false accept"
RETRIEVAL, DETECTION = "retrieval", "detection"
# Followed by the name of a scene.
PRESENCE = "presence in"
DIGITS = 12
# In the order in which they are shown.
QUESTIONS = (IDENTITY, SEVERAL_LOOKS, RETRIEVAL, EQUAL_ERROR, TRUE_ACCEPT, FACE, SAME_PHOTOGRAPHS)


@dataclass(frozen=True, slots=True)
class Measured:
    """A number with what it takes to judge it.

    value: a share, or an average precision. low, high: its 95 % interval. n: what it was measured on (images, pairs,
    faces). chance: what guessing gives, None where that is no single number. protocol: equal for numbers that compare.
    attacker: which was best. seeds: how often it was trained. train_accuracy: on its own training images.
    """

    value: float
    low: float
    high: float
    n: int
    protocol: str
    chance: float | None = None
    attacker: str = ""
    seeds: int | None = None
    train_accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class SizeRow:
    """Detection of faces of one range of sizes: larger side from_px..to_px on the sensor plane."""

    from_px: float
    to_px: float
    codes: Measured | None
    ceiling: Measured | None


@dataclass(frozen=True, slots=True)
class Distance:
    """How identity falls with the size of a face: sizes_px ascending, identity and its 95 % interval at each.

    private_below_px: the largest size at which identity is near chance, there and at every smaller one; None where
    it is at none. rule: what near means. attackers: who was tried at each size, and the best counted; empty where the
    evidence does not say.
    """

    sizes_px: tuple[float, ...]
    identity: tuple[float, ...]
    identity_95: tuple[tuple[float, float], ...]
    chance: float
    private_below_px: float | None
    rule: str
    attackers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that a bundle's evidence says; None and empty for what it does not.

    attacks: question (see QUESTIONS) to the best attacker's number. detection, ceiling: average precision at IoU 0.5 on
    codes, and of the same architecture on the unencoded picture. detection_bound: whether detection names the encoding,
    the model and the pictures it was measured on; bundles from before that do not. bits: entropy of a face crop's
    codes, which bounds what a measurement of it holds. presence: scenes in which it was measured whether a sensor with
    this bundle knows that somebody is there.
    """

    attacks: Mapping[str, Measured]
    detection: Measured | None
    ceiling: Measured | None
    detection_bound: bool
    by_size: Sequence[SizeRow]
    bits: float | None
    distance: Distance | None
    presence: Sequence[ScenePresence] = ()

    @property
    def share_of_ceiling(self) -> float | None:
        """Detection on codes as a share of that on the unencoded picture; None where either was not measured."""
        if self.detection is None or self.ceiling is None or self.ceiling.value <= 0:
            return None
        return self.detection.value / self.ceiling.value


def findings(bundle: Bundle) -> Findings:
    """What a bundle's evidence says.

    Raises BundleError for an entry that is in no form known here, or that was measured on another encoding or another
    detector.
    """
    try:
        for entry in ("attacks", "identity", "training", "distance", "detector", "encoder", "presence"):
            measured_on = (bundle.evidence.get(entry) or {}).get("encoding_id", bundle.encoding.id)
            if measured_on != bundle.encoding.id:
                raise BundleError(
                    f"its evidence ({entry}) was measured on encoding {measured_on}, it holds {bundle.encoding.id}: "
                    "measure this encoding, or use the bundle that the evidence came with"
                )
        held = {hashlib.sha256(one).hexdigest() for one in bundle.models.values()}
        for entry in ("detector", "presence"):
            model = (bundle.evidence.get(entry) or {}).get("model_sha256")
            if model is not None and model not in held:
                raise BundleError(
                    f"its evidence ({entry}) was measured on the model with SHA-256 {model}, which it does not hold: "
                    "evaluate its own model, or use the bundle that the evidence came with"
                )
        return _findings(bundle.evidence)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(
            f"its evidence is in no form that this version of canopic knows ({error!r}): upgrade canopic, or ask "
            "whoever made the bundle"
        ) from error


def _findings(evidence: Mapping[str, Any]) -> Findings:
    attacks = evidence.get("attacks")
    found = _attacks(attacks) if attacks is not None else _older_identity(evidence.get("identity"))
    detector = evidence.get("detector") or {}
    bits = None if attacks is None else attacks.get("bits_per_measurement")
    return Findings(
        found,
        _precision(detector, "codes"),
        _precision(detector, "plain"),
        all(name in detector for name in ("encoding_id", "model_sha256", "data_sha256")),
        _by_size(detector),
        None if bits is None else float(bits),
        _distance(evidence.get("distance")),
        read_presence(evidence.get("presence")),
    )


def attackers_tried(distance: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the attackers of whom the best counted at each size of a face, from the entry "distance" (as
    "small, identity"); empty where it does not name them."""
    return tuple(dict.fromkeys(name for size in distance.get("attackers", []) for name in size.get("attackers", {})))


def best_of(attackers: Sequence[str]) -> str:
    """Such as "the best of small, resnet18 (from one look, and from several)", out of what `attackers_tried` gives."""
    if not attackers:
        return "the best attacker (the evidence does not say of which)"
    names = dict.fromkeys(name.partition(", ")[0] for name in attackers)
    several = any(name.endswith(SEVERAL_LOOKS) for name in attackers)
    looks = "from one look, and from several" if several else "from one look"
    return f"the best of {', '.join(names)} ({looks})"


def protocols_differ(found: Mapping[str, Findings]) -> list[str]:
    """A sentence for each number that bundles (by name) measured by different protocols, so that nobody compares it."""
    sentences = []
    scenes = dict.fromkeys(scene.scene for one in found.values() for scene in one.presence)
    for what in (*QUESTIONS, DETECTION, *(f"{PRESENCE} {scene}" for scene in scenes)):
        groups: dict[str, list[str]] = {}
        for name, one in found.items():
            protocol = _protocols(one).get(what)
            if protocol is not None:
                groups.setdefault(protocol, []).append(name)
        if len(groups) > 1:
            said = "; ".join(f"{', '.join(names)}: {protocol}" for protocol, names in groups.items())
            sentences.append(f"{what} was measured by different protocols and does not compare ({said})")
    return sentences


def _protocols(found: Findings) -> dict[str, str]:
    """By what each number was measured."""
    protocols = {question: measured.protocol for question, measured in found.attacks.items()}
    if found.detection is not None:
        protocols[DETECTION] = found.detection.protocol
    return protocols | {f"{PRESENCE} {scene.scene}": scene.protocol for scene in found.presence}


def _attacks(attacks: Mapping[str, Any]) -> dict[str, Measured]:
    protocol = str(attacks["protocol"]["digest"])[:DIGITS]
    found = {}
    for question, result in attacks["results"].items():
        attacker = result["headline"]
        best = result["attackers"][attacker]
        low, high = best["interval_95"]
        found[question] = Measured(
            float(best["mean"]),
            float(low),
            float(high),
            int(best["n"]),
            protocol,
            chance=None if best.get("chance") is None else float(best["chance"]),
            attacker=attacker,
            seeds=best.get("seeds"),
            train_accuracy=best.get("train_accuracy"),
        )
    return found


def _older_identity(report: Mapping[str, Any] | None) -> dict[str, Measured]:
    """Of `models.attackers.identity`: one small network, no augmentation, which understates what leaks."""
    if not report or "codes" not in report.get("views", {}):
        return {}
    view, found = report["views"]["codes"], {}
    for question, chance in ((IDENTITY, 1 / report["people"]), (FACE, 0.5)):
        measured = view[question]
        low, high = measured["accuracy_95"]
        protocol = f"one small network, {report['people']} people" if question == IDENTITY else "one small network"
        found[question] = Measured(
            float(measured["accuracy"]),
            float(low),
            float(high),
            int(measured["n"]),
            f"{protocol}, {measured['n']} images",
            chance,
            "small",
            len(measured["runs"]),
            measured.get("train_accuracy"),
        )
    return found


def _precision(detector: Mapping[str, Any], view: str) -> Measured | None:
    if view not in detector:
        return None
    return _average_precision(detector[view]["ap"], _scenes(detector))


def _average_precision(measured: Mapping[str, Any], protocol: str) -> Measured | None:
    if measured["value"] is None:
        return None
    low, high = measured["interval_95"]
    return Measured(float(measured["value"]), float(low), float(high), int(measured["faces"]), protocol)


def _by_size(detector: Mapping[str, Any]) -> list[SizeRow]:
    codes = detector.get("codes", {}).get("ap_by_size", [])
    plain = detector.get("plain", {}).get("ap_by_size", [])
    ceilings = {(one["from_px"], one["to_px"]): one for one in plain}
    rows = []
    for one in codes:
        size, protocol = (one["from_px"], one["to_px"]), _scenes(detector)
        ceiling = ceilings.get(size)
        rows.append(
            SizeRow(
                *size,
                _average_precision(one, protocol),
                None if ceiling is None else _average_precision(ceiling, protocol),
            )
        )
    return rows


def _scenes(detector: Mapping[str, Any]) -> str:
    """What detection was measured on: equal for equal scenes, by the digests of their archives where it names them."""
    codes = detector["codes"]
    counts = f"{codes['scenes']} scenes, {codes['ap']['faces']} faces"
    if "data_sha256" not in detector:
        return f"{counts} of pictures not named"
    return f"{counts} of {hashlib.sha256(canonical_json(dict(detector['data_sha256']))).hexdigest()[:DIGITS]}"


def _distance(report: Mapping[str, Any] | None) -> Distance | None:
    if not report:
        return None
    below = report.get("private_below_px")
    return Distance(
        tuple(float(size) for size in report["sizes_px"]),
        tuple(float(share) for share in report["identity"]),
        tuple((float(low), float(high)) for low, high in report["identity_95"]),
        float(report["chance"]),
        None if below is None else float(below),
        str(report["rule"]),
        attackers_tried(report),
    )
