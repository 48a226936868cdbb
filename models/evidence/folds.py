"""Every image tested once: the people's images in folds, and what the folds' answers say together.

A share within twice chance of 71 people is 2.8 %. With the few hundred test images of the archive's own split, guesses
alone fail a bound there more often than not (docs/decisions/0033). So all images of the people are parted anew, each
part is the test of attackers trained on the others, and every person counts the same, however many images there are.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.detector.metrics import wilson_interval
from models.evidence.material import Labelled, Material
from models.evidence.report import share_summary
from models.evidence.runs import Measure, correct_images, share

FOLDS = 3

# What one fold's attacker answered, and the labels of what it was asked, int64 (n,).
Answer = tuple[Measure, NDArray[np.int64]]


def folds_of(material: Material, question: str) -> list[dict[str, Labelled]]:
    """Parts "QUESTION train" and "QUESTION test" of each fold. Only identity has several: other questions have test
    images enough, and one fold, their own split.

    Deterministic; each person's images are spread evenly over the folds.
    """
    halves = [material.parts[f"{question} {half}"] for half in ("train", "test")]
    if question != "identity":
        return [{f"{question} train": halves[0], f"{question} test": halves[1]}]
    images = np.concatenate([half.images for half in halves])
    labels = np.concatenate([half.labels for half in halves])
    rng = np.random.default_rng(0)
    fold = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        its = rng.permutation(np.flatnonzero(labels == label))
        fold[its] = (np.arange(len(its)) + rng.integers(FOLDS)) % FOLDS
    return [
        {
            f"{question} train": Labelled(images[fold != each], labels[fold != each]),
            f"{question} test": Labelled(images[fold == each], labels[fold == each]),
        }
        for each in range(FOLDS)
    ]


def summary_of_folds(seeds: dict[int, list[Answer]]) -> dict[str, Any]:
    """As `report.share_summary`, over all folds: answers of each seed, fold by fold.

    mean: over classes of their shares, so that no guess, not even of whoever has most images, is right more often than
    by chance. n_effective: the number of images that would tell as much, were they as many of each class: the square of
    the classes over the sum of the reciprocal counts (Kish 1965, for weights of one over the class's count), rounded
    down. interval_95: Wilson's for `mean` of n_effective images.
    """
    pooled = []
    for seed, folds in seeds.items():
        right = np.concatenate([correct_images(measure) for measure, _ in folds])
        labels = np.concatenate([labels for _, labels in folds])
        classes = round(1 / folds[0][0]["chance"])
        whole = share(right, labels, classes, min(measure["n_train"] for measure, _ in folds))
        known = [measure["train_accuracy"] for measure, _ in folds]
        pooled.append((seed, whole | {"train_accuracy": None if None in known else float(np.mean(known))}))
    found = share_summary(pooled)
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    n = int(len(counts) ** 2 / (1 / counts).sum() + 1e-9)
    mean = found["per_class"]
    return found | {
        "mean": mean,
        "interval_95": list(wilson_interval(round(mean * n), n)),
        "n_effective": n,
        "by_seed": [float(measure["per_class"]) for _, measure in sorted(pooled, key=lambda one: one[0])],
    }
