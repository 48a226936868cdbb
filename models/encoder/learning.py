"""One learning at any moment: encoder, adversaries and history, kept on disk and taken up again. Needs torch."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.attackers.device import random_state, restore_random_state
from models.encoder.adversaries import Lesson, encoded_lesson, new_network
from models.encoder.chain import Chain
from models.encoder.checkpoint import read_checkpoint, write_chain, write_checkpoint
from models.encoder.material import LearningMaterial
from models.encoder.nuisance import CameraNuisance
from models.encoder.plan import EncoderPlan, PlanError
from models.encoder.record import learning_record
from models.encoder.scene_detection import new_detector
from models.encoder.start import start_digest, starting_chain
from optics.whole_file import write_whole

# Parts of the seed, so that every use of randomness has a stream of its own.
LOOKS, RECOGNITION, DETECTION, ENCODER, SCENES = 1, 100, 200, 300, 400


class Learning:
    """Everything that has to be the same for a learning to go on as if it had never been stopped.

    chain, optimizer: the encoder and its descent. networks: adversaries, by the phase in which they learn. cycle and
    phase: what is done next, "scenes", "judge", "recognition NUMBER", "detection NUMBER", "encoder", or "done"; a plan
    without scenes has none of the first. inner: where in that phase, None at its beginning. history: what is known of
    each cycle. best: the encoder that is kept so far.

    Raises PlanError for a plan with nothing to learn, or other than that of the checkpoint in `folder`.
    """

    def __init__(self, plan: EncoderPlan, material: LearningMaterial, folder: Path, device: str) -> None:
        self.plan, self.material, self.folder, self.device = plan, material, folder, device
        known = (np.concatenate([material.faces, material.positives]), material.negatives)
        start = starting_chain(plan.chain, np.concatenate([material.faces, known[1]]), plan.seed, known)
        self.chain = start.to(device)
        self.nuisance = CameraNuisance(plan.nuisance, plan.chain.pool) if plan.nuisance.on else None
        self.optimizer = _encoder_optimizer(plan, self.chain)
        self.networks: dict[str, nn.Module] = {}
        self.cycle, self.phase = 0, self.first_phase
        self.inner: dict[str, Any] | None = None
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self._lessons: dict[str, Lesson] = {}
        self._digest, self._start_digest = material.digest(), start_digest(plan.chain.start)
        state = read_checkpoint(folder / "checkpoint.pt", plan, self._digest)
        if state is not None:
            self._restore(state)

    @property
    def first_phase(self) -> str:
        """With which every cycle begins."""
        return "judge" if self.plan.scenes is None else "scenes"

    @property
    def entry(self) -> dict[str, Any]:
        """What is known of this cycle, in `history`."""
        if len(self.history) == self.cycle:
            self.history.append({"cycle": self.cycle, "seconds": {}, "adversaries": []})
        return self.history[-1]

    @property
    def slope(self) -> float:
        """How steep the soft quantization is in this cycle."""
        return self.plan.schedule.slope + self.plan.schedule.slope_rise * self.cycle

    @property
    def channels(self) -> int:
        """Of its codes: three colours of each filter."""
        return 3 * self.chain.filters

    def effective_levels(self) -> int | None:
        """Of the encoder as it is; None without quantization."""
        return None if self.plan.chain.levels is None else self.chain.export().effective_levels

    def lesson(self, part: str) -> Lesson:
        """Cached codes of this cycle's encoder: encoded when they are first asked for, the same whenever that is."""
        if part not in self._lessons:
            rng = np.random.default_rng([self.plan.seed, self.cycle, LOOKS, len(part)])
            nuisance = self.nuisance if self.plan.nuisance.adversaries else None
            looks = self.plan.schedule.looks
            further = nuisance.metered() if nuisance is not None and self.plan.nuisance.exposure_span else None
            self._lessons[part] = encoded_lesson(part, self.chain, self.material, looks, nuisance, rng, further)
        return self._lessons[part]

    def keep(self, loss: float) -> None:
        """The encoder as it is becomes the best where its loss is lower than that of the best so far."""
        if self.best is None or loss < self.best["loss"]:
            chain = {name: value.clone() for name, value in self.chain.state_dict().items()}
            self.best = {"cycle": self.cycle, "loss": loss, "chain": chain}

    def enter(self, phase: str) -> None:
        """The phase is over, and `phase` follows; after the encoder's another cycle begins."""
        ended, self.phase, self.inner = self.phase, phase, None
        if ended == "encoder":
            self.cycle += 1
            self._lessons = {}

    def kept(self) -> Chain:
        """The chain of the best cycle so far; before any was judged, the chain as it is."""
        chain = copy.deepcopy(self.chain).cpu()
        if self.best is not None:
            chain.load_state_dict(self.best["chain"])
        return chain

    def save(self) -> None:
        """The checkpoint: all that is needed to go on as if nothing had happened."""
        state = {
            "position": (self.cycle, self.phase),
            "inner": self.inner,
            "chain": self.chain.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "history": self.history,
            "best": self.best,
            "start": self._start_digest,
        } | random_state(self.device)
        write_checkpoint(self.folder / "checkpoint.pt", self.plan, self._digest, state)

    def write(self) -> None:
        """encoding.npz (the best so far) and learning.json (everything known about it)."""
        chain = self.kept()
        write_chain(self.folder, chain)
        best = 0 if self.best is None else int(self.best["cycle"])
        finished = self.phase == "done"
        record = learning_record(self.plan, self.material, self._digest, self.history, chain, best, finished)
        text = json.dumps(record, indent=1, allow_nan=False) + "\n"
        write_whole(self.folder / "learning.json", text)

    def _restore(self, state: dict[str, Any]) -> None:
        if state.get("start") != self._start_digest:
            raise PlanError(f"{self.plan.chain.start.path} has changed since; bring it back, or give another folder")
        self.cycle, self.phase = state["position"]
        self.inner, self.history, self.best = state["inner"], state["history"], state["best"]
        self.chain.load_state_dict(state["chain"])
        self.optimizer.load_state_dict(state["optimizer"])
        few = self.material.few()
        for name, weights in state["networks"].items():
            if name == "scenes" and self.plan.scenes is not None:
                self.networks[name] = new_detector(self.plan.scenes, self.channels, [0]).to(self.device)
                self.networks[name].load_state_dict(weights)
                continue
            kind, _, number = name.partition(" ")
            plan = self.plan.recognition if kind == "recognition" else self.plan.detection
            part = "identity" if kind == "recognition" else "face"
            lesson = encoded_lesson(part, self.chain, few, 1, None, np.random.default_rng(0))
            self.networks[name] = new_network(plan.networks[int(number)], lesson, [0], self.device)
            self.networks[name].load_state_dict(weights)
        restore_random_state(state, self.device)


def _encoder_optimizer(plan: EncoderPlan, chain: Chain) -> torch.optim.Optimizer:
    schedule = plan.schedule
    kernels = [one for one in chain.kernels.parameters() if one.requires_grad]
    own = {id(one) for one in chain.kernels.parameters()}
    thresholds = [one for one in chain.parameters() if id(one) not in own]
    groups = [
        {"params": kernels, "lr": schedule.learning_rate},
        {"params": thresholds, "lr": schedule.thresholds_learning_rate or schedule.learning_rate},
    ]
    if schedule.cycles and not kernels + thresholds:
        raise PlanError(f"{plan.name}: this chain has nothing to learn; expected schedule.cycles of 0")
    return torch.optim.Adam([group for group in groups if group["params"]] or [torch.zeros(1)])
