"""Weak attackers as controls: the nearest neighbour and a linear probe. What these find, anyone can find. No torch."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
HELD_OUT = 5

Matrix = NDArray[np.float64]


def nearest_labels(
    known: NDArray[Any], labels: NDArray[np.int64], asked: NDArray[Any], cosine: bool = False
) -> NDArray[np.int64]:
    """The label of the nearest of `known` for each of `asked`: int64 (n,), retrieval at rank 1.

    known, asked: codes or embeddings of any number type, (m, ...) and (n, ...) of the same shape after the first axis.
    Distance: Euclidean, or with `cosine` the angle. Of equally near ones the first counts. Raises ValueError for
    shapes that differ.
    """
    if known.shape[1:] != asked.shape[1:] or len(known) != len(labels) or len(known) == 0:
        raise ValueError(f"cannot compare {asked.shape} with {known.shape} that have {len(labels)} labels")
    there, here = _flat(known), _flat(asked)
    if cosine:
        there, here = unit_length(there), unit_length(here)
    distance = (there**2).sum(axis=1)[None] - 2 * here @ there.T
    return np.asarray(labels[distance.argmin(axis=1)], np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """A linear classifier: inputs less `mean`, divided by `scale`, both float64 (d,), times `weights` float64 (d + 1,
    classes), whose last row is added. `ridge`: what it was fitted with."""

    mean: Matrix
    scale: Matrix
    weights: Matrix
    ridge: float

    def logits(self, inputs: NDArray[Any]) -> Matrix:
        """Logits float64 (n, classes) of inputs (n, ...) of any number type."""
        return np.asarray(_with_one((_flat(inputs) - self.mean) / self.scale) @ self.weights, np.float64)


def fit_probe(
    inputs: NDArray[Any],
    labels: NDArray[np.int64],
    classes: int,
    rng: np.random.Generator,
    held: NDArray[np.bool_] | None = None,
) -> Probe:
    """Multinomial logistic regression on inputs (n, ...) of any number type, brought to mean 0 and deviation 1.

    The ridge is the one of `RIDGES` that does best on a fifth of the inputs, held out at random but of every label with
    five inputs or more; then the probe is fitted to all. labels: int64 (n,) in 0..classes-1. Deterministic but for the
    held-out part, which `rng` draws, unless `held` (n,) says it: looks of one image belong on one side.
    """
    mean, scale = _flat(inputs).mean(axis=0), _flat(inputs).std(axis=0)
    scale[scale == 0] = 1
    known = (_flat(inputs) - mean) / scale
    held = held_out(labels, rng) if held is None else held
    best = max(RIDGES, key=lambda ridge: _score(known, labels, classes, held, ridge))
    return Probe(mean, scale, _fitted(known, labels, classes, best), best)


def linear_labels(
    known: NDArray[Any], labels: NDArray[np.int64], asked: NDArray[Any], rng: np.random.Generator
) -> NDArray[np.int64]:
    """The label that a linear probe (`fit_probe`) on `known` (m, ...) gives each of `asked` (n, ...): int64 (n,)."""
    probe = fit_probe(known, labels, int(labels.max()) + 1, rng)
    return np.asarray(probe.logits(asked).argmax(axis=1), np.int64)


def held_out(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """A fifth of the inputs of each label, at random, rounded down: bool (n,)."""
    held = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        its = np.flatnonzero(labels == label)
        held[rng.permutation(its)[: len(its) // HELD_OUT]] = True
    return held


def unit_length(vectors: NDArray[Any]) -> Matrix:
    """Vectors (n, d) divided by their lengths; zero stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths == 0, 1, lengths), np.float64)


def _score(inputs: Matrix, labels: NDArray[np.int64], classes: int, held: NDArray[np.bool_], ridge: float) -> float:
    if not held.any():
        return 0.0
    weights = _fitted(inputs[~held], labels[~held], classes, ridge)
    return float(((_with_one(inputs[held]) @ weights).argmax(axis=1) == labels[held]).mean())


def _fitted(inputs: Matrix, labels: NDArray[np.int64], classes: int, ridge: float) -> Matrix:
    """Weights (d + 1, classes) that minimise the mean cross-entropy + ridge / 2 of the squared weights."""
    known = _with_one(inputs)
    wanted = np.eye(classes)[labels]
    shape = (known.shape[1], classes)

    def cost(flat: Matrix) -> tuple[float, Matrix]:
        weights = flat.reshape(shape)
        logits = known @ weights
        logits -= logits.max(axis=1, keepdims=True)
        total = np.exp(logits).sum(axis=1, keepdims=True)
        entropy = (np.log(total[:, 0]) - (logits * wanted).sum(axis=1)).mean()
        slope = known.T @ (np.exp(logits) / total - wanted) / len(known)
        slope[:-1] += ridge * weights[:-1]
        return float(entropy + ridge / 2 * (weights[:-1] ** 2).sum()), slope.ravel()

    found = minimize(cost, np.zeros(shape[0] * shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return np.asarray(found.x.reshape(shape), np.float64)


def _with_one(inputs: Matrix) -> Matrix:
    return np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)


def _flat(inputs: NDArray[Any]) -> Matrix:
    return np.asarray(inputs.reshape(len(inputs), -1), np.float64)
