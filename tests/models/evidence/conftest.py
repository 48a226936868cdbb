"""Archives of the shared ones' form with made-up people, whose colours tell them apart, and nothing else in them."""

from pathlib import Path

import numpy as np
import pytest

from tests.models.archive_files import write_archive

PEOPLE = 4
IMAGES = 10


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`write_tiny_data`, once."""
    return write_tiny_data(tmp_path_factory.mktemp("data"))


def write_tiny_data(folder: Path) -> Path:
    """Four people with ten images each, other people, and crops without a face; returns `folder`."""
    rng = np.random.default_rng(0)
    looks = rng.integers(30, 226, (PEOPLE + 12, 2, 2, 3))

    def person(number: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
        image = looks[number].repeat(32, axis=0).repeat(32, axis=1) + rng.integers(-15, 16, (64, 64, 3))
        return np.clip(image, 0, 255).astype(np.uint8)

    rows, pictures = [], {}
    for number in range(PEOPLE):
        for index in range(IMAGES):
            name = f"p{number}/{index}.jpg"
            split = "train" if index < 6 else "test"
            rows.append({"file": name, "label": str(number), "person": f"p{number}", "split": split})
            pictures[name] = person(number)
    write_archive(folder / "faces_identity_lfw64.tar", {"index.csv": rows}, pictures)
    rows, pictures = [], {}
    for number in range(12):
        for index in range(2):
            name = f"o{number}/{index}.jpg"
            rows.append({"file": name, "person": f"o{number}", "split": "train" if number < 6 else "test"})
            pictures[name] = person(PEOPLE + number)
    write_archive(folder / "faces_other_lfw64.tar", {"index.csv": rows}, pictures)
    rows, pictures = [], {}
    for index in range(24):
        name = f"n/{index}.jpg"
        rows.append({"file": name, "source": "made", "split": "train" if index < 12 else "test"})
        pictures[name] = rng.integers(0, 256, (64, 64, 3), np.uint8)
    write_archive(folder / "nonface_images64.tar", {"index.csv": rows}, pictures)
    return folder
