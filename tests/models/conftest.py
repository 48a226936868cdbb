"""Small folders in the original layouts of VGGFace2, ILSVRC 2012, WIDER FACE and FDDB, filled with drawn pictures."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

PEOPLE_TRAIN, PEOPLE_TEST = 6, 4


def _save(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image[..., ::-1]):
        raise OSError(path)


def _texture(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    coarse = rng.integers(0, 160, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _face(image: NDArray[np.uint8], x: float, y: float, major: float, minor: float, person: int) -> None:
    """A bright upright ellipse with two dark eyes whose colour and spacing are the person's."""
    tone = 150 + 20 * (person % 5)
    colour = (255, tone, 255 - tone // 2)
    cv2.ellipse(image, ((x, y), (2 * minor, 2 * major), 0), colour, -1)
    for side in (-1, 1):
        eye = (round(x + side * minor * (0.3 + 0.08 * (person % 4))), round(y - major * 0.3))
        cv2.circle(image, eye, max(1, round(minor * 0.2)), (20, 20, 20), -1)


@pytest.fixture(scope="session")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The roots of the four, by name; read-only, made once."""
    root = tmp_path_factory.mktemp("originals")
    makers = {"vggface2": _vggface2, "ilsvrc": _ilsvrc, "wider": _wider, "fddb": _fddb}
    for name, make in makers.items():
        make(root / name)
    return {name: root / name for name in makers}


def _vggface2(root: Path) -> None:
    rng = np.random.default_rng(1)
    meta = ["Class_ID, Name, Sample_Num, Flag, Gender,"]
    for part, first, people in (("train", 2, PEOPLE_TRAIN), ("test", 1, PEOPLE_TEST)):
        boxes = ["NAME_ID,X,Y,W,H"]
        for person in range(people):
            number = f"n{first + 10 * person:06d}"
            pictures = 14 + person
            for picture in range(pictures):
                height, width = 90 + 2 * picture, 76 + picture
                image = _texture(rng, height, width)
                _face(image, width / 2, height / 2, height / 4, width / 5, person + 7 * (part == "test"))
                name = f"{picture + 1:04d}_01"
                _save(root / part / number / f"{name}.jpg", image)
                boxes.append(
                    f'"{number}/{name}",{width // 2 - width // 5},{height // 4},{width * 2 // 5},{height // 2}'
                )
            meta.append(f'{number}, "Person_{person},_{part}",{pictures},{int(part == "train")}, f,')
        (root / "bb_landmark").mkdir(parents=True, exist_ok=True)
        (root / "bb_landmark" / f"loose_bb_{part}.csv").write_text("\n".join(boxes) + "\n")
    (root / "meta").mkdir()
    (root / "meta" / "identity_meta.csv").write_text("\n".join(meta) + "\n")


def _ilsvrc(root: Path) -> None:
    rng = np.random.default_rng(2)
    for label in ("n01440764", "n01443537", "n02979186"):
        for picture in range(24):
            _save(root / "train" / label / f"{label}_{picture}.JPEG", _texture(rng, 80, 120))
    for picture in range(30):
        _save(root / "val" / f"ILSVRC2012_val_{picture + 1:08d}.JPEG", _texture(rng, 96, 80))


def _wider(root: Path) -> None:
    rng = np.random.default_rng(3)
    for part, count in (("train", 8), ("val", 4)):
        lines = []
        for picture in range(count):
            event = "0--Parade" if picture % 2 else "12--Group"
            name = f"{event}/{event.replace('--', '_')}_{picture}.jpg"
            image = _texture(rng, 160, 208)
            faces = []
            for face in range(picture % 3):
                x, y = 40 + 70 * face, 60 + 10 * face
                _face(image, x, y, 18, 14, picture + face)
                faces.append(f"{x - 14} {y - 18} 28 36 {face} 0 0 {int(face == 1 and picture == 5)} 0 0 ")
            _save(root / f"WIDER_{part}" / "images" / name, image)
            lines += [name, str(len(faces)), *(faces or ["0 0 0 0 0 0 0 0 0 0 "])]
        (root / "wider_face_split").mkdir(exist_ok=True)
        (root / "wider_face_split" / f"wider_face_{part}_bbx_gt.txt").write_text("\n".join(lines) + "\n")


def _fddb(root: Path) -> None:
    rng = np.random.default_rng(4)
    (root / "FDDB-folds").mkdir(parents=True)
    for fold in range(1, 11):
        lines = []
        for picture in range(1 if fold > 2 else 2):
            name = f"2002/07/{fold:02d}/big/img_{picture}"
            image = _texture(rng, 200, 240)
            major, minor = (30.0, 20.0) if picture else (16.0, 12.0)
            _face(image, 120, 90, major, minor, fold)
            _save(root / "originalPics" / f"{name}.jpg", image)
            lines += [name, "1", f"{major:.6f} {minor:.6f} {np.pi / 2:.6f} 120.000000 90.000000  1"]
        path = root / "FDDB-folds" / f"FDDB-fold-{fold:02d}-ellipseList.txt"
        path.write_text("\n".join(lines) + "\n")
