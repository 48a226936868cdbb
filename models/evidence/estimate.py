"""How long an evaluation will take here: a few steps of every attacker, timed, times the steps that there are."""

import time
from dataclasses import replace

import numpy as np

from models.evidence.evaluate import Evaluation, Job, material_of
from models.evidence.head_start import NETWORK
from models.evidence.kept_looks import test_looks
from models.evidence.questions import OF_MEANS, fit_settings, side_and_channels
from models.evidence.runs import RunKey
from models.evidence.settings import CONTROLS, CROP_QUESTIONS, PRETRAINED

BATCHES = 2
# A linear probe of the evaluation's size; the nearest neighbour takes less.
SECONDS_OF_A_CONTROL = 10.0
# A test image passes forwards only, itself and its mirror image: about this share of a training step's cost.
FORWARD_SHARE = 0.5


def estimated_seconds(evaluation: Evaluation, jobs: list[Job]) -> dict[RunKey, float]:
    """Seconds of one core for each job on crops, at this machine's present load; scenes and distance are left out.

    Times `BATCHES` training steps of every kind of network on inputs of every size, once each.
    """
    per_image: dict[tuple[str, int, int], float] = {}
    material = material_of(evaluation)
    found = {}
    for job in jobs:
        question = job.key.question
        if question not in CROP_QUESTIONS:
            continue
        if job.key.attacker in CONTROLS:
            found[job.key] = SECONDS_OF_A_CONTROL
            continue
        settings = evaluation.settings
        # The pretrained attacker's student is of the first network's kind.
        attacker = NETWORK if job.key.attacker == PRETRAINED else job.key.attacker
        side, channels = side_and_channels(job.subject)
        kind = (attacker, side, channels)
        if kind not in per_image:
            per_image[kind] = _seconds_per_image(job, attacker, side, channels, evaluation)
        passes = 0 if job.key.attacker == PRETRAINED else settings.epochs(question)
        if job.key.attacker == OF_MEANS and question == "identity" and settings.looks > 1:
            # It is trained once more, on mean codes.
            passes *= 2
        trained = len(material.parts[f"{question} train"]) * (passes + FORWARD_SHARE)
        if job.key.attacker == PRETRAINED:
            trained += len(material.parts["pretraining train"]) * settings.student_epochs
        tested = len(material.parts[f"{question} test"]) * (test_looks(question, settings) + 1)
        found[job.key] = per_image[kind] * (trained + FORWARD_SHARE * tested)
    return found


def _seconds_per_image(job: Job, attacker: str, side: int, channels: int, evaluation: Evaluation) -> float:
    from models.attackers.fit import fit

    settings = fit_settings(job.subject, job.key.question, attacker, 0, evaluation.settings)
    count = BATCHES * settings.batch
    looks = np.random.default_rng(0).integers(0, 16, (count, 1, side, side, channels), np.uint8)
    labels = np.arange(count, dtype=np.int64) % 2
    fit(looks[: settings.batch], 15, labels[: settings.batch], 2, replace(settings, epochs=1), device=evaluation.device)
    started = time.perf_counter()
    fit(looks, 15, labels, 2, replace(settings, epochs=1), device=evaluation.device)
    # What is timed is one pass and the forward pass that follows it.
    return (time.perf_counter() - started) / (count * (1 + FORWARD_SHARE))
