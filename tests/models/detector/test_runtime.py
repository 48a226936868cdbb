"""The detector at work: what it refuses, and that the shipped bundle holds one that runs without torch."""

import subprocess
import sys
from functools import cache

import numpy as np
import pytest

from models.detector.card import model_card
from models.detector.runtime import FaceDetector, ModelError
from optics.bundle import Bundle, default_bundle_path, read_bundle


@cache
def default_bundle() -> Bundle:
    return read_bundle(default_bundle_path())


def detector() -> FaceDetector:
    bundle = default_bundle()
    about = bundle.metadata["detector.onnx"]
    return FaceDetector(bundle.models["detector.onnx"], metadata=dict(about), encoding_id=bundle.encoding.id)


def test_shipped_detector_finds_nothing_in_darkness_and_in_plain_light() -> None:
    shipped = detector()
    assert shipped.shape == (60, 80, 3)
    for code in (0, 6, 15):
        found = shipped.detect(np.full((60, 80, 3), code, np.uint8))
        assert found.boxes.shape == (0, 4)
        assert found.scores.shape == (0,)


def test_answers_are_faces_in_plane_pixels() -> None:
    codes = np.random.default_rng(0).integers(0, 16, (60, 80, 3)).astype(np.uint8)
    bundle = default_bundle()
    found = FaceDetector(bundle.models["detector.onnx"], score_threshold=0.001).detect(codes)
    assert len(found) > 0
    assert found.boxes.dtype == np.float32
    assert found.scores.dtype == np.float32
    assert (np.diff(found.scores) <= 0).all()
    centres = found.boxes[:, :2] + found.boxes[:, 2:] / 2
    assert (centres > -16).all()
    assert (centres < np.array([656, 496])).all()


@pytest.mark.parametrize(
    ("codes", "error", "message"),
    [
        (np.zeros((60, 80, 3), np.float32), TypeError, "uint8"),
        ([[0]], TypeError, "uint8 array, got list"),
        (np.zeros((30, 40, 3), np.uint8), ValueError, r"\(60, 80, 3\)"),
        (np.full((60, 80, 3), 16, np.uint8), ValueError, "still packed"),
    ],
)
def test_what_is_no_measurement_is_refused(codes: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        detector().detect(codes)  # type: ignore[arg-type]


def test_a_model_for_another_encoding_is_refused() -> None:
    model = default_bundle().models["detector.onnx"]
    with pytest.raises(ModelError, match="was trained for encoding aaaa"):
        FaceDetector(model, metadata={"encoding_id": "a" * 64, "score_threshold": 0.3}, encoding_id="b" * 64)


def test_damaged_bytes_are_refused() -> None:
    with pytest.raises(ModelError, match="not a readable ONNX model"):
        FaceDetector(b"no model at all", score_threshold=0.3)


@pytest.mark.parametrize("threshold", [None, 0, 1.5, "high", True])
def test_a_senseless_score_threshold_is_refused(threshold: object) -> None:
    with pytest.raises(ModelError, match="between 0 and 1"):
        FaceDetector(default_bundle().models["detector.onnx"], metadata={"score_threshold": threshold})


def test_the_shipped_bundle_is_small_and_complete() -> None:
    bundle = default_bundle()
    assert len(bundle.models["detector.onnx"]) < 1_000_000
    assert bundle.metadata["detector.onnx"]["encoding_id"] == bundle.encoding.id
    encoding = bundle.encoding
    assert encoding.kernels.shape == (1, 63, 63)
    assert encoding.realisable
    assert encoding.kernels.sum() == pytest.approx(1, abs=1e-5)
    assert encoding.range == "fixed"
    # Darkness has to read 0 through sensor noise, and code 15 has to mean "at the end of the range".
    assert encoding.thresholds[0] >= 0.01
    assert 0.85 <= encoding.thresholds[-1] < 1


def test_the_model_card_says_what_the_bundle_measured() -> None:
    """Every number of the card comes from the evidence in the bundle."""
    card = default_bundle_path().with_suffix(".md").read_text()
    assert card == model_card(default_bundle())
    report = default_bundle().evidence["detector"]["codes"]
    assert f"{report['ap']['value']:.3f}" in card
    assert "research only" in card


def test_the_runtime_does_not_import_torch() -> None:
    program = (
        "import sys, numpy as np\n"
        "from models.detector.runtime import FaceDetector\n"
        "from optics.bundle import default_bundle_path, read_bundle\n"
        "bundle = read_bundle(default_bundle_path())\n"
        "FaceDetector(bundle.models['detector.onnx'], score_threshold=0.5).detect(np.zeros((60, 80, 3), np.uint8))\n"
        "sys.exit('torch' in sys.modules or 'onnx' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
