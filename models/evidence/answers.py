"""Answers without a training of their own: weak attackers on codes, and verification from any embedding."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.attackers.controls import linear_labels, nearest_labels
from models.attackers.verification import pair_scores, pairs_of, roc, verification
from models.evidence.runs import Measure

VERIFICATION_ROUNDS = 200
CURVE_POINTS = 60


def control(
    attacker: str, known: NDArray[np.uint8], labels: NDArray[np.int64], asked: NDArray[np.uint8], seed: int
) -> tuple[NDArray[np.int64], float | None]:
    """What a control names each of `asked`, int64 (n,), and its share on what it knows (no number for the nearest).
    For several looks, both are means over them (`models.attackers.means`)."""
    if attacker == "nearest":
        return nearest_labels(known, labels, asked), None
    both = linear_labels(known, labels, np.concatenate([asked, known]), np.random.default_rng(seed))
    return both[: len(asked)], float((both[len(asked) :] == labels).mean())


def verified(embeddings: NDArray[Any], people: NDArray[np.int64]) -> Measure:
    """Verification of unseen people by the angle between embeddings (n, ...), its curve at `CURVE_POINTS` points."""
    pairs = pairs_of(people, np.random.default_rng(0))
    # Codes and features are all positive: around their mean, angles tell more.
    centred = np.asarray(embeddings, np.float64) - np.asarray(embeddings, np.float64).mean(axis=0)
    scores = pair_scores(centred, pairs)
    found = verification(scores, pairs, np.random.default_rng(0), VERIFICATION_ROUNDS)
    curve = roc(scores, pairs.genuine)
    at = np.concatenate([[0.0], np.geomspace(1e-3, 1, CURVE_POINTS)])
    rates = [float(curve.true_accept[curve.false_accept <= limit].max()) for limit in at]
    return found | {"curve": {"false_accept": [float(one) for one in at], "true_accept": rates}}
