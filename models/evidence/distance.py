"""Identity and detection against the size of a face in pixels: fresh attackers at each size, with the same budget.

A mask blurs by so many pixels and a cell pools so many: how much either hides depends on how large the face is. So the
crops of the archives are brought to the wanted size, measured at that size, and attacked as `models.evidence.questions`
does. Faces of the archives are about 48 px high in crops of 64 px: larger sizes show no detail that these lack, and
what leaks from a face that is really so close may be more.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.detector.augment import CROP_SIDE
from models.detector.scenes import linear_to_srgb, resized, srgb_to_linear
from models.evidence.folds import Answer, folds_of, summary_of_folds
from models.evidence.kept_looks import BASELINE_POOL, is_picture
from models.evidence.material import Labelled, Material, read_material
from models.evidence.mounting import TIMES_CHANCE, guesser_passes, private_below_px, upper_bound
from models.evidence.questions import ask, run_settings
from models.evidence.runs import Run, RunKey, canonical, find_run, write_run
from models.evidence.settings import LINEAR, EvidenceSettings, asked_of
from models.evidence.subjects import Subject

SIZES_PX = (12.0, 16.0, 24.0, 32.0, 40.0, 48.0, 64.0, 80.0, 96.0, 120.0)
# The larger side of the face in a crop of the archives, rounded (`augment.CROP_FACE_BOX`: 47.8 px).
CROP_FACE_PX = 48.0
# What is added round a crop: masks spread light that far, and cells beyond the crop tell of it.
MARGIN_PX = 16
# Raise it when `sized_crops`, the folds or the rule change: what was found on others is then not reused.
RECIPE = 2

Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class BySize:
    """What the best attacker reaches at each size: `sizes_px`, `shares` (means over classes), `intervals` (95 %,
    Wilson), `chance`, and `details`: one JSON object per size with every attacker's summary. `encoding_id`: None for a
    baseline."""

    question: str
    sizes_px: tuple[float, ...]
    shares: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]
    chance: float
    details: tuple[dict[str, Any], ...]
    encoding_id: str | None = None


def sized_crops(crops: NDArray[np.uint8], face_px: float, pool: int) -> NDArray[np.uint8]:
    """Crops of the archives with the face's larger side at `face_px`, on planes that hold whole cells.

    crops: sRGB uint8 (n, 64, 64, 3), the face about 48 px high. Resized in linear light, at least MARGIN_PX added on
    every side (the outermost pixels continued, as encodings do), up to a whole number of cells of `pool` px, two at
    least: sRGB uint8 (n, side, side, 3). A face of 120 px covers 15 x 15 cells of 8 px. Raises ValueError for a size
    below 4 px or crops of another shape.
    """
    if crops.ndim != 4 or crops.shape[1:] != (CROP_SIDE, CROP_SIDE, 3):
        raise ValueError(f"crops must have the shape (n, {CROP_SIDE}, {CROP_SIDE}, 3), got {crops.shape}")
    if not face_px >= 4:
        raise ValueError(f"a face needs at least 4 px, got {face_px}")
    scale = face_px / CROP_FACE_PX
    small = round(CROP_SIDE * scale)
    side = max(2, -(-(small + 2 * MARGIN_PX) // pool)) * pool
    before = (side - small) // 2
    edges = (before, side - small - before)
    found = np.empty((len(crops), side, side, 3), np.uint8)
    for index, crop in enumerate(crops):
        one = linear_to_srgb(resized(srgb_to_linear(crop), scale))
        found[index] = np.pad(one, (edges, edges, (0, 0)), mode="edge")
    return found


def identity_by_size(
    subject: Subject,
    data: Path,
    settings: EvidenceSettings,
    folder: Path,
    sizes_px: tuple[float, ...] = SIZES_PX,
    report: Report | None = None,
) -> BySize:
    """How often the best attacker names the person, at each size of the face, from one look or from several.

    Every image of the people, up to `most_training` of either part of each, is tested once (`models.evidence.folds`),
    and every person counts the same. settings: people, attackers (not the pretrained one; of pictures not the linear
    probe, which has too many weights), seeds, widths and epochs as for `canopic evaluate`. folder: every finished run
    is kept there and found again. report(what, done, total) is called as it goes. Raises DataMissingError without the
    archives, ValueError for sizes that do not ascend. Needs torch for runs that are not there.
    """
    settings = replace(settings, limits=replace(settings.limits, most_test=settings.limits.most_training))
    return _by_size("identity", subject, data, settings, folder, sizes_px, report)


def detection_by_size(
    subject: Subject,
    data: Path,
    settings: EvidenceSettings,
    folder: Path,
    sizes_px: tuple[float, ...] = SIZES_PX,
    report: Report | None = None,
    question: Literal["face", "same-photographs"] = "face",
) -> BySize:
    """How often a fresh network tells a crop with a face from one without, at each size: as `identity_by_size`.

    question: faces and other crops of two sources, or windows of the same photographs (`models.evidence.questions`).
    How well faces are placed in whole scenes, by size, is `models.evidence.scenes.detect_in_scenes`'s "ap_by_size".
    """
    return _by_size(question, subject, data, settings, folder, sizes_px, report)


def distance_evidence(identity: BySize, face: BySize | None = None, times: float = TIMES_CHANCE) -> dict[str, Any]:
    """What a bundle holds as evidence["distance"]: a JSON object (docs/bundle.md), which names its encoding.

    private_below_px: the largest measured size up to which the best attacker's one-sided upper 95 % bound
    (identity_upper_95) is within `times` chance, None where none is. guesser_passes: how probable it is that mere
    guesses are found to be so at one size, were the answers of all attackers independent. Raises ValueError when the
    two were measured at different sizes or on different encodings.
    """
    if face is not None and face.encoding_id != identity.encoding_id:
        raise ValueError("identity and faces were measured on different encodings: measure both on one")
    if face is not None and face.sizes_px != identity.sizes_px:
        raise ValueError(f"identity was measured at {identity.sizes_px} px, faces at {face.sizes_px} px")
    n = [_top(one)["n_effective"] for one in identity.details]
    bounds = [upper_bound(share, each) for share, each in zip(identity.shares, n, strict=True)]
    answers = max(len(one["attackers"]) for one in identity.details)
    found: dict[str, Any] = {
        "sizes_px": list(identity.sizes_px),
        "identity": list(identity.shares),
        "identity_95": [list(interval) for interval in identity.intervals],
        "identity_upper_95": bounds,
        "n_effective": min(n),
        "chance": identity.chance,
        "private_below_px": private_below_px(identity.sizes_px, bounds, identity.chance, times),
        "guesser_passes": guesser_passes(min(n), identity.chance, answers, times),
        "rule": f"one-sided upper 95 % bound of the {_tried(identity)} within {times:g} times chance, here and at "
        "every smaller size",
        "attackers": list(identity.details),
    }
    if identity.encoding_id is not None:
        found["encoding_id"] = identity.encoding_id
    if face is not None:
        found |= {"face": list(face.shares), "face_95": [list(interval) for interval in face.intervals]}
        found["face_attackers"] = list(face.details)
    return found


def _top(detail: dict[str, Any]) -> dict[str, Any]:
    top: dict[str, Any] = detail["attackers"][detail["best"]]
    return top


def _tried(found: BySize) -> str:
    """Which attackers the best one is the best of: a bound says no more than the attackers that were tried."""
    names = dict.fromkeys(name for one in found.details for name in one.get("attackers", {}))
    return f"best of {'; '.join(names)}" if names else "best attacker"


def _by_size(
    question: str,
    subject: Subject,
    data: Path,
    settings: EvidenceSettings,
    folder: Path,
    sizes_px: tuple[float, ...],
    report: Report | None,
) -> BySize:
    if not sizes_px or list(sizes_px) != sorted(set(sizes_px)):
        raise ValueError(f"sizes must ascend, got {list(sizes_px)}")
    cache = folder / "cache"
    material = read_material(data, (question,), settings.limits, cache)
    folds = folds_of(material, question)
    attackers = [one for one in settings.attackers if one != LINEAR or not is_picture(subject)]
    jobs = [
        (size, fold, attacker, seed)
        for size in sizes_px
        for fold in range(len(folds))
        for attacker in attackers
        for seed in range(settings.seeds)
        if asked_of(attacker, question, seed)
    ]
    answers: dict[float, dict[str, dict[int, list[Answer]]]] = {size: {} for size in sizes_px}
    at_size: tuple[float, int, Material] | None = None
    for number, (size, fold, attacker, seed) in enumerate(jobs):
        if report is not None:
            report(f"{question} at {size:g} px, {attacker}", number, len(jobs))
        named = _named(material, size, fold)
        key = RunKey(
            subject.digest,
            question,
            attacker,
            seed,
            canonical(run_settings(subject, question, attacker, named, settings)),
        )
        run = find_run(folder / "runs", key)
        if run is None:
            if at_size is None or at_size[:2] != (size, fold):
                at_size = (size, fold, _resized(folds[fold], named, size, subject))
            started = time.process_time()
            found = ask(subject, question, attacker, seed, at_size[2], settings, cache)
            run = Run(key, subject.name, found, time.process_time() - started)
            write_run(folder / "runs", run)
        # Runs may measure more than who it is (retrieval, verification): here only the question itself counts.
        labels = folds[fold][f"{question} test"].labels
        for name in (one for one in run.results if one.startswith(question)):
            seeds = answers[size].setdefault(f"{attacker}, {name}", {})
            seeds.setdefault(seed, []).append((run.results[name], labels))
    if report is not None:
        report(f"{question} at every size", len(jobs), len(jobs))
    details, tops = [], []
    for size in sizes_px:
        summaries = {name: summary_of_folds(seeds) for name, seeds in answers[size].items()}
        best = max(summaries, key=lambda name: summaries[name]["mean"])
        details.append({"face_px": size, "best": best, "attackers": summaries})
        tops.append(summaries[best])
    return BySize(
        question,
        tuple(sizes_px),
        tuple(top["mean"] for top in tops),
        tuple((top["interval_95"][0], top["interval_95"][1]) for top in tops),
        tops[0]["chance"],
        tuple(details),
        None if subject.encoding is None else subject.encoding.id,
    )


def _named(material: Material, face_px: float, fold: int) -> Material:
    """`material` with digests that say which size its images were brought to, and which fold: every digest of a run
    rests on them."""
    words = f"faces of {face_px:g} px, fold {fold}, recipe {RECIPE}"
    sums = {name: f"{value} {words}" for name, value in material.data_sha256.items()}
    return Material({}, material.people, material.digest, sums)


def _resized(parts: dict[str, Labelled], named: Material, face_px: float, subject: Subject) -> Material:
    pool = BASELINE_POOL if subject.encoding is None else subject.encoding.pool
    sized = {name: Labelled(sized_crops(part.images, face_px, pool), part.labels) for name, part in parts.items()}
    return Material(sized, named.people, named.digest, named.data_sha256)
