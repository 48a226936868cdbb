"""Looks of every part, measured once per subject and kept: every attacker and every seed has the same."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.attackers.looks import looks_of
from models.attackers.views import View
from models.evidence.material import OF_PEOPLE, Labelled, Material, question_digest
from models.evidence.runs import canonical, digest
from models.evidence.settings import EvidenceSettings
from models.evidence.subjects import Subject
from optics.whole_file import whole_file

BASELINE_POOL = 8
# Looks of 64 x 64 px take a hundred times the room of codes; shifts within training stand for them.
MOST_LOOKS_OF_PICTURES = 2
PICTURES = ("clean", "blur")


def is_picture(subject: Subject) -> bool:
    """Whether its looks are whole pictures, not a value for each cell."""
    return subject.encoding is None and subject.name in PICTURES


def training_looks(subject: Subject, settings: EvidenceSettings) -> int:
    """Measurements of each training image."""
    return min(settings.training_looks, MOST_LOOKS_OF_PICTURES) if is_picture(subject) else settings.training_looks


def test_looks(question: str, settings: EvidenceSettings) -> int:
    """Measurements of each test image: several only where the question is who it is."""
    return settings.looks if question in OF_PEOPLE else 1


def kept_looks(
    subject: Subject, part: str, labelled: Labelled, digest_of_part: str, count: int, cache: Path
) -> NDArray[np.uint8]:
    """Looks uint8 (n, count, rows, columns, channels) of a part, measured once and kept in folder `cache`.

    The same for every attacker and seed. Training looks (the part's name ends with "train") are mirrored at random.
    Opened as a file that is read where it is needed (`numpy.memmap`).
    """
    name = canonical({"subject": subject.digest, "part": part, "material": digest_of_part, "looks": count})
    path = cache / f"looks_{digest(name)[:20]}.npy"
    if not path.is_file():
        pool = subject.encoding.pool if subject.encoding is not None else BASELINE_POOL
        # One generator for shifts and one for noise, both from what is asked: another process draws the same.
        seed = int(digest(name)[:15], 16)
        noise = np.random.default_rng([seed, 1])

        def view(crops: NDArray[np.uint8]) -> View:
            return subject.look(crops, noise)

        mirror = part.endswith("train")
        looks = looks_of(view, labelled.images, count, np.random.default_rng([seed, 0]), pool, mirror)
        with whole_file(path) as partial, partial.open("wb") as file:
            np.save(file, looks)
    found: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return found


def train_and_test_looks(
    subject: Subject, question: str, material: Material, settings: EvidenceSettings, cache: Path
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    sum_of_part = question_digest(question, material, settings.limits)
    found = []
    for half, count in (("train", training_looks(subject, settings)), ("test", test_looks(question, settings))):
        part = f"{question} {half}"
        found.append(kept_looks(subject, part, material.parts[part], sum_of_part, count, cache))
    return found[0], found[1]


def looks_for_means(
    subject: Subject,
    question: str,
    material: Material,
    settings: EvidenceSettings,
    cache: Path,
    tested: NDArray[np.uint8],
) -> NDArray[np.uint8] | None:
    """Training looks for mean codes, uint8 (n, looks, ...), or None where several looks are not asked about.

    None of them is mirrored, as test looks are not: the mean of a face and its mirror image is neither. Pictures are
    left out: the mean of shifted pictures says less than each of them.
    """
    if question not in OF_PEOPLE or tested.shape[1] < 2 or is_picture(subject):
        return None
    half = f"{question} train"
    sums = question_digest(question, material, settings.limits)
    count = training_looks(subject, settings)
    return kept_looks(subject, f"{half}, as it is", material.parts[half], sums, count, cache)


def unseen_looks(
    subject: Subject, question: str, material: Material, settings: EvidenceSettings, cache: Path
) -> NDArray[np.uint8]:
    part = f"{question} unseen"
    sums = question_digest(question, material, settings.limits)
    return kept_looks(subject, part, material.parts[part], sums, 1, cache)[:, 0]
