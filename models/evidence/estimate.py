"""How long an evaluation will take here: steps of every attacker and a few looks, timed, times those there are."""

import time
from dataclasses import replace

import numpy as np

from models.datasets.windows import CROP_PX
from models.evidence.head_start import NETWORK
from models.evidence.jobs import Evaluation, Job, Plan, material_of
from models.evidence.kept_looks import is_picture, test_looks, training_looks
from models.evidence.material import OF_PEOPLE
from models.evidence.questions import OF_MEANS, PAIR_LOOKS, fit_settings
from models.evidence.runs import RunKey
from models.evidence.settings import LINEAR, NEAREST, PRETRAINED, EvidenceSettings
from models.evidence.sized import parted, pool_of, sized_crops
from models.evidence.subjects import Subject
from models.evidence.whole import DETECTION, DISTANCE

# Training steps that are timed: so many as take about this long, within bounds. Fewer steps of a small network take no
# longer than making it does.
TIMED_S = 0.4
LEAST_STEPS, MOST_STEPS = 2, 40
LOOKS = 8
# Of a control, for every value of every training image, as run files say (the linear probe took 3.5 s on 192 values of
# 1,400 images, the nearest neighbour 2.4 s on 43,200 of 1,300), and at least.
SECONDS_PER_VALUE = {LINEAR: 1.3e-5, NEAREST: 4e-8}
LEAST_SECONDS = 0.5
# Reading the images and the runs by size that distance is put together from.
SECONDS_TO_ASSEMBLE = 5.0
# A test image passes forwards only, itself and its mirror image: about this share of a training step's cost.
FORWARD_SHARE = 0.5
# Questions that are not estimated.
NOT_ESTIMATED = (DETECTION,)


def estimated_seconds(evaluation: Evaluation, plan: Plan) -> dict[RunKey, float]:
    """Seconds of one core for each missing job, at this machine's present load; `NOT_ESTIMATED` are left out.

    Times a few training steps of every kind of network on inputs of every size, once each, and `LOOKS` looks of every
    subject at every size. The first of the jobs that share looks is taken to measure them.
    """
    clock = _Clock(evaluation)
    measured = {job.shared for job in plan.jobs if job.key in plan.found}
    found = {}
    for job in plan.missing:
        if job.key.question in NOT_ESTIMATED:
            continue
        if job.key.question == DISTANCE:
            found[job.key] = SECONDS_TO_ASSEMBLE
            continue
        found[job.key] = clock.answering(job)
        if job.shared not in measured:
            measured.add(job.shared)
            found[job.key] += clock.measuring(job)
    return found


class _Clock:
    """What was timed for one estimate."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation
        # By the network, and the side and channels of what it reads.
        self.per_image: dict[tuple[str, int, int], float] = {}
        # By the subject and the size of the face: seconds of one look, and the look's side and channels.
        self.per_look: dict[tuple[str, float | None], tuple[float, int, int]] = {}

    def answering(self, job: Job) -> float:
        """Seconds to train the attacker of a job and to ask it."""
        attacker, question = job.key.attacker, job.key.question
        settings = self.evaluation.settings if job.sized is None else job.sized.settings
        _, side, channels = self._look(job)
        training, test = self._images(job)
        if attacker in SECONDS_PER_VALUE:
            return max(LEAST_SECONDS, SECONDS_PER_VALUE[attacker] * side**2 * channels * training)
        # The pretrained attacker's student is of the first network's kind.
        kind = (NETWORK if attacker == PRETRAINED else attacker, side, channels)
        if kind not in self.per_image:
            self.per_image[kind] = _seconds_per_image(job, *kind, self._device(job), self.evaluation)
        passes = 0 if attacker == PRETRAINED else settings.epochs(question)
        if attacker == OF_MEANS and _of_means(job, settings):
            # It is trained once more, on mean codes.
            passes *= 2
        trained = training * (passes + FORWARD_SHARE)
        if attacker == PRETRAINED:
            trained += len(material_of(self.evaluation).parts["pretraining train"]) * settings.student_epochs
        tested = test * (test_looks(question, settings) + 1)
        return self.per_image[kind] * (trained + FORWARD_SHARE * tested)

    def measuring(self, job: Job) -> float:
        """Seconds to measure the looks that a job shares with others."""
        question, subject = job.key.question, job.subject
        settings = self.evaluation.settings if job.sized is None else job.sized.settings
        training, test = self._images(job)
        each = training_looks(subject, settings)
        looks = training * each + test * test_looks(question, settings)
        if _of_means(job, settings):
            # Looks that no mirror turned, for mean codes.
            looks += training * each
        if question == "identity" and job.sized is None:
            parts = material_of(self.evaluation).parts
            looks += len(parts["identity unseen"])
            if "pretraining train" in parts:
                looks += len(parts["pretraining train"]) * min(each, PAIR_LOOKS)
        return looks * self._look(job)[0]

    def _images(self, job: Job) -> tuple[int, int]:
        """Training and test images."""
        question, evaluation = job.key.question, self.evaluation
        if job.sized is None:
            parts = material_of(evaluation).parts
        else:
            limits = job.sized.settings.limits
            parts = parted(question, evaluation.data, limits, evaluation.cache)[job.sized.fold]
        return len(parts[f"{question} train"]), len(parts[f"{question} test"])

    def _look(self, job: Job) -> tuple[float, int, int]:
        at = (job.key.subject, None if job.sized is None else job.sized.face_px)
        if at not in self.per_look:
            self.per_look[at] = _timed_look(job.subject, at[1])
        return self.per_look[at]

    def _device(self, job: Job) -> str:
        """Runs by size stay on the processor."""
        return self.evaluation.device if job.sized is None else "cpu"


def _of_means(job: Job, settings: EvidenceSettings) -> bool:
    """Whether an answer from mean codes is wanted (`kept_looks.looks_for_means`)."""
    return job.key.question in OF_PEOPLE and settings.looks > 1 and not is_picture(job.subject)


def _timed_look(subject: Subject, face_px: float | None) -> tuple[float, int, int]:
    """Seconds of one look of a crop (of a face of `face_px`, or as it is), and its side and channels."""
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (LOOKS, CROP_PX, CROP_PX, 3), np.uint8)
    if face_px is not None:
        crops = sized_crops(crops, face_px, pool_of(subject))
    subject.look(crops[:1], rng)
    started = time.perf_counter()
    inputs = subject.look(crops, rng).inputs
    return (time.perf_counter() - started) / LOOKS, int(inputs.shape[1]), int(inputs.shape[3])


def _seconds_per_image(job: Job, attacker: str, side: int, channels: int, device: str, evaluation: Evaluation) -> float:
    from models.attackers.fit import fit

    settings = fit_settings(job.subject, job.key.question, attacker, 0, evaluation.settings)

    def timed(steps: int) -> float:
        looks = rng.integers(0, 16, (steps * settings.batch, 1, side, side, channels), np.uint8)
        labels = np.arange(len(looks), dtype=np.int64) % 2
        started = time.perf_counter()
        fit(looks, 15, labels, 2, replace(settings, epochs=1), device=device)
        return time.perf_counter() - started

    rng = np.random.default_rng(0)
    timed(1)  # libraries choose their ways at the first step
    steps = int(np.clip(TIMED_S / timed(1), LEAST_STEPS, MOST_STEPS))
    # What is timed is one pass and the forward pass that follows it.
    return timed(steps) / (steps * settings.batch * (1 + FORWARD_SHARE))
