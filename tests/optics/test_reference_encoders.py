"""The paper's released encoders on real faces: our codes against the slow implementation, away from thresholds."""

import tarfile
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from optics.encoding import Encoding, encode, pooled

from .oracle import close_calls, shared_data, slow_cells, slow_codes

PARAMETERS = shared_data() / "reference_encoders" / "canopic_paper.npz"
FACES = shared_data() / "faces_identity_lfw64.tar"
CONFIGS = (
    "conv1_maxpool_quantize_alpha1",
    "conv1_maxpool_quantize_alpha50",
    "conv1_maxpool_quantize_alpha300",
    "conv4_maxpool_quantize_alpha1",
    "conv4_maxpool_quantize_alpha50",
)
TOLERANCE = 1e-5
EVERY = 150  # of 3,485 faces: enough cells for the share of close calls, few enough for the slow implementation

pytestmark = [
    pytest.mark.skipif(not PARAMETERS.is_file(), reason=f"the paper's parameters are not at {PARAMETERS}"),
    pytest.mark.skipif(not FACES.is_file(), reason=f"the face images are not at {FACES}"),
]


def reference_encoding(config: str) -> Encoding:
    """Theirs is a correlation with thresholds in 0..15 of each image's own range."""
    with np.load(PARAMETERS) as stored:
        kernels, thresholds = stored[f"{config}__kernels"], stored[f"{config}__thresholds"]
    turned = np.ascontiguousarray(kernels[:, ::-1, ::-1])
    return Encoding(turned, (thresholds / np.float32(15)).astype(np.float32), pool=8, range="per_frame")


@pytest.fixture(scope="module")
def faces() -> list[np.ndarray]:
    """A spread of faces, each float32 (64, 64, 3) in [0, 1]."""
    with tarfile.open(FACES) as archive:
        members = [member for member in archive.getmembers() if member.name.endswith(".jpg")][::EVERY]
        images = []
        for member in members:
            file = archive.extractfile(member)
            assert file is not None
            data = np.frombuffer(file.read(), dtype=np.uint8)
            images.append(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB) / np.float32(255))
    return images


@pytest.mark.parametrize("config", CONFIGS)
def test_codes_equal_on_real_faces(
    config: str,
    faces: list[np.ndarray],
    record_property: Callable[[str, object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    encoding = reference_encoding(config)
    close = differing = total = 0
    worst = 0.0
    for face in faces:
        expected = slow_cells(face, encoding)
        codes = encode(face, encoding)
        near = close_calls(expected, encoding, TOLERANCE)
        different = codes != slow_codes(expected, encoding)
        assert not (different & ~near).any()
        worst = max(worst, float(np.abs(pooled(face, encoding) - expected).max()))
        close, differing, total = close + int(near.sum()), differing + int(different.sum()), total + codes.size
    assert worst <= TOLERANCE
    record_property("close_call_share", close / total)
    record_property("largest_difference", worst)
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{config}: {len(faces)} faces, {total} cells, {close} within 1e-5 of a threshold ({close / total:.3%}), "
            f"{differing} codes differ, largest difference {worst:.1e} of full scale"
        )


@pytest.mark.parametrize("config", CONFIGS)
def test_learned_kernels_are_signed_and_few_levels_are_left(config: str) -> None:
    encoding = reference_encoding(config)
    assert not encoding.realisable
    assert 2 <= encoding.effective_levels <= 16


def test_orientation_is_that_of_a_cross_correlation_with_their_kernel(faces: list[np.ndarray]) -> None:
    # Their definition written down once more, with OpenCV's correlation in place of ours.
    with np.load(PARAMETERS) as stored:
        kernel = stored["conv1_maxpool_quantize_alpha1__kernels"][0]
    image = cv2.filter2D(faces[0].astype(np.float64), cv2.CV_64F, kernel, borderType=cv2.BORDER_REPLICATE)
    cells = image.reshape(8, 8, 8, 8, 3).max(axis=(1, 3))
    cells = (cells - cells.min()) / (cells.max() - cells.min())
    ours = pooled(faces[0], reference_encoding("conv1_maxpool_quantize_alpha1"))
    np.testing.assert_allclose(ours, cells, atol=TOLERANCE)
