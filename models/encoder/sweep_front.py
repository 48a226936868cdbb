"""Which points of a sweep are worth having: seeds joined, intervals, and the front that nothing else beats.

Two axes: identity (share of people named right by the best attacker: less is better) and face (share told right from
no face by the best network: more is better).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.detector.metrics import bootstrap_interval, wilson_interval

Attacks = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Measure:
    """A share with its 95 % interval, all in 0..1, and the attacker that it is of."""

    mean: float
    low: float
    high: float
    attacker: str = ""


@dataclass(frozen=True, slots=True)
class Joined:
    """All seeds of one point. `bits`: of one measurement (mean over seeds); `levels`: smallest and largest number of
    effective levels; `digests`: the folders of its seeds."""

    name: str
    overrides: Mapping[str, Any]
    seeds: tuple[int, ...]
    identity: Measure
    face: Measure
    bits: float
    levels: tuple[int, int]
    digests: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def pareto_front(identity: Sequence[float], face: Sequence[float]) -> list[int]:
    """The points that no other beats, as indices, by rising identity.

    A point is beaten by one with no more identity and no less face that is better in one of the two. Points that are
    equal in both do not beat each other. Raises ValueError for lists of different lengths, or no finite values.
    """
    if len(identity) != len(face):
        raise ValueError(f"every point needs both values, got {len(identity)} identities and {len(face)} faces")
    if not np.isfinite([*identity, *face]).all():
        raise ValueError("the front needs finite values")
    kept: list[int] = []
    best = -np.inf
    # By identity, and among equal ones the best face first: a later point belongs only where its face is better, or
    # where it equals the last one kept in both.
    for index in sorted(range(len(face)), key=lambda at: (identity[at], -face[at], at)):
        twin = bool(kept) and (identity[index], face[index]) == (identity[kept[-1]], face[kept[-1]])
        if face[index] > best or twin:
            kept.append(index)
            best = face[index]
    return kept


def beaten_beyond(points: Sequence[Joined], index: int) -> str | None:
    """The name of a point that is no worse than `points[index]` on both axes and on one of them better beyond the
    intervals (they do not overlap); None where there is none."""
    one = points[index]
    for other in points:
        no_worse = other.identity.mean <= one.identity.mean and other.face.mean >= one.face.mean
        if no_worse and (other.identity.high < one.identity.low or other.face.low > one.face.high):
            return other.name
    return None


def join(results: Sequence[Mapping[str, Any]]) -> list[Joined]:
    """Results of single seeds (see `sweep_point.run_point`) that share a name become one point, in order of appearance.

    The attacker is the one with the largest mean over seeds (for faces: the network). The intervals are of the test
    people and images: more seeds do not make more of them; each is widened where the share of one seed lies outside.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        groups.setdefault(str(result["name"]), []).append(result)
    return [_joined(name, group) for name, group in groups.items()]


def _joined(name: str, group: Sequence[Mapping[str, Any]]) -> Joined:
    group = sorted(group, key=lambda result: int(result["seed"]))
    levels = [int(result["effective_levels"]) for result in group]
    return Joined(
        name=name,
        overrides=dict(group[0]["overrides"]),
        seeds=tuple(int(result["seed"]) for result in group),
        identity=_identity([result["identity"]["attackers"] for result in group]),
        face=_face([result["face"]["attackers"] for result in group]),
        bits=float(np.mean([result["bits"]["per_measurement"] for result in group])),
        levels=(min(levels), max(levels)),
        digests=tuple(str(result["digest"]) for result in group),
    )


def _identity(seeds: Sequence[Attacks]) -> Measure:
    """Balanced over people: the bootstrap draws people, of each the mean share over seeds."""
    attacker, means = _best(seeds, "balanced")
    people: NDArray[np.float64] = np.mean([one[attacker]["per_person"] for one in seeds], axis=0)
    low, high = bootstrap_interval(list(people), lambda some: float(np.mean(some)), np.random.default_rng(0))
    return _widened(means, low, high, attacker)


def _face(seeds: Sequence[Attacks]) -> Measure:
    attacker, means = _best(seeds, "accuracy")
    images = int(seeds[0][attacker]["n"])
    low, high = wilson_interval(round(float(np.mean(means)) * images), images)
    return _widened(means, low, high, attacker)


def _best(seeds: Sequence[Attacks], key: str) -> tuple[str, list[float]]:
    means = {name: [float(one[name][key]) for one in seeds] for name in seeds[0]}
    attacker = max(means, key=lambda name: float(np.mean(means[name])))
    return attacker, means[attacker]


def _widened(shares: Sequence[float], low: float, high: float, attacker: str) -> Measure:
    mean = float(np.mean(shares))
    return Measure(mean, min(low, *shares, mean), max(high, *shares, mean), attacker)
