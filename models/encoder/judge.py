"""How good an encoder is, by networks that have never met it: fresh ones, trained on its exact codes. Needs torch.

The networks it was learned against say little: it may have beaten those two and nothing else. These see the learning
people only, so that their numbers may choose an encoder; how private it is, evaluations on other people say.
"""

from typing import Any

import numpy as np

from models.attackers.device import CPU
from models.attackers.fit import FitSettings, fit
from models.encoder.adversaries import Lesson, accuracy
from models.encoder.bits import code_bits
from models.encoder.looks import Looks
from models.encoder.plan import ChoicePlan


def judged(lessons: dict[str, Lesson], plan: ChoicePlan, seed: int, device: str = CPU) -> dict[str, Any]:
    """Fresh accuracies on held-out images, "identity" and "face", and "bits" of the faces' codes.

    lessons: "identity", "held_out_identity", "face" and "held_out_face".
    """
    identity = lessons["identity"]
    return {
        "identity": _fresh(identity, lessons["held_out_identity"], plan, plan.identity_epochs, seed, device),
        "face": _fresh(lessons["face"], lessons["held_out_face"], plan, plan.face_epochs, seed, device),
        "bits": code_bits(identity.looks.codes[:, 0], identity.looks.full_scale),
    }


def score(found: dict[str, Any], plan: ChoicePlan) -> float:
    """What a choice maximises, see `ChoicePlan`."""
    identity, face = float(found["identity"]["accuracy"]), float(found["face"]["accuracy"])
    if plan.face_at_least is not None:
        return 2 - identity if face >= plan.face_at_least else face
    return face - plan.identity_weight * identity


def _fresh(lesson: Lesson, test: Lesson, plan: ChoicePlan, epochs: int, seed: int, device: str) -> dict[str, Any]:
    network = plan.network
    settings = FitSettings(
        network.network, network.width, network.upsample, epochs, plan.batch, plan.learning_rate, plan.weight_decay,
        mirror=False, seed=seed,
    )  # fmt: skip
    looks: Looks = lesson.looks
    fitted = fit(looks.codes, looks.full_scale, lesson.labels, lesson.classes, settings, device=device)
    right = fitted.logits(test.looks.codes[:, 0]).argmax(axis=1) == test.labels
    return accuracy(np.asarray(right), lesson.classes) | {
        "network": network.name,
        "train_accuracy": fitted.train_accuracy,
        "n_train": len(lesson.labels),
    }
