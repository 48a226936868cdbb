"""Fixtures: the shared archives where they are, and small archives of the same form."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.models.archive_files import write_archive

SHARED = Path(os.environ.get("CANOPIC_SHARED", Path(__file__).parents[4] / "shared"))


@pytest.fixture
def shared_data() -> Path:
    """The folder with the shared archives; skips the test where it is absent."""
    data = SHARED / "data"
    if not (data / "scenes_faces_wider480.tar").is_file():
        pytest.skip(f"needs the shared archives in {data}: set CANOPIC_SHARED to the folder that holds data/")
    return data


@pytest.fixture
def small_data(tmp_path: Path) -> Path:
    """Archives of the same form as the shared ones, with made-up pictures: four scenes, a few crops."""
    rng = np.random.default_rng(0)
    scenes = [f"{index}.jpg" for index in range(4)]
    splits = ["train", "train", "test", "train"]
    tables = {
        "images.csv": [
            {"file": name, "width": "48", "height": "36", "split": split, "n_faces": "1"}
            for name, split in zip(scenes, splits, strict=True)
        ],
        "boxes.csv": [
            {"file": name, "x": "5", "y": "6.5", "w": "12", "h": "15", "invalid": str(int(name == "1.jpg"))}
            for name in scenes[:3]
        ],
    }
    pictures = {name: rng.integers(0, 256, (36, 48, 3), np.uint8) for name in scenes}
    write_archive(tmp_path / "scenes_faces_wider480.tar", tables, pictures)
    for archive in ("faces_other_lfw64.tar", "nonface_images64.tar"):
        names = [f"{archive[:4]}/{index}.jpg" for index in range(5)]
        rows = [{"file": name, "split": "test" if name.endswith("4.jpg") else "train"} for name in names]
        write_archive(
            tmp_path / archive,
            {"index.csv": rows},
            {name: rng.integers(0, 256, (64, 64, 3), np.uint8) for name in names},
        )
    return tmp_path
