"""Networks that learn from the codes of a fixed encoder: their training in steps that resume, and their gradients.

Recognition networks say who it is, detection networks whether there is a face. Needs torch.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.attackers.device import CPU
from models.attackers.fit import varied
from models.attackers.networks import make_network
from models.detector.metrics import wilson_interval
from models.encoder.chain import Chain, Nuisance
from models.encoder.looks import Looks, encoded_looks, network_input
from models.encoder.material import LearningMaterial
from models.encoder.plan import AdversaryPlan, NetworkPlan

SMOOTHING = 0.05
# A training that is good enough goes on for as many steps at least: running means of normalisation follow later.
LEAST_STEPS = 30


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What a network learns: `looks` of n images, their `labels` int64 (n,), and how many `classes` there are."""

    looks: Looks
    labels: NDArray[np.int64]
    classes: int


def encoded_lesson(
    part: str,
    chain: Chain,
    material: LearningMaterial,
    looks: int,
    nuisance: Nuisance | None,
    rng: np.random.Generator,
    further: Nuisance | None = None,
) -> Lesson:
    """The lesson of a part of the material through the chain as it is (`models.encoder.looks.encoded_looks`).

    part: "identity" (who are the people?), "face" (a face or none; two looks at most), or either as "held_out_...", of
    which a single exact look is encoded. Where there is a nuisance `further`, `nuisance` is that of a face that does
    not meter its scene, and "held_out_face" has a second look of that kind, too.
    """
    held_out = part.startswith("held_out_")
    if part.endswith("identity"):
        crops = material.held_out_faces if held_out else material.faces
        labels, classes = material.held_out_people if held_out else material.people, material.classes
    else:
        positives = material.held_out_positives if held_out else material.positives
        negatives = material.held_out_negatives if held_out else material.negatives
        crops, classes = np.concatenate([positives, negatives]), 2
        labels = np.repeat(np.array([1, 0], np.int64), [len(positives), len(negatives)])
        looks = min(2, looks)
    if held_out:
        looks = 2 if part == "held_out_face" and further is not None else 1
    return Lesson(encoded_looks(chain, crops, looks, nuisance, rng, further), labels, classes)


def new_network(plan: NetworkPlan, lesson: Lesson, seed: Sequence[int], device: str = CPU) -> nn.Module:
    """A network with random weights of its own `seed`, for codes as in `lesson`, on `device`."""
    side, _, channels = lesson.looks.codes.shape[2:]
    torch.manual_seed(int(np.random.default_rng(list(seed)).integers(2**62)))
    network = make_network(plan.network, channels, side * plan.upsample, lesson.classes, plan.width)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.to(device)


class Training:
    """The training of one network on one lesson, a batch at a time, so that it can stop and go on anywhere.

    Every pass shows each image once, in a look drawn at random and shifted by up to one cell. It ends after
    `plan.epochs` (`plan.new_epochs` if the network is `new`), or after a pass in which `plan.enough` of the images were
    named right. Dropout draws from torch's own generator, everything else from `seed`.
    """

    def __init__(
        self,
        network: nn.Module,
        upsample: int,
        lesson: Lesson,
        plan: AdversaryPlan,
        seed: Sequence[int],
        new: bool = True,
    ) -> None:
        self.network, self.upsample, self.lesson, self.plan = network, upsample, lesson, plan
        self.epochs = plan.new_epochs or plan.epochs if new else plan.epochs
        self.rng = np.random.default_rng(list(seed))
        self.optimizer = torch.optim.AdamW(
            network.parameters(), plan.learning_rate, weight_decay=plan.weight_decay
        )  # with weight decay 0, Adam
        self.order = self.rng.permutation(len(lesson.labels))
        self.step, self.right, self.passed, self.losses = 0, 0, 0, 0.0
        self.steps_per_pass = max(1, len(self.order) // plan.batch)
        self.done = False

    @property
    def steps(self) -> int:
        """Steps that it takes at most."""
        return self.epochs * self.steps_per_pass

    def advance(self) -> None:
        """One batch."""
        self.network.train()
        if self.plan.falling:
            for group in self.optimizer.param_groups:
                group["lr"] = self.plan.learning_rate * 0.5 * (1 + math.cos(math.pi * self.step / self.steps))
        at = self.step % self.steps_per_pass
        # The last pass of a permutation takes what is left, so that no batch is too small for normalisation.
        end = len(self.order) if at == self.steps_per_pass - 1 else (at + 1) * self.plan.batch
        chosen = self.order[at * self.plan.batch : end]
        looks = self.lesson.looks
        seen = varied(looks.codes[chosen, self.rng.integers(looks.codes.shape[1], size=len(chosen))], self.rng, False)
        logits = self.network(_input(seen, looks.full_scale, self.upsample, _device(self.network)))
        goals = torch.from_numpy(self.lesson.labels[chosen]).to(logits.device)
        loss = functional.cross_entropy(logits, goals, label_smoothing=SMOOTHING)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.step += 1
        self.right += int((logits.argmax(dim=1) == goals).sum())
        self.losses += loss.item()
        if self.step % self.steps_per_pass == 0:
            self.passed += 1
            enough = self.step >= LEAST_STEPS and self.right >= self.plan.enough * len(self.order)
            self.done = self.passed == self.epochs or enough
            if not self.done:
                self.order = self.rng.permutation(len(self.order))
                self.right, self.losses = 0, 0.0

    def state(self) -> dict[str, Any]:
        """Everything but the network, to be given to `restore`."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.bit_generator.state,
            "order": torch.from_numpy(self.order),
            "numbers": (self.step, self.right, self.passed, self.losses, self.done),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Back to where `state` was taken."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.bit_generator.state = state["rng"]
        self.order = state["order"].numpy()
        self.step, self.right, self.passed, self.losses, self.done = state["numbers"]


@torch.no_grad()
def right_answers(network: nn.Module, upsample: int, codes: NDArray[np.uint8], full_scale: int,
                  labels: NDArray[np.int64]) -> NDArray[np.bool_]:  # fmt: skip
    """Whether the network names each of codes uint8 (n, rows, columns, channels) right, bool (n,)."""
    network.eval()
    found = []
    for start in range(0, len(codes), 256):
        logits = network(_input(codes[start : start + 256], full_scale, upsample, _device(network)))
        found.append(logits.argmax(dim=1).cpu().numpy() == labels[start : start + 256])
    return np.concatenate(found)


def accuracy(right: NDArray[np.bool_], classes: int) -> dict[str, Any]:
    """The share of right answers as a JSON object, with its Wilson interval, n and chance."""
    return {
        "accuracy": float(right.mean()),
        "accuracy_95": list(wilson_interval(int(right.sum()), len(right))),
        "n": len(right),
        "chance": 1 / classes,
    }


def entropy(logits: Tensor) -> Tensor:
    """Mean entropy, in nats, of what the logits (n, classes) say."""
    logarithms = functional.log_softmax(logits, dim=1)
    return -(logarithms.exp() * logarithms).sum(dim=1).mean()


def answers(network: nn.Module, plan: NetworkPlan, values: Tensor) -> Tensor:
    """Logits of values in 0..1 (n, channels, rows, columns), with gradients to the values and not to the network."""
    with fixed(network):
        logits: Tensor = network(network_input(values, plan.upsample))
    return logits


@contextmanager
def fixed(network: nn.Module) -> Iterator[None]:
    """Within it the network is judged by, not trained: gradients go through it to what it is given and none to it."""
    network.eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in network.parameters():
            parameter.requires_grad_(True)


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _input(codes: NDArray[np.uint8], full_scale: int, upsample: int, device: torch.device) -> Tensor:
    values = torch.from_numpy(codes.astype(np.float32) / np.float32(full_scale)).to(device).permute(0, 3, 1, 2)
    return network_input(values, upsample)
