"""Verification and weak controls against what is known about Gaussians, and intervals against drawing anew."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from models.attackers.controls import held_out, linear_labels, nearest_labels
from models.attackers.verification import (
    equal_error_rate,
    pair_scores,
    pairs_of,
    roc,
    true_accept_at,
    verification,
)


def test_errors_of_two_gaussians_are_the_analytic_ones() -> None:
    rng = np.random.default_rng(0)
    apart, n = 2.0, 40_000
    scores = np.concatenate([rng.normal(apart, 1, n), rng.normal(0, 1, n)])
    curve = roc(scores, np.arange(2 * n) < n)
    assert equal_error_rate(curve) == pytest.approx(norm.cdf(-apart / 2), abs=0.004)
    assert true_accept_at(curve, 0.01) == pytest.approx(norm.sf(norm.isf(0.01) - apart), abs=0.015)
    assert np.trapezoid(curve.true_accept, curve.false_accept) == pytest.approx(norm.cdf(apart / 2**0.5), abs=0.003)


@given(st.integers(0, 10_000), st.integers(2, 60))
def test_curves_rise_and_do_not_depend_on_the_scale_of_scores(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    scores, genuine = rng.integers(0, 9, n).astype(np.float64), np.arange(n) % 2 == 0
    curve, other = roc(scores, genuine), roc(3 * scores - 7, genuine)
    assert (np.diff(curve.false_accept) >= 0).all()
    assert (np.diff(curve.true_accept) >= 0).all()
    assert (curve.false_accept[-1], curve.true_accept[-1]) == (1, 1)
    assert np.array_equal(curve.true_accept, other.true_accept)
    assert 0 <= equal_error_rate(curve) <= 1


def test_equal_scores_say_nothing_and_split_ones_everything() -> None:
    genuine = np.array([True, True, False, False])
    nothing, everything = roc(np.zeros(4), genuine), roc(np.array([3.0, 2.0, 1.0, 0.0]), genuine)
    assert (equal_error_rate(nothing), true_accept_at(nothing)) == (0.5, 0)
    assert (equal_error_rate(everything), true_accept_at(everything)) == (0, 1)
    with pytest.raises(ValueError, match="genuine and impostor"):
        roc(np.ones(2), np.ones(2, np.bool_))


def test_weights_count_pairs_as_often_as_copies_would() -> None:
    rng = np.random.default_rng(1)
    scores, genuine, times = rng.normal(size=50), rng.random(50) < 0.4, rng.integers(0, 4, 50)
    weighed = roc(scores, genuine, times.astype(np.float64))
    copied = roc(np.repeat(scores, times), np.repeat(genuine, times))
    assert equal_error_rate(weighed) == pytest.approx(equal_error_rate(copied))
    assert true_accept_at(weighed, 0.2) == pytest.approx(true_accept_at(copied, 0.2))


def test_pairs_are_of_whom_they_say_and_nobody_has_too_many() -> None:
    people = np.repeat(np.arange(6), [1, 1, 2, 3, 9, 12])
    pairs = pairs_of(people, np.random.default_rng(0), impostors=50, most=15)
    assert ((people[pairs.first] == people[pairs.second]) == pairs.genuine).all()
    assert np.array_equal(people[pairs.first], pairs.people[:, 0])
    assert (pairs.first != pairs.second).all()
    assert (~pairs.genuine).sum() == 50
    assert np.bincount(pairs.people[pairs.genuine, 0]).tolist() == [0, 0, 1, 3, 15, 15]
    assert len({tuple(sorted(pair)) for pair in zip(pairs.first, pairs.second, strict=True)}) == len(pairs.first)
    with pytest.raises(ValueError, match="at least two"):
        pairs_of(np.arange(5), np.random.default_rng(0))


def faces(people: int, seed: int) -> "tuple[np.ndarray, np.ndarray]":  # type: ignore[type-arg]
    """Embeddings of as many people, of four pictures each, more alike for one person than for two."""
    rng = np.random.default_rng(seed)
    whom = np.repeat(np.arange(people), 4)
    return rng.normal(size=(people, 8))[whom] + 0.9 * rng.normal(size=(4 * people, 8)), whom


def test_intervals_over_people_cover_the_truth() -> None:
    def measured(people: int, seed: int, rounds: int) -> "dict[str, object]":
        embeddings, whom = faces(people, seed)
        pairs = pairs_of(whom, np.random.default_rng(seed), impostors=800)
        return verification(pair_scores(embeddings, pairs), pairs, np.random.default_rng(seed), rounds)

    truth = np.mean([measured(600, 100 + seed, 2)["eer"] for seed in range(3)])
    inside = 0
    for seed in range(25):
        low, high = measured(30, seed, 50)["eer_95"]  # type: ignore[misc]
        inside += bool(low <= truth <= high)
    # Binomial with 95 %: fewer than 20 of 25 has a probability of 0.1 %.
    assert inside >= 20
    one = measured(30, 1, 60)
    assert (one["people"], one["genuine_pairs"], one["impostor_pairs"]) == (30, 180, 800)


def test_controls_find_what_is_there_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 30)
    codes = rng.integers(0, 16, (5, 8, 8, 1))[labels] + rng.integers(-3, 4, (150, 8, 8, 1))
    known, asked = np.arange(150) % 2 == 0, np.arange(150) % 2 == 1
    noise = rng.integers(0, 16, (150, 8, 8, 1))
    for inputs, low, high in ((codes, 0.95, 1.0), (noise, 0.05, 0.4)):
        for cosine in (False, True):
            near = nearest_labels(inputs[known], labels[known], inputs[asked], cosine)
            assert low <= (near == labels[asked]).mean() <= high
        probe = [linear_labels(inputs[known], labels[known], inputs[asked], np.random.default_rng(3)) for _ in "ab"]
        assert low <= (probe[0] == labels[asked]).mean() <= high
        assert np.array_equal(probe[0], probe[1])
    with pytest.raises(ValueError, match="cannot compare"):
        nearest_labels(codes[known], labels[known], codes[asked][:, :4])


def test_the_ridge_is_chosen_where_every_label_is_held_out() -> None:
    labels = np.repeat(np.arange(3), [10, 5, 4])
    held = held_out(labels, np.random.default_rng(0))
    assert np.bincount(labels[held], minlength=3).tolist() == [2, 1, 0]
