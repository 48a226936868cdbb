"""The questions that need more than crops: faces found in whole scenes, and everything against a face's size."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from models.detector.archives import FACES, FACES_BY_PERSON, NON_FACES, SCENES, archive_path, file_digest
from models.evidence import distance, scenes
from models.evidence.runs import Measure
from models.evidence.settings import CONTROLS, NETWORK_NAMES, EvidenceSettings, QuestionError
from models.evidence.subjects import Subject

DETECTION, DISTANCE = "detection", "distance"
# What stands where other runs name their attacker.
DETECTOR, BEST = "detector", "best"
QUICK_SIZES_PX = (24.0, 48.0)
ARCHIVES = {DETECTION: (SCENES, FACES, NON_FACES), DISTANCE: (FACES_BY_PERSON, FACES, NON_FACES)}


def whole_attacker(question: str, settings: EvidenceSettings, seed: int) -> str | None:
    """Who answers: "detector", the network that finds faces, `settings.detection_seeds` times; "best", of the fresh
    attackers of each size, once. None: nobody with this seed."""
    if question == DETECTION:
        return DETECTOR if settings.detection_seeds is None or seed < settings.detection_seeds else None
    return BEST if seed == 0 and _networks(settings) else None


def whole_settings(question: str, data: Path, settings: EvidenceSettings) -> dict[str, Any]:
    """Everything beside subject and seed that decides the result, as a JSON object. Raises DataMissingError."""
    sums = {name: file_digest(archive_path(data, name)) for name in ARCHIVES[question]}
    if question == DETECTION:
        return {"recipe": scenes.RECIPE, "settings": asdict(_scene_settings(settings, 0)), "data": sums}
    sizes = list(_sizes(settings))
    return {"recipe": distance.RECIPE, "settings": asdict(_sized(settings)), "sizes_px": sizes, "data": sums}


def ask_whole(
    question: str, subject: Subject, seed: int, data: Path, folder: Path, settings: EvidenceSettings
) -> dict[str, Measure]:
    """The answer: {"detection": `scenes.detect_in_scenes`} or {"distance": `distance.distance_evidence`}.

    Measured scenes and trained detectors are kept in the user's cache folder (CANOPIC_CACHE), runs by size in `folder`.
    """
    if question == DETECTION:
        return {DETECTION: scenes.detect_in_scenes(subject, data, _scene_settings(settings, seed))}
    sized, sizes = _sized(settings), _sizes(settings)
    identity = distance.identity_by_size(subject, data, sized, folder, sizes)
    face = distance.detection_by_size(subject, data, replace(sized, attackers=_networks(settings)[:1]), folder, sizes)
    return {DISTANCE: distance.distance_evidence(identity, face)}


def _scene_settings(settings: EvidenceSettings, seed: int) -> scenes.SceneSettings:
    return scenes.SceneSettings(scenes=settings.scenes, steps=settings.scene_steps, seed=seed)


def _sizes(settings: EvidenceSettings) -> tuple[float, ...]:
    return QUICK_SIZES_PX if settings.quick else distance.SIZES_PX


def _sized(settings: EvidenceSettings) -> EvidenceSettings:
    """The first of the networks and the controls, once: ten sizes in folds are thirty runs of each even so."""
    found = _networks(settings)
    if not found:
        raise QuestionError(f"distance needs one of the attackers {', '.join(NETWORK_NAMES)}")
    controls = tuple(one for one in settings.attackers if one in CONTROLS)
    return replace(settings, questions=("identity", "face"), attackers=(*found[:1], *controls), seeds=1)


def _networks(settings: EvidenceSettings) -> tuple[str, ...]:
    return tuple(one for one in settings.attackers if one.split()[0] in NETWORK_NAMES)
