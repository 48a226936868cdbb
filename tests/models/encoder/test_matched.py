"""A matched filter: a kernel of a pair that answers where a face lies, and only there."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.encoder.matched import matched_kernel
from optics.encoding import THRESHOLDS, Encoding, pooled

SIDE = 15
CROP = 24


def crops(count: int, face: bool, seed: int) -> NDArray[np.uint8]:
    """Noise; a face has a dark spot above the middle and a bright one below it, to the right."""
    rng = np.random.default_rng(seed)
    images = rng.normal(110, 25, (count, CROP, CROP, 1)).repeat(3, axis=3)
    if face:
        images[:, 7:10, 11:14] -= 70
        images[:, 14:17, 14:17] += 90
    return np.asarray(np.clip(images, 0, 255), np.uint8)


def kernel(seed: int = 0, **settings: float) -> NDArray[np.float32]:
    return matched_kernel(crops(60, True, 1), crops(60, False, 2), SIDE, np.random.default_rng(seed), **settings)


def answers(taps: NDArray[np.float32], images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The answer in the middle of each crop, by the true convolution of optics, over the crop's mean."""
    encoding = Encoding(taps, np.full(THRESHOLDS, 0.5, np.float32), pool=1)
    middle = CROP // 2
    scenes = (images / np.float32(255)).astype(np.float32) ** np.float32(2.2)
    return np.array([pooled(scene, encoding, threads=1)[middle, middle].mean() / scene.mean() for scene in scenes])


def test_it_is_a_kernel_of_a_pair_blind_to_even_light() -> None:
    found = kernel()
    assert (found.dtype, found.shape) == (np.float32, (1, SIDE, SIDE))
    assert found.sum() == pytest.approx(0, abs=1e-6)
    assert np.abs(found).sum() == pytest.approx(1, abs=1e-5)


def test_faces_that_it_has_not_seen_get_the_higher_answers() -> None:
    faces, others = (answers(kernel(), crops(40, face, seed)) for face, seed in ((True, 11), (False, 12)))
    # The share of pairs in which the face's answer is the higher one; 0.5 is chance.
    assert (faces[:, None] > others[None]).mean() > 0.9
    turned = kernel()[:, ::-1, ::-1]
    faces, others = (answers(turned, crops(40, face, seed)) for face, seed in ((True, 11), (False, 12)))
    assert (faces[:, None] > others[None]).mean() < 0.5, "a kernel acts by true convolution"


def test_the_template_is_turned_by_half_a_circle() -> None:
    """Dark above, bright below in a face: by true convolution the kernel's bright taps are above its middle."""
    taps = kernel(smooth=1.0)[0]
    above, below = taps[: SIDE // 2].sum(), taps[SIDE // 2 + 1 :].sum()
    assert above > 0 > below


def test_a_seed_decides_and_a_higher_price_makes_it_smoother() -> None:
    assert np.array_equal(kernel(3), kernel(3))
    assert not np.array_equal(kernel(3), kernel(4))
    steps = [np.abs(np.diff(kernel(smooth=smooth)[0], axis=0)).sum() for smooth in (0.01, 3.0)]
    assert steps[1] < steps[0]


def test_without_both_kinds_or_room_it_is_refused() -> None:
    rng, images = np.random.default_rng(0), crops(2, False, 0)
    with pytest.raises(ValueError, match="needs faces and other crops, got 2 and 0"):
        matched_kernel(images, images[:0], SIDE, rng)
    for side in (14, CROP + 1):
        with pytest.raises(ValueError, match=rf"at most the crops' side \({CROP}\), got {side}"):
            matched_kernel(images, images, side, rng)
