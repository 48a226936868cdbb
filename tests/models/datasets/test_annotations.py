"""WIDER FACE's and FDDB's tables: what is written is read, and a wrong line is named; pictures come one at a time."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.datasets.fddb import brought_down, ellipse_boxes, fddb_photographs, read_fold
from models.datasets.files import AnnotationError
from models.datasets.wider import FIELDS, HIGHEST, WiderPhotographs, read_table, shrunk
from models.detector.archives import DataMissingError

WIDER_FACE = st.tuples(*[st.integers(0, HIGHEST.get(name, 3000)) for name in FIELDS])
WIDER = st.lists(st.tuples(st.from_regex(r"[0-9]{1,2}--[A-Za-z_]{1,9}", fullmatch=True), st.lists(WIDER_FACE)))
RADIUS = st.floats(0.5, 500)
ELLIPSE = st.tuples(RADIUS, RADIUS, st.floats(-3.2, 3.2), st.floats(-50, 500), st.floats(-50, 500))
FDDB = st.lists(st.tuples(st.integers(1, 9999), st.lists(ELLIPSE)))
FAST = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def text(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "table.txt"
    path.write_bytes(content.encode())
    return path


@given(entries=WIDER, end=st.sampled_from(["\n", "\r\n", " \n"]), zeros=st.booleans())
@FAST
def test_wider_tables_are_read_as_written(
    tmp_path: Path, entries: list[tuple[str, list[tuple[int, ...]]]], end: str, zeros: bool
) -> None:
    """With the line of zeros after "0" faces, as published, and without it."""
    lines = []
    for event, faces in entries:
        lines += [f"{event}/one 1.jpg", str(len(faces))]
        lines += [" ".join(map(str, face)) for face in faces] or (["0 0 0 0 0 0 0 0 0 0"] if zeros else [])
    found = list(read_table(text(tmp_path, "".join(line + end for line in lines))))
    assert [one.name for one in found] == [f"{event}/one 1.jpg" for event, _ in entries]
    for one, (_, faces) in zip(found, entries, strict=True):
        assert one.faces.shape == (len(faces), 10)
        assert one.faces.tolist() == [list(face) for face in faces]


FACE = "449 330 122 149 0 0 0 0 0 0"


@pytest.mark.parametrize(
    ("content", "line", "expected"),
    [
        ("0--Parade/a.jpg\none\n", 2, "the number of faces"),
        ("0--Parade/a.jpg\n-1\n", 2, "the number of faces"),
        ("0--Parade/a.jpg\n", 2, "the number of faces"),
        (f"0--Parade/a.jpg\n2\n{FACE}\n", 4, "ten whole numbers"),
        (f"0--Parade/a.jpg\n2\n{FACE}\n1--Handshaking/b.jpg\n", 4, "ten whole numbers"),
        (f"0--Parade/a.jpg\n1\n{FACE}\n{FACE}\n", 4, "the name of a picture"),
        ("0--Parade/a.jpg\n1\n449 330 122 149 0 0 0 0 0\n", 3, "ten whole numbers"),
        ("0--Parade/a.jpg\n1\n449 330 -1 149 0 0 0 0 0 0\n", 3, "ten whole numbers"),
        ("0--Parade/a.jpg\n1\n449 330 122 149 3 0 0 0 0 0\n", 3, "blur from 0 to 2"),
        ("0--Parade/a.jpg\n1\n-9 330 122 149 1 0 0 0 0 0\n", 3, "x from 0"),
        ("0--Parade/a.jpg\n1\n4.5 330 122 149 1 0 0 0 0 0\n", 3, "ten whole numbers"),
    ],
)
def test_a_wrong_line_of_wider_is_named(tmp_path: Path, content: str, line: int, expected: str) -> None:
    with pytest.raises(AnnotationError, match=rf"table\.txt:{line}: .*{expected}"):
        list(read_table(text(tmp_path, content)))


def test_wider_photographs_keep_boxes_and_ignore_what_is_invalid(trees: dict[str, Path]) -> None:
    found = WiderPhotographs(trees["wider"], "train")
    assert len(found) == 8
    assert [len(one.boxes) for one in found] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert found[1].name == "0--Parade/0_Parade_1.jpg"
    assert found[1].boxes.tolist() == [[26, 42, 28, 36]]
    assert found[1].image.shape == (160, 208, 3)
    assert found[1].image[45, 40].astype(int).sum() > 380, "the face is not where its box is"
    assert [one.ignore.tolist() for one in found if one.ignore.any()] == [[False, True]]
    assert [one.name for one in found[2:4]] == [found[2].name, found[-5].name]
    assert len(WiderPhotographs(trees["wider"], "train", wanted=lambda one: len(one.faces) > 1)) == 2
    small = WiderPhotographs(trees["wider"], "train", longest_px=104)
    assert small[1].image.shape == (80, 104, 3)
    assert small[1].boxes.tolist() == [[13, 21, 14, 18]]


def test_wider_reads_a_photograph_when_it_is_asked_for(trees: dict[str, Path], tmp_path: Path) -> None:
    """The second is missing, and nobody notices before it is wanted."""
    (tmp_path / "wider_face_split").mkdir()
    kept = "0--Parade/0_Parade_1.jpg"
    table = f"{kept}\n0\n0 0 0 0 0 0 0 0 0 0\n0--Parade/gone.jpg\n0\n0 0 0 0 0 0 0 0 0 0\n"
    (tmp_path / "wider_face_split" / "wider_face_val_bbx_gt.txt").write_text(table)
    (tmp_path / "WIDER_val" / "images" / "0--Parade").mkdir(parents=True)
    (tmp_path / "WIDER_val" / "images" / kept).write_bytes(
        (trees["wider"] / "WIDER_train" / "images" / kept).read_bytes()
    )
    photographs = WiderPhotographs(tmp_path, "val")
    assert photographs[0].name == kept
    with pytest.raises(DataMissingError, match=r"gone\.jpg is missing, though a list"):
        photographs[1]


def test_a_wider_table_cannot_lead_out(tmp_path: Path) -> None:
    (tmp_path / "WIDER_val" / "images").mkdir(parents=True)
    (tmp_path / "wider_face_val_bbx_gt.txt").write_text("../../secret.jpg\n0\n")
    with pytest.raises(AnnotationError, match="no name of a file"):
        WiderPhotographs(tmp_path, "val")[0]
    (tmp_path / "wider_face_val_bbx_gt.txt").unlink()
    with pytest.raises(DataMissingError, match=r"wider_face_split\.zip"):
        WiderPhotographs(tmp_path, "val")[0]


def test_pictures_grow_never() -> None:
    image = np.zeros((30, 60, 3), np.uint8)
    assert shrunk(image, 60)[0] is image
    assert shrunk(image, None) == (image, 1.0)
    assert shrunk(image, 15)[0].shape == (8, 15, 3)


@given(entries=FDDB)
@FAST
def test_fddb_folds_are_read_as_written(tmp_path: Path, entries: list[tuple[int, list[tuple[float, ...]]]]) -> None:
    lines = []
    for number, ellipses in entries:
        lines += [f"2002/07/19/big/img_{number}", str(len(ellipses))]
        lines += [" ".join(map(repr, ellipse)) + "  1" for ellipse in ellipses]
    found = list(read_fold(text(tmp_path, "\n".join(lines))))
    assert [one.name for one in found] == [f"2002/07/19/big/img_{number}" for number, _ in entries]
    for one, (_, ellipses) in zip(found, entries, strict=True):
        assert one.ellipses.tolist() == [list(ellipse) for ellipse in ellipses]


PUBLISHED = "123.583300 85.549500 1.265839 269.693400 161.781200  1"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("img_591\n1\n" + PUBLISHED, 1),
        ("2002/08/11/big/img_591\nx\n" + PUBLISHED, 2),
        ("2002/08/11/big/img_591\n2\n" + PUBLISHED, 4),
        ("2002/08/11/big/img_591\n1\n" + PUBLISHED[:-3], 3),
        ("2002/08/11/big/img_591\n1\n0 85.5 1.2 269.6 161.7 1", 3),
        ("2002/08/11/big/img_591\n1\nnan 85.5 1.2 269.6 161.7 1", 3),
        ("2002/08/11/big/img_591\n1\nten 85.5 1.2 269.6 161.7 1", 3),
    ],
)
def test_a_wrong_line_of_fddb_is_named(tmp_path: Path, content: str, line: int) -> None:
    with pytest.raises(AnnotationError, match=rf"table\.txt:{line}: "):
        list(read_fold(text(tmp_path, content)))


@given(ellipse=ELLIPSE)
@settings(max_examples=60, deadline=None)
def test_boxes_are_the_smallest_round_their_ellipses(ellipse: tuple[float, ...]) -> None:
    major, minor, angle, x, y = ellipse
    turn = np.linspace(0, 2 * np.pi, 2001)
    along, across = major * np.cos(turn), minor * np.sin(turn)
    points_x = x + along * np.cos(angle) - across * np.sin(angle)
    points_y = y + along * np.sin(angle) + across * np.cos(angle)
    left, top, width, height = ellipse_boxes(np.array([ellipse]))[0]
    drawn = [points_x.min(), points_y.min(), np.ptp(points_x), np.ptp(points_y)]
    assert np.allclose([left, top, width, height], drawn, atol=1e-3 * max(major, minor) + 1e-3)


def test_pictures_are_brought_down_until_the_smallest_face_is_40_px_long() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    small = np.array([[20.0, 12, 0, 50, 60]])
    assert brought_down(image, small)[0] is image
    assert brought_down(image, np.zeros((0, 5)))[0] is image
    ellipses = np.array([[80.0, 40, 0.3, 200, 100], [40, 30, 1.0, 60, 80]])
    less, shrunken = brought_down(image, ellipses)
    assert less.shape == (100, 150, 3)
    assert shrunken.tolist() == [[40, 20, 0.3, 100, 50], [20, 15, 1.0, 30, 40]]


def test_fddb_photographs_come_with_ellipses_and_boxes(trees: dict[str, Path]) -> None:
    found = list(fddb_photographs(trees["fddb"]))
    assert len(found) == 12
    (first, ellipse), (second, shrunken) = found[:2]
    assert first.name == "2002/07/01/big/img_0"
    assert np.allclose(ellipse, [[16, 12, np.pi / 2, 120, 90]], atol=1e-5)
    assert np.allclose(first.boxes, [[108, 74, 24, 32]], atol=1e-3)
    assert second.image.shape == (133, 160, 3)
    assert np.allclose(shrunken[0, :2], [20, 40 / 3])
    assert second.image[60, 80].astype(int).sum() > 380, "the face is not where its ellipse is"
    assert len(list(fddb_photographs(trees["fddb"], range(2, 4), None))) == 3


def test_a_missing_fold_or_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match=r"originalPics is missing or no folder.*originalPics\.tar\.gz"):
        list(fddb_photographs(tmp_path))
    (tmp_path / "originalPics").mkdir()
    (tmp_path / "FDDB-folds").mkdir()
    with pytest.raises(DataMissingError, match=r"FDDB-fold-01-ellipseList\.txt is missing"):
        list(fddb_photographs(tmp_path))
    fold = tmp_path / "FDDB-folds" / "FDDB-fold-01-ellipseList.txt"
    fold.write_text("2002/07/19/big/img_130\n1\n" + PUBLISHED)
    with pytest.raises(DataMissingError, match=r"img_130\.jpg is missing, though a list"):
        list(fddb_photographs(tmp_path, range(1, 2)))
