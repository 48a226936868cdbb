"""One point of a sweep, start to end: learn its plan, then let fresh attackers judge the encoding. Needs torch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.attackers.device import CPU
from models.attackers.fit import FitSettings, fit
from models.attackers.looks import looks_of
from models.attackers.views import View
from models.detector.metrics import bootstrap_interval, wilson_interval
from models.encoder.alternate import Progress, learn
from models.encoder.material import learning_material
from models.encoder.plan import EncoderPlan
from models.encoder.sweep import JudgePlan
from models.encoder.sweep_images import IMAGES, limits, questions
from models.evidence.bits import code_entropies
from models.evidence.material import Labelled, Material, read_material
from models.evidence.subjects import Subject
from optics.encoding import Encoding
from optics.whole_file import write_whole

PROGRESS = "progress.json"
REPORT_EVERY = 10  # steps of learning between two looks at how far it is

Say = Callable[[str], None]


def run_point(plan: EncoderPlan, judge: JudgePlan, data: Path, folder: Path, device: str = CPU) -> dict[str, Any]:
    """Learn `plan` on the archives in `data` and judge what comes out, in `folder`; the same for the same arguments.

    A learning that was interrupted goes on; one that is complete is only judged. Meanwhile progress.json in `folder`
    says how far it is. Returns a JSON object: plan, judge, data_sha256, encoding_id, effective_levels, realisable, bits
    (per_measurement, per_code), identity and face (chance, n, and one entry per attacker, see `judged`). Raises
    DataMissingError for a missing archive, and what `learn` raises.
    """

    def report(progress: Progress) -> None:
        if progress.step % REPORT_EVERY == 0:
            _say(folder, progress.cycle, f"learning, {progress.phase}")

    _say(folder, 0, "reading images")
    material = learning_material(data, plan)
    encoding = learn(plan, material, folder, report, device=device)
    images = read_material(data, questions(judge), limits(judge), folder.parent.parent / IMAGES)

    def say(stage: str) -> None:
        _say(folder, plan.schedule.cycles, f"judging, {stage}")

    found = judged(encoding, plan, judge, images, say, device)
    return {
        "plan": plan.model_dump(mode="json"),
        "judge": judge.model_dump(mode="json"),
        "data_sha256": images.data_sha256,
        "encoding_id": encoding.id,
        "effective_levels": encoding.effective_levels,
        "realisable": encoding.realisable,
    } | found


def judged(
    encoding: Encoding, plan: EncoderPlan, judge: JudgePlan, images: Material, say: Say, device: str = CPU
) -> dict[str, Any]:
    """What fresh attackers make of an encoding: bits, identity, face.

    Of each attacker: accuracy with its Wilson interval, right, n, train_accuracy (of the first looks: near 1 with a low
    accuracy, it has memorised, and understates what leaks); for identity also per_person (share right of each),
    balanced (their mean) and its bootstrap interval over people. Attackers train on `judge.looks` noisy measurements of
    each crop at sub-cell shifts, and are tested on one.
    """
    # The paper's range comes with its sRGB values, see `models.encoder.chain.ChainSettings`.
    subject = Subject("point", "ours", encoding, plan.chain.light)
    identity_parts = images.parts["identity train"], images.parts["identity test"]
    question = questions(judge)[1]
    face_parts = images.parts[f"{question} train"], images.parts[f"{question} test"]
    say("identity")
    identity = _attacks(subject, plan, judge, *identity_parts, images.people, judge.epochs, True, say, device)
    say("face")
    face = _attacks(subject, plan, judge, *face_parts, 2, judge.face_epochs, False, say, device)
    whole, each = code_entropies(subject.look(images.parts["identity test"].images).inputs)
    return {
        "bits": {"per_measurement": whole, "per_code": each},
        "identity": {"people": images.people, "chance": 1 / images.people, "n": len(identity_parts[1])}
        | {"attackers": identity},
        "face": {"source": judge.faces, "chance": 0.5, "n": len(face_parts[1]), "attackers": face},
    }


def _attacks(
    subject: Subject,
    plan: EncoderPlan,
    judge: JudgePlan,
    train: Labelled,
    test: Labelled,
    classes: int,
    epochs: int,
    balanced: bool,
    say: Say,
    device: str,
) -> dict[str, Any]:
    """One result per network of the judge, by its name."""
    rng = np.random.default_rng([plan.seed, 71])

    def view(crops: NDArray[np.uint8]) -> View:
        return subject.look(crops, rng)

    looks = looks_of(view, train.images, judge.looks, rng, plan.chain.pool)
    tested = view(test.images).inputs
    found = {}
    for network in judge.networks:
        say(network.name)
        settings = FitSettings(
            network=network.network,
            width=network.width,
            upsample=network.upsample,
            epochs=epochs,
            batch=judge.batch,
            learning_rate=judge.learning_rate,
            # Looks are mirrored before they are measured: the codes of a mirrored face are no mirrored codes.
            mirror=False,
            seed=plan.seed,
        )
        fitted = fit(looks, 15, train.labels, classes, settings, device=device)
        right = fitted.logits(tested).argmax(axis=1) == test.labels
        entry: dict[str, Any] = {
            "accuracy": float(right.mean()),
            "accuracy_95": list(wilson_interval(int(right.sum()), len(right))),
            "right": int(right.sum()),
            "n": len(right),
            "train_accuracy": fitted.train_accuracy,
        }
        if balanced:
            shares = [float(right[test.labels == label].mean()) for label in np.unique(test.labels)]
            interval = bootstrap_interval(shares, lambda some: float(np.mean(some)), np.random.default_rng(0))
            entry |= {"per_person": shares, "balanced": float(np.mean(shares)), "balanced_95": list(interval)}
        found[network.name] = entry
    return found


def _say(folder: Path, cycle: int, stage: str) -> None:
    """How far a point is, for whoever watches; whole or not at all."""
    write_whole(folder / PROGRESS, json.dumps({"cycle": cycle, "stage": stage}))
