"""Identity against the size of a face: the geometry, crops at each size, and a whole tiny run that is found again."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.detector.gaussian_encoding import gaussian_kernel
from models.evidence.distance import (
    BySize,
    detection_by_size,
    distance_evidence,
    identity_by_size,
)
from models.evidence.folds import folds_of, summary_of_folds
from models.evidence.material import Labelled, Limits, Material
from models.evidence.mounting import distance_m, face_px, guesser_passes, private_below_px, upper_bound
from models.evidence.runs import share
from models.evidence.settings import EvidenceSettings
from models.evidence.sized import sized_crops
from models.evidence.subjects import Subject
from optics.encoding import Encoding, pooled
from tests.models.archive_files import write_archive

THRESHOLDS = np.linspace(0.1, 0.9, 15, dtype=np.float32)
SUBJECT = Subject("ours", "ours", Encoding(gaussian_kernel(1.0, 5), THRESHOLDS, 16))


@given(px=st.floats(1, 500), focal_m=st.floats(1e-3, 0.1), pitch_m=st.floats(1e-6, 2e-5))
def test_distance_and_size_undo_each_other(px: float, focal_m: float, pitch_m: float) -> None:
    assert face_px(distance_m(px, focal_m, pitch_m), focal_m, pitch_m) == pytest.approx(px)


def test_a_known_lens() -> None:
    """A camera of 3.04 mm and 1.12 um sees a face of 0.24 m at 2 m with 326 px; binned by four, with a quarter."""
    assert face_px(2.0, 3.04e-3, 1.12e-6) == pytest.approx(0.24 * 3.04e-3 / (2 * 1.12e-6))
    assert face_px(2.0, 3.04e-3, 4.48e-6) == pytest.approx(81.4, abs=0.1)
    assert distance_m(24, 3.04e-3, 4.48e-6) == pytest.approx(6.79, abs=0.01)
    assert distance_m(24, 3.04e-3, 4.48e-6, face_m=0.12) == pytest.approx(6.79 / 2, abs=0.01)
    with pytest.raises(ValueError, match="focal_length_m must be positive"):
        distance_m(24, 0, 1e-6)


def test_private_sizes_end_where_the_bound_is_first_passed() -> None:
    sizes, chance = [12, 24, 48, 96], 1 / 71
    assert private_below_px(sizes, [0.02, 0.027, 0.05, 0.02], chance) == 24
    assert private_below_px(sizes, [0.05, 0.02, 0.02, 0.02], chance) is None
    assert private_below_px(sizes, [0.02] * 4, chance) == 96
    with pytest.raises(ValueError, match="ascend"):
        private_below_px([24, 12], [1, 1], chance)


@pytest.mark.parametrize("size_px", [12.0, 48.0, 120.0])
@pytest.mark.parametrize("pool", [8, 12])
def test_faces_have_the_wanted_size_and_planes_hold_whole_cells(size_px: float, pool: int) -> None:
    crop = np.zeros((1, 64, 64, 3), np.uint8)
    crop[:, 8:56, 16:48] = 255
    sized = sized_crops(crop, size_px, pool)
    side = sized.shape[1]
    assert side % pool == 0
    assert side >= size_px * 64 / 48 + 32
    rows, columns = np.nonzero(sized[0, :, :, 0] >= 188)
    assert np.ptp(rows) + 1 == pytest.approx(size_px, abs=1.5)
    assert (rows.min() + rows.max()) / 2 == pytest.approx(side / 2, abs=2)
    assert np.ptp(columns) + 1 == pytest.approx(size_px * 2 / 3, abs=1.5)
    cells = pooled(sized[0].astype(np.float32) / 255, Encoding(np.ones((1, 1, 1), np.float32), THRESHOLDS, pool))
    assert (cells[:, cells.shape[1] // 2, 0] > 0.5).sum() * pool >= size_px - 2


def test_a_face_of_120_px_covers_15_cells() -> None:
    assert sized_crops(np.zeros((1, 64, 64, 3), np.uint8), 120, 8).shape == (1, 192, 192, 3)
    with pytest.raises(ValueError, match="at least 4 px"):
        sized_crops(np.zeros((1, 64, 64, 3), np.uint8), 3, 8)
    with pytest.raises(ValueError, match="must have the shape"):
        sized_crops(np.zeros((1, 32, 32, 3), np.uint8), 12, 8)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """People who differ in one large patch and in fine detail, and crops without any."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 120, (6, 64, 64, 3))
    crops: dict[str, NDArray[np.uint8]] = {}
    rows = []
    for person in range(3):
        for image in range(14):
            name = f"{person}_{image}.jpg"
            picture = base[0].copy()
            picture[8 + 16 * person : 24 + 16 * person, 20:44] = 230
            crops[name] = (picture + rng.integers(0, 20, (64, 64, 3))).astype(np.uint8)
            rows.append({"file": name, "person": f"p{person}", "split": "test" if image >= 10 else "train"})
    write_archive(tmp_path / "faces_identity_lfw64.tar", {"index.csv": rows}, crops)
    write_archive(tmp_path / "faces_other_lfw64.tar", {"index.csv": rows}, crops)
    plain = {row["file"]: (base[1] + rng.integers(0, 20, (64, 64, 3))).astype(np.uint8) for row in rows}
    write_archive(tmp_path / "nonface_images64.tar", {"index.csv": rows}, plain)
    return tmp_path


def test_a_fresh_attacker_at_each_size_and_nothing_twice(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="attackers need torch: pip install 'canopic[train]'")
    limits = Limits(people=3, most_training=10, most_test=2, faces_training=20, faces_test=8, unseen=4)
    settings = EvidenceSettings(
        attackers=("small",),
        seeds=1,
        width=0.1,
        looks=2,
        training_looks=2,
        identity_epochs=12,
        face_epochs=30,
        limits=limits,
    )
    told: list[str] = []
    identity = identity_by_size(
        SUBJECT, data, settings, tmp_path / "out", (8.0, 32.0), lambda what, *_: told.append(what)
    )
    assert identity.sizes_px == (8.0, 32.0)
    assert identity.chance == pytest.approx(1 / 3)
    assert identity.shares[1] >= 0.6
    for mean, (low, high) in zip(identity.shares, identity.intervals, strict=True):
        assert low <= mean <= high
    answers = {"identity", "identity, several looks", "identity, several looks, mean codes"}
    assert set(identity.details[0]["attackers"]) == {f"small, {one}" for one in answers}
    assert identity.details[0]["attackers"]["small, identity"]["n"] == 42
    assert any("32 px" in one for one in told)
    runs = sorted((tmp_path / "out" / "runs").iterdir())
    assert len(runs) == 6
    written = [run.stat().st_mtime_ns for run in runs]
    again = identity_by_size(SUBJECT, data, settings, tmp_path / "out", (8.0, 32.0))
    assert again == identity
    assert [run.stat().st_mtime_ns for run in runs] == written
    face = detection_by_size(SUBJECT, data, settings, tmp_path / "out", (8.0, 32.0))
    assert face.chance == 0.5
    found = distance_evidence(identity, face)
    assert found["face"][1] >= 0.75
    assert SUBJECT.encoding is not None
    assert found["encoding_id"] == SUBJECT.encoding.id
    assert found["private_below_px"] in (8.0, 32.0, None)


def test_evidence_of_distance_says_where_identity_ends() -> None:
    identity = BySize("identity", (12.0, 48.0), (0.01, 0.4), ((0.0, 0.02), (0.3, 0.5)), 1 / 71, details(1700, 300))
    found = distance_evidence(identity)
    assert found["private_below_px"] == 12.0
    assert found["identity_upper_95"][0] == pytest.approx(upper_bound(0.01, 1700))
    assert found["n_effective"] == 300
    assert found["guesser_passes"] == pytest.approx(guesser_passes(300, 1 / 71))
    assert found["identity_95"] == [[0.0, 0.02], [0.3, 0.5]]
    assert "face" not in found
    other = BySize("face", (12.0, 24.0), (0.9, 0.9), ((0.8, 1.0), (0.8, 1.0)), 0.5, ({}, {}))
    with pytest.raises(ValueError, match="was measured at"):
        distance_evidence(identity, other)


def details(*effective: int) -> tuple[dict[str, object], ...]:
    return tuple({"best": "small", "attackers": {"small": {"n_effective": n}}} for n in effective)


def test_guesses_pass_the_rule_where_there_are_images_enough() -> None:
    assert guesser_passes(374, 1 / 71) < 0.7
    assert guesser_passes(1700, 1 / 71) > 0.98
    assert guesser_passes(1700, 1 / 71, answers=7) == pytest.approx(guesser_passes(1700, 1 / 71) ** 7)
    right = np.random.default_rng(0).binomial(1700, 1 / 71, 4000) / 1700
    passed = np.mean([upper_bound(share, 1700) <= 2 / 71 for share in right])
    assert passed == pytest.approx(guesser_passes(1700, 1 / 71), abs=0.01)
    # Who is right twice as often as chance is let through once in twenty times.
    right = np.random.default_rng(1).binomial(1700, 2 / 71, 4000) / 1700
    assert np.mean([upper_bound(share, 1700) <= 2 / 71 for share in right]) == pytest.approx(0.05, abs=0.015)


def test_folds_test_every_image_once_and_every_person_counts_the_same() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [9, 6, 30])
    images = rng.integers(0, 256, (45, 2, 2, 3)).astype(np.uint8)
    halves = {
        "identity train": Labelled(images[::2], labels[::2]),
        "identity test": Labelled(images[1::2], labels[1::2]),
    }
    folds = folds_of(Material(halves, 3, "", {}), "identity")
    tested = np.concatenate([fold["identity test"].images for fold in folds])
    assert sorted(map(bytes, tested)) == sorted(map(bytes, images))
    for fold in folds:
        known, asked = fold["identity train"], fold["identity test"]
        assert not set(map(bytes, known.images)) & set(map(bytes, asked.images))
        assert np.bincount(asked.labels).tolist() == [3, 2, 10]
    # Whoever always names the person with most images is right as often as by chance.
    answers = [
        (share(fold["identity test"].labels == 2, fold["identity test"].labels, 3, 30) | {"train_accuracy": None},
         fold["identity test"].labels)
        for fold in folds
    ]  # fmt: skip
    found = summary_of_folds({0: answers})
    assert found["mean"] == pytest.approx(1 / 3)
    assert found["n"] == 45
    assert found["n_effective"] == int(9 / (1 / 9 + 1 / 6 + 1 / 30))


def test_sizes_have_to_ascend(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ascend"):
        identity_by_size(SUBJECT, data, EvidenceSettings(), tmp_path, (48.0, 12.0))
