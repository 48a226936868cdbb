"""A detector that learns from windows of scenes through the encoder in hand, and what the encoder learns from it.

The network is the one that ships (`models.detector.network`), narrower. Exposure, noise and comparators are those of
`models.encoder.nuisance`. Needs torch.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.detector.batches import mirror_symmetric
from models.detector.decode import decode
from models.detector.evaluate import LOWEST_SCORE
from models.detector.metrics import Matches, average_precision, bootstrap_interval, match
from models.detector.network import FaceNetwork, detector_loss
from models.detector.targets import make_targets
from models.encoder.adversaries import fixed
from models.encoder.chain import Chain, quantized
from models.encoder.looks import light_of, scaled, soft_codes
from models.encoder.nuisance import CameraNuisance
from models.encoder.plan import EncoderPlan
from models.encoder.scene_plan import ScenesPlan
from models.encoder.scene_windows import SceneWindows

BOOTSTRAP_ROUNDS = 300


@dataclass(frozen=True, slots=True, eq=False)
class SceneLesson:
    """Windows through the encoder as it is, before exposure's variation, noise and thresholds.

    `cells`: float16 (n, channels, rows, columns), each window metered on itself. `boxes`, `ignore`: what there is to
    find, of each window, as in `SceneWindows`. `thresholds`: float32 (15,). `mirrored`: whether mirrored codes are what
    a mirrored scene would give. `pool`: side of a cell, px.
    """

    cells: NDArray[np.float16]
    boxes: list[NDArray[np.float32]]
    ignore: list[NDArray[np.bool_]]
    thresholds: NDArray[np.float32]
    mirrored: bool
    pool: int

    def targets(self, index: int, turned: bool) -> dict[str, NDArray[np.float32]]:
        """What is to be answered for one window, or for its mirror image (`make_targets`)."""
        rows, columns = self.cells.shape[2:]
        boxes = self.boxes[index]
        if turned:
            boxes = boxes.copy()
            boxes[:, 0] = columns * self.pool - boxes[:, 0] - boxes[:, 2]
        return make_targets(boxes, self.ignore[index], rows, columns, self.pool)


def scene_camera(plan: EncoderPlan) -> CameraNuisance | None:
    """The plan's nuisances with the exposures of scenes, None where nuisances are off."""
    if plan.scenes is None or not plan.nuisance.on:
        return None
    span = {"exposure_span": plan.scenes.exposures}
    return CameraNuisance(plan.nuisance.model_copy(update=span), plan.chain.pool)


def new_detector(plan: ScenesPlan, channels: int, seed: Sequence[int]) -> FaceNetwork:
    """A detector of `channels` with random weights of its own `seed`."""
    torch.manual_seed(int(np.random.default_rng(list(seed)).integers(2**62)))
    full, half, quarter = plan.widths
    network = FaceNetwork(channels, (full, half, quarter))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


@torch.no_grad()
def scene_lesson(chain: Chain, parts: Iterable[SceneWindows]) -> SceneLesson:
    """Windows as the chain sees them now, and what there is to find in them. Parts are used up one by one."""
    pool = chain.settings.pool
    cells: list[NDArray[np.float16]] = []
    boxes: list[NDArray[np.float32]] = []
    ignore: list[NDArray[np.bool_]] = []
    for windows in parts:
        images = light_of(windows.images, chain.settings.light, chain.device)
        cells.append(inner(chain.cells(images), windows.margin_px // pool).cpu().numpy().astype(np.float16))
        boxes += windows.boxes
        ignore += windows.ignore
    encoding = chain.export()
    return SceneLesson(np.concatenate(cells), boxes, ignore, encoding.thresholds, mirror_symmetric(encoding), pool)


def inner(values: Tensor, margin: int) -> Tensor:
    """Values (n, channels, rows, columns) without `margin` cells on every side."""
    rows, columns = values.shape[2:]
    return values[:, :, margin : rows - margin, margin : columns - margin]


class SceneTraining:
    """The training of one detector on one lesson, a batch at a time, so that it can stop and go on anywhere.

    Windows, exposures, noise and mirror images are drawn from `seed`; the learning rate falls as half a cosine.
    """

    def __init__(
        self,
        network: FaceNetwork,
        lesson: SceneLesson,
        plan: ScenesPlan,
        camera: CameraNuisance | None,
        seed: Sequence[int],
        new: bool = True,
    ) -> None:
        self.network, self.lesson, self.plan, self.camera = network, lesson, plan, camera
        self.rng = np.random.default_rng(list(seed))
        self.optimizer = torch.optim.AdamW(network.parameters(), plan.learning_rate, weight_decay=1e-3)
        self.steps = plan.new_steps if new else plan.steps
        self.step, self.losses = 0, 0.0

    @property
    def done(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.steps

    def advance(self) -> None:
        """One batch."""
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.learning_rate * 0.5 * (1 + math.cos(math.pi * self.step / self.steps))
        codes, targets = self._batch()
        heat, box = self.network(codes)
        loss = detector_loss(heat, box, targets)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.step += 1
        self.losses += loss.item()

    def state(self) -> dict[str, Any]:
        """Everything but the network, to be given to `restore`."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.bit_generator.state,
            "numbers": (self.step, self.losses),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Back to where `state` was taken."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.bit_generator.state = state["rng"]
        self.step, self.losses = state["numbers"]

    def _batch(self) -> tuple[Tensor, dict[str, Tensor]]:
        size = self.plan.detector_batch
        device = next(self.network.parameters()).device
        chosen = self.rng.integers(len(self.lesson.cells), size=size)
        turned = self.rng.random(size) < (0.5 if self.lesson.mirrored else 0.0)
        cells = torch.from_numpy(self.lesson.cells[chosen].astype(np.float32)).to(device)
        codes = seen_codes(cells, self.lesson.thresholds, self.camera, self.rng)
        flipped = torch.from_numpy(turned).to(device)[:, None, None, None]
        codes = torch.where(flipped, codes.flip(3), codes).contiguous(memory_format=torch.channels_last)
        each = [self.lesson.targets(int(one), bool(flag)) for one, flag in zip(chosen, turned, strict=True)]
        return codes, _stacked(each, device)


def seen_codes(
    cells: Tensor, thresholds: NDArray[np.float32], camera: CameraNuisance | None, rng: np.random.Generator
) -> Tensor:
    """Exact codes of cells (n, channels, rows, columns) through a real camera, as a network reads them: in 0..1."""
    levels = torch.tensor(thresholds).to(cells.device)
    if camera is not None:
        cells, levels = camera.on_cells(cells, rng), camera.on_thresholds(levels, rng)
    return quantized(cells, levels, None) / len(thresholds)


@torch.no_grad()
def precision_in_windows(network: FaceNetwork, lesson: SceneLesson, rng: np.random.Generator) -> dict[str, Any]:
    """Average precision at IoU 0.5 on exact codes of a lesson, a JSON object with its bootstrap interval and n.

    Each window meters itself, nothing is noisy. rng: of the bootstrap over windows.
    """
    network.eval()
    device = next(network.parameters()).device
    matches: list[Matches] = []
    for index in range(len(lesson.cells)):
        cells = torch.from_numpy(lesson.cells[index : index + 1].astype(np.float32)).to(device)
        heat, box = network(
            seen_codes(cells, lesson.thresholds, None, rng).contiguous(memory_format=torch.channels_last)
        )
        found = decode(torch.sigmoid(heat)[0, 0].cpu().numpy(), box[0].cpu().numpy(), LOWEST_SCORE, lesson.pool)
        matches.append(match(found, lesson.boxes[index], lesson.ignore[index]))
    faces = sum(one.faces for one in matches)
    if faces == 0:
        return {"ap": None, "ap_95": None, "faces": 0, "windows": len(matches)}
    low, high = bootstrap_interval(matches, average_precision, rng, BOOTSTRAP_ROUNDS)
    return {"ap": average_precision(matches), "ap_95": [low, high], "faces": faces, "windows": len(matches)}


def scene_loss(
    chain: Chain,
    network: FaceNetwork,
    windows: SceneWindows,
    slope: float,
    camera: CameraNuisance | None,
    rng: np.random.Generator,
    straight_through: bool,
) -> Tensor:
    """The detector's loss on windows, with gradients to the chain and none to the network."""
    images = light_of(windows.images, chain.settings.light, chain.device)
    codes, _ = soft_codes(chain, images, slope, camera, rng, straight_through)
    values = scaled(inner(codes, windows.margin_px // chain.settings.pool), chain)
    with fixed(network):
        heat, box = network(values.contiguous(memory_format=torch.channels_last))
    rows, columns = values.shape[2:]
    each = [
        make_targets(boxes, ignore, rows, columns, chain.settings.pool)
        for boxes, ignore in zip(windows.boxes, windows.ignore, strict=True)
    ]
    return detector_loss(heat, box, _stacked(each, chain.device))


def _stacked(each: list[dict[str, NDArray[np.float32]]], device: torch.device) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.stack([one[name] for one in each])).to(device) for name in each[0]}
