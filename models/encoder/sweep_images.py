"""The images that a point of a sweep is judged on: which, and how many of each. Needs no torch."""

from models.encoder.sweep import JudgePlan
from models.evidence.material import Limits

IMAGES = "images"  # in the sweep's folder: crops are decoded once for all points
_QUESTIONS = {"archives": "face", "photographs": "same-photographs"}


def questions(judge: JudgePlan) -> tuple[str, str]:
    """What the judge asks, as `models.evidence.material` names it."""
    return "identity", _QUESTIONS[judge.faces]


def limits(judge: JudgePlan) -> Limits:
    """How many images the judge uses; none of `unseen` people, since nothing is verified here."""
    return Limits(
        people=judge.people,
        most_training=judge.most_training,
        most_test=judge.most_test,
        faces_training=judge.faces_training,
        faces_test=judge.faces_test,
        unseen=0,
    )
