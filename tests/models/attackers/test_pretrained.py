"""A head start: teachers, the cache of what they said, and a student that serves people it never saw."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="attackers need torch: pip install 'canopic[audit]'")

from models.attackers.controls import unit_length  # noqa: E402
from models.attackers.fit import FitSettings, Trained, fit  # noqa: E402
from models.attackers.pretrained import (  # noqa: E402
    TEACHER_SIDE,
    embedding_of,
    learn_embedding,
    onnx_teacher,
    own_teacher,
    recogniser,
)
from models.attackers.verification import equal_error_rate, pair_scores, pairs_of, roc  # noqa: E402

MODEL = Path(__file__).parents[4] / "shared" / "data" / "models" / "mobilefacenet.onnx"
QUICK = FitSettings(network="small", width=0.06, epochs=10, batch=32, learning_rate=5e-3, mirror=False)


def people(count: int, each: int, looks: int, seed: int) -> "tuple[NDArray[np.uint8], ...]":
    """Crops (n, 16, 16, 3), looks of their codes (n, looks, 8, 8, 3) and whose they are: four coloured corners each."""
    rng = np.random.default_rng(seed)
    whose = np.repeat(np.arange(count), each)
    corners = rng.uniform(0.1, 0.9, (count, 2, 2, 3))[whose]
    crops = corners.repeat(8, axis=1).repeat(8, axis=2) + 0.03 * rng.standard_normal((len(whose), 16, 16, 3))
    cells = corners.repeat(4, axis=1).repeat(4, axis=2)[:, None]
    codes = 15 * cells + 4 * rng.standard_normal((len(whose), looks, 8, 8, 3))
    return np.clip(255 * crops, 0, 255).astype(np.uint8), np.clip(codes, 0, 15).astype(np.uint8), whose


def corners_of(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A perfect teacher of made-up people: the colours of their corners."""
    means = crops.reshape(len(crops), 2, 8, 2, 8, 3).mean(axis=(2, 4)).reshape(len(crops), -1)
    return np.asarray(unit_length(means - 127.5), np.float32)


@pytest.fixture(scope="module")
def student() -> Trained:
    """Taught the corners of 60 made-up people."""
    crops, looks, _ = people(60, 4, 2, 1)
    return learn_embedding(looks, 15, corners_of(crops), QUICK)


def test_a_student_tells_people_apart_that_it_never_saw(student: Trained) -> None:
    _, unseen, whose = people(25, 4, 3, 2)
    pairs = pairs_of(whose, np.random.default_rng(0), impostors=1500)

    def error(embeddings: NDArray[np.float32]) -> float:
        return equal_error_rate(roc(pair_scores(embeddings, pairs), pairs.genuine))

    untaught = fit(unseen, 15, np.arange(100) % 4, 4, replace(QUICK, epochs=1))
    one, several = error(embedding_of(student, unseen[:, :1])), error(embedding_of(student, unseen))
    assert several < one < error(untaught.features(unseen[:, 0])) - 0.1
    lengths = np.linalg.norm(embedding_of(student, unseen), axis=1)
    assert np.allclose(lengths, 1, atol=1e-5)


def test_a_head_start_needs_fewer_images_of_a_person(student: Trained) -> None:
    _, own, whose = people(12, 12, 4, 3)
    known, asked = np.arange(144) % 12 < 2, np.arange(144) % 12 >= 2
    fresh = fit(own[known], 15, whose[known], 12, replace(QUICK, epochs=12))
    ahead = recogniser(student, own[known], whose[known], 12, np.random.default_rng(0))
    right = [(fitted.logits(own[asked, 0]).argmax(axis=1) == whose[asked]).mean() for fitted in (fresh, ahead)]
    several = (ahead.mean_logits(own[asked]).argmax(axis=1) == whose[asked]).mean()
    assert right[1] > right[0] + 0.1
    assert several > right[1]
    assert ahead.train_accuracy > right[1]


def test_a_teacher_of_ones_own_is_asked_once_for_the_same_crops(tmp_path: Path) -> None:
    crops, _, whose = people(5, 8, 1, 1)
    teacher = own_teacher(crops, whose, replace(QUICK, epochs=8), tmp_path)
    first = teacher(crops)
    assert np.allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)
    alike = first @ first.T
    same = whose[:, None] == whose
    assert alike[same].mean() > alike[~same].mean() + 0.5
    (kept,) = tmp_path.iterdir()
    np.save(kept, np.zeros_like(first))
    assert not teacher(crops).any()
    assert teacher(crops[:3]).any()
    with pytest.raises(ValueError, match="one each"):
        learn_embedding(crops[:, None], 255, first[1:], QUICK)


def test_an_onnx_face_embedding_is_fed_as_it_expects(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    with pytest.raises(FileNotFoundError, match="face embedding"):
        onnx_teacher(tmp_path / "none.onnx")
    # A network that says the mean of each colour in each half, left and right.
    helper = onnx.helper
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["input"], ["means"], kernel_shape=[112, 56], strides=[112, 56]),
            helper.make_node("Flatten", ["means"], ["embeddings"]),
        ],
        "means",
        [value("input", 1, ["batch", 3, TEACHER_SIDE, TEACHER_SIDE])],
        [value("embeddings", 1, ["batch", 6])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "means.onnx")
    crop = np.zeros((1, 64, 64, 3), np.uint8)
    crop[0, :, :, 0], crop[0, :, :32, 1] = 255, 255
    found = onnx_teacher(tmp_path / "means.onnx")(crop)
    # Red everywhere, green on one side (the mirror image is added), blue nowhere.
    assert found[0] == pytest.approx(np.array([1, 1, 0, 0, -1, -1]) / 2, abs=0.01)


@pytest.mark.skipif(not MODEL.is_file(), reason=f"needs {MODEL.name} in ../shared/data/models")
def test_the_shared_face_embedding_can_teach() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    found = onnx_teacher(MODEL)(crops)
    assert found.shape == (2, 128)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
