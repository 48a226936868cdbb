"""The questions that attackers answer about a subject's looks, each trained afresh. Torch comes in when one is asked.

identity: who of the evaluation's people is it, from one look and from the mean of several. face: is there a face, two
sources. same-photographs: the same, faces and faceless windows cut from the same photographs.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.attackers.looks import looks_of
from models.attackers.views import View
from models.datasets.windows import CROP_PX
from models.detector.batches import mirror_symmetric
from models.evidence.material import Labelled, Limits, Material, question_digest
from models.evidence.runs import Measure, canonical, digest, share
from models.evidence.subjects import Subject

if TYPE_CHECKING:
    from models.attackers.fit import FitSettings

# Raise it when the same settings give other results: older runs are then not reused.
RECIPE = 1
CROP_QUESTIONS = ("identity", "face", "same-photographs")
NETWORK_NAMES = ("small", "resnet18", "googlenet")
UPSAMPLED = " x8"
UPSAMPLE = 8
BASELINE_POOL = 8
# Looks of 64 x 64 px take a hundred times the room of codes; shifts within training stand for them.
MOST_LOOKS_OF_PICTURES = 2
PICTURES = ("clean", "blur")


class QuestionError(Exception):
    """A question, an attacker or a setting that does not exist. The message says which do."""


@dataclass(frozen=True)
class EvidenceSettings:
    """How everything is judged.

    seeds: attackers of each kind per subject and question. width: factor on the attackers' channels (1: as published).
    looks: measurements of each test face at sub-cell shifts, of which the first is the face as it is. training_looks:
    measurements of each training image. epochs: passes over the training images by question.
    """

    questions: tuple[str, ...] = ("identity", "face", "same-photographs")
    attackers: tuple[str, ...] = ("small", "resnet18")
    seeds: int = 3
    width: float = 0.25
    looks: int = 16
    training_looks: int = 8
    identity_epochs: int = 40
    face_epochs: int = 8
    windows_epochs: int = 16
    limits: Limits = field(default_factory=Limits)
    quick: bool = False

    def epochs(self, question: str) -> int:
        """Passes over the training images for one of `CROP_QUESTIONS`."""
        return {"identity": self.identity_epochs, "face": self.face_epochs, "same-photographs": self.windows_epochs}[
            question
        ]


def check_attackers(attackers: tuple[str, ...]) -> None:
    """Raises QuestionError, which lists the known ones, for an attacker that does not exist."""
    known = [name + suffix for name in NETWORK_NAMES for suffix in ("", UPSAMPLED)]
    for attacker in attackers:
        if attacker not in known:
            raise QuestionError(f'there is no attacker "{attacker}": known are {", ".join(known)}')


def check_questions(asked: tuple[str, ...]) -> None:
    """Raises QuestionError, which lists the known ones, for a question that does not exist."""
    for question in asked:
        if question not in CROP_QUESTIONS:
            raise QuestionError(f'there is no question "{question}": known are {", ".join(CROP_QUESTIONS)}')


def side_and_channels(subject: Subject) -> tuple[int, int]:
    """Rows (as many as columns) and channels of one look of a 64 x 64 px crop."""
    look = subject.look(np.full((1, CROP_PX, CROP_PX, 3), 128, np.uint8))
    return int(look.inputs.shape[1]), int(look.inputs.shape[3])


def fit_settings(
    subject: Subject, question: str, attacker: str, seed: int, settings: EvidenceSettings
) -> "FitSettings":
    """How an attacker is trained for a question."""
    from models.attackers.fit import FitSettings

    return FitSettings(
        network=attacker.removesuffix(UPSAMPLED),
        width=settings.width,
        upsample=UPSAMPLE if attacker.endswith(UPSAMPLED) else 1,
        epochs=settings.epochs(question),
        mirror=subject.encoding is None or mirror_symmetric(subject.encoding),
        seed=seed,
    )


def run_settings(
    subject: Subject, question: str, attacker: str, material: Material, settings: EvidenceSettings
) -> dict[str, Any]:
    """Everything beside subject, question, attacker and seed that decides a run's result, as a JSON object."""
    training = asdict(fit_settings(subject, question, attacker, 0, settings))
    del training["seed"]
    return {
        "recipe": RECIPE,
        "material": question_digest(question, material, settings.limits),
        "training": training,
        "training_looks": training_looks(subject, settings),
        "test_looks": test_looks(question, settings),
    }


def training_looks(subject: Subject, settings: EvidenceSettings) -> int:
    """Measurements of each training image."""
    pictures = subject.encoding is None and subject.name in PICTURES
    return min(settings.training_looks, MOST_LOOKS_OF_PICTURES) if pictures else settings.training_looks


def test_looks(question: str, settings: EvidenceSettings) -> int:
    """Measurements of each test image: several only where the question is who it is."""
    return settings.looks if question == "identity" else 1


def kept_looks(
    subject: Subject, part: str, labelled: Labelled, digest_of_part: str, count: int, cache: Path
) -> NDArray[np.uint8]:
    """Looks uint8 (n, count, rows, columns, channels) of a part, measured once and kept in folder `cache`.

    The same for every attacker and seed. Training looks (the part's name ends with "train") are mirrored at random.
    Opened as a file that is read where it is needed (`numpy.memmap`).
    """
    name = canonical({"subject": subject.digest, "part": part, "material": digest_of_part, "looks": count})
    path = cache / f"looks_{digest(name)[:20]}.npy"
    if not path.is_file():
        pool = subject.encoding.pool if subject.encoding is not None else BASELINE_POOL
        # One generator for shifts and one for noise, both from what is asked: another process draws the same.
        seed = int(digest(name)[:15], 16)
        noise = np.random.default_rng([seed, 1])

        def view(crops: NDArray[np.uint8]) -> View:
            return subject.look(crops, noise)

        mirror = part.endswith("train")
        looks = looks_of(view, labelled.images, count, np.random.default_rng([seed, 0]), pool, mirror)
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        with partial.open("wb") as file:
            np.save(file, looks)
        partial.replace(path)
    found: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return found


def prepare(subject: Subject, question: str, material: Material, settings: EvidenceSettings, cache: Path) -> None:
    """Measure and keep the looks that the attackers of a question share."""
    _train_and_test(subject, question, material, settings, cache)


def ask(
    subject: Subject,
    question: str,
    attacker: str,
    seed: int,
    material: Material,
    settings: EvidenceSettings,
    cache: Path,
) -> dict[str, Measure]:
    """Train one attacker and say how often it is right: measures by name (see `runs.share`), JSON objects.

    Measures: the question's own name, from one look; for identity also "identity, several looks", from the mean of the
    logits over the looks of each face. train_accuracy: on the training images' first looks.
    """
    from models.attackers.fit import fit

    trained, tested = _train_and_test(subject, question, material, settings, cache)
    train, test = material.parts[f"{question} train"], material.parts[f"{question} test"]
    classes = material.people if question == "identity" else 2
    full_scale = subject.full_scale
    fitted = fit(trained, full_scale, train.labels, classes, fit_settings(subject, question, attacker, seed, settings))

    def measure(logits: NDArray[np.float32]) -> Measure:
        right = logits.argmax(axis=1) == test.labels
        found = share(right, test.labels, classes, len(train))
        return found | {"train_accuracy": fitted.train_accuracy}

    results = {question: measure(fitted.logits(tested[:, 0]))}
    if question == "identity" and tested.shape[1] > 1:
        several = measure(fitted.mean_logits(tested))
        results[f"{question}, several looks"] = several | {"looks": tested.shape[1]}
    return results


def _train_and_test(
    subject: Subject, question: str, material: Material, settings: EvidenceSettings, cache: Path
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    sum_of_part = question_digest(question, material, settings.limits)
    found = []
    for half, count in (("train", training_looks(subject, settings)), ("test", test_looks(question, settings))):
        part = f"{question} {half}"
        found.append(kept_looks(subject, part, material.parts[part], sum_of_part, count, cache))
    return found[0], found[1]
