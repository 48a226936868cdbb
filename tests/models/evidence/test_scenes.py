"""Detection in scenes: where test photographs lie, what each subject leaves of them, and a whole tiny run."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.attackers.views import BLUR_SIGMA_PX
from models.detector import cache, gaussian_encoding
from models.detector.archives import DataMissingError, Photograph
from models.detector.evaluate import Answer
from models.detector.gaussian_encoding import gaussian_kernel
from models.detector.scenes import fitted, plain_image, srgb_to_linear
from models.evidence import scenes
from models.evidence.scenes import SceneSettings, blurred_image, detect_in_scenes, judged, placed
from models.evidence.subjects import Subject
from optics.encoding import Encoding
from tests.models.archive_files import write_archive

THRESHOLDS = np.linspace(0.05, 0.9, 15, dtype=np.float32)
TINY = SceneSettings(scenes=4, steps=2, batch=2, widths=(4, 4, 4))


def photograph(height: int, width: int, *boxes: tuple[float, float, float, float], seed: int = 0) -> Photograph:
    image = np.random.default_rng(seed).integers(0, 200, (height, width, 3), np.uint8)
    for x, y, box_width, box_height in boxes:
        image[int(y) : int(y + box_height), int(x) : int(x + box_width)] = 255
    return Photograph("test", image, np.array(boxes, np.float32).reshape(-1, 4), np.zeros(len(boxes), np.bool_))


def test_the_smallest_face_has_at_most_forty_pixels_and_lies_where_it_is() -> None:
    one = placed(photograph(300, 400, (100, 80, 60, 90), (200, 20, 120, 150)))
    assert one.scale == pytest.approx(40 / 90)
    assert sorted(one.scene.boxes[:, 2:].max(axis=1).tolist()) == pytest.approx([40, 40 * 150 / 90])
    x, y, width, height = one.scene.boxes[0].astype(int)
    assert one.scene.radiance[y + 2 : y + height - 1, x + 2 : x + width - 1].min() > 0.95
    # The rest of the plane continues the outermost pixels.
    top, left = one.top_px, one.left_px
    np.testing.assert_array_equal(one.scene.radiance[0, left : left + 150], one.scene.radiance[top, left : left + 150])
    np.testing.assert_array_equal(one.scene.radiance[top + 5, 0], one.scene.radiance[top + 5, left])


def test_photographs_with_a_small_face_stay_as_they_are_fitted() -> None:
    taken = photograph(360, 480, (100, 80, 20, 25), (200, 20, 120, 150))
    one = placed(taken)
    np.testing.assert_array_equal(one.scene.boxes, fitted(taken).boxes)
    np.testing.assert_array_equal(one.scene.radiance, fitted(taken).radiance)
    ignored = Photograph("test", taken.image, taken.boxes, np.array([True, False]))
    assert placed(ignored).scale == pytest.approx(40 / 150)


def test_ellipses_move_with_their_photograph() -> None:
    taken = photograph(300, 300, (100, 100, 80, 80))
    one = placed(taken)
    moved = one.ellipses(np.array([[40.0, 30.0, 0.3, 140.0, 140.0]]))[0]
    box = one.scene.boxes[0]
    assert moved[:3].tolist() == pytest.approx([20, 15, 0.3])
    assert moved[3:].tolist() == pytest.approx((box[:2] + box[2:] / 2).tolist(), abs=0.5)


def test_the_blur_is_lost_hardly_any_more_by_its_sampling() -> None:
    """From the samples the whole blurred picture can be had back."""
    rng = np.random.default_rng(1)
    scene = rng.random((480, 640, 3), np.float32) ** 3
    small = srgb_to_linear(blurred_image(scene))
    assert small.shape == (60, 80, 3)
    whole = cv2.GaussianBlur(scene, (0, 0), BLUR_SIGMA_PX, borderType=cv2.BORDER_REPLICATE)
    again = cv2.resize(small, (640, 480), interpolation=cv2.INTER_CUBIC)
    middle = np.s_[40:-40, 40:-40]
    lost = np.abs(again[middle] - whole[middle]).std() / whole[middle].std()
    means = cv2.resize(srgb_to_linear(plain_image(scene)), (640, 480), interpolation=cv2.INTER_CUBIC)
    assert lost < 0.15
    assert np.abs(means[middle] - scene[middle]).std() / scene[middle].std() > 0.5


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Archives of the shared form with made-up pictures, and shards of four scenes."""
    monkeypatch.setattr(cache, "SHARD", 4)
    monkeypatch.setattr(gaussian_encoding, "validation_part", lambda _: False)
    rng = np.random.default_rng(0)
    names = [f"{index}.jpg" for index in range(5)]
    splits = ["train", "train", "test", "test", "test"]
    tables = {
        "images.csv": [{"file": name, "split": split} for name, split in zip(names, splits, strict=True)],
        "boxes.csv": [{"file": name, "x": "12", "y": "6.5", "w": "20", "h": "25", "invalid": "0"} for name in names],
    }
    pictures = {name: rng.integers(0, 256, (36, 48, 3), np.uint8) for name in names}
    write_archive(tmp_path / "scenes_faces_wider480.tar", tables, pictures)
    for archive in ("faces_other_lfw64.tar", "nonface_images64.tar"):
        crops = {f"{index}.jpg": rng.integers(0, 256, (64, 64, 3), np.uint8) for index in range(3)}
        write_archive(tmp_path / archive, {"index.csv": [{"file": name, "split": "train"} for name in crops]}, crops)
    return tmp_path


def test_a_detector_is_trained_and_judged_for_every_kind_of_subject(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="training needs torch: pip install 'canopic[train]'")
    kept = tmp_path / "cache"
    kernel = gaussian_kernel(2.0, 9)
    subjects = [
        Subject("pixelate", "baseline"),
        Subject("blur", "baseline"),
        Subject("paper one", "paper", Encoding(np.concatenate([kernel, -kernel]), THRESHOLDS, 8, "per_frame"), "srgb"),
        Subject("ours", "ours", Encoding(kernel, THRESHOLDS, 16)),
    ]
    results = {}
    told: list[str] = []
    for subject in subjects:
        results[subject.name] = detect_in_scenes(subject, data, TINY, kept, lambda what, *_: told.append(what))
    assert {"measuring scenes", "test photographs"} <= set(told)
    for result in results.values():
        assert (result["photographs"], result["faces"]) == (3, 3)
        assert 0 <= result["ap"]["value"] <= 1
        assert result["ap"]["interval_95"][0] <= result["ap"]["value"] <= result["ap"]["interval_95"][1]
        assert sum(part["faces"] for part in result["ap_by_size"]) == 3
        assert set(result["true_positive_rate_at"]) == {"0.1", "0.5", "1"}
        assert result["roc"]["false_positives"][0] == 0
    assert "(30, 40, 3)" in results["ours"]["input"]
    assert (kept / "scenes").is_dir()
    assert len(list((kept / "scenes").glob("*/checkpoint.pt"))) == 4
    # Clean and pixelate are one picture at this resolution, and what is there is not made again.
    told.clear()
    again = detect_in_scenes(Subject("clean", "baseline"), data, TINY, kept, lambda what, *_: told.append(what))
    assert not told
    assert again["subject"] == "clean"
    assert again["ap"] == results["pixelate"]["ap"]


def bright_parts(full_scale: float) -> Answer:
    """A detector that needs no learning: a face is a connected bright part."""

    def answer(codes: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        bright = (codes.mean(axis=2) > 0.6 * full_scale).astype(np.uint8)
        heat, box = np.zeros(bright.shape, np.float32), np.zeros((4, *bright.shape), np.float32)
        count, _, stats, centres = cv2.connectedComponentsWithStats(bright)
        for index in range(1, count):
            x, y = centres[index]
            at = (round(y), round(x))
            heat[at] = 0.5 + stats[index, cv2.CC_STAT_AREA] / 10_000
            box[(slice(None), *at)] = [x - round(x), y - round(y), *np.log(stats[index, 2:4])]
        return heat, box

    return answer


@pytest.mark.parametrize("pool", [4, 8, None])
def test_faces_found_are_held_against_faces_there(pool: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Black photographs with white faces of more than 40 px, found by their light: the AP is 1 whatever the pool."""
    torch = pytest.importorskip("torch", reason="judging needs torch: pip install 'canopic[train]'")
    monkeypatch.setattr(scenes, "torch_answer", lambda _, full_scale: bright_parts(full_scale))
    taken = []
    for shift in range(4):
        one = photograph(300, 400, (60 + 9 * shift, 80, 70, 80), (240, 120 - 7 * shift, 90, 100))
        taken.append(
            Photograph("test", np.where(one.image < 255, 0, one.image).astype(np.uint8), one.boxes, one.ignore)
        )
    delta = np.ones((1, 1, 1), np.float32)
    subject = Subject("pixelate", "baseline")
    if pool is not None:
        subject = Subject("ours", "ours", Encoding(delta, THRESHOLDS, pool))
    result = judged(subject, torch.nn.Identity(), taken, TINY)
    assert result["ap"] == {"value": 1.0, "interval_95": [1.0, 1.0], "faces": 8}
    assert result["true_positive_rate_at"]["0.1"]["value"] == 1.0
    assert [part["faces"] for part in result["ap_by_size"]] == [0, 0, 0, 8, 0]


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match="is missing"):
        detect_in_scenes(Subject("clean", "baseline"), tmp_path, TINY, tmp_path)
