"""What is compared: the paper's kernels as published, what can be built, and errors that say what is missing."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.detector.gaussian_encoding import gaussian_kernel
from models.evidence.bits import code_entropies
from models.evidence.subjects import AGAINST, Subject, SubjectError, paper_subjects, resolve_subjects
from optics.encoding import Encoding

THRESHOLDS = np.linspace(0, 15, 15, dtype=np.float32)


@pytest.fixture
def paper_file(tmp_path: Path) -> Path:
    """A file of the paper's form, with a kernel that is not symmetric and one configuration that does not quantize."""
    kernels = np.arange(9, dtype=np.float32).reshape(1, 3, 3) - 4
    path = tmp_path / "paper.npz"
    arrays = {
        "conv1_maxpool_quantize_alpha50__kernels": kernels,
        "conv1_maxpool_quantize_alpha50__thresholds": THRESHOLDS,
        "conv1_maxpool_quantize_alpha1__kernels": kernels,
        "conv1_maxpool_quantize_alpha1__thresholds": THRESHOLDS,
        "conv1_alpha300__kernels": kernels,
    }
    np.savez(path, **arrays)
    return path


def test_the_papers_kernels_are_turned_and_its_thresholds_become_fractions(paper_file: Path) -> None:
    found = paper_subjects(paper_file)
    assert [one.name for one in found] == ["paper conv1 alpha 1", "paper conv1 alpha 50"]
    encoding = found[0].encoding
    assert encoding is not None
    assert encoding.kernels[0, 0, 0] == 4  # the last tap of the file is the first here
    assert encoding.thresholds == pytest.approx(THRESHOLDS / 15)
    assert (encoding.range, found[0].light, found[0].build, found[0].noisy) == ("per_frame", "srgb", "no", False)


def test_a_paper_subject_gives_the_correlation_that_was_published(paper_file: Path) -> None:
    crop = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    subject = paper_subjects(paper_file)[0]
    kernel = np.arange(9, dtype=np.float64).reshape(3, 3) - 4
    padded = np.pad(crop / 255, ((1, 1), (1, 1), (0, 0)), mode="edge")
    plane = sum(kernel[y, x] * padded[y : y + 64, x : x + 64] for y in range(3) for x in range(3))
    cells = plane.reshape(8, 8, 8, 8, 3).max(axis=(1, 3))
    values = 15 * (cells - cells.min()) / (cells.max() - cells.min())
    codes = (values[..., None] >= THRESHOLDS).sum(axis=-1)
    assert (subject.look(crop[None]).inputs[0] != codes).mean() < 0.02  # float32 at a threshold


def test_words_stand_for_subjects_in_one_order(paper_file: Path) -> None:
    found = resolve_subjects(["default"], ["handmade", "paper", "clean", "pixelate"], paper_file)
    kinds = [one.kind for one in found]
    assert kinds == ["baseline"] * 2 + ["paper"] * 2 + ["handmade"] * 4 + ["ours"]
    assert found[-1].name == "default"
    assert {one.build for one in found if one.kind == "handmade"} == {"mask", "no"}


def test_equal_encodings_share_their_digest_whatever_they_are_called() -> None:
    encoding = Encoding(gaussian_kernel(2.0, 9), np.linspace(0.1, 0.9, 15, dtype=np.float32))
    one, other = Subject("a", "ours", encoding), Subject("b", "handmade", encoding)
    assert one.digest == other.digest
    assert one.digest != Subject("a", "ours", encoding, light="srgb").digest


def test_signed_kernels_of_a_fixed_range_are_a_pair() -> None:
    kernels = gaussian_kernel(1.0, 9) * np.float32(0.6) - gaussian_kernel(2.0, 9) * np.float32(0.4)
    subject = Subject("a", "ours", Encoding(kernels, np.linspace(0.1, 0.9, 15, dtype=np.float32)))
    assert subject.build == "pair"
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    quiet, noisy = subject.look(crops).inputs, subject.look(crops, np.random.default_rng(1)).inputs
    assert 0 < (quiet != noisy).mean() < 0.5


@pytest.mark.parametrize(
    ("encodings", "against", "said"),
    [
        (["nowhere.npz"], [], "nowhere.npz"),
        (["nowhere.canopic"], [], "nowhere.canopic"),
        ([], ["papers"], ", ".join(AGAINST)),
        ([], ["paper"], "--paper"),
        (["default", "default"], [], "default"),
    ],
)
def test_what_is_missing_is_named(encodings: list[str], against: list[str], said: str) -> None:
    with pytest.raises(SubjectError, match=said):
        resolve_subjects(encodings, against)


def test_a_file_that_is_no_encoding_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, kernels=gaussian_kernel(2.0, 9))
    with pytest.raises(SubjectError, match=r"mine\.npz.*thresholds"):
        resolve_subjects([str(path)], [])
    with pytest.raises(SubjectError, match=r"absent\.npz is missing"):
        paper_subjects(tmp_path / "absent.npz")
    with pytest.raises(SubjectError, match="CONFIG__thresholds"):
        paper_subjects(path)


@pytest.mark.parametrize(
    ("kernels", "thresholds", "why"),
    [
        (np.zeros(9), THRESHOLDS, r"conv1 is no encoder, kernels must have the shape"),
        (np.zeros((1, 3, 3)), THRESHOLDS[:14], r"conv1 is no encoder, thresholds .*15"),
        (np.array([None]), THRESHOLDS, r"array conv1__kernels cannot be read, it holds Python objects"),
    ],
)
def test_a_bad_file_of_the_papers_is_named_with_what_is_wrong(
    tmp_path: Path, kernels: NDArray[np.generic], thresholds: NDArray[np.float32], why: str
) -> None:
    path = tmp_path / "paper.npz"
    np.savez(path, allow_pickle=True, conv1__kernels=kernels, conv1__thresholds=thresholds)
    with pytest.raises(SubjectError, match=rf"paper\.npz.*{why}.*--paper FILE") as caught:
        paper_subjects(path)
    assert "pickle" not in str(caught.value)


def test_an_encoding_of_an_npz_sees_the_light_that_it_says(tmp_path: Path) -> None:
    arrays = {"kernels": gaussian_kernel(2.0, 9), "thresholds": np.linspace(0.1, 0.9, 15, dtype=np.float32)}
    found = {}
    for name, more in {
        "plain": {},
        "frames": {"range": "per_frame"},
        "linear": {"range": "per_frame", "light": "linear"},
        "srgb": {"light": "srgb"},
    }.items():
        np.savez(tmp_path / f"{name}.npz", **arrays, **{key: np.array(value) for key, value in more.items()})
        found[name] = resolve_subjects([str(tmp_path / f"{name}.npz")], [])[0].light
    assert found == {"plain": "linear", "frames": "srgb", "linear": "linear", "srgb": "srgb"}


def test_bits_of_codes_whose_entropy_is_known() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (4000, 2, 2, 3)).astype(np.uint8)
    per_measurement, per_code = code_entropies(codes)
    assert per_measurement == pytest.approx(2 * 12, abs=0.05)
    assert per_code == pytest.approx(2, abs=0.01)
    assert code_entropies(np.zeros((50, 2, 2, 3), np.uint8)) == (0, 0)
