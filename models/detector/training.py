"""The training loop: resumable, and on one thread and one machine the same every time. Needs torch."""

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.detector.archives import file_digest
from models.detector.batches import Batch
from models.detector.network import FaceNetwork, detector_loss
from optics.whole_file import whole_file

# The first layer's weights: the only ones whose shape depends on the number of channels.
FIRST = "at_full.0.0.weight"


@dataclass(frozen=True)
class Settings:
    """How to train. `steps` batches of `batch` windows; the learning rate rises over `warmup` steps and then follows a
    cosine to zero; `average` is the decay of the running mean of the weights, which is what is shipped."""

    steps: int = 10_000
    batch: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    warmup: int = 300
    average: float = 0.998
    widths: tuple[int, int, int] = (24, 48, 72)
    seed: int = 0


def train(
    next_batch: Callable[[np.random.Generator], Batch],
    settings: Settings,
    checkpoint: Path,
    channels: int = 3,
    every: int = 500,
    report: Callable[[int, float], None] | None = None,
    stop_after: int | None = None,
    start: Path | None = None,
) -> FaceNetwork:
    """Trains a FaceNetwork on batches from `next_batch(rng)` and returns the one with averaged weights, in eval mode.

    Every `every` steps, and at the end, `checkpoint` is written (atomically); where it exists, training goes on from it
    and ends with the same weights as a run without a break. `report(step, mean loss)` is called with it. `stop_after`
    ends early after that many steps in total, as an interruption would. `start`: a checkpoint of another training,
    whose averaged weights this one begins with (`started`). Raises ValueError when the checkpoint belongs to other
    settings or another start, or the start to a network of other widths.
    """
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    network = FaceNetwork(channels, settings.widths)
    if start is not None:
        network.load_state_dict(started(start, channels, settings.widths))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(network).eval()
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    rng = np.random.default_rng([settings.seed, 1])
    step = 0
    if checkpoint.exists():
        step = _restore(checkpoint, settings, start, network, averaged, optimizer, rng)
    network.train()
    losses: list[float] = []
    end = settings.steps if stop_after is None else min(settings.steps, stop_after)
    while step < end:
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * schedule(step, settings)
        batch = {name: torch.from_numpy(value) for name, value in next_batch(rng).items()}
        codes = batch.pop("codes").to(memory_format=torch.channels_last)
        heat, box = network(codes)
        loss = detector_loss(heat, box, batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        step += 1
        _average(averaged, network, min(settings.average, step / (step + 10)))
        losses.append(loss.item())
        if step % every == 0 or step == end:
            _save(checkpoint, settings, start, network, averaged, optimizer, rng, step)
            if report is not None:
                report(step, float(np.mean(losses)))
            losses.clear()
    averaged.eval()
    return averaged


def schedule(step: int, settings: Settings) -> float:
    """Factor on the learning rate at `step`: linear rise, then half a cosine down to zero."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    progress = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


@torch.no_grad()
def _average(averaged: FaceNetwork, network: FaceNetwork, decay: float) -> None:
    mine, theirs = averaged.state_dict(), network.state_dict()
    for name, value in mine.items():
        if value.dtype.is_floating_point:
            value.lerp_(theirs[name], 1 - decay)
        else:
            value.copy_(theirs[name])


def _save(
    path: Path,
    settings: Settings,
    start: Path | None,
    network: FaceNetwork,
    averaged: FaceNetwork,
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
    step: int,
) -> None:
    state = {
        "settings": asdict(settings),
        "start": None if start is None else file_digest(start),
        "step": step,
        "network": network.state_dict(),
        "averaged": averaged.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": rng.bit_generator.state,
    }
    with whole_file(path) as partial:
        torch.save(state, partial)


def _restore(
    path: Path,
    settings: Settings,
    start: Path | None,
    network: FaceNetwork,
    averaged: FaceNetwork,
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
) -> int:
    state: dict[str, Any] = torch.load(path, weights_only=True)
    if state["settings"] != asdict(settings):
        raise ValueError(
            f"{path} was written by a run with other settings ({state['settings']}, now {asdict(settings)}). "
            "Give the same settings to go on with it, or another folder to start anew."
        )
    begun = None if start is None else file_digest(start)
    if state.get("start") != begun:
        raise ValueError(
            f"{path} was begun from other weights (SHA-256 {state.get('start')}, now {begun}). Give the same --from to "
            "go on with it, or another folder to start anew."
        )
    network.load_state_dict(state["network"])
    averaged.load_state_dict(state["averaged"])
    optimizer.load_state_dict(state["optimizer"])
    rng.bit_generator.state = state["rng"]
    return int(state["step"])


def started(checkpoint: Path, channels: int, widths: tuple[int, int, int]) -> dict[str, Tensor]:
    """Averaged weights of another training, for a network of `channels` and `widths` to begin with.

    Where it has another number of channels, the first layer repeats its filters (whose colours are channel % 3) and
    divides by how often, so that similar codes give similar features. Raises ValueError for other widths, or channels
    that are no multiple of the other's or a divisor.
    """
    state: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    if tuple(state["settings"]["widths"]) != tuple(widths):
        raise ValueError(f"{checkpoint} holds a network of widths {state['settings']['widths']}, wanted {widths}")
    weights: dict[str, Tensor] = dict(state["averaged"])
    first = weights[FIRST]
    given = first.shape[1]
    if channels % given and given % channels:
        raise ValueError(f"{checkpoint} takes {given} channels, which cannot become {channels}")
    if channels > given:
        weights[FIRST] = first.repeat(1, channels // given, 1, 1) * (given / channels)
    elif channels < given:
        weights[FIRST] = first.reshape(first.shape[0], given // channels, channels, *first.shape[2:]).sum(dim=1)
    return weights


def load_network(checkpoint: Path) -> FaceNetwork:
    """The network with averaged weights out of a checkpoint, in eval mode."""
    state: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    weights: dict[str, Tensor] = state["averaged"]
    network = FaceNetwork(weights[FIRST].shape[1], tuple(state["settings"]["widths"]))
    network.load_state_dict(weights)
    network.eval()
    return network
