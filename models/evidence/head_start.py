"""The attacker with a head start, asked about a subject: it learned a face embedding from many more encoded faces.

A student network learns from codes what a teacher, a face embedding of unencoded faces, says of the same crops: every
face that an attacker may have, the training images of the people who are to be known among them. See
`models.attackers.pretrained`. Torch comes in when one is asked.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.attackers.controls import nearest_labels
from models.evidence.material import Labelled

NETWORK = "small"
STUDENT_RATE = 4e-3


@dataclass(frozen=True, eq=False)
class HeadStart:
    """What a pretrained attacker answers. named, several: int64 (n,), from one look and from all of them (None where
    there is one); retrieved: the label of the nearest training image; unseen: embeddings float32 (m, d) or None."""

    named: NDArray[np.int64]
    several: NDArray[np.int64] | None
    retrieved: NDArray[np.int64]
    unseen: NDArray[np.float32] | None
    train_accuracy: float


def teacher_embeddings(teacher: Path, crops: NDArray[np.uint8], cache: Path) -> NDArray[np.float32]:
    """The teacher's embeddings of unencoded crops, float32 (n, d), computed once and kept in folder `cache`."""
    from models.attackers.pretrained import onnx_teacher

    return onnx_teacher(teacher, cache)(crops)


def with_head_start(
    pairs: NDArray[np.uint8],
    embeddings: NDArray[np.float32],
    trained: NDArray[np.uint8],
    train: Labelled,
    tested: NDArray[np.uint8],
    unseen: NDArray[np.uint8] | None,
    full_scale: float,
    *,
    classes: int,
    width: float,
    student_epochs: int,
    mirror: bool,
    seed: int,
    device: str = "cpu",
) -> HeadStart:
    """Teach a student on `pairs` (looks uint8 (m, looks, rows, columns, channels) and embeddings (m, d)), fit a linear
    classifier on its embedding to name the people of `train`, and ask it about `tested` (n, looks, ...) and `unseen`
    (k, rows, columns, ...)."""
    from models.attackers.fit import FitSettings
    from models.attackers.pretrained import embedding_of, learn_embedding, recogniser

    settings = FitSettings(
        network=NETWORK, width=width, epochs=student_epochs, learning_rate=STUDENT_RATE, mirror=mirror, seed=seed
    )
    student = learn_embedding(pairs, full_scale, embeddings, settings, device)
    fitted = recogniser(student, trained, train.labels, classes, np.random.default_rng(seed))
    known, asked = embedding_of(student, trained), embedding_of(student, tested[:, :1])
    return HeadStart(
        named=fitted.logits(tested[:, 0]).argmax(axis=1),
        several=fitted.mean_logits(tested).argmax(axis=1) if tested.shape[1] > 1 else None,
        retrieved=nearest_labels(known, train.labels, asked, cosine=True),
        unseen=None if unseen is None else embedding_of(student, unseen[:, None]),
        train_accuracy=fitted.train_accuracy,
    )
