"""A small convolutional attacker: trained afresh on what it is given, it says who a face belongs to. Needs torch."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.attackers.views import View

WIDTH = 48


@dataclass(frozen=True)
class AttackSettings:
    """How the attacker is trained: `epochs` over the training images in batches, learning rate falling as a cosine."""

    epochs: int = 80
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 5e-2
    seed: int = 0


class SmallNetwork(nn.Module):
    """Five convolutions and a linear layer: float32 (n, channels, side, side) in 0..1 -> logits (n, classes).

    Inputs of 64 px first pass three steps that halve them, so that every view ends as features of 8 x 8.
    """

    def __init__(self, channels: int, side: int, classes: int, width: int = WIDTH) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels
        while side > 8:
            outputs = width // 2 if side > 16 else width
            layers += _step(inputs, outputs, stride=2)
            inputs, side = outputs, side // 2
        for outputs, stride in ((width, 1), (width * 2, 1), (width * 2, 2), (width * 4, 1), (width * 4, 2)):
            layers += _step(inputs, outputs, stride)
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.rest = nn.Sequential(nn.Flatten(), nn.Dropout(0.4), nn.Linear(inputs * 4, classes))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.rest(self.features(images))
        return logits


def _step(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


def train_attacker(view: View, labels: NDArray[np.int64], classes: int, settings: AttackSettings) -> SmallNetwork:
    """A network trained to tell `labels` (n,) from the inputs of `view`, varied by mirroring, shifts and brightness."""
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng([settings.seed, 2])
    inputs = _tensor(view)
    goals = torch.from_numpy(labels)
    network = SmallNetwork(inputs.shape[1], inputs.shape[2], classes)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    steps = settings.epochs * -(-len(inputs) // settings.batch)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=steps, pct_start=0.1)
    network.train()
    for _ in range(settings.epochs):
        order = rng.permutation(len(inputs))
        for start in range(0, len(order), settings.batch):
            chosen = torch.from_numpy(order[start : start + settings.batch])
            if len(chosen) < 2:
                plan.step()
                continue
            logits = network(_varied(inputs[chosen], rng))
            loss = nn.functional.cross_entropy(logits, goals[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            plan.step()
    network.eval()
    return network


@torch.no_grad()
def predicted(network: SmallNetwork, view: View) -> NDArray[np.int64]:
    """The most likely class of every input of `view`, int64 (n,): logits of the input and its mirror image added."""
    inputs = _tensor(view)
    found = [network(part) + network(part.flip(3)) for part in torch.split(inputs, 256)]
    return np.asarray(torch.cat(found).argmax(dim=1).numpy(), np.int64)


def _tensor(view: View) -> Tensor:
    scaled = view.inputs.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(view.full_scale)
    return torch.from_numpy(scaled).contiguous(memory_format=torch.channels_last)


def _varied(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Each image mirrored or not, shifted by up to an eighth of its side (edges repeated), and scaled in brightness."""
    count, _, side, _ = images.shape
    reach = side // 8
    padded = nn.functional.pad(images, (reach, reach, reach, reach), mode="replicate")
    rows = torch.from_numpy(rng.integers(0, 2 * reach + 1, count))[:, None] + torch.arange(side)
    columns = torch.from_numpy(rng.integers(0, 2 * reach + 1, count))[:, None] + torch.arange(side)
    mirrored = torch.from_numpy(rng.random(count) < 0.5)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    shifted = padded[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    gain = torch.from_numpy(np.exp(rng.uniform(-0.15, 0.15, (count, 1, 1, 1))).astype(np.float32))
    return (shifted * gain).contiguous(memory_format=torch.channels_last)
