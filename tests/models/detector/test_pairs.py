"""A pair of masks whose signals are subtracted: its noise is that of its light, and photographs have no edge for it."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.detector.archives import Photograph
from models.detector.batches import exposed_codes, noise_recipe, noisy_codes
from models.detector.cache import measured
from models.detector.evaluate import fitted_scenes, inputs_of
from models.detector.gaussian_encoding import gaussian_kernel
from models.detector.scenes import Scene
from optics.encoding import Encoding


def encoding() -> Encoding:
    return Encoding(gaussian_kernel(2.0, 15), np.linspace(0.05, 0.9, 15, dtype=np.float32))


def pair() -> Encoding:
    """A centre less its surroundings: two masks, which pass much light and leave little signal."""
    kernel = np.full((1, 9, 9), -1 / 162, np.float32)
    kernel[0, 4, 4] += np.float32(0.5)
    return Encoding(kernel, np.linspace(0.02, 0.9, 15, dtype=np.float32))


def codes_at(seen: Encoding, radiance: float) -> NDArray[np.uint8]:
    cells = np.full((20, 20, 3), 0.3, np.float32)
    rng = np.random.default_rng(0)
    return noisy_codes(cells, seen, rng, 4.0, radiance)


def test_only_a_pair_asks_how_bright_the_scene_is() -> None:
    np.testing.assert_array_equal(codes_at(encoding(), 0.02), codes_at(encoding(), 0.9))
    dark, bright = (codes_at(pair(), radiance) for radiance in (0.02, 0.9))
    assert bright.std() > 2 * dark.std()
    # Half the light at twice the exposure is the same light.
    cells = np.full((20, 20, 3), 0.3, np.float32)
    np.testing.assert_array_equal(noisy_codes(cells, pair(), np.random.default_rng(0), 8.0, 0.1), codes_at(pair(), 0.2))
    assert noise_recipe(encoding()) == noise_recipe(None) == noise_recipe(replace(pair(), range="per_frame")) == {}
    assert noise_recipe(pair())


def test_scenes_bring_their_own_light() -> None:
    scenes = [
        Scene(np.full((480, 640, 3), light, np.float32), np.zeros((0, 4), np.float32), np.zeros(0, np.bool_))
        for light in (0.05, 0.6)
    ]
    seen = measured(scenes, pair())
    assert [seen.mean_radiance(index) for index in (0, 1)] == pytest.approx([0.05, 0.6], rel=0.02)
    inputs = inputs_of(seen, pair(), np.random.default_rng(0))
    rng = np.random.default_rng(0)
    for index, found in enumerate(inputs):
        own = exposed_codes(seen.cells[index], float(seen.steady[index]), pair(), rng, seen.mean_radiance(index))
        np.testing.assert_array_equal(found, own)


def test_a_signed_kernel_sees_no_edge_round_a_photograph() -> None:
    image = np.full((300, 300, 3), 200, np.uint8)
    tall = Photograph("tall", image, np.zeros((0, 4), np.float32), np.zeros(0, np.bool_))
    signed, masked = fitted_scenes([tall], pair()).cells[0], fitted_scenes([tall], encoding()).cells[0]
    assert np.ptp(signed) < 1e-3
    assert masked.min() < 1e-5
    assert (masked > 0.1).any()
