"""Training an attacker: it finds what is there, nothing where there is nothing, and the same for the same seed."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from models.attackers.views import View

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

torch = pytest.importorskip("torch", reason="attackers need torch: pip install 'canopic[audit]'")

from models.attackers.fit import FitSettings, falling_rate, fit, network_input, varied  # noqa: E402
from models.attackers.looks import looks_of  # noqa: E402

QUICK = FitSettings(network="small", width=0.06, epochs=12, batch=32, learning_rate=5e-3, mirror=False)


def toy(each: int, noise: float, seed: int, looks: int = 1) -> "tuple[NDArray[np.uint8], NDArray[np.int64]]":
    """Codes of six made-up people, colours of their own in the four corners, with new noise in every look."""
    patterns = np.random.default_rng(5).uniform(2, 13, (6, 1, 2, 2, 3)).repeat(4, axis=2).repeat(4, axis=3)
    labels = np.repeat(np.arange(6), each)
    rng = np.random.default_rng(seed)
    seen = patterns[labels] + noise * rng.standard_normal((len(labels), looks, 8, 8, 3))
    return np.clip(np.rint(seen), 0, 15).astype(np.uint8), labels.astype(np.int64)


@pytest.mark.parametrize(("network", "width"), [("small", 0.1), ("resnet18", 0.1), ("googlenet", 0.2)])
def test_identities_that_differ_are_learned(network: str, width: float) -> None:
    looks, labels = toy(16, 1.5, 1)
    unseen, whose = toy(10, 1.5, 2)
    fitted = fit(looks, 15, labels, 6, replace(QUICK, network=network, width=width, epochs=10))
    # Chance is 1 in 6.
    assert fitted.train_accuracy > 0.8
    assert (fitted.logits(unseen[:, 0]).argmax(axis=1) == whose).mean() > 0.75
    assert fitted.losses[-1] < fitted.losses[0]
    assert fitted.features(unseen[:, 0]).shape == (60, fitted.network.feature_count)


def test_random_codes_stay_at_chance() -> None:
    rng = np.random.default_rng(0)
    looks = rng.integers(0, 16, (96, 1, 8, 8, 3)).astype(np.uint8)
    unseen = rng.integers(0, 16, (300, 8, 8, 3)).astype(np.uint8)
    labels = np.arange(300) % 6
    fitted = fit(looks, 15, labels[:96], 6, QUICK)
    right = int((fitted.logits(unseen).argmax(axis=1) == labels).sum())
    # Three standard deviations of a guess.
    assert abs(right - 50) < 3 * (300 / 6 * 5 / 6) ** 0.5


def test_several_looks_beat_one() -> None:
    looks, labels = toy(16, 12.0, 3, looks=4)
    unseen, whose = toy(20, 12.0, 4, looks=12)
    fitted = fit(looks, 15, labels, 6, QUICK)
    one = (fitted.logits(unseen[:, 0]).argmax(axis=1) == whose).mean()
    several = (fitted.mean_logits(unseen).argmax(axis=1) == whose).mean()
    assert several > one + 0.1


def test_the_same_seed_gives_the_same_network_and_leaves_torch_as_it_was() -> None:
    looks, labels = toy(6, 3.0, 1, looks=2)
    settings = replace(QUICK, network="googlenet", epochs=2)
    torch.manual_seed(11)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    first = fit(looks, 15, labels, 6, settings).logits(looks[:, 0])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    torch.rand(7)
    assert np.array_equal(fit(looks, 15, labels, 6, settings).logits(looks[:, 0]), first)
    assert not np.array_equal(fit(looks, 15, labels, 6, replace(settings, seed=1)).logits(looks[:, 0]), first)


@pytest.mark.parametrize("steps", range(1, 13))
def test_the_rate_falls_over_any_number_of_steps(steps: int) -> None:
    def rates(make: "Callable[[Optimizer], LRScheduler]") -> list[float]:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], momentum=0.9)
        plan, found = make(optimizer), []
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            plan.step()
        return found

    found = rates(lambda optimizer: falling_rate(optimizer, 1e-2, steps))
    if steps == 10:
        assert found[0] == pytest.approx(1e-2)
        assert found == sorted(found, reverse=True)
        assert found[-1] < 1e-6
    else:
        # Runs on disk were made with these.
        once = torch.optim.lr_scheduler.OneCycleLR
        assert found == rates(lambda optimizer: once(optimizer, 1e-2, total_steps=steps, pct_start=0.1))


def test_ten_steps_are_a_training() -> None:
    looks, labels = toy(6, 3.0, 1)
    fitted = fit(looks, 15, labels, 6, replace(QUICK, epochs=5, batch=18))
    assert fitted.losses[-1] < fitted.losses[0]


def test_a_start_is_copied_and_given_a_new_last_layer() -> None:
    looks, labels = toy(6, 3.0, 1)
    first = fit(looks, 15, labels, 6, replace(QUICK, epochs=1))
    before = {name: value.clone() for name, value in first.network.state_dict().items()}
    second = fit(looks, 15, labels % 2, 2, replace(QUICK, epochs=1, learning_rate=1e-7), first.network)
    assert second.logits(looks[:, 0]).shape == (36, 2)
    assert all(torch.equal(before[name], value) for name, value in first.network.state_dict().items())
    taken = dict(second.network.named_parameters())
    for name, value in first.network.body.named_parameters():
        assert torch.allclose(taken[f"body.{name}"], value, atol=1e-4)


def test_what_does_not_fit_together_is_said() -> None:
    looks, labels = toy(2, 1.0, 1)
    with pytest.raises(ValueError, match="one look of each image"):
        fit(looks[:, 0], 15, labels, 6, QUICK)
    with pytest.raises(ValueError, match=r"0\.\.4"):
        fit(looks, 15, labels, 5, QUICK)
    with pytest.raises(ValueError, match="a label for each"):
        fit(looks, 15, labels[1:], 6, QUICK)


def test_variation_moves_whole_cells_and_repeats_edges() -> None:
    inputs = np.tile(np.arange(8, dtype=np.uint8)[None, None, :, None], (200, 8, 1, 1))
    seen = varied(inputs, np.random.default_rng(0), mirror=False)
    rows = {tuple(one[0, :, 0].tolist()) for one in seen}
    assert rows == {(0, 1, 2, 3, 4, 5, 6, 7), (0, 0, 1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 5, 6, 7, 7)}
    assert (seen == seen[:, :1]).all()
    mirrored = varied(inputs, np.random.default_rng(0), mirror=True)
    assert 0.3 < (mirrored[:, 0, 0, 0] > mirrored[:, 0, 7, 0]).mean() < 0.7
    small = inputs[:, :4, :4]
    assert np.array_equal(varied(small, np.random.default_rng(0), mirror=False), small)


def test_inputs_are_scaled_and_enlarged() -> None:
    codes = np.full((2, 8, 8, 3), 15, np.uint8)
    seen = network_input(codes, 15, 8)
    assert seen.shape == (2, 3, 64, 64)
    assert torch.allclose(seen, torch.ones(()))


def test_the_first_look_is_the_crop_and_the_others_are_near_it() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3)).astype(np.uint8)
    looks = looks_of(lambda some: View("same", some, 255), crops, 3, np.random.default_rng(1), pool=8)
    assert looks.shape == (30, 3, 64, 64, 3)
    assert np.array_equal(looks[:, 0], crops)
    offsets = set()
    for crop, look in zip(crops, looks[:, 1], strict=True):
        inner = look[16:48, 16:48]
        found = [
            (down, right, way)
            for down in range(-4, 4)
            for right in range(-4, 4)
            for way in (1, -1)
            if np.array_equal(inner, crop[:, ::way][16 - down : 48 - down, 16 - way * right : 48 - way * right])
            or np.array_equal(inner, crop[:, ::way][16 - down : 48 - down, 16 + way * right : 48 + way * right])
        ]
        assert found
        offsets.add(found[0])
    assert len({way for _, _, way in offsets}) == 2
    assert len(offsets) > 15
