"""Encodings in .npz files: what is written is read, and each bad file is named with what is wrong and what to do."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.encoding_file import EncodingFileError, read_encoding, read_encoding_and_light
from optics.encoding import Encoding

KERNELS = np.full((2, 3, 3), 1 / 9, np.float32)
THRESHOLDS = np.linspace(0.1, 0.9, 15, dtype=np.float32)


def written(folder: Path, **changed: Any) -> Path:
    """An encoding's file; arrays that are None are left out."""
    path = folder / "mine.npz"
    arrays = {"kernels": KERNELS, "thresholds": THRESHOLDS, **changed}
    np.savez(path, allow_pickle=True, **{name: value for name, value in arrays.items() if value is not None})
    return path


def refused(path: Path) -> str:
    """What is said of a file; whatever is wrong, it names the file, what was expected and where to get it."""
    with pytest.raises(EncodingFileError) as caught:
        read_encoding(path)
    said = str(caught.value)
    assert said.startswith(str(path))
    assert "expected an .npz file with kernels float32 (filters, height, width), thresholds float32 (15,)" in said
    assert "canopic bundle export" in said
    assert "pickle" not in said
    return said


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_encoding_and_light(written(tmp_path)) == (Encoding(KERNELS, THRESHOLDS), None)
    more = {"pool": np.array(16), "range": np.array("per_frame"), "light": np.array("srgb")}
    expected = Encoding(KERNELS, THRESHOLDS, 16, "per_frame")
    assert read_encoding_and_light(written(tmp_path, **more)) == (expected, "srgb")


def test_arrays_that_are_none_of_an_encodings_are_not_looked_at(tmp_path: Path) -> None:
    assert read_encoding(written(tmp_path, notes=np.array([{"by": "me"}], object))) == Encoding(KERNELS, THRESHOLDS)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"thresholds": None}, "has no array thresholds"),
        ({"kernels": None, "thresholds": None}, "has no array kernels and none called thresholds"),
        ({"kernels": np.array([[1, None]], object)}, "its array kernels cannot be read, it holds Python objects"),
        ({"pool": np.array({}, object)}, "its array pool cannot be read, it holds Python objects"),
        ({"kernels": KERNELS[0]}, "kernels must have the shape (filters, height, width), none of them 0, got (3, 3)"),
        ({"kernels": KERNELS.astype(np.float64)}, "kernels must be a float32 array"),
        ({"kernels": KERNELS * np.float32(np.nan)}, "kernels must be finite"),
        ({"thresholds": THRESHOLDS[:14]}, "thresholds must have the shape (15,), one per comparator, got (14,)"),
        ({"thresholds": THRESHOLDS[::-1]}, "thresholds must ascend"),
        ({"pool": np.array(8.5)}, "pool must be one whole number of pixels"),
        ({"pool": np.array([8, 8])}, "pool must be one whole number of pixels"),
        ({"pool": np.array(0)}, "pool must be between 1 and 1024 pixels"),
        ({"range": np.array("wide")}, 'range must be "fixed" or "per_frame", got \'wide\''),
        ({"light": np.array("blue")}, 'light must be "linear" or "srgb", got "blue"'),
    ],
)
def test_a_wrong_array_is_named(tmp_path: Path, changed: dict[str, Any], why: str) -> None:
    assert why in refused(written(tmp_path, **changed))


def test_what_is_no_npz_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    assert "is missing" in refused(path)
    for content in (b"", b"kernels: 1\n", pickle.dumps({"kernels": 1}), b"PK\x03\x04 cut off"):
        path.write_bytes(content)
        assert "cannot be read, it is in another format, or damaged" in refused(path)
    with path.open("wb") as file:
        np.save(file, KERNELS)
    assert "holds one array without a name" in refused(path)
    path.unlink()
    path.mkdir()
    assert "cannot be read, Is a directory" in refused(path)


def test_a_damaged_array_is_named(tmp_path: Path) -> None:
    path = written(tmp_path)
    content = bytearray(path.read_bytes())
    content[content.index(KERNELS.tobytes()) + 5] ^= 0xFF
    path.write_bytes(content)
    assert "its array kernels cannot be read, it is in another format, or damaged" in refused(path)
