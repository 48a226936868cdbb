"""The questions that attackers answer about a subject's looks, each trained afresh. Torch comes in when one is asked.

identity: who of the evaluation's people is it, from one look and from the mean of several. face: is there a face, two
sources. same-photographs: the same, faces and faceless windows cut from the same photographs. surroundings: who is it,
with the face covered; face-alone: with everything else covered (`models.evidence.covered`).
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.attackers.controls import nearest_labels
from models.attackers.means import FULL_SCALE, mean_codes, mixed_means
from models.datasets.windows import CROP_PX
from models.detector.archives import file_digest
from models.detector.batches import mirror_symmetric
from models.evidence import head_start
from models.evidence.answers import control, verified
from models.evidence.kept_looks import (
    kept_looks,
    looks_for_means,
    test_looks,
    train_and_test_looks,
    training_looks,
    unseen_looks,
)
from models.evidence.material import OF_PEOPLE, Material, question_digest
from models.evidence.runs import MEANS, Measure, share
from models.evidence.settings import (
    CONTROLS,
    LEARNING_RATES,
    PRETRAINED,
    UPSAMPLE,
    UPSAMPLED,
    EvidenceSettings,
    QuestionError,
)
from models.evidence.subjects import Subject

if TYPE_CHECKING:
    from models.attackers.fit import FitSettings

# Raise it when the same settings give other results: older runs are then not reused.
RECIPE = 2
PAIR_LOOKS = 3
# The network that is also trained on the means of several looks.
OF_MEANS = "small"


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
        learning_rate=LEARNING_RATES[attacker.removesuffix(UPSAMPLED)],
        mirror=mirrored_alike(subject),
        seed=seed,
    )


def run_settings(
    subject: Subject,
    question: str,
    attacker: str,
    material: Material,
    settings: EvidenceSettings,
    teacher: Path | None = None,
) -> dict[str, Any]:
    """Everything beside subject, question, attacker and seed that decides a run's result, as a JSON object.

    Raises QuestionError for the pretrained attacker without a teacher.
    """
    training: dict[str, Any] = {}
    if attacker == PRETRAINED:
        training = {
            "network": head_start.NETWORK,
            "width": settings.width,
            "epochs": settings.student_epochs,
            "classifier": "logistic regression",
            "teacher": file_digest(_given(teacher)),
            "pairs": question_digest("pretraining", material, settings.limits),
        }
    elif attacker not in CONTROLS:
        training = asdict(fit_settings(subject, question, attacker, 0, settings))
        del training["seed"]
    return {
        "recipe": RECIPE,
        "material": question_digest(question, material, settings.limits),
        "training": training,
        "training_looks": training_looks(subject, settings),
        "test_looks": test_looks(question, settings),
    }


def prepare(subject: Subject, question: str, material: Material, settings: EvidenceSettings, cache: Path) -> None:
    """Measure and keep the looks that the attackers of a question share."""
    _, tested = train_and_test_looks(subject, question, material, settings, cache)
    looks_for_means(subject, question, material, settings, cache, tested)


def ask(
    subject: Subject,
    question: str,
    attacker: str,
    seed: int,
    material: Material,
    settings: EvidenceSettings,
    cache: Path,
    teacher: Path | None = None,
    device: str = "cpu",
) -> dict[str, Measure]:
    """Train one attacker and say how often it is right: measures by name (see `runs.share`), JSON objects.

    The question's own name: from one look. For who it is also "identity, several looks" (networks: the mean of the
    logits over the looks of each face; controls: from mean codes), "identity, several looks, mean codes" (the small
    network, trained anew on means of looks), and for "identity" itself "retrieval" (the nearest training image by the
    angle between what the last layer reads), and, where the material has faces of unseen people, "verification"
    (`models.attackers.verification` on the same).
    train_accuracy: on the training images' first looks, None for the nearest image. teacher: a face embedding (ONNX),
    for the pretrained attacker. device: see `models.attackers.device`.
    """
    trained, tested = train_and_test_looks(subject, question, material, settings, cache)
    train, test = material.parts[f"{question} train"], material.parts[f"{question} test"]
    classes = material.people if question in OF_PEOPLE else 2

    def measure(named: NDArray[np.int64], train_accuracy: float | None) -> Measure:
        found = share(named == test.labels, test.labels, classes, len(train))
        return found | {"train_accuracy": train_accuracy}

    if attacker in CONTROLS:
        named, accuracy = control(attacker, trained[:, 0], train.labels, tested[:, 0], seed)
        results = {question: measure(named, accuracy)}
        if (known := looks_for_means(subject, question, material, settings, cache, tested)) is not None:
            asked = mean_codes(tested, subject.full_scale)
            named, accuracy = control(attacker, mean_codes(known, subject.full_scale), train.labels, asked, seed)
            results[f"{question}, several looks"] = measure(named, accuracy) | {"looks": tested.shape[1]}
        if attacker == "nearest" and question == "identity" and f"{question} unseen" in material.parts:
            unseen = unseen_looks(subject, question, material, settings, cache)
            results["verification"] = verified(unseen, material.parts[f"{question} unseen"].labels)
        return results
    if attacker == PRETRAINED:
        answers = _pretrained(subject, seed, material, settings, cache, _given(teacher), trained, tested, device)
        results = {question: measure(answers.named, answers.train_accuracy)}
        if answers.several is not None:
            several = measure(answers.several, answers.train_accuracy) | {"looks": tested.shape[1]}
            results[f"{question}, several looks"] = several
        results["retrieval"] = measure(answers.retrieved, answers.train_accuracy)
        if answers.unseen is not None:
            found = verified(answers.unseen, material.parts[f"{question} unseen"].labels)
            results["verification"] = found | {"train_accuracy": answers.train_accuracy}
        return results

    from models.attackers.fit import fit

    how = fit_settings(subject, question, attacker, seed, settings)
    fitted = fit(trained, subject.full_scale, train.labels, classes, how, device=device)
    accuracy = fitted.train_accuracy
    results = {question: measure(fitted.logits(tested[:, 0]).argmax(axis=1), accuracy)}
    if question not in OF_PEOPLE:
        return results
    if tested.shape[1] > 1:
        several = measure(fitted.mean_logits(tested).argmax(axis=1), accuracy)
        results[f"{question}, several looks"] = several | {"looks": tested.shape[1]}
    unmirrored = looks_for_means(subject, question, material, settings, cache, tested)
    if attacker == OF_MEANS and unmirrored is not None:
        means = mixed_means(unmirrored, subject.full_scale, unmirrored.shape[1], np.random.default_rng([seed, 3]))
        averaged = fit(means, FULL_SCALE, train.labels, classes, how, device=device)
        named = averaged.logits(mean_codes(tested, subject.full_scale)).argmax(axis=1)
        several = measure(named, averaged.train_accuracy)
        results[f"{question}, several looks{MEANS}"] = several | {"looks": tested.shape[1]}
    if question != "identity":
        return results
    features, wanted = fitted.features(trained[:, 0]), fitted.features(tested[:, 0])
    results["retrieval"] = measure(nearest_labels(features, train.labels, wanted, cosine=True), accuracy)
    if f"{question} unseen" in material.parts:
        unseen = unseen_looks(subject, question, material, settings, cache)
        found = verified(fitted.features(unseen), material.parts[f"{question} unseen"].labels)
        results["verification"] = found | {"train_accuracy": accuracy}
    return results


def _pretrained(
    subject: Subject,
    seed: int,
    material: Material,
    settings: EvidenceSettings,
    cache: Path,
    teacher: Path,
    trained: NDArray[np.uint8],
    tested: NDArray[np.uint8],
    device: str,
) -> head_start.HeadStart:
    part = "pretraining train"
    sums = question_digest("pretraining", material, settings.limits)
    pairs = material.parts[part]
    unseen = "identity unseen" in material.parts
    return head_start.with_head_start(
        kept_looks(subject, part, pairs, sums, min(training_looks(subject, settings), PAIR_LOOKS), cache),
        head_start.teacher_embeddings(teacher, pairs.images, cache),
        trained,
        material.parts["identity train"],
        tested,
        unseen_looks(subject, "identity", material, settings, cache) if unseen else None,
        subject.full_scale,
        classes=material.people,
        width=settings.width,
        student_epochs=settings.student_epochs,
        mirror=mirrored_alike(subject),
        seed=seed,
        device=device,
    )


def _given(teacher: Path | None) -> Path:
    if teacher is None or not teacher.is_file():
        where = "" if teacher is None else f", {teacher} is missing"
        raise QuestionError(
            f'"{PRETRAINED}" learns from a face embedding of unencoded faces{where}: give an ONNX file (--teacher)'
        )
    return teacher


def mirrored_alike(subject: Subject) -> bool:
    """Whether mirrored looks are looks of mirrored crops."""
    return subject.encoding is None or mirror_symmetric(subject.encoding)
