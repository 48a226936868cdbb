"""Alternating optimisation of an encoder against recognition and detection networks. Needs torch.

Each cycle (Tan et al., "CAnOPIC", ICME 2020, Sec. 3.2; par.nsf.gov/biblio/10217888):

    1. codes of the encoder as it is are cached; fresh networks judge it
    2. recognition and detection networks learn from the cached codes
    3. they are fixed, and the encoder descends on cross-entropy(detection) - alpha * entropy(recognition)

A learning can be killed anywhere and goes on from its checkpoint with the result of one that was never stopped, bit for
bit on one machine and thread. Which cycle's encoder is kept, fresh networks decide: docs/decisions/0028.
"""

import copy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.attackers.device import CPU, own_random_state, random_state, restore_random_state
from models.attackers.fit import one_thread
from models.encoder.adversaries import Lesson, Training, accuracy, encoded_lesson, new_network, right_answers
from models.encoder.chain import Chain
from models.encoder.checkpoint import read_checkpoint, write_chain, write_checkpoint
from models.encoder.judge import judged, score
from models.encoder.material import LearningMaterial
from models.encoder.nuisance import CameraNuisance
from models.encoder.objective import PARTS, encoder_loss
from models.encoder.plan import AdversaryPlan, EncoderPlan, PlanError
from models.encoder.record import learning_record
from models.encoder.start import start_digest, starting_chain
from optics.encoding import Encoding
from optics.whole_file import write_whole

# Steps of any kind between two checkpoints.
CHECKPOINT_EVERY = 50
# Parts of the seed, so that every use of randomness has a stream of its own.
LOOKS, JUDGE, RECOGNITION, DETECTION, ENCODER = 1, 2, 100, 200, 300


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a learning is. `numbers`: what is known so far in this phase, for people to watch."""

    cycle: int
    cycles: int
    phase: str
    step: int
    steps: int
    numbers: dict[str, float] = field(default_factory=dict)


Report = Callable[[Progress], None]


class LearningError(RuntimeError):
    """A learning that cannot go on. The message says where it stopped and what to change."""


class _StoppedError(Exception):
    """The number of steps that were asked for is done."""


def learn(
    plan: EncoderPlan,
    material: LearningMaterial,
    folder: Path,
    report: Report | None = None,
    stop_after: int | None = None,
    device: str = CPU,
) -> Encoding:
    """Learns an encoding and returns the one that is kept.

    Writes encoding.npz, learning.json and checkpoint.pt in `folder`, and goes on where it has a checkpoint of the same
    plan and material. report: called after every step. stop_after: ends early after that many steps of any kind in this
    call, as an interruption would. device: see `models.attackers.device`; what was begun on one can go on on another.
    Raises PlanError for a plan with nothing to learn, without quantization (see `learn_chain`), or other than the
    checkpoint's; LearningError when the loss is no number any more.
    """
    if plan.chain.levels is None:
        raise PlanError(f"{plan.name}: without quantization there is no encoding; expected chain.levels of 2..16")
    return learn_chain(plan, material, folder, report, stop_after, device).export()


def learn_chain(
    plan: EncoderPlan,
    material: LearningMaterial,
    folder: Path,
    report: Report | None = None,
    stop_after: int | None = None,
    device: str = CPU,
) -> Chain:
    """As `learn`, for any plan: the kept chain, on the processor. Without quantization chain.npz is written instead."""
    folder.mkdir(parents=True, exist_ok=True)
    with one_thread(), own_random_state(device):
        learning = _Learning(plan, material, folder, report, stop_after, device)
        try:
            learning.run()
        except _StoppedError:
            learning.save()
        return learning.kept()


class _Learning:
    """The state of one learning; `run` goes through its phases, each of which can be entered in its middle."""

    def __init__(
        self, plan: EncoderPlan, material: LearningMaterial, folder: Path, report: Report | None,
        stop_after: int | None, device: str,
    ) -> None:  # fmt: skip
        self.plan, self.material, self.folder, self.report = plan, material, folder, report
        self.steps_left, self.device = stop_after, device
        known = (np.concatenate([material.faces, material.positives]), material.negatives)
        start = starting_chain(plan.chain, np.concatenate([material.faces, known[1]]), plan.seed, known)
        self.chain = start.to(device)
        self.nuisance = CameraNuisance(plan.nuisance, plan.chain.pool) if plan.nuisance.on else None
        self.optimizer = self._encoder_optimizer()
        self.networks: dict[str, nn.Module] = {}
        self.cycle, self.phase = 0, "judge"
        self.inner: dict[str, Any] | None = None
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.lessons: dict[str, Lesson] = {}
        self.since_saved, self.timed = 0, time.monotonic()
        self.digest, self.start_digest = material.digest(), start_digest(plan.chain.start)
        state = read_checkpoint(folder / "checkpoint.pt", plan, self.digest)
        if state is not None:
            self._restore(state)

    def run(self) -> None:
        while self.phase != "done":
            follows = self._phase()
            self._clock()
            ended, self.phase, self.inner = self.phase, follows, None
            if ended == "encoder":
                self.cycle += 1
                self.lessons = {}
            if ended in ("judge", "encoder"):
                self.write()
            self.save()

    def _phase(self) -> str:
        """Does what is left of the phase; the name of the one that follows."""
        if self.phase == "judge":
            return self._judge()
        kind, _, number = self.phase.partition(" ")
        if kind == "encoder":
            self._train_encoder()
            return "judge"
        plan = self.plan.recognition if kind == "recognition" else self.plan.detection
        self._train_adversary(kind, int(number), plan)
        if int(number) + 1 < len(plan.networks):
            return f"{kind} {int(number) + 1}"
        return "detection 0" if kind == "recognition" else "encoder"

    def _judge(self) -> str:
        last = self.cycle == self.plan.schedule.cycles
        self.history.append({"cycle": self.cycle, "seconds": {}, "adversaries": []})
        entry = self.history[-1]
        if last or self.cycle % self.plan.choice.every == 0:
            self._tell("judge", 0, 1, {})
            parts = ("identity", "held_out_identity", "face", "held_out_face")
            lessons = {part: self._lesson(part) for part in parts}
            entry |= judged(lessons, self.plan.choice, self.plan.seed + self.cycle, self.device)
            entry["effective_levels"] = self._levels()
            found = -float(len(self.history)) if self.plan.choice.keep == "last" else -score(entry, self.plan.choice)
            if self.best is None or found < self.best["loss"]:
                chain = {name: value.clone() for name, value in self.chain.state_dict().items()}
                self.best = {"cycle": self.cycle, "loss": found, "chain": chain}
            self._tell("judge", 1, 1, {kind: entry[kind]["accuracy"] for kind in ("identity", "face")})
        return "done" if last or self._ended() else "recognition 0"

    def _ended(self) -> bool:
        """Whether early stopping ends it here, by the fresh networks' numbers."""
        schedule = self.plan.schedule
        judged_entries = [entry for entry in self.history if "identity" in entry]
        if schedule.settled_cycles is not None and len(judged_entries) > schedule.settled_cycles:
            last = [entry["identity"] for entry in judged_entries[-schedule.settled_cycles :]]
            if all(one["accuracy"] < schedule.settled_below * one["chance"] for one in last):
                return True
        best = 0 if self.best is None else int(self.best["cycle"])
        return schedule.patience is not None and self.cycle - best >= schedule.patience

    def _train_adversary(self, kind: str, number: int, plan: AdversaryPlan) -> None:
        network_plan = plan.networks[number]
        lesson = self._lesson("identity" if kind == "recognition" else "face")
        seed = [self.plan.seed, self.cycle, (RECOGNITION if kind == "recognition" else DETECTION) + number]
        if self.inner is None:
            network = self.networks.get(self.phase)
            before = 0.0
            if network is not None:
                first = lesson.looks.codes[:, 0]
                right = right_answers(network, network_plan.upsample, first, lesson.looks.full_scale, lesson.labels)
                before = float(right.mean())
            restarted = network is None or plan.restart_always or before < plan.restart_below
            if restarted:
                self.networks[self.phase] = new_network(network_plan, lesson, seed, self.device)
            torch.manual_seed(int(np.random.default_rng([*seed, 1]).integers(2**62)))
            self.inner = {"before": before, "restarted": restarted}
        network = self.networks[self.phase]
        training = Training(network, network_plan.upsample, lesson, plan, [*seed, 2], self.inner["restarted"])
        if "training" in self.inner:
            training.restore(self.inner["training"])
        while not training.done:
            training.advance()
            seen = (training.step - 1) % training.steps_per_pass + 1
            numbers = {"loss": training.losses / seen, "accuracy": training.right / (seen * plan.batch)}
            self._tell(self.phase, training.step, training.steps, numbers)
            self._stepped(lambda: {**(self.inner or {}), "training": training.state()})
        test = self._lesson("held_out_identity" if kind == "recognition" else "held_out_face")
        codes = test.looks.codes[:, 0]
        right = right_answers(network, network_plan.upsample, codes, test.looks.full_scale, test.labels)
        self.history[-1]["adversaries"].append(
            {
                "kind": kind,
                "network": network_plan.name,
                "restarted": self.inner["restarted"],
                "before": self.inner["before"],
                "passes": training.passed,
                "train_accuracy": training.right / len(lesson.labels),
            }
            | accuracy(right, lesson.classes)
        )

    def _train_encoder(self) -> None:
        schedule = self.plan.schedule
        rng = np.random.default_rng([self.plan.seed, self.cycle, ENCODER])
        step, sums = 0, dict.fromkeys(PARTS, 0.0)
        if self.inner is not None:
            rng.bit_generator.state = self.inner["rng"]
            step, sums = self.inner["step"], dict(self.inner["sums"])
        faces = len(self.material.faces)
        passes = schedule.encoder_epochs
        steps = schedule.encoder_steps if passes is None else passes * -(-faces * 2 // schedule.batch)
        while step < steps:
            loss, numbers = encoder_loss(
                self.chain, self.networks, self.plan, self.material, self._slope(), self.nuisance, rng
            )
            if not bool(torch.isfinite(loss)):
                raise LearningError(
                    f"the loss of the encoder is {loss.item()} in cycle {self.cycle}, step {step}: choose a smaller "
                    f"schedule.learning_rate than {schedule.learning_rate:g}"
                )
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            step += 1
            sums = {name: sums[name] + numbers[name] for name in sums}
            self._tell("encoder", step, steps, {name: value / step for name, value in sums.items()})
            position = {"rng": rng.bit_generator.state, "step": step, "sums": sums}
            self._stepped(lambda position=position: position)  # type: ignore[misc]
        self.history[-1]["encoder"] = {name: value / steps for name, value in sums.items()} | {"slope": self._slope()}

    def _slope(self) -> float:
        return self.plan.schedule.slope + self.plan.schedule.slope_rise * self.cycle

    def _lesson(self, part: str) -> Lesson:
        """Cached codes of this cycle's encoder: encoded when they are first asked for, the same whenever that is."""
        if part not in self.lessons:
            rng = np.random.default_rng([self.plan.seed, self.cycle, LOOKS, len(part)])
            nuisance = self.nuisance if self.plan.nuisance.adversaries else None
            looks = self.plan.schedule.looks
            further = nuisance.metered() if nuisance is not None and self.plan.nuisance.exposure_span else None
            self.lessons[part] = encoded_lesson(part, self.chain, self.material, looks, nuisance, rng, further)
        return self.lessons[part]

    def _encoder_optimizer(self) -> torch.optim.Optimizer:
        schedule = self.plan.schedule
        kernels = [one for one in self.chain.kernels.parameters() if one.requires_grad]
        own = {id(one) for one in self.chain.kernels.parameters()}
        thresholds = [one for one in self.chain.parameters() if id(one) not in own]
        groups = [
            {"params": kernels, "lr": schedule.learning_rate},
            {"params": thresholds, "lr": schedule.thresholds_learning_rate or schedule.learning_rate},
        ]
        if schedule.cycles and not kernels + thresholds:
            raise PlanError(f"{self.plan.name}: this chain has nothing to learn; expected schedule.cycles of 0")
        return torch.optim.Adam([group for group in groups if group["params"]] or [torch.zeros(1)])

    def _levels(self) -> int | None:
        return None if self.plan.chain.levels is None else self.chain.export().effective_levels

    def _stepped(self, position: Callable[[], dict[str, Any]]) -> None:
        """A step is done: checkpoint now and then, and end when as many were done as asked for."""
        self.since_saved += 1
        if self.steps_left is not None:
            self.steps_left -= 1
        if self.since_saved >= CHECKPOINT_EVERY or self.steps_left == 0:
            self.inner = position()
            self._clock()
            self.save()
        if self.steps_left == 0:
            raise _StoppedError

    def _tell(self, phase: str, step: int, steps: int, numbers: dict[str, float]) -> None:
        if self.report is not None:
            self.report(Progress(self.cycle, self.plan.schedule.cycles, phase, step, steps, numbers))

    def _clock(self) -> None:
        """The time since the last call belongs to this phase."""
        now = time.monotonic()
        times = self.history[-1]["seconds"]
        kind = self.phase.partition(" ")[0]
        times[kind] = times.get(kind, 0.0) + now - self.timed
        self.timed = now

    def save(self) -> None:
        """The checkpoint: all that is needed to go on as if nothing had happened."""
        self.since_saved = 0
        state = {
            "position": (self.cycle, self.phase),
            "inner": self.inner,
            "chain": self.chain.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "history": self.history,
            "best": self.best,
            "start": self.start_digest,
        } | random_state(self.device)
        write_checkpoint(self.folder / "checkpoint.pt", self.plan, self.digest, state)

    def _restore(self, state: dict[str, Any]) -> None:
        if state.get("start") != self.start_digest:
            raise PlanError(f"{self.plan.chain.start.path} has changed since; bring it back, or give another folder")
        self.cycle, self.phase = state["position"]
        self.inner, self.history, self.best = state["inner"], state["history"], state["best"]
        self.chain.load_state_dict(state["chain"])
        self.optimizer.load_state_dict(state["optimizer"])
        few = self.material.few()
        for name, weights in state["networks"].items():
            kind, _, number = name.partition(" ")
            plan = self.plan.recognition if kind == "recognition" else self.plan.detection
            part = "identity" if kind == "recognition" else "face"
            lesson = encoded_lesson(part, self.chain, few, 1, None, np.random.default_rng(0))
            self.networks[name] = new_network(plan.networks[int(number)], lesson, [0], self.device)
            self.networks[name].load_state_dict(weights)
        restore_random_state(state, self.device)

    def kept(self) -> Chain:
        """The chain of the best cycle so far; before any was judged, the chain as it is."""
        chain = copy.deepcopy(self.chain).cpu()
        if self.best is not None:
            chain.load_state_dict(self.best["chain"])
        return chain

    def write(self) -> None:
        """encoding.npz (the best so far) and learning.json (everything known about it)."""
        chain = self.kept()
        write_chain(self.folder, chain)
        best = 0 if self.best is None else int(self.best["cycle"])
        finished = self.phase == "done"
        record = learning_record(self.plan, self.material, self.digest, self.history, chain, best, finished)
        text = json.dumps(record, indent=1, allow_nan=False) + "\n"
        write_whole(self.folder / "learning.json", text)
