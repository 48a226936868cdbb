"""Figures of the evidence are drawn from its numbers, for whatever was asked."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from host.figures.evidence import draw_all, drawn_face, drawn_house, kernel_mosaic
from models.detector.gaussian_encoding import gaussian_kernel
from models.evidence.subjects import Subject
from optics.encoding import Encoding

THRESHOLDS = np.linspace(0.05, 0.9, 15, dtype=np.float32)
ONE = Subject("one", "ours", Encoding(gaussian_kernel(2.0, 9), THRESHOLDS))
FOUR = Subject("four", "paper", Encoding(np.repeat(gaussian_kernel(2.0, 9), 4, axis=0), THRESHOLDS, 8, "per_frame"))


def result(mean: float, **more: object) -> dict[str, object]:
    found = {"mean": mean, "interval_95": [mean - 0.01, mean + 0.01], "chance": 1 / 71, **more}
    return {"headline": "small", "attackers": {"small": found}}


def document() -> dict[str, object]:
    rows = []
    for subject, identity in ((ONE, 0.04), (FOUR, 0.2)):
        curve = {"false_accept": [0.0, 0.01, 1.0], "true_accept": [0.0, 0.1, 1.0]}
        results = {
            "identity": result(identity),
            "face": result(0.93),
            "verification, equal error rate": result(0.4, curve=curve),
        }
        rows.append({"name": subject.name, "kind": subject.kind, "build": subject.build, "results": results})
    rows[0]["distance"] = {
        "sizes_px": [12.0, 48.0],
        "identity": [0.02, 0.1],
        "identity_95": [[0.01, 0.03], [0.08, 0.12]],
        "chance": 1 / 71,
    }
    roc = {"false_positives": [0, 3, 9], "true_positive_rate": [0.0, 0.4, 0.6]}
    rows[1]["detection"] = {"ap": {"value": 0.5}, "roc": roc}
    return {"quick": False, "subjects": rows}


def test_there_is_a_figure_for_everything_that_was_asked(tmp_path: Path) -> None:
    made = draw_all(document(), [ONE, FOUR], tmp_path)
    assert {path.name for path in made} == {
        "encodings.png", "measurements.png", "plane.png", "verification.png", "detection.png", "distance.png",
    }  # fmt: skip
    for path in made:
        picture = cv2.imread(str(path))
        assert picture is not None
        assert picture.std() > 5


def test_what_was_not_asked_is_not_drawn(tmp_path: Path) -> None:
    rows = [{"name": "one", "kind": "ours", "build": "mask", "results": {}}]
    made = draw_all({"quick": True, "subjects": rows}, [ONE], tmp_path)
    assert {path.name for path in made} == {"encodings.png", "measurements.png"}


def test_the_plane_follows_the_numbers(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    draw_all(document(), [ONE], tmp_path / "a")
    changed = document()
    changed["subjects"][0]["results"]["face"] = result(0.7)  # type: ignore[index]
    draw_all(changed, [ONE], tmp_path / "b")
    assert (tmp_path / "a/plane.png").read_bytes() != (tmp_path / "b/plane.png").read_bytes()
    assert (tmp_path / "a/verification.png").read_bytes() == (tmp_path / "b/verification.png").read_bytes()


def test_kernels_stand_side_by_side_by_their_largest_tap() -> None:
    assert FOUR.encoding is not None
    mosaic = kernel_mosaic(FOUR.encoding)
    assert mosaic.shape == (19, 19)
    assert np.nanmax(mosaic) == pytest.approx(1)
    assert np.isnan(mosaic[9]).all()


def test_the_drawn_pictures_are_crops() -> None:
    for picture in (drawn_face(), drawn_house()):
        assert picture.shape == (64, 64, 3)
        assert picture.dtype == np.uint8
