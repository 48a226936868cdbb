"""Runs at one size of the face: which there are, and how one is done. Whoever lists or does them goes through here.

A run's key rests on the archives' digests, the size and the fold, so listing reads no image.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.detector.archives import archive_path, file_digest
from models.detector.augment import CROP_SIDE
from models.detector.scenes import linear_to_srgb, resized, srgb_to_linear
from models.evidence.folds import FOLDS, folds_of
from models.evidence.kept_looks import BASELINE_POOL, is_picture
from models.evidence.material import Labelled, Limits, Material, needed_archives, read_material
from models.evidence.questions import ask, prepare, run_settings
from models.evidence.runs import Run, RunKey, canonical, write_run
from models.evidence.settings import LINEAR, EvidenceSettings, asked_of
from models.evidence.subjects import Subject

# The larger side of the face in a crop of the archives, rounded (`augment.CROP_FACE_BOX`: 47.8 px).
CROP_FACE_PX = 48.0
LEAST_FACE_PX = 4.0
# What is added round a crop: masks spread light that far, and cells beyond the crop tell of it.
MARGIN_PX = 16
# Raise it when `sized_crops`, the folds or the rule change: what was found on others is then not reused.
RECIPE = 2


@dataclass(frozen=True, slots=True)
class SizedRun:
    """One attacker's run on faces of one size: the key that it is kept under, the larger side of the face in px, which
    fold is tested (from 0), and how everything is done."""

    key: RunKey
    face_px: float
    fold: int
    settings: EvidenceSettings

    @property
    def name(self) -> str:
        """For people: "identity at 24 px, small, fold 2 of 3"."""
        folds = fold_count(self.key.question)
        which = f", fold {self.fold + 1} of {folds}" if folds > 1 else ""
        return f"{self.key.question} at {self.face_px:g} px, {self.key.attacker}{which}"


def archive_sums(data: Path, question: str) -> dict[str, str]:
    """Digests of the archives that a question is asked on, by name. Raises DataMissingError where one is missing."""
    return {name: file_digest(archive_path(data, name)) for name in needed_archives((question,))}


def sized_runs(
    question: str, subject: Subject, sums: dict[str, str], settings: EvidenceSettings, sizes_px: tuple[float, ...]
) -> list[SizedRun]:
    """Every run of a question at the sizes, in the order in which neighbours share their looks.

    sums: `archive_sums`. settings: seeds, attackers (not the pretrained one; of pictures not the linear probe, which
    has too many weights), widths and epochs as for `canopic evaluate`. Identity is asked of up to `most_training`
    images of either part of each person. Raises ValueError for sizes that do not ascend.
    """
    if not sizes_px or list(sizes_px) != sorted(set(sizes_px)):
        raise ValueError(f"sizes must ascend, got {list(sizes_px)}")
    if question == "identity":
        settings = replace(settings, limits=replace(settings.limits, most_test=settings.limits.most_training))
    return list(_each(question, subject, sums, settings, sizes_px))


def _each(
    question: str, subject: Subject, sums: dict[str, str], settings: EvidenceSettings, sizes_px: tuple[float, ...]
) -> Iterator[SizedRun]:
    attackers = [one for one in settings.attackers if one != LINEAR or not is_picture(subject)]
    for face_px in sizes_px:
        for fold in range(fold_count(question)):
            named = Material({}, 0, "", _named(sums, face_px, fold))
            for attacker in attackers:
                for seed in (one for one in range(settings.seeds) if asked_of(attacker, question, one)):
                    rest = canonical(run_settings(subject, question, attacker, named, settings))
                    key = RunKey(subject.digest, question, attacker, seed, rest)
                    yield SizedRun(key, face_px, fold, settings)


def do_sized(run: SizedRun, subject: Subject, data: Path, folder: Path) -> Run:
    """Train and ask the attacker of one run, and write its file into `folder`/runs. Needs torch."""
    started = time.process_time()
    question, attacker, seed = run.key.question, run.key.attacker, run.key.seed
    material = _at_size(question, run.face_px, run.fold, pool_of(subject), data, run.settings.limits, folder / "cache")
    found = ask(subject, question, attacker, seed, material, run.settings, folder / "cache")
    done = Run(run.key, subject.name, found, time.process_time() - started)
    write_run(folder / "runs", done)
    return done


def prepare_sized(run: SizedRun, subject: Subject, data: Path, folder: Path) -> None:
    """Measure and keep the looks that the run shares with the other attackers of its size and fold."""
    question, cache = run.key.question, folder / "cache"
    material = _at_size(question, run.face_px, run.fold, pool_of(subject), data, run.settings.limits, cache)
    prepare(subject, question, material, run.settings, cache)


def parted(question: str, data: Path, limits: Limits, cache: Path) -> list[dict[str, Labelled]]:
    """`folds.folds_of` the archives' images, at the size that they have; `limits` as in `SizedRun.settings`."""
    return _parted(question, data, limits, cache)[2]


def fold_count(question: str) -> int:
    """In how many folds a question is asked (`folds.folds_of`)."""
    return FOLDS if question == "identity" else 1


def pool_of(subject: Subject) -> int:
    """Pixels per cell side of a subject's looks."""
    return BASELINE_POOL if subject.encoding is None else subject.encoding.pool


def sized_crops(crops: NDArray[np.uint8], face_px: float, pool: int) -> NDArray[np.uint8]:
    """Crops of the archives with the face's larger side at `face_px`, on planes that hold whole cells.

    crops: sRGB uint8 (n, 64, 64, 3), the face about 48 px high. Resized in linear light, at least MARGIN_PX added on
    every side (the outermost pixels continued, as encodings do), up to a whole number of cells of `pool` px, two at
    least: sRGB uint8 (n, side, side, 3). A face of 120 px covers 15 x 15 cells of 8 px. Raises ValueError for a size
    below 4 px or crops of another shape.
    """
    if crops.ndim != 4 or crops.shape[1:] != (CROP_SIDE, CROP_SIDE, 3):
        raise ValueError(f"crops must have the shape (n, {CROP_SIDE}, {CROP_SIDE}, 3), got {crops.shape}")
    if not face_px >= LEAST_FACE_PX:
        raise ValueError(f"a face needs at least {LEAST_FACE_PX:g} px, got {face_px}")
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


@lru_cache(maxsize=1)
def _parted(
    question: str, data: Path, limits: Limits, cache: Path
) -> tuple[dict[str, str], int, list[dict[str, Labelled]]]:
    """Digests of the archives, how many people there are, and the parts of each fold."""
    material = read_material(data, (question,), limits, cache)
    return material.data_sha256, material.people, folds_of(material, question)


# The attackers of one size and fold follow each other, and each wants the same crops.
@lru_cache(maxsize=1)
def _at_size(question: str, face_px: float, fold: int, pool: int, data: Path, limits: Limits, cache: Path) -> Material:
    sums, people, folds = _parted(question, data, limits, cache)
    sized = {name: Labelled(sized_crops(part.images, face_px, pool), part.labels) for name, part in folds[fold].items()}
    return Material(sized, people, "", _named(sums, face_px, fold))


def _named(sums: dict[str, str], face_px: float, fold: int) -> dict[str, str]:
    """Digests that say which size the images were brought to, and which fold: every digest of a run rests on them."""
    words = f"faces of {face_px:g} px, fold {fold}, recipe {RECIPE}"
    return {name: f"{value} {words}" for name, value in sums.items()}
