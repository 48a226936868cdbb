"""Two questions put to a view of faces: who is it, and is there a face at all? Needs torch (see `fit`)."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.attackers.fit import FitSettings, fit
from models.attackers.looks import MakeView
from models.detector.archives import FACES, FACES_BY_PERSON, NON_FACES, Split, read_crops
from models.detector.metrics import bootstrap_interval, wilson_interval

FEWEST_IMAGES = 15
MOST_PER_PERSON = 30
IDENTITY_EPOCHS = 80


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Labelled crops of one split: `images` uint8 (n, 64, 64, 3), `labels` int64 (n,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def identity_parts(
    data: Path, fewest: int = FEWEST_IMAGES, most: int = MOST_PER_PERSON
) -> tuple[Part, Part, list[str]]:
    """Training part, test part and the people: everyone with at least `fewest` images, at most `most` images of one
    person in either part (the first ones of the table). The split is the archive's own."""
    everyone = Counter(row["person"] for row in read_crops_rows(data))
    people = sorted(person for person, count in everyone.items() if count >= fewest)
    return _labelled(data, "train", people, most), _labelled(data, "test", people, most), people


def read_crops_rows(data: Path) -> list[dict[str, str]]:
    """The table of the archive of faces by person."""
    return read_crops(data, FACES_BY_PERSON).rows


def _labelled(data: Path, split: Split, people: list[str], most: int) -> Part:
    label = {person: index for index, person in enumerate(people)}
    seen: Counter[str] = Counter()

    def keep(row: dict[str, str]) -> bool:
        if row["person"] not in label:
            return False
        seen[row["person"]] += 1
        return seen[row["person"]] <= most

    crops = read_crops(data, FACES_BY_PERSON, split, keep)
    return Part(crops.images, np.array([label[row["person"]] for row in crops.rows], np.int64))


def face_parts(data: Path, rng: np.random.Generator, train: int = 2400, test: int = 700) -> tuple[Part, Part]:
    """Face or no face, half each: random faces of other people and random crops without a face, of their own splits."""
    parts = []
    for split, count in (("train", train), ("test", test)):
        faces = read_crops(data, FACES, split).images  # type: ignore[arg-type]
        others = read_crops(data, NON_FACES, split).images  # type: ignore[arg-type]
        count = min(count, len(faces), len(others))
        chosen = [faces[rng.choice(len(faces), count, False)], others[rng.choice(len(others), count, False)]]
        parts.append(Part(np.concatenate(chosen), np.repeat(np.array([1, 0], np.int64), count)))
    return parts[0], parts[1]


def small_attacker(epochs: int = IDENTITY_EPOCHS, seed: int = 0) -> FitSettings:
    """The small network, one look of each image."""
    return FitSettings(network="small", epochs=epochs, seed=seed)


def attack(
    make_view: MakeView, train: Part, test: Part, classes: int, settings: FitSettings, rng: np.random.Generator
) -> dict[str, Any]:
    """Trains an attacker on the training part's view and reports how often it is right, as a JSON object.

    accuracy: share of test images named right, with its Wilson interval; per_class: mean over classes of their shares,
    with a bootstrap interval over classes; train_accuracy: the same on training images (how far it overfits).
    """
    view = make_view(train.images)
    fitted = fit(view.inputs[:, None], view.full_scale, train.labels, classes, settings)
    right = fitted.logits(make_view(test.images).inputs).argmax(axis=1) == test.labels
    shares = [float(right[test.labels == label].mean()) for label in np.unique(test.labels)]
    return {
        "accuracy": float(right.mean()),
        "accuracy_95": list(wilson_interval(int(right.sum()), len(right))),
        "right": int(right.sum()),
        "n": len(right),
        "per_class": float(np.mean(shares)),
        "per_class_95": list(bootstrap_interval(shares, lambda some: float(np.mean(some)), rng)),
        "train_accuracy": fitted.train_accuracy,
        "n_train": len(train.labels),
        "chance": 1 / classes,
        "seed": settings.seed,
    }
