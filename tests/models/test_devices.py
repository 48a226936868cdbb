"""On another device than the processor everything is moved there, and nothing is forgotten: on one that is made up.

It computes on the processor, calls itself torch's "meta", and refuses what a GPU refuses: tensors of both together
(but for single numbers and indices), and NumPy's view of what lies elsewhere.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.encoder.material import LearningMaterial
from models.encoder.plan import EncoderPlan, checked_plan

torch = pytest.importorskip("torch", reason="attackers and encoders need torch: pip install 'canopic[train]'")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves, tree_map  # noqa: E402

from models.attackers.device import DeviceError, chosen_device, own_random_state  # noqa: E402
from models.attackers.fit import FitSettings, fit  # noqa: E402
from models.attackers.pretrained import learn_embedding  # noqa: E402
from models.encoder.alternate import learn  # noqa: E402

ELSEWHERE = "meta"
aten = torch.ops.aten


class Elsewhere(torch.Tensor):
    """A tensor on the device that is made up; `held` has its values."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "Elsewhere":
        made: Elsewhere = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            layout=held.layout, device=ELSEWHERE,
        )  # fmt: skip
        made.held = held
        return made

    def __init__(self, held: torch.Tensor) -> None:
        pass

    def __reduce_ex__(self, protocol: Any) -> Any:
        """In a file, as what `torch.load` gives with map_location="cpu"."""
        return self.held.__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatched(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    """Tensors that are asked for elsewhere are made there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatched(func, args, kwargs or {})


def _dispatched(func: Any, args: Any, kwargs: Any) -> Any:
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
    there = {id(one.held): one for one in tensors if isinstance(one, Elsewhere)}
    moves = func in (aten._to_copy.default, aten.copy_.default)
    for one in tensors:
        index = one.dtype == torch.int64 and func == aten.index.Tensor
        if there and not moves and not isinstance(one, Elsewhere) and one.dim() > 0 and not index:
            raise RuntimeError(f"{func}: a tensor on the processor, {tuple(one.shape)}, among those elsewhere")
    held_args, held_kwargs = tree_map(lambda one: one.held if isinstance(one, Elsewhere) else one, (args, kwargs))
    asked = kwargs.get("device")
    if asked is not None:
        held_kwargs = {**held_kwargs, "device": torch.device("cpu")}
    found = func(*held_args, **held_kwargs)
    if func == aten.copy_.default:
        return args[0]
    if torch.device(asked).type != ELSEWHERE if asked is not None else not there:
        return found

    def moved(one: Any) -> Any:
        return there[id(one)] if id(one) in there else Elsewhere(one)

    return tree_map(lambda one: moved(one) if isinstance(one, torch.Tensor) else one, found)


def images(count: int, seed: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3)).astype(np.uint8)


def plan(**chain: Any) -> EncoderPlan:
    networks = {"networks": [{"network": "small", "width": 0.03}], "epochs": 1, "batch": 8}
    return checked_plan(
        {
            "chain": {"levels": 4, "start": {"sigma_px": [2.0], "side_px": 7}} | chain,
            "privacy": {"alpha": 2.0, "bits_budget": 1.0},
            "schedule": {"cycles": 1, "encoder_steps": 2, "batch": 8, "looks": 2},
            "recognition": networks,
            "detection": networks,
            "choice": {
                "network": {"width": 0.03},
                "identity_epochs": 1,
                "face_epochs": 1,
                "every": 1,
                "linear": False,
                "keep": "last",
            },
        },
        "test",
    )


def test_the_made_up_device_refuses_what_a_gpu_refuses() -> None:
    with _Mode():
        here = torch.ones(3)
        there = here.to(ELSEWHERE)
        assert there.device.type == ELSEWHERE
        assert torch.equal((there + 1).cpu(), here + 1)
        with pytest.raises(RuntimeError, match="among those elsewhere"):
            there + here
        with pytest.raises((RuntimeError, TypeError)):
            np.asarray(there.numpy()).sum()


def test_an_attacker_is_trained_elsewhere_to_the_same_answers() -> None:
    looks = np.random.default_rng(0).integers(0, 16, (24, 2, 8, 8, 3)).astype(np.uint8)
    labels = np.arange(24) % 3
    settings = FitSettings(network="small", width=0.03, upsample=2, epochs=1, batch=8)
    here = fit(looks, 15, labels, 3, settings)
    with _Mode():
        there = fit(looks, 15, labels, 3, settings, device=ELSEWHERE)
        assert next(there.network.parameters()).device.type == ELSEWHERE
        assert there.losses == here.losses
        assert np.array_equal(there.mean_logits(looks), here.mean_logits(looks))
        goals = np.random.default_rng(1).standard_normal((24, 5)).astype(np.float32)
        student = learn_embedding(looks, 15, goals, replace(settings, upsample=1), ELSEWHERE)
        assert student.features(looks[:, 0]).shape[0] == 24


@pytest.mark.parametrize(
    "chain",
    [
        {},
        {"kernels": "pair", "levels": 2, "start": {"form": "centre_surround", "sigma_px": [1.5], "outer_px": 4.0}},
        {"kernels": "none", "levels": 3, "start": {"form": "none"}},
    ],
    ids=["psf", "pair", "none"],
)  # fmt: skip
def test_an_encoder_is_learned_elsewhere_stopped_and_finished_here(chain: dict[str, Any], tmp_path: Path) -> None:
    faces = LearningMaterial(
        images(12, 1), np.arange(12) % 3, images(6, 2), np.arange(6) % 3,
        images(8, 3), images(8, 4), images(4, 5), images(4, 6),
    )  # fmt: skip
    # The made-up device loses a part of the gradient of FFTs (a GPU is not known to): what goes through a convolution
    # is only shown to run to its end without mixing devices, and to leave what it started from.
    exact = chain.get("kernels") == "none"
    here = learn(plan(**chain), faces, tmp_path / "here")
    start = learn(plan(**chain), faces, tmp_path / "start", stop_after=1)
    with _Mode():
        there = learn(plan(**chain), faces, tmp_path / "there", device=ELSEWHERE)
        learn(plan(**chain), faces, tmp_path / "moved", stop_after=5, device=ELSEWHERE)
    moved = learn(plan(**chain), faces, tmp_path / "moved")
    assert start.id not in (there.id, moved.id, here.id)
    if exact:
        assert there.id == here.id
        assert moved.id == here.id


def test_a_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for seen in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda seen=seen: seen)
        assert chosen_device("cpu") == "cpu"
        assert chosen_device("auto") == ("cuda" if seen else "cpu")
    assert chosen_device("cuda") == "cuda"
    with pytest.raises(DeviceError, match="expected cpu, cuda or auto"):
        chosen_device("tpu")


def test_without_a_gpu_it_says_what_torch_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None, raising=False)
    with pytest.raises(DeviceError, match=r"built for processors only.*Or take cpu or auto"):
        chosen_device("cuda")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(DeviceError, match="nvidia-smi"):
        chosen_device("cuda")


def test_a_gpus_random_state_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []
    forked = torch.random.fork_rng
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: (asked.append(list(devices)), forked(devices=[]))[1])
    for device in ("cpu", "cuda"):
        with own_random_state(device):
            pass
    assert asked == [[], [3]]
