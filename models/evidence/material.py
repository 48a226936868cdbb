"""The images that every subject is judged on: the same people, splits and windows for all of them, read once."""

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.datasets.windows import same_photograph_windows
from models.detector.archives import (
    FACES,
    FACES_BY_PERSON,
    NON_FACES,
    SCENES,
    Crops,
    Split,
    archive_path,
    file_digest,
    read_crops,
    read_scenes,
)
from models.evidence.covered import face_alone, without_face
from optics.whole_file import whole_file

# Raise it when the same archives and limits give other images: runs on other material are then not reused.
RECIPE = 1
CROPS_PART = "crops"
LABELS_PART = "labels"


@dataclass(frozen=True)
class Limits:
    """How many images are used.

    people: of the archive by person, those with the most images (ties by name). most_training, most_test: images of
    one person in either part; a cap on the test part keeps the best constant answer near chance. faces_training,
    faces_test: faces, and as many crops without, for face or no face. windows: faces per photograph for the same
    question within photographs. unseen: faces of people that no attacker is trained on, for verification. pairs: faces
    that the pretrained attacker has with their codes.
    """

    people: int = 71
    most_training: int = 30
    most_test: int = 8
    faces_training: int = 2400
    faces_test: int = 700
    windows: int = 8
    unseen: int = 1000
    pairs: int = 10_000


QUICK_LIMITS = Limits(
    people=71, most_training=8, most_test=3, faces_training=300, faces_test=150, windows=2, unseen=200, pairs=600
)


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Crops and what they show: `images` sRGB uint8 (n, 64, 64, 3), `labels` int64 (n,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Material:
    """All parts by name ("identity train", ...), the digest of archives and limits, and the people by label.

    identity: who is it, labels are people. surroundings, face-alone: the same with the face covered, and with all but
    the face covered (`models.evidence.covered`). face: face (1) or no face (0), two sources. windows: the same from the
    same photographs. unseen: faces of people in no training part, labels are people (at least two faces each).
    """

    parts: dict[str, Labelled]
    people: int
    digest: str
    data_sha256: dict[str, str]


ARCHIVES = {
    "identity": (FACES_BY_PERSON, FACES),
    "face": (FACES, NON_FACES),
    "same-photographs": (SCENES,),
    "pretraining": (FACES_BY_PERSON, FACES),
    "surroundings": (FACES_BY_PERSON,),
    "face-alone": (FACES_BY_PERSON,),
}
# Questions of who it is: their labels are people.
OF_PEOPLE = ("identity", "surroundings", "face-alone")


def needed_archives(questions: tuple[str, ...]) -> tuple[str, ...]:
    """Archives that the questions need, each once."""
    wanted = [name for question in questions for name in ARCHIVES.get(question, ())]
    return tuple(dict.fromkeys(wanted))


def read_material(data: Path, questions: tuple[str, ...], limits: Limits, cache: Path) -> Material:
    """The parts for `questions` (keys of `ARCHIVES`) from the archives in `data`, kept in folder `cache` for other
    processes and later calls. Raises DataMissingError when an archive is not there."""
    sums = {name: file_digest(archive_path(data, name)) for name in needed_archives(questions)}
    parts: dict[str, Labelled] = {}
    for question in (one for one in ARCHIVES if one in questions):
        for name, part in _kept(data, question, limits, sums, cache).items():
            parts[f"{question} {name}"] = part
    named = [parts[f"{question} train"].labels for question in OF_PEOPLE if question in questions]
    people = int(named[0].max()) + 1 if named else 0
    return Material(parts, people, digest_of(limits, sums), sums)


def digest_of(limits: Limits, sums: dict[str, str]) -> str:
    """SHA-256 of archives, limits and recipe."""
    content = {"recipe": RECIPE, "limits": asdict(limits), "data": sums}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def question_digest(question: str, material: Material, limits: Limits) -> str:
    """The digest of what one question is asked on: adding a question later leaves the runs of the others valid."""
    return digest_of(limits, {name: material.data_sha256[name] for name in ARCHIVES[question]})


def _kept(data: Path, question: str, limits: Limits, sums: dict[str, str], cache: Path) -> dict[str, Labelled]:
    digest = digest_of(limits, {name: sums[name] for name in ARCHIVES[question]})
    path = cache / f"material_{question}_{digest[:16]}.npz"
    if not path.is_file():
        made = MAKERS[question](data, limits)
        arrays: dict[str, NDArray[np.generic]] = {}
        for name, part in made.items():
            arrays[f"{name}/{CROPS_PART}"], arrays[f"{name}/{LABELS_PART}"] = part.images, part.labels
        with whole_file(path) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    with np.load(path) as file:
        names = dict.fromkeys(name.rsplit("/", 1)[0] for name in file.files)
        return {name: Labelled(file[f"{name}/{CROPS_PART}"], file[f"{name}/{LABELS_PART}"]) for name in names}


def _identity(data: Path, limits: Limits) -> dict[str, Labelled]:
    return _people(data, limits) | {"unseen": _unseen(data, limits.unseen)}


def _people(data: Path, limits: Limits) -> dict[str, Labelled]:
    everyone = read_crops(data, FACES_BY_PERSON)
    people = evaluation_people([row["person"] for row in everyone.rows], limits.people)
    return {
        "train": _by_person(everyone, "train", people, limits.most_training),
        "test": _by_person(everyone, "test", people, limits.most_test),
    }


def _surroundings(data: Path, limits: Limits) -> dict[str, Labelled]:
    return {name: Labelled(without_face(part.images), part.labels) for name, part in _people(data, limits).items()}


def _face_alone(data: Path, limits: Limits) -> dict[str, Labelled]:
    return {name: Labelled(face_alone(part.images), part.labels) for name, part in _people(data, limits).items()}


def evaluation_people(names: list[str], count: int) -> list[str]:
    """The `count` people with the most images among `names` (one entry per image), ties by name; sorted by name."""
    images = Counter(names)
    return sorted(sorted(images, key=lambda person: (-images[person], person))[:count])


def _by_person(crops: Crops, split: str, people: list[str], most: int) -> Labelled:
    label = {person: index for index, person in enumerate(people)}
    seen: Counter[str] = Counter()
    chosen = []
    for index, row in enumerate(crops.rows):
        if row["split"] == split and row["person"] in label and seen[row["person"]] < most:
            seen[row["person"]] += 1
            chosen.append(index)
    labels = np.array([label[crops.rows[index]["person"]] for index in chosen], np.int64)
    return Labelled(crops.images[chosen], labels)


def _unseen(data: Path, most: int) -> Labelled:
    """Faces of the other people's test split that have a second face there: whole people up to `most` faces."""
    crops = read_crops(data, FACES, "test")
    people = [row.get("person", "") for row in crops.rows]
    images = Counter(people)
    chosen: list[int] = []
    labels: list[int] = []
    for label, person in enumerate(sorted(name for name, count in images.items() if count >= 2 and name)):
        mine = [index for index, name in enumerate(people) if name == person]
        if len(chosen) + len(mine) > most:
            break
        chosen += mine
        labels += [label] * len(mine)
    return Labelled(crops.images[chosen], np.array(labels, np.int64))


def _pretraining(data: Path, limits: Limits) -> dict[str, Labelled]:
    """Every face that an attacker may have with its codes: training faces of all people, and all of the people by whom
    nobody is judged. Labels mean nothing here."""
    everyone = read_crops(data, FACES_BY_PERSON)
    judged = set(evaluation_people([row["person"] for row in everyone.rows], limits.people))
    own = _people(data, limits)["train"].images
    free = [index for index, row in enumerate(everyone.rows) if row["person"] not in judged]
    images = np.concatenate([own, everyone.images[free], read_crops(data, FACES, "train").images])[: limits.pairs]
    return {"train": Labelled(images, np.zeros(len(images), np.int64))}


def _faces(data: Path, limits: Limits) -> dict[str, Labelled]:
    rng = np.random.default_rng(0)
    found: dict[str, Labelled] = {}
    splits: tuple[tuple[Split, int], ...] = (("train", limits.faces_training), ("test", limits.faces_test))
    for split, most in splits:
        faces, others = read_crops(data, FACES, split).images, read_crops(data, NON_FACES, split).images
        count = min(most, len(faces), len(others))
        chosen = [one[np.sort(rng.choice(len(one), count, replace=False))] for one in (faces, others)]
        found[split] = Labelled(np.concatenate(chosen), np.repeat(np.array([1, 0], np.int64), count))
    return found


def _windows(data: Path, limits: Limits) -> dict[str, Labelled]:
    rng = np.random.default_rng(0)
    found: dict[str, Labelled] = {}
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        found[split] = Labelled(*same_photograph_windows(read_scenes(data, split), rng, limits.windows))
    return found


MAKERS = {
    "identity": _identity,
    "face": _faces,
    "same-photographs": _windows,
    "pretraining": _pretraining,
    "surroundings": _surroundings,
    "face-alone": _face_alone,
}
