"""Attackers: what they see, and that they find what is there to be found and nothing else."""

import numpy as np
import pytest

from models.attackers.views import blurred_view, clean_view, codes_view, pixelated_view, pooled_crops
from models.detector.gaussian_encoding import gaussian_kernel
from optics.encoding import Encoding

torch = pytest.importorskip("torch", reason="attackers need torch: pip install 'canopic[audit]'")

ENCODING = Encoding(gaussian_kernel(4.0), np.linspace(0.05, 0.9, 15, dtype=np.float32))


def people(count: int, each: int, seed: int) -> "tuple[np.ndarray, np.ndarray]":  # type: ignore[type-arg]
    """Crops of made-up people, each with colours of their own in the four corners, and noise."""
    looks = np.random.default_rng(7).integers(30, 226, (count, 2, 2, 3))
    labels = np.repeat(np.arange(count), each)
    noise = np.random.default_rng(seed).integers(-20, 21, (len(labels), 64, 64, 3))
    images = looks[labels].repeat(32, axis=1).repeat(32, axis=2) + noise
    return np.clip(images, 0, 255).astype(np.uint8), labels.astype(np.int64)


def test_views_have_the_shapes_and_scales_they_say() -> None:
    crops, _ = people(2, 2, 0)
    clean, blur, pixels = clean_view(crops), blurred_view(crops), pixelated_view(crops)
    codes = codes_view(pooled_crops(crops, ENCODING), ENCODING)
    assert clean.inputs.shape == blur.inputs.shape == (4, 64, 64, 3)
    assert pixels.inputs.shape == codes.inputs.shape == (4, 8, 8, 3)
    assert (clean.full_scale, codes.full_scale) == (255, 15)
    assert codes.inputs.max() == 15
    assert blur.inputs.std() < clean.inputs.std()


def test_pixels_are_means_of_light() -> None:
    crop = np.zeros((1, 64, 64, 3), np.uint8)
    crop[0, :8, :4] = 255
    assert pixelated_view(crop).inputs[0, 0, 0].tolist() == [188, 188, 188]
    assert pixelated_view(crop).inputs[0, 1:].max() == 0


def test_exposure_of_a_crop_makes_its_codes_independent_of_its_light() -> None:
    cells = pooled_crops(people(2, 2, 0)[0], ENCODING)
    bright, dim = codes_view(cells, ENCODING).inputs, codes_view(cells * np.float32(0.25), ENCODING).inputs
    assert (bright != dim).mean() < 0.01


def test_an_attacker_knows_people_again_and_not_shuffled_labels() -> None:
    from models.attackers.audit import Part, attack
    from models.attackers.fit import FitSettings

    train, test = Part(*people(5, 12, 1)), Part(*people(5, 8, 2))
    shuffled = Part(test.images, np.random.default_rng(3).permutation(test.labels))
    rng = np.random.default_rng(0)
    for part, low, high in ((test, 0.7, 1.0), (shuffled, 0.0, 0.5)):
        result = attack(
            lambda crops: codes_view(pooled_crops(crops, ENCODING), ENCODING),
            train,
            part,
            5,
            FitSettings("small", width=0.1, epochs=20, batch=16),
            rng,
        )
        assert low <= result["accuracy"] <= high
        assert result["n"] == 40
        assert result["chance"] == pytest.approx(0.2)
        assert result["accuracy_95"][0] <= result["accuracy"] <= result["accuracy_95"][1]
