"""Mean codes: what several looks say together that one does not."""

import numpy as np
import pytest

from models.attackers.controls import nearest_labels
from models.attackers.means import mean_codes, mixed_means


def test_means_keep_what_lies_between_two_codes() -> None:
    looks = np.array([0, 1, 1, 15], np.uint8).reshape(1, 4, 1, 1, 1).repeat(2, axis=3)
    assert mean_codes(looks, 15).shape == (1, 1, 2, 1)
    assert mean_codes(looks, 15).ravel().tolist() == [72, 72]  # 17 / 4 codes of 17 steps each
    assert mean_codes(np.full((1, 3, 2, 2, 1), 15, np.uint8), 15).min() == 255


def test_mixed_means_are_means_of_half_the_looks_or_more() -> None:
    rng = np.random.default_rng(0)
    looks = (15 * np.eye(4, dtype=np.uint8)).reshape(1, 4, 2, 2, 1).repeat(50, axis=0)
    found = mixed_means(looks, 15, 9, rng)
    assert found.shape == (50, 9, 2, 2, 1)
    assert np.array_equal(found[:, 0], mean_codes(looks, 15))
    # Each look lights one cell: a mean over k of them leaves k cells at 255 / k.
    lit = (found > 0).sum(axis=(2, 3, 4))
    assert lit.min() >= 2
    assert np.array_equal(found.max(axis=(2, 3, 4)), np.rint(255 / lit).astype(np.uint8))
    assert len({tuple(one.ravel()) for one in found[:, 1:].reshape(-1, 4)}) > 4
    with pytest.raises(ValueError, match="at least one mean"):
        mixed_means(looks, 15, 0, rng)


def test_dithered_looks_tell_apart_what_no_single_one_does() -> None:
    rng = np.random.default_rng(1)
    people = rng.uniform(6.6, 7.4, (8, 1, 6, 6, 1))
    labels = np.tile(np.arange(8), 10)
    known, asked = (np.rint(people[labels] + rng.normal(0, 0.5, (80, 64, 6, 6, 1))).astype(np.uint8) for _ in "ab")
    one = (nearest_labels(known[:, 0], labels, asked[:, 0]) == labels).mean()
    several = (nearest_labels(mean_codes(known, 15), labels, mean_codes(asked, 15)) == labels).mean()
    assert several > 0.9 > 0.5 > one
