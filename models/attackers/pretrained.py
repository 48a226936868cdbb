"""The attacker with a head start: a network that learned from a face embedding of unencoded faces how codes of people
differ, before it is asked who somebody is. Needs torch.

A teacher embeds unencoded crops: any face embedding in ONNX form (`onnx_teacher`), or a network of the project's own
trained on unencoded people (`own_teacher`). A student learns to find the teacher's embedding from codes
(`learn_embedding`), on every crop that the attacker may have together with its codes, whoever it shows (as knowledge is
distilled: Hinton et al. 2015, arXiv:1503.02531). It serves verification and retrieval as it is (`embedding_of`), and
identification with a linear classifier on its embedding (`recogniser`).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.attackers.controls import Probe, fit_probe, held_out, unit_length
from models.attackers.device import CPU
from models.attackers.fit import FitSettings, Trained, fit, train
from optics.whole_file import whole_file

TEACHER_SIDE = 112
# Of the softmax over a batch, in which the student has to find its own crop's embedding.
TEMPERATURE = 0.07

Teacher = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def onnx_teacher(model: Path, cache: Path | None = None) -> Teacher:
    """Embeddings of crops by an ONNX network: sRGB uint8 (n, height, width, 3) -> float32 (n, d) of unit length.

    The network takes float32 (batch, 3, 112, 112), RGB, (value - 127.5) / 128, as MobileFaceNet does (Chen et al. 2018,
    DOI 10.1007/978-3-319-97909-0_46). Crops are enlarged whole, and the mean over a crop and its mirror image is taken.
    cache: folder in which embeddings are kept by the digests of network and crops. Raises FileNotFoundError without the
    network, ValueError when its input has another shape.
    """
    if not model.is_file():
        raise FileNotFoundError(f"{model} is missing: give an ONNX face embedding, or use a teacher of your own")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    if list(entry.shape[1:]) != [3, TEACHER_SIDE, TEACHER_SIDE]:
        raise ValueError(f"{model} takes {entry.shape}; expected (batch, 3, {TEACHER_SIDE}, {TEACHER_SIDE}) of a face")

    def embed(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        found = []
        for start in range(0, len(crops), 64):
            large = np.stack([cv2.resize(one, (TEACHER_SIDE, TEACHER_SIDE)) for one in crops[start : start + 64]])
            scaled = ((large.astype(np.float32) - 127.5) / 128).transpose(0, 3, 1, 2)
            both = [
                session.run(None, {entry.name: np.ascontiguousarray(part)})[0] for part in (scaled, scaled[..., ::-1])
            ]
            found.append(unit_length(both[0]) + unit_length(both[1]))
        return np.asarray(unit_length(np.concatenate(found)), np.float32)

    return embed if cache is None else _kept(embed, hashlib.sha256(model.read_bytes()).hexdigest(), cache)


def own_teacher(
    crops: NDArray[np.uint8], people: NDArray[np.int64], settings: FitSettings, cache: Path | None = None
) -> Teacher:
    """A teacher without a network from elsewhere: the features of an attacker that learned to name `people` (n,), 0..,
    from unencoded crops uint8 (n, side, side, 3). Use people whom no result is measured on."""
    fitted = fit(crops[:, None], 255, people, int(people.max()) + 1, settings)

    def embed(asked: NDArray[np.uint8]) -> NDArray[np.float32]:
        features = fitted.features(asked)
        return np.asarray(unit_length(features - middle), np.float32)

    # Features are not centred; the angle between them says more once they are.
    middle = fitted.features(crops).mean(axis=0)
    return embed if cache is None else _kept(embed, _digest_of_network(fitted), cache)


def learn_embedding(
    looks: NDArray[np.uint8],
    full_scale: float,
    embeddings: NDArray[np.float32],
    settings: FitSettings,
    device: str = CPU,
) -> Trained:
    """A student whose `logits` are an embedding (n, d), learned from looks uint8 (n, looks, rows, columns, channels) of
    crops whose teacher embeddings (n, d) are of unit length.

    The loss is the cross-entropy of finding, by the cosine of the angle, each crop's own embedding among those of the
    batch (van den Oord et al. 2018, arXiv:1807.03748): what all faces share has not to be learned, what tells people
    apart has. Raises ValueError when looks and embeddings differ in number.
    """
    if len(looks) != len(embeddings):
        raise ValueError(f"{len(looks)} crops have {len(embeddings)} embeddings; expected one each")
    wanted = torch.from_numpy(np.asarray(embeddings, np.float32))

    def loss(answers: Tensor, chosen: NDArray[np.int64]) -> Tensor:
        alike = nn.functional.normalize(answers) @ wanted[chosen].to(answers.device).T / TEMPERATURE
        own = torch.arange(len(chosen), device=answers.device)
        return (nn.functional.cross_entropy(alike, own) + nn.functional.cross_entropy(alike.T, own)) / 2

    return train(looks, full_scale, embeddings.shape[1], loss, settings, device=device)


def embedding_of(student: Trained, looks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The student's embedding of each crop from all its looks uint8 (n, looks, rows, columns, channels): the mean over
    the looks, float32 (n, d) of unit length. For verification (`verification.pair_scores`) and retrieval
    (`controls.nearest_labels` with the angle)."""
    return _mean_direction(_each_look(student, looks))


def _each_look(student: Trained, looks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The embedding of each look, float32 (n, looks, d) of unit length."""
    found = unit_length(student.logits(looks.reshape(-1, *looks.shape[2:])))
    return np.asarray(found.reshape(*looks.shape[:2], -1), np.float32)


def _mean_direction(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(unit_length(embeddings.mean(axis=1, dtype=np.float64)), np.float32)


@dataclass(frozen=True, eq=False)
class Recogniser:
    """A student and two linear classifiers on its embedding: `one` of one look, `several` of the mean over many.
    `train_accuracy`: share of the training images (first look of each) that it names right."""

    student: Trained
    one: Probe
    several: Probe
    train_accuracy: float

    def logits(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits float32 (n, classes) of inputs uint8 (n, rows, columns, channels)."""
        return np.asarray(self.one.logits(embedding_of(self.student, inputs[:, None])), np.float32)

    def mean_logits(self, looks: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits float32 (n, classes) of each crop by all its looks uint8 (n, looks, rows, columns, channels)."""
        return np.asarray(self.several.logits(embedding_of(self.student, looks)), np.float32)


def recogniser(
    student: Trained, looks: NDArray[np.uint8], labels: NDArray[np.int64], classes: int, rng: np.random.Generator
) -> Recogniser:
    """An attacker that names people: logistic regression on the student's embedding of each training crop, from looks
    uint8 (n, looks, rows, columns, channels), labels int64 (n,) in 0..classes-1.

    For one look it is fitted to single looks, for several to their means, each with its own ridge, chosen on the same
    held-out images: fitted to means alone, it takes a single look's scatter for what tells people apart.
    Fine-tuning the student on the same crops instead was weaker and dearer (docs/decisions/0030).
    """
    each = _each_look(student, looks)
    held = held_out(labels, rng)
    several = fit_probe(_mean_direction(each), labels, classes, rng, held)
    count = each.shape[1]
    one = fit_probe(each.reshape(-1, each.shape[2]), np.repeat(labels, count), classes, rng, np.repeat(held, count))
    first = one.logits(each[:, 0]).argmax(axis=1)
    return Recogniser(student, one, several, float((first == labels).mean()))


def _kept(embed: Teacher, name: str, cache: Path) -> Teacher:
    """The same teacher, which keeps what it finds in folder `cache`, by its name and the digest of the crops."""

    def remembered(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        told = hashlib.sha256(f"{name} {crops.shape}".encode())
        told.update(crops.tobytes())
        path = cache / f"embeddings_{told.hexdigest()[:20]}.npy"
        if not path.is_file():
            found = embed(crops)
            with whole_file(path) as partial, partial.open("wb") as file:
                np.save(file, found)
        return np.asarray(np.load(path), np.float32)

    return remembered


def _digest_of_network(trained: Trained) -> str:
    told = hashlib.sha256()
    for name, value in trained.network.state_dict().items():
        told.update(name.encode() + value.cpu().numpy().tobytes())
    return told.hexdigest()
