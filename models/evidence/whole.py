"""The questions that need more than crops: faces found in whole scenes, and everything against a face's size."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from models.detector.archives import FACES, FACES_BY_PERSON, NON_FACES, SCENES, archive_path, file_digest
from models.detector.scenes import PLANE_ROWS_PX
from models.evidence import distance, scenes, sized
from models.evidence.runs import Measure
from models.evidence.settings import CONTROLS, NETWORK_NAMES, EvidenceSettings, QuestionError
from models.evidence.sized import LEAST_FACE_PX, SizedRun
from models.evidence.subjects import Subject

DETECTION, DISTANCE = "detection", "distance"
# What stands where other runs name their attacker.
DETECTOR, BEST = "detector", "best"
QUICK_SIZES_PX = (24.0, 48.0)
Report = Callable[[str, int, int], None]
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
    # The sizes stand beside the settings, whether they were asked for or not.
    how = asdict(_sized(settings))
    del how["sizes_px"]
    return {"recipe": sized.RECIPE, "settings": how, "sizes_px": list(sizes_of(settings)), "data": sums}


def runs_of_distance(subjects: Iterable[Subject], data: Path, settings: EvidenceSettings) -> list[list[SizedRun]]:
    """The runs that each subject's distance is put together from, those of identity first.

    Raises DataMissingError without the archives, QuestionError without an attacker to ask.
    """
    asked = [(question, how, sized.archive_sums(data, question)) for question, how in _asked_by_size(settings).items()]
    sizes = sizes_of(settings)
    return [
        [run for question, how, sums in asked for run in sized.sized_runs(question, subject, sums, how, sizes)]
        for subject in subjects
    ]


def ask_whole(
    question: str,
    subject: Subject,
    seed: int,
    data: Path,
    folder: Path,
    settings: EvidenceSettings,
    report: Report | None = None,
) -> dict[str, Measure]:
    """The answer: {"detection": `scenes.detect_in_scenes`} or {"distance": `distance.distance_evidence`}.

    Measured scenes and trained detectors are kept in the user's cache folder (CANOPIC_CACHE). Distance is put together
    from `runs_of_distance` in `folder`; those that are not there are done. report(what, done, total) is called as it
    goes.
    """
    if question == DETECTION:
        return {DETECTION: scenes.detect_in_scenes(subject, data, _scene_settings(settings, seed), report=report)}
    asked, sizes = _asked_by_size(settings), sizes_of(settings)
    identity = distance.identity_by_size(subject, data, asked["identity"], folder, sizes, report)
    face = distance.detection_by_size(subject, data, asked["face"], folder, sizes, report)
    return {DISTANCE: distance.distance_evidence(identity, face)}


def check_sizes(sizes_px: tuple[float, ...]) -> None:
    """Raises QuestionError, which says what is expected, for sizes that no face can be brought to."""
    ascending = bool(sizes_px) and list(sizes_px) == sorted(set(sizes_px))
    if not ascending or not all(LEAST_FACE_PX <= size <= PLANE_ROWS_PX for size in sizes_px):
        raise QuestionError(
            f"sizes of faces {', '.join(f'{size:g}' for size in sizes_px)}: expected pixels of the face's larger side, "
            f"ascending, from {LEAST_FACE_PX:g} to {PLANE_ROWS_PX} (the height of the plane), such as 12,16,24"
        )


def _scene_settings(settings: EvidenceSettings, seed: int) -> scenes.SceneSettings:
    return scenes.SceneSettings(scenes=settings.scenes, steps=settings.scene_steps, seed=seed)


def sizes_of(settings: EvidenceSettings) -> tuple[float, ...]:
    """The sizes of the face's larger side that distance is asked about, px."""
    return settings.sizes_px or (QUICK_SIZES_PX if settings.quick else distance.SIZES_PX)


def _asked_by_size(settings: EvidenceSettings) -> dict[str, EvidenceSettings]:
    """What distance asks at each size, and how."""
    how = _sized(settings)
    return {"identity": how, "face": replace(how, attackers=how.attackers[:1])}


def _sized(settings: EvidenceSettings) -> EvidenceSettings:
    """The first of the networks and the controls, once: ten sizes in folds are thirty runs of each even so."""
    found = _networks(settings)
    if not found:
        raise QuestionError(f"distance needs one of the attackers {', '.join(NETWORK_NAMES)}")
    controls = tuple(one for one in settings.attackers if one in CONTROLS)
    return replace(settings, questions=("identity", "face"), attackers=(*found[:1], *controls), seeds=1)


def _networks(settings: EvidenceSettings) -> tuple[str, ...]:
    return tuple(one for one in settings.attackers if one.split()[0] in NETWORK_NAMES)
