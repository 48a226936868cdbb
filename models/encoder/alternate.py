"""Alternating optimisation of an encoder against recognition and detection networks. Needs torch.

Each cycle (Tan et al., "CAnOPIC", ICME 2020, Sec. 3.2; par.nsf.gov/biblio/10217888):

    0. where the plan has scenes, a detector learns to find faces in windows of them through the encoder as it is
    1. codes of the encoder as it is are cached; fresh networks judge it
    2. recognition and detection networks learn from the cached codes
    3. they are fixed, and the encoder descends on cross-entropy(detection) - alpha * entropy(recognition) [+ weight *
       the detector's loss in scenes]

Here is what is done; what there is at any moment, and how it is kept, is `models.encoder.learning`. A learning can be
killed anywhere and goes on from its checkpoint with the result of one that was never stopped, bit for bit on one
machine and thread. Which cycle's encoder is kept, fresh networks decide: docs/decisions/0028.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from models.attackers.device import CPU, own_random_state
from models.attackers.fit import one_thread
from models.detector.network import FaceNetwork
from models.detector.scenes import Scene
from models.encoder.adversaries import Training, accuracy, new_network, right_answers
from models.encoder.chain import Chain
from models.encoder.judge import judged, score
from models.encoder.learning import DETECTION, ENCODER, RECOGNITION, SCENES, Learning
from models.encoder.material import LearningMaterial
from models.encoder.objective import PARTS, encoder_loss
from models.encoder.plan import AdversaryPlan, EncoderPlan, PlanError
from models.encoder.scene_detection import (
    SceneLesson,
    SceneTraining,
    new_detector,
    precision_in_windows,
    scene_camera,
    scene_lesson,
)
from models.encoder.scene_plan import ScenesPlan
from models.encoder.scene_windows import margin_px, scenes_apart, training_scenes, windows_in_parts
from optics.encoding import Encoding

# Steps of any kind between two checkpoints.
CHECKPOINT_EVERY = 50


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
        learning = Learning(plan, material, folder, device)
        with suppress(_StoppedError):
            _Alternation(learning, report, stop_after).run()
        return learning.kept()


class _Alternation:
    """Goes through the phases of a learning, each of which can be entered in its middle."""

    def __init__(self, learning: Learning, report: Report | None, stop_after: int | None) -> None:
        self.learning, self.report, self.steps_left = learning, report, stop_after
        self.since_saved, self.timed = 0, time.monotonic()

    def run(self) -> None:
        learning = self.learning
        while learning.phase != "done":
            ended, follows = learning.phase, self._phase()
            self._clock()
            learning.enter(follows)
            if ended in ("judge", "encoder"):
                learning.write()
            self._save()

    def _phase(self) -> str:
        """Does what is left of the phase; the name of the one that follows."""
        learning = self.learning
        if learning.phase == "scenes":
            self._train_detector()
            return "judge"
        if learning.phase == "judge":
            return self._judge()
        kind, _, number = learning.phase.partition(" ")
        if kind == "encoder":
            self._train_encoder()
            return learning.first_phase
        plan = learning.plan.recognition if kind == "recognition" else learning.plan.detection
        self._train_adversary(kind, int(number), plan)
        if int(number) + 1 < len(plan.networks):
            return f"{kind} {int(number) + 1}"
        return "detection 0" if kind == "recognition" else "encoder"

    def _judge(self) -> str:
        learning = self.learning
        choice = learning.plan.choice
        last = learning.cycle == learning.plan.schedule.cycles
        entry = learning.entry
        if last or learning.cycle % choice.every == 0:
            self._tell("judge", 0, 1, {})
            parts = ("identity", "held_out_identity", "face", "held_out_face")
            lessons = {part: learning.lesson(part) for part in parts}
            entry |= judged(lessons, choice, learning.plan.seed + learning.cycle, learning.device)
            entry["effective_levels"] = learning.effective_levels()
            learning.keep(-float(len(learning.history)) if choice.keep == "last" else -score(entry, choice))
            numbers = {kind: entry[kind]["accuracy"] for kind in ("identity", "face")}
            scenes = entry.get("scenes", {}).get("ap")
            self._tell("judge", 1, 1, numbers | ({} if scenes is None else {"scenes_ap": scenes}))
        return "done" if last or self._ended() else "recognition 0"

    def _ended(self) -> bool:
        """Whether early stopping ends it here, by the fresh networks' numbers."""
        learning = self.learning
        schedule = learning.plan.schedule
        judged_entries = [entry for entry in learning.history if "identity" in entry]
        if schedule.settled_cycles is not None and len(judged_entries) > schedule.settled_cycles:
            last = [entry["identity"] for entry in judged_entries[-schedule.settled_cycles :]]
            if all(one["accuracy"] < schedule.settled_below * one["chance"] for one in last):
                return True
        best = 0 if learning.best is None else int(learning.best["cycle"])
        return schedule.patience is not None and learning.cycle - best >= schedule.patience

    def _train_detector(self) -> None:
        """The detector of scenes learns from this cycle's encoder, and says how well faces are found with it."""
        learning, plan, source = self.learning, self.learning.plan.scenes, self.learning.material.scenes
        if plan is None or source is None:
            raise PlanError(f"{learning.plan.name} asks for scenes, and its images have none; use `learning_material`")
        seed = [learning.plan.seed, learning.cycle, SCENES]
        if learning.inner is None:
            new = "scenes" not in learning.networks
            if new:
                learning.networks["scenes"] = new_detector(plan, learning.channels, seed).to(learning.device)
            learning.inner = {"new": new}
        network = cast(FaceNetwork, learning.networks["scenes"])
        count = plan.new_windows if learning.inner["new"] else plan.windows
        scenes = training_scenes(source, np.random.default_rng([*seed, 0]))
        lesson = self._scene_lesson(plan, scenes, count, [*seed, 1])
        camera = scene_camera(learning.plan)
        training = SceneTraining(network, lesson, plan, camera, [*seed, 2], learning.inner["new"])
        if "training" in learning.inner:
            training.restore(learning.inner["training"])
        while not training.done:
            training.advance()
            self._tell("scenes", training.step, training.steps, {"loss": training.losses / training.step})
            self._stepped(lambda: {**(learning.inner or {}), "training": training.state()})
        # The same windows in every cycle, so that their numbers compare.
        test = self._scene_lesson(plan, scenes_apart(source), plan.apart, [learning.plan.seed, SCENES, 3])
        found = precision_in_windows(network, test, np.random.default_rng([*seed, 4]))
        learning.entry["scenes"] = {"loss": training.losses / training.steps} | found

    def _scene_lesson(self, plan: ScenesPlan, scenes: Iterator[Scene], count: int, seed: list[int]) -> SceneLesson:
        """`count` windows of `scenes` through the encoder as it is."""
        chain, rng = self.learning.plan.chain, np.random.default_rng(seed)

        def report(done: int, total: int) -> None:
            self._tell("scenes, measuring", done, total, {})

        margin = margin_px(chain.start.side_px, chain.pool)
        parts = windows_in_parts(scenes, count, plan.window_px, margin, rng, report)
        return scene_lesson(self.learning.chain, parts)

    def _train_adversary(self, kind: str, number: int, plan: AdversaryPlan) -> None:
        learning, network_plan = self.learning, plan.networks[number]
        lesson = learning.lesson("identity" if kind == "recognition" else "face")
        seed = [learning.plan.seed, learning.cycle, (RECOGNITION if kind == "recognition" else DETECTION) + number]
        if learning.inner is None:
            network = learning.networks.get(learning.phase)
            before = 0.0
            if network is not None:
                first = lesson.looks.codes[:, 0]
                right = right_answers(network, network_plan.upsample, first, lesson.looks.full_scale, lesson.labels)
                before = float(right.mean())
            restarted = network is None or plan.restart_always or before < plan.restart_below
            if restarted:
                learning.networks[learning.phase] = new_network(network_plan, lesson, seed, learning.device)
            torch.manual_seed(int(np.random.default_rng([*seed, 1]).integers(2**62)))
            learning.inner = {"before": before, "restarted": restarted}
        network = learning.networks[learning.phase]
        training = Training(network, network_plan.upsample, lesson, plan, [*seed, 2], learning.inner["restarted"])
        if "training" in learning.inner:
            training.restore(learning.inner["training"])
        while not training.done:
            training.advance()
            seen = (training.step - 1) % training.steps_per_pass + 1
            numbers = {"loss": training.losses / seen, "accuracy": training.right / (seen * plan.batch)}
            self._tell(learning.phase, training.step, training.steps, numbers)
            self._stepped(lambda: {**(learning.inner or {}), "training": training.state()})
        test = learning.lesson("held_out_identity" if kind == "recognition" else "held_out_face")
        codes = test.looks.codes[:, 0]
        right = right_answers(network, network_plan.upsample, codes, test.looks.full_scale, test.labels)
        learning.entry["adversaries"].append(
            {
                "kind": kind,
                "network": network_plan.name,
                "restarted": learning.inner["restarted"],
                "before": learning.inner["before"],
                "passes": training.passed,
                "train_accuracy": training.right / len(lesson.labels),
            }
            | accuracy(right, lesson.classes)
        )

    def _train_encoder(self) -> None:
        learning, schedule = self.learning, self.learning.plan.schedule
        rng = np.random.default_rng([learning.plan.seed, learning.cycle, ENCODER])
        slope, step, sums = learning.slope, 0, dict.fromkeys(PARTS, 0.0)
        if learning.inner is not None:
            rng.bit_generator.state = learning.inner["rng"]
            step, sums = learning.inner["step"], dict(learning.inner["sums"])
        faces = len(learning.material.faces)
        passes = schedule.encoder_epochs
        steps = schedule.encoder_steps if passes is None else passes * -(-faces * 2 // schedule.batch)
        while step < steps:
            loss, numbers = encoder_loss(
                learning.chain, learning.networks, learning.plan, learning.material, slope, learning.nuisance, rng
            )
            if not bool(torch.isfinite(loss)):
                raise LearningError(
                    f"the loss of the encoder is {loss.item()} in cycle {learning.cycle}, step {step}: choose a "
                    f"smaller schedule.learning_rate than {schedule.learning_rate:g}"
                )
            learning.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            learning.optimizer.step()
            step += 1
            sums = {name: sums[name] + numbers[name] for name in sums}
            self._tell("encoder", step, steps, {name: value / step for name, value in sums.items()})
            position = {"rng": rng.bit_generator.state, "step": step, "sums": sums}
            self._stepped(lambda position=position: position)  # type: ignore[misc]
        learning.entry["encoder"] = {name: value / steps for name, value in sums.items()} | {"slope": slope}

    def _stepped(self, position: Callable[[], dict[str, Any]]) -> None:
        """A step is done: checkpoint now and then, and end when as many were done as asked for."""
        self.since_saved += 1
        if self.steps_left is not None:
            self.steps_left -= 1
        if self.since_saved >= CHECKPOINT_EVERY or self.steps_left == 0:
            self.learning.inner = position()
            self._clock()
            self._save()
        if self.steps_left == 0:
            raise _StoppedError

    def _save(self) -> None:
        self.since_saved = 0
        self.learning.save()

    def _tell(self, phase: str, step: int, steps: int, numbers: dict[str, float]) -> None:
        if self.report is not None:
            self.report(Progress(self.learning.cycle, self.learning.plan.schedule.cycles, phase, step, steps, numbers))

    def _clock(self) -> None:
        """The time since the last call belongs to this phase."""
        now = time.monotonic()
        times = self.learning.entry["seconds"]
        kind = self.learning.phase.partition(" ")[0]
        times[kind] = times.get(kind, 0.0) + now - self.timed
        self.timed = now
