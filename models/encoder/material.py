"""The images an encoder is learned from: people that no evaluation uses, other faces, and pictures without one."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.datasets.windows import same_photograph_windows
from models.detector.archives import (
    FACES,
    FACES_BY_PERSON,
    NON_FACES,
    SCENES,
    Crops,
    archive_path,
    file_digest,
    read_crops,
    read_scenes,
    validation_part,
)
from models.encoder.plan import EncoderPlan, MaterialPlan, PlanError
from models.encoder.scene_windows import SceneSource, archive_scenes

EVALUATION_PEOPLE = 71

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class LearningMaterial:
    """Crops, sRGB uint8 (n, 64, 64, 3), of one learning.

    `faces` with `people` int64 (n,), 0..classes - 1: whom the recognition networks learn. `held_out_faces` with
    `held_out_people`: other images of the same people, which only say how good recognition is. `positives` and
    `negatives`: with and without a face, to learn detection from; `held_out_positives`, `held_out_negatives`: to test
    it. `names`: people by their number. `digests`: SHA-256 by archive, for the record. `scenes`: what
    windows to find faces in are cut from, None where the plan does not ask for it.
    """

    faces: Images
    people: Labels
    held_out_faces: Images
    held_out_people: Labels
    positives: Images
    negatives: Images
    held_out_positives: Images
    held_out_negatives: Images
    names: tuple[str, ...] = ()
    digests: dict[str, str] = field(default_factory=dict)
    scenes: SceneSource | None = None

    @property
    def classes(self) -> int:
        """Number of people."""
        return int(self.people.max()) + 1

    def few(self) -> "LearningMaterial":
        """One image of every part, with as many classes: all that the shapes of networks depend on."""
        last = np.array([self.people.argmax()])
        return LearningMaterial(
            self.faces[last], self.people[last], self.held_out_faces[:1], self.held_out_people[:1],
            self.positives[:1], self.negatives[:1], self.held_out_positives[:1], self.held_out_negatives[:1],
        )  # fmt: skip

    def counts(self) -> dict[str, int]:
        """Number of images by part, and of people."""
        parts = ("faces", "held_out_faces", "positives", "negatives", "held_out_positives", "held_out_negatives")
        scenes = {}
        if self.scenes is not None:
            scenes["photographs"] = len(self.scenes.training.photographs)
            scenes["held_out_photographs"] = len(self.scenes.apart)
        return {"people": self.classes} | {part: len(getattr(self, part)) for part in parts} | scenes

    def digest(self) -> str:
        """SHA-256 of every image and label: a learning is only resumed with what it was begun with."""
        found = hashlib.sha256()
        for part in (self.faces, self.people, self.held_out_faces, self.held_out_people, self.positives,
                     self.negatives, self.held_out_positives, self.held_out_negatives):  # fmt: skip
            found.update(_named_bytes(part))
        if self.scenes is not None:
            source = self.scenes.training
            for photograph in (*source.photographs, *self.scenes.apart):
                for each in (photograph.image, photograph.boxes, photograph.ignore):
                    found.update(_named_bytes(each))
            for crops in (source.faces, source.non_faces):
                found.update(_named_bytes(crops))
        return found.hexdigest()


def _named_bytes(array: NDArray[Any]) -> bytes:
    return f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes()


def evaluation_people(rows: list[dict[str, str]], count: int = EVALUATION_PEOPLE) -> list[str]:
    """The people whom evaluations use: those with the most images in the table of the faces by person, ties by name."""
    images = Counter(row["person"] for row in rows)
    return sorted(images, key=lambda person: (-images[person], person))[:count]


def learning_material(data: Path, plan: EncoderPlan) -> LearningMaterial:
    """Everything that `plan` learns from, out of the archives in folder `data`: raises as `archive_material`."""
    material = archive_material(data, np.random.default_rng(plan.seed), plan.material)
    if plan.scenes is None:
        return material
    digests = material.digests | {SCENES: file_digest(archive_path(data, SCENES))}
    return replace(material, scenes=archive_scenes(data), digests=digests)


def archive_material(data: Path, rng: np.random.Generator, limits: MaterialPlan | None = None) -> LearningMaterial:
    """The learning material of the archives in folder `data`, as much of it as `limits` allow.

    People: all of faces by person that are not for evaluation, then of the other faces those with the most images;
    training splits only. Which images are held out depends on their names alone, which of the others are used on `rng`.
    Raises `models.detector.archives.DataMissingError` for a missing archive, PlanError where nothing is held out.
    """
    limits = limits or MaterialPlan()
    known = read_crops(data, FACES_BY_PERSON)
    reserved = set(evaluation_people(known.rows))
    others, without = read_crops(data, FACES, "train"), read_crops(data, NON_FACES, "train")
    chosen = _chosen_people(known, reserved, others, limits)
    label = {person: number for number, person in enumerate(chosen)}
    images: list[list[Images]] = [[], []]
    people: list[list[int]] = [[], []]
    taken: Counter[str] = Counter()
    for crops in (known, others):
        for image, row in zip(crops.images, crops.rows, strict=True):
            person = row["person"]
            if person not in label or row["split"] != "train" or taken[person] == limits.most_images:
                continue
            taken[person] += 1
            # Every so-manieth image of a person: the share holds for people of few images too.
            number = taken[person] * limits.held_out
            part = int(int(number) > int(number - limits.held_out))
            images[part].append(image)
            people[part].append(label[person])
    if not images[1]:
        raise PlanError(
            f"none of {len(chosen)} people has images enough for one to be held out; expected material.held_out above "
            f"{limits.held_out:g}, or material.fewest_images above {limits.fewest_images}"
        )
    strangers = [index for index, row in enumerate(others.rows) if row["person"] not in label]
    positives = _divided([others.rows[index]["person"] for index in strangers], limits.held_out)
    negatives = _divided([_photograph(row["file"]) for row in without.rows], limits.held_out)
    pools = [[others.images[strangers][~positives], others.images[strangers][positives]],
             [without.images[~negatives], without.images[negatives]]]  # fmt: skip
    digests = {name: file_digest(archive_path(data, name)) for name in (FACES_BY_PERSON, FACES, NON_FACES)}
    most = [(limits.most_positives, limits.most_negatives), (600, 600)]
    detection = [[_some(pools[kind][part], most[part][kind], rng) for part in (0, 1)] for kind in (0, 1)]
    if limits.photographs:
        digests[SCENES] = file_digest(archive_path(data, SCENES))
        scenes = read_scenes(data, "train")
        for part, held_out in ((0, False), (1, True)):
            chosen_scenes = [one for one in scenes if validation_part(one.name, 0.2) == held_out]
            windows, kinds = same_photograph_windows(chosen_scenes, rng)
            detection[0][part] = np.concatenate([detection[0][part], windows[kinds == 1]])
            detection[1][part] = np.concatenate([detection[1][part], windows[kinds == 0]])
    return LearningMaterial(
        np.stack(images[0]), np.array(people[0], np.int64), np.stack(images[1]), np.array(people[1], np.int64),
        detection[0][0], detection[1][0], detection[0][1], detection[1][1], tuple(chosen), digests,
    )  # fmt: skip


def _chosen_people(known: Crops, reserved: set[str], others: Crops, limits: MaterialPlan) -> list[str]:
    found: list[str] = []
    for crops in (known, others):
        images = Counter(row["person"] for row in crops.rows if row["split"] == "train")
        able = [name for name, count in images.items() if count >= limits.fewest_images and name not in reserved]
        found += sorted(able, key=lambda name: (-images[name], name))
    return found[: limits.most_people]


def _photograph(file: str) -> str:
    """The photograph a crop was cut from: several crops of one differ in their last number only."""
    return file.rsplit("_", 1)[0]


def _divided(names: list[str], share: float) -> NDArray[np.bool_]:
    """Whether each is held out, bool (n,), by its name alone."""
    return np.array([validation_part(name, share) for name in names], np.bool_)


def _some(images: Images, most: int, rng: np.random.Generator) -> Images:
    return images if len(images) <= most else images[np.sort(rng.choice(len(images), most, replace=False))]
