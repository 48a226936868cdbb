"""One way to train an attacker: any network on looks of labelled crops, the same every time for a seed. Needs torch."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.attackers.device import CPU, own_random_state
from models.attackers.networks import AttackerNetwork, make_network

# Inputs of this many cells a side are varied by shifts of one cell each way; larger ones by as many times more.
SIDE_PER_SHIFT = 8


@dataclass(frozen=True)
class FitSettings:
    """How an attacker is trained.

    network, width: see `networks.make_network`. upsample: factor by which inputs are enlarged (bilinear) before the
    network, 1 for none; the paper's attackers use 8. epochs: passes over the images, of which each is seen once, in one
    of its looks. learning_rate: the highest, reached after a tenth of the steps and falling as a cosine (AdamW,
    Loshchilov and Hutter 2019, arXiv:1711.05101). smoothing: of the labels. mirror: whether inputs are mirrored at
    random, and logits are the mean over an input and its mirror image; off for encodings whose kernels are not
    symmetric, where looks of mirrored crops serve (`looks.looks_of`).
    """

    network: str = "resnet18"
    width: float = 0.25
    upsample: int = 1
    epochs: int = 40
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 5e-2
    smoothing: float = 0.1
    mirror: bool = True
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network. `full_scale`: value of the inputs that the network reads as 1. `losses`: mean training loss of
    each epoch. The network stays on the device that it was trained on; what it answers does not."""

    network: AttackerNetwork
    full_scale: float
    settings: FitSettings
    losses: list[float]

    def logits(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits float32 (n, classes) of inputs uint8 (n, rows, columns, channels)."""
        return self._mean(self.network, inputs)

    def features(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the last layer reads, float32 (n, features), of inputs uint8 (n, rows, columns, channels)."""
        return self._mean(self.network.features, inputs)

    def mean_logits(self, looks: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Mean logits over the looks of each crop, float32 (n, classes); uint8 (n, looks, rows, columns, channels)."""
        _check_looks(looks)
        flat = self.logits(looks.reshape(-1, *looks.shape[2:]))
        return np.asarray(flat.reshape(*looks.shape[:2], -1).mean(axis=1), np.float32)

    @torch.no_grad()
    def _mean(self, call: Callable[[Tensor], Tensor], inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        found = []
        device = next(self.network.parameters()).device
        with one_thread():
            for start in range(0, len(inputs), 256):
                part = network_input(inputs[start : start + 256], self.full_scale, self.settings.upsample, device)
                answer = call(part)
                if self.settings.mirror:
                    answer = (answer + call(part.flip(3))) / 2
                found.append(answer.cpu())
        return np.asarray(torch.cat(found).numpy(), np.float32)


@dataclass(frozen=True, eq=False)
class Fitted(Trained):
    """A trained attacker. `train_accuracy`: share of the training images (first look of each) that it names right; near
    1 with a low test accuracy, it has memorised."""

    train_accuracy: float


def fit(
    looks: NDArray[np.uint8],
    full_scale: float,
    labels: NDArray[np.int64],
    classes: int,
    settings: FitSettings,
    start: AttackerNetwork | None = None,
    device: str = CPU,
) -> Fitted:
    """Trains a network to tell `labels` from looks.

    looks: uint8 (n, looks, rows, columns, channels), square; in each epoch every image is shown once, in a random look,
    shifted by up to an eighth of its side in whole cells (edges repeated), mirrored or not, brighter or darker by up to
    15 %. labels: int64 (n,) in 0..classes-1. start: a network to go on from; it is copied, and its last layer replaced
    where it has other classes; its architecture then counts, not `settings.network`. device: see
    `models.attackers.device`. Leaves torch's random state and number of threads as they were. Raises ValueError for
    shapes or labels that do not fit together.
    """
    _check_looks(looks)
    if len(labels) != len(looks) or len(looks) < 2:
        raise ValueError(f"an attacker needs two images or more and a label for each, got {len(looks)}, {len(labels)}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must be 0..{classes - 1}, got {labels.min()}..{labels.max()}")
    goals = torch.from_numpy(labels)

    def loss(logits: Tensor, chosen: NDArray[np.int64]) -> Tensor:
        named = goals[chosen].to(logits.device)
        return nn.functional.cross_entropy(logits, named, label_smoothing=settings.smoothing)

    trained = train(looks, full_scale, classes, loss, settings, start, device)
    right = trained.logits(looks[:, 0]).argmax(axis=1) == labels
    return Fitted(trained.network, full_scale, settings, trained.losses, float(right.mean()))


def train(
    looks: NDArray[np.uint8],
    full_scale: float,
    outputs: int,
    loss: Callable[[Tensor, NDArray[np.int64]], Tensor],
    settings: FitSettings,
    start: AttackerNetwork | None = None,
    device: str = CPU,
) -> Trained:
    """The loop that `fit` uses, for any goal: `loss(answers, chosen)` says how wrong the network's answers (batch,
    outputs) to the images of numbers `chosen` (batch,) are; answers lie on `device`. Everything else as in `fit`."""
    with one_thread(), own_random_state(device):
        torch.manual_seed(settings.seed)
        network = _network(looks.shape[-1], looks.shape[2] * settings.upsample, outputs, settings, start)
        # Made where torch's generator is, so that it starts the same on every device.
        network.to(device)
        losses = _train(network, looks, full_scale, loss, settings, device)
    network.eval()
    return Trained(network, full_scale, settings, losses)


def _network(
    channels: int, side: int, outputs: int, settings: FitSettings, start: AttackerNetwork | None
) -> AttackerNetwork:
    if start is None:
        network = make_network(settings.network, channels, side, outputs, settings.width)
    else:
        network = copy.deepcopy(start)
        if network.head.out_features != outputs:
            network.head = nn.Linear(network.feature_count, outputs)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _train(
    network: AttackerNetwork,
    looks: NDArray[np.uint8],
    full_scale: float,
    loss: Callable[[Tensor, NDArray[np.int64]], Tensor],
    settings: FitSettings,
    device: str,
) -> list[float]:
    rng = np.random.default_rng([settings.seed, 2])
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    steps = settings.epochs * len(list(batches(np.arange(len(looks)), settings.batch)))
    plan = falling_rate(optimizer, settings.learning_rate, steps)
    network.train()
    losses = []
    for _ in range(settings.epochs):
        found = []
        for chosen in batches(rng.permutation(len(looks)), settings.batch):
            seen = varied(looks[chosen, rng.integers(looks.shape[1], size=len(chosen))], rng, settings.mirror)
            gain = torch.from_numpy(np.exp(rng.uniform(-0.15, 0.15, (len(chosen), 1, 1, 1))).astype(np.float32))
            light = network_input(seen, full_scale, settings.upsample, device) * gain.to(device)
            wrong = loss(network(light), chosen)
            optimizer.zero_grad()
            wrong.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            plan.step()
            found.append(wrong.item())
        losses.append(float(np.mean(found)))
    return losses


def falling_rate(
    optimizer: torch.optim.Optimizer, learning_rate: float, steps: int
) -> torch.optim.lr_scheduler.OneCycleLR:
    """The learning rate of each of `steps` steps: up to `learning_rate` in the first tenth, then down as a cosine."""
    # A tenth of ten steps is the first one, to which OneCycleLR would rise in a time of 0: it divides by that. A little
    # less, and it starts at the highest rate, as it does with nine.
    share = 0.1 if steps != 10 else 0.1 - 1e-9
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=share)


def batches(order: NDArray[np.int64], batch: int) -> Iterator[NDArray[np.int64]]:
    """Parts of `order`, `batch` long but for the last; one left alone, of which no variance is known, is left out."""
    for start in range(0, len(order), batch):
        if len(part := order[start : start + batch]) > 1:
            yield part


def varied(inputs: NDArray[np.uint8], rng: np.random.Generator, mirror: bool) -> NDArray[np.uint8]:
    """Each of the inputs (n, side, side, channels) shifted by up to an eighth of its side, edges repeated, and, with
    `mirror`, mirrored left to right or not. Sides below 8 are not shifted."""
    count, side = inputs.shape[0], inputs.shape[1]
    reach = side // SIDE_PER_SHIFT
    steps = np.arange(side)
    down, right = rng.integers(-reach, reach + 1, (2, count, 1))
    rows, columns = (np.asarray(np.clip(steps + moved, 0, side - 1), np.int64) for moved in (down, right))
    if mirror:
        columns = np.where(rng.random(len(inputs))[:, None] < 0.5, columns[:, ::-1], columns)
    return np.asarray(inputs[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]], np.uint8)


def network_input(
    inputs: NDArray[np.uint8], full_scale: float, upsample: int, device: str | torch.device = CPU
) -> Tensor:
    """Inputs uint8 (n, rows, columns, channels) as a network reads them: float32 (n, channels, rows, columns), full
    scale at 1, enlarged `upsample` times (bilinear), in the memory order of the input (channels last), on `device`."""
    scaled = torch.from_numpy(inputs.astype(np.float32) / np.float32(full_scale)).to(device).permute(0, 3, 1, 2)
    if upsample > 1:
        scaled = nn.functional.interpolate(scaled, scale_factor=upsample, mode="bilinear", align_corners=False)
    return scaled.contiguous(memory_format=torch.channels_last)


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs what is inside on one thread, where sums have one order, and gives the threads back afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _check_looks(looks: NDArray[np.uint8]) -> None:
    if looks.ndim != 5 or looks.shape[2] != looks.shape[3] or looks.dtype != np.uint8:
        raise ValueError(
            f"looks must be uint8 (images, looks, side, side, channels), got {looks.dtype} {looks.shape}; "
            "one look of each image: inputs[:, None]"
        )
