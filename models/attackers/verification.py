"""Verification: are two inputs of one person? Pairs of unseen people, their scores, and the errors at every threshold.

Intervals are a bootstrap over people, not over pairs: the pairs of one person are not independent of each other.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.attackers.controls import unit_length

FALSE_ACCEPT = 0.01
ROUNDS = 400


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs of inputs by number: `first`, `second` int64 (n,); `genuine` bool (n,), whether both are of one person;
    `people` int64 (n, 2), whom they are of, 0..."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    genuine: NDArray[np.bool_]
    people: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Roc:
    """Errors as the threshold falls: `false_accept` and `true_accept` float64 (n,), both rising from 0 to 1;
    `thresholds`: a pair is accepted with a score at or above it (the first is infinite)."""

    thresholds: NDArray[np.float64]
    false_accept: NDArray[np.float64]
    true_accept: NDArray[np.float64]


def pairs_of(people: NDArray[Any], rng: np.random.Generator, impostors: int = 20_000, most: int = 15) -> Pairs:
    """Genuine and impostor pairs of inputs whose people are `people` (n,).

    Genuine: every pair of one person, at most `most` of one person, drawn at random, so that no person with many
    pictures decides alone. Impostor: `impostors` different pairs drawn evenly over pairs of inputs of two people, or
    all there are. Raises ValueError without two people, or without a person with two inputs.
    """
    whom = np.unique(people, return_inverse=True)[1].astype(np.int64)
    genuine: list[NDArray[np.int64]] = []
    for person in range(int(whom.max(initial=-1)) + 1):
        its = np.flatnonzero(whom == person)
        both = np.stack(np.triu_indices(len(its), 1), axis=1)
        genuine.append(its[both[rng.permutation(len(both))[:most]]])
    own = np.concatenate(genuine) if genuine else np.zeros((0, 2), np.int64)
    one, other = np.triu_indices(len(whom), 1)
    of_two = np.flatnonzero(whom[one] != whom[other])
    if len(own) == 0 or len(of_two) == 0:
        raise ValueError("verification needs inputs of at least two people, and of one of them at least two")
    chosen = np.sort(rng.permutation(of_two)[:impostors])
    found = np.concatenate([own, np.stack([one[chosen], other[chosen]], axis=1)])
    return Pairs(found[:, 0], found[:, 1], np.arange(len(found)) < len(own), whom[found])


def pair_scores(embeddings: NDArray[Any], pairs: Pairs) -> NDArray[np.float64]:
    """Cosine of the angle between the two embeddings (or flattened codes) of each pair, float64 (n,); (inputs, ...)."""
    vectors = unit_length(np.asarray(embeddings.reshape(len(embeddings), -1), np.float64))
    return np.asarray((vectors[pairs.first] * vectors[pairs.second]).sum(axis=1), np.float64)


def roc(scores: NDArray[np.float64], genuine: NDArray[np.bool_], weights: NDArray[np.float64] | None = None) -> Roc:
    """Errors at every threshold that differs. scores float64 (n,), higher is more alike; genuine bool (n,); weights
    float64 (n,), how often each pair counts, default once. Raises ValueError when one kind of pair is missing."""
    weights = np.ones(len(scores)) if weights is None else weights
    order = np.argsort(-scores, kind="stable")
    ranked, counted = scores[order], weights[order]
    own, other = np.cumsum(counted * genuine[order]), np.cumsum(counted * ~genuine[order])
    if len(scores) == 0 or own[-1] == 0 or other[-1] == 0:
        raise ValueError("errors need genuine and impostor pairs")
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    return Roc(
        np.concatenate([[np.inf], ranked[last]]),
        np.concatenate([[0.0], other[last] / other[-1]]),
        np.concatenate([[0.0], own[last] / own[-1]]),
    )


def equal_error_rate(curve: Roc) -> float:
    """The error where false accepts are as frequent as false rejects, between points of the curve by straight lines."""
    gap = curve.false_accept - (1 - curve.true_accept)
    after = int(np.flatnonzero(gap >= 0)[0])
    if after == 0:
        return float(curve.false_accept[0])
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    low, high = curve.false_accept[after - 1 : after + 1]
    return float(low + share * (high - low))


def true_accept_at(curve: Roc, false_accept: float = FALSE_ACCEPT) -> float:
    """The share of genuine pairs accepted at the lowest threshold that accepts at most `false_accept` of the others."""
    return float(curve.true_accept[curve.false_accept <= false_accept].max())


def verification(
    scores: NDArray[np.float64], pairs: Pairs, rng: np.random.Generator, rounds: int = ROUNDS
) -> dict[str, Any]:
    """How well `scores` tell people apart, as a JSON object: eer, true_accept (at `FALSE_ACCEPT`), area under the
    curve, each with its 95 % interval, beside chance and the numbers of pairs and people.

    Intervals: percentiles over `rounds` in which people are drawn anew with replacement; a genuine pair counts as often
    as its person was drawn, an impostor pair as often as the product of its two.
    """
    curve = roc(scores, pairs.genuine)
    count = int(pairs.people.max()) + 1
    drawn: list[tuple[float, ...]] = []
    for _ in range(rounds):
        times = np.bincount(rng.integers(count, size=count), minlength=count).astype(np.float64)
        weights = np.where(pairs.genuine, times[pairs.people[:, 0]], times[pairs.people].prod(axis=1))
        if weights[pairs.genuine].any() and weights[~pairs.genuine].any():
            drawn.append(_figures(roc(scores, pairs.genuine, weights)))
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    result: dict[str, Any] = {}
    for index, (name, value) in enumerate(zip(("eer", "true_accept", "area"), _figures(curve), strict=True)):
        result[name] = value
        result[f"{name}_95"] = [float(low[index]), float(high[index])]
    own = pairs.people[pairs.genuine, 0]
    return result | {
        "false_accept": FALSE_ACCEPT,
        "chance": {"eer": 0.5, "true_accept": FALSE_ACCEPT, "area": 0.5},
        "genuine_pairs": int(pairs.genuine.sum()),
        "impostor_pairs": int((~pairs.genuine).sum()),
        "people": len(np.unique(pairs.people)),
        "people_with_genuine_pairs": len(np.unique(own)),
    }


def _figures(curve: Roc) -> tuple[float, float, float]:
    area = float(np.trapezoid(curve.true_accept, curve.false_accept))
    return equal_error_rate(curve), true_accept_at(curve), area
