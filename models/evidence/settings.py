"""How everything is judged: the questions, the attackers that answer them, and how long each is trained."""

from dataclasses import dataclass, field

from models.evidence.material import OF_PEOPLE, Limits

CROP_QUESTIONS = ("identity", "face", "same-photographs", "surroundings", "face-alone")
WORDS = {
    "identity": "identity",
    "verification": "identity",
    "retrieval": "identity",
    "face": "face",
    "same-photographs": "same-photographs",
    "surroundings": "surroundings",
    "face-alone": "face-alone",
    "detection": "detection",
    "distance": "distance",
}
NETWORK_NAMES = ("small", "resnet18", "googlenet")
# Weak attackers that anyone has: the nearest training image and a linear probe. Asked who it is, with one seed.
NEAREST, LINEAR = "nearest", "linear"
CONTROLS = (NEAREST, LINEAR)
# The attacker that learned a face embedding before; asked who it is and about unseen people.
PRETRAINED = "pretrained"
# Highest learning rates at which these networks got furthest in the time that there is (decision 31).
LEARNING_RATES = {"small": 4e-3, "resnet18": 6e-3, "googlenet": 6e-3}
UPSAMPLED = " x8"
UPSAMPLE = 8


class QuestionError(Exception):
    """A question, an attacker or a setting that does not exist. The message says which do."""


@dataclass(frozen=True)
class EvidenceSettings:
    """How everything is judged.

    seeds: attackers of each kind per subject and question. width: factor on the attackers' channels (1: as published).
    looks: measurements of each test face at sub-cell shifts, of which the first is the face as it is. training_looks:
    measurements of each training image. epochs: passes over the training images by question. pretrained_seeds: seeds of
    the pretrained attacker, which takes three times as long as the small one; detection_seeds: detectors of scenes;
    None: as many as of the others. sizes_px: sizes of the face that distance is asked about, ascending; None: those of
    `models.evidence.whole`.
    """

    questions: tuple[str, ...] = ("identity", "face", "same-photographs")
    attackers: tuple[str, ...] = ("small", "resnet18")
    seeds: int = 3
    pretrained_seeds: int | None = None
    detection_seeds: int | None = None
    width: float = 0.25
    looks: int = 16
    training_looks: int = 8
    identity_epochs: int = 50
    face_epochs: int = 8
    windows_epochs: int = 16
    student_epochs: int = 14
    scenes: int = 4000
    scene_steps: int = 1500
    sizes_px: tuple[float, ...] | None = None
    limits: Limits = field(default_factory=Limits)
    quick: bool = False

    def epochs(self, question: str) -> int:
        """Passes over the training images for one of `CROP_QUESTIONS`."""
        if question in OF_PEOPLE:
            return self.identity_epochs
        return {"face": self.face_epochs, "same-photographs": self.windows_epochs}[question]


def check_attackers(attackers: tuple[str, ...]) -> None:
    """Raises QuestionError, which lists the known ones, for an attacker that does not exist."""
    known = [*(name + suffix for name in NETWORK_NAMES for suffix in ("", UPSAMPLED)), PRETRAINED, *CONTROLS]
    for attacker in attackers:
        if attacker not in known:
            raise QuestionError(f'there is no attacker "{attacker}": known are {", ".join(known)}')


def asked_questions(words: tuple[str, ...]) -> tuple[str, ...]:
    """The questions that words stand for, in a fixed order. Verification and retrieval come out of the same attackers
    as identity. Raises QuestionError, which lists the known words, for another one."""
    for word in words:
        if word not in WORDS:
            raise QuestionError(f'there is no question "{word}": known are {", ".join(WORDS)}')
    wanted = {WORDS[word] for word in words}
    return tuple(question for question in dict.fromkeys(WORDS.values()) if question in wanted)


def asked_of(attacker: str, question: str, seed: int, pretrained_seeds: int | None = None) -> bool:
    """Whether an attacker is trained for a question with a seed: controls and the pretrained one only say who it is,
    controls only once, the pretrained one `pretrained_seeds` times."""
    if attacker == PRETRAINED:
        return question == "identity" and (pretrained_seeds is None or seed < pretrained_seeds)
    return attacker not in CONTROLS or (question in OF_PEOPLE and seed == 0)
