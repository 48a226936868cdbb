"""Nothing outside a data set's folder is read, and errors name the file and the line."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from models.datasets.files import (
    AnnotationError,
    data_file,
    data_folder,
    folders_in,
    inside,
    lines_of,
    pictures_in,
    read_names,
    read_rgb,
)
from models.detector.archives import DataMissingError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "set" / "inner").mkdir(parents=True)
    (tmp_path / "set" / "inner" / "a.jpg").write_bytes(b"no picture")
    (tmp_path / "secret.jpg").write_bytes(b"outside")
    return tmp_path / "set"


@pytest.mark.parametrize("name", ["../secret.jpg", "inner/../../secret.jpg", "/etc/passwd", "", "inner\\a.jpg", "a\0b"])
def test_names_that_lead_out_are_refused(root: Path, name: str) -> None:
    with pytest.raises(AnnotationError, match="no name of a file"):
        inside(root, name)


def test_links_that_lead_out_are_refused_and_not_listed(root: Path) -> None:
    (root / "inner" / "b.jpg").symlink_to(root.parent / "secret.jpg")
    (root / "out").symlink_to(root.parent)
    for name in ("inner/b.jpg", "out/secret.jpg"):
        with pytest.raises(AnnotationError, match="link that leads out"):
            inside(root, name)
    assert pictures_in(root / "inner") == ["a.jpg"]
    assert folders_in(root) == ["inner"]
    assert inside(root, "inner/a.jpg") == root / "inner" / "a.jpg"


def test_a_root_that_is_a_link_itself_is_fine(root: Path) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    assert inside(link, "inner/a.jpg").read_bytes() == b"no picture"


def test_what_is_missing_is_named_with_what_it_should_be(root: Path) -> None:
    with pytest.raises(DataMissingError, match=r"inner/c\.jpg is missing, though a list"):
        inside(root, "inner/c.jpg")
    with pytest.raises(DataMissingError, match=r"set/train is missing or no folder. It should hold people"):
        data_folder(root, "train", "people")
    with pytest.raises(DataMissingError, match=r"holds no a\.txt or b\.txt: the table"):
        data_file(root, "a.txt", "b.txt", what="the table")
    with pytest.raises(DataMissingError, match=r"a\.jpg cannot be decoded as a picture \(10 bytes\)"):
        read_rgb(root / "inner" / "a.jpg")


def test_an_empty_file_is_no_picture(root: Path) -> None:
    (root / "empty.jpg").touch()
    with pytest.raises(DataMissingError, match=r"\(0 bytes\)"):
        read_rgb(root / "empty.jpg")


def test_grey_pictures_have_three_colours_and_colours_their_order(root: Path) -> None:
    cv2.imwrite(str(root / "grey.png"), np.full((4, 5), 77, np.uint8))
    cv2.imwrite(str(root / "red.png"), np.full((4, 5, 3), (0, 0, 255), np.uint8))
    assert read_rgb(root / "grey.png").tolist() == np.full((4, 5, 3), 77).tolist()
    assert read_rgb(root / "red.png")[0, 0].tolist() == [255, 0, 0]


def test_a_rotation_in_exif_is_left_alone(root: Path) -> None:
    """Boxes and ellipses were drawn on the pictures as stored."""
    exif = bytes.fromhex("ffe10022457869660000") + b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    done, stored = cv2.imencode(".jpg", np.zeros((8, 16, 3), np.uint8))
    assert done
    path = root / "turned.jpg"
    path.write_bytes(stored.tobytes()[:2] + exif + stored.tobytes()[2:])
    assert cv2.imread(str(path)).shape == (16, 8, 3), "the test's own EXIF is not read"
    assert read_rgb(path).shape == (8, 16, 3)


def test_lists_of_names(root: Path) -> None:
    path = root / "list.txt"
    path.write_text("# faceless\n\ntrain/a.JPEG\r\n  val/b.JPEG \n")
    assert read_names(path) == ["train/a.JPEG", "val/b.JPEG"]
    path.write_text("a\nb\na\n")
    with pytest.raises(AnnotationError, match=r"list\.txt:3: 'a' was read where another name than line 1's"):
        read_names(path)
    with pytest.raises(DataMissingError, match="nothere"):
        read_names(root / "nothere.txt")


def test_what_is_no_text_is_said_with_its_line(root: Path) -> None:
    (root / "bytes.txt").write_bytes(b"one\n\xff\xfe\n")
    with pytest.raises(AnnotationError, match=r"bytes\.txt:1: no UTF-8 text"):
        list(lines_of(root / "bytes.txt"))
