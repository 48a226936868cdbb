"""How good an encoder is, by networks that have never met it: fresh ones, trained on its exact codes. Needs torch.

The networks it was learned against say little: it may have beaten those two and nothing else. These see the learning
people only, so that their numbers may choose an encoder; how private it is, evaluations on other people say.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.attackers.controls import fit_probe
from models.attackers.device import CPU
from models.attackers.fit import FitSettings, fit
from models.encoder.adversaries import Lesson, accuracy
from models.encoder.bits import code_bits
from models.encoder.looks import Looks
from models.encoder.plan import ChoicePlan


def judged(lessons: dict[str, Lesson], plan: ChoicePlan, seed: int, device: str = CPU) -> dict[str, Any]:
    """Fresh accuracies on held-out images, "identity" and "face", and "bits" of the faces' codes.

    lessons: "identity", "held_out_identity", "face" and "held_out_face". Identity is asked of `plan.people` people;
    where a linear probe answers, too, the one that names more images right counts, and "attackers" has both. Whether
    there is a face is asked of the last look of each image.
    """
    identity = lessons["identity"]
    known, asked = most_images(identity, lessons["held_out_identity"], plan.people)
    found = [_fresh(known, asked, plan, plan.identity_epochs, seed, device)]
    if plan.linear:
        found.append(_linear(known, asked, seed))
    best = max(found, key=lambda one: float(one["accuracy"]))
    return {
        "identity": best | ({"attackers": found} if plan.linear else {}),
        "face": _fresh(lessons["face"], lessons["held_out_face"], plan, plan.face_epochs, seed, device),
        "bits": code_bits(identity.looks.codes[:, 0], identity.looks.full_scale),
    }


def score(found: dict[str, Any], plan: ChoicePlan) -> float:
    """What a choice maximises, see `ChoicePlan`."""
    identity, face = float(found["identity"]["accuracy"]), float(found["face"]["accuracy"])
    if plan.faces == "scenes":
        face = float(found["scenes"]["ap"] or 0.0)
    if plan.face_at_least is not None:
        return 2 - identity if face >= plan.face_at_least else face
    return face - plan.identity_weight * identity


def most_images(lesson: Lesson, test: Lesson, people: int | None) -> tuple[Lesson, Lesson]:
    """Both lessons with only the `people` that have the most images to learn from (ties by number), numbered anew.

    None: all, as they are. Fewer people with more images each are told apart more surely, and chance is 1 / people: a
    number near chance stands on more right answers.
    """
    if people is None or people >= lesson.classes:
        return lesson, test
    counts = np.bincount(lesson.labels, minlength=lesson.classes)
    chosen = np.sort(np.argsort(-counts, kind="stable")[:people])
    return _only(lesson, chosen), _only(test, chosen)


def _only(lesson: Lesson, chosen: NDArray[np.int64]) -> Lesson:
    kept = np.isin(lesson.labels, chosen)
    looks = Looks(lesson.looks.codes[kept], lesson.looks.full_scale)
    return Lesson(looks, np.searchsorted(chosen, lesson.labels[kept]), len(chosen))


def _linear(lesson: Lesson, test: Lesson, seed: int) -> dict[str, Any]:
    """A linear probe on exact looks: of few images that say little, it learns what a network may not."""
    codes = lesson.looks.codes[:, 0]
    probe = fit_probe(codes, lesson.labels, lesson.classes, np.random.default_rng([seed, 1]))
    right = probe.logits(test.looks.codes[:, 0]).argmax(axis=1) == test.labels
    return accuracy(np.asarray(right), lesson.classes) | {
        "network": "linear",
        "train_accuracy": float((probe.logits(codes).argmax(axis=1) == lesson.labels).mean()),
        "n_train": len(codes),
    }


def _fresh(lesson: Lesson, test: Lesson, plan: ChoicePlan, epochs: int, seed: int, device: str) -> dict[str, Any]:
    network = plan.network
    settings = FitSettings(
        network.network, network.width, network.upsample, epochs, plan.batch, plan.learning_rate, plan.weight_decay,
        mirror=False, seed=seed,
    )  # fmt: skip
    looks: Looks = lesson.looks
    fitted = fit(looks.codes, looks.full_scale, lesson.labels, lesson.classes, settings, device=device)
    right = fitted.logits(test.looks.codes[:, -1]).argmax(axis=1) == test.labels
    return accuracy(np.asarray(right), lesson.classes) | {
        "network": network.name,
        "train_accuracy": fitted.train_accuracy,
        "n_train": len(lesson.labels),
    }
