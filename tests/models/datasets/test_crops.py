"""Cropped once, kept in shards: the published rules, and that an interrupted run ends with the same bytes."""

from pathlib import Path

import numpy as np
import pytest

import models.datasets.crops as crops
from models.datasets.crops import CropStore, centre_crop, cropped, listing_digest, random_crop
from models.datasets.files import AnnotationError
from models.datasets.ilsvrc import picture_names
from models.datasets.vggface2 import read_boxes
from models.detector.archives import DataMissingError


def everything(store: CropStore) -> np.ndarray:
    return np.concatenate([np.asarray(part) for part in store.parts()])


def test_the_centre_rule_leaves_64_of_73_px_of_the_shorter_side() -> None:
    image = np.zeros((146, 219, 3), np.uint8)
    image[:, 108:111] = 255
    found = centre_crop(image)
    assert found.shape == (64, 64, 3)
    columns = found[0, :, 0].astype(float)
    assert abs((columns * np.arange(64)).sum() / columns.sum() - 31.5) < 0.6
    # 1 px of the crop is 2 px of the picture: three white columns are 1.5 wide.
    assert abs(columns.sum() / 255 - 1.5) < 0.1
    assert centre_crop(np.full((10, 300, 3), 9, np.uint8)).tolist() == np.full((64, 64, 3), 9).tolist()


def test_the_random_rule_stays_inside_its_areas_and_shapes() -> None:
    """A ramp over the columns tells each window's width, and whether it was mirrored."""
    ramp = np.repeat(np.linspace(0, 255, 200).round().astype(np.uint8)[None, :, None], 100, axis=0)
    image = np.repeat(ramp, 3, axis=2)
    rng = np.random.default_rng(0)
    spans = np.array([np.ptp(random_crop(image, rng)[5, :, 0].astype(int)) for _ in range(200)])
    mirrored = [random_crop(image, rng)[5, 0, 0] > random_crop(image, rng)[5, -1, 0] for _ in range(100)]
    # 8 % of the area at 3:4 is 35 columns of 200; all of it cannot be had at 4:3 (133 columns).
    assert 0.15 < spans.min() / 255 < 0.4
    assert 0.55 < spans.max() / 255 < 0.72
    assert 20 < sum(mirrored) < 80
    assert random_crop(np.zeros((2, 500, 3), np.uint8), rng).shape == (64, 64, 3)


def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(
    trees: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crops, "SHARD", 10)
    root = trees["ilsvrc"]
    names = picture_names(root, "train")[:34]
    whole = everything(cropped(tmp_path / "whole", root, names, "random", 3, 2))
    assert whole.shape == (34, 2, 64, 64, 3)

    def stop(ready: int) -> None:
        if ready >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cropped(tmp_path / "cut", root, names, "random", 3, 2, report=stop)
    left = sorted((tmp_path / "cut").rglob("*.npy"))
    assert len(left) == 2
    before = [path.stat().st_mtime_ns for path in left]
    told: list[int] = []
    store = cropped(tmp_path / "cut", root, names, "random", 3, 2, report=told.append)
    assert np.array_equal(everything(store), whole)
    assert [path.stat().st_mtime_ns for path in left] == before, "what was ready is made again"
    assert told[-1] == 34
    assert sorted(told) == told
    assert not np.array_equal(everything(cropped(tmp_path / "cut", root, names, "random", 4, 2)), whole)
    assert np.array_equal(store.firsts(), whole[:, 0])
    assert len(store) == 34


def test_the_cache_is_named_by_all_that_decides_it(trees: dict[str, Path], tmp_path: Path) -> None:
    root = trees["ilsvrc"]
    names = picture_names(root, "train")[:4]
    digests = {
        listing_digest(root, names, "centre", 0, 1),
        listing_digest(root, names, "random", 0, 1),
        listing_digest(root, names, "random", 1, 1),
        listing_digest(root, names, "random", 0, 2),
        listing_digest(root, names[::-1], "centre", 0, 1),
        listing_digest(tmp_path, names, "centre", 0, 1),
    }
    assert len(digests) == 6
    assert listing_digest(root, names, "centre", 0, 1) == listing_digest(root, names, "centre", 5, 1)


def test_the_box_rule_puts_48_of_64_px_on_the_face(trees: dict[str, Path], tmp_path: Path) -> None:
    root = trees["vggface2"]
    name = "n000011/0003_01.jpg"
    boxes = {f"test/{key}": box for key, box in read_boxes(root, "test", [name]).items()}
    crop = cropped(tmp_path, root, [f"test/{name}"], "box", boxes=boxes).firsts()[0]
    # 255 is the skin's red, 160 the most that the background has.
    bright = np.flatnonzero(crop[:, 32, 0] > 200)
    assert abs(np.ptp(bright) + 1 - 48) <= 3


def test_wrong_uses_and_missing_pictures_are_refused(trees: dict[str, Path], tmp_path: Path) -> None:
    root = trees["ilsvrc"]
    with pytest.raises(ValueError, match="only random ones differ"):
        cropped(tmp_path, root, [], "centre", count=2)
    with pytest.raises(ValueError, match="needs a box"):
        cropped(tmp_path, root, [], "box")
    with pytest.raises(AnnotationError, match="no name of a file"):
        cropped(tmp_path, root, ["../vggface2/meta/identity_meta.csv"], "centre")
    with pytest.raises(DataMissingError, match=r"x\.JPEG is missing"):
        cropped(tmp_path, root, ["train/x.JPEG"], "centre")
    empty = cropped(tmp_path, root, [], "centre")
    assert empty.firsts().shape == (0, 64, 64, 3)
    assert len(empty) == 0
