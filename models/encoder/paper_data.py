"""The paper's images out of the original data sets: whom encoders are learned on, and whom they are tested on.

Learned on: the 100 people of VGGFace2 with the most pictures, against faceless pictures of ILSVRC. Tested on: the 100
people of its test folder with the most pictures who are not among those (Tan et al., ICME 2020, Sec. 4).
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.datasets.crops import CropRule, CropStore, cropped
from models.datasets.files import AnnotationError, read_names
from models.datasets.ilsvrc import IlsvrcPart, faceless_pictures
from models.datasets.vggface2 import (
    PARTS,
    Box,
    PeopleSplit,
    Pictures,
    missing_pictures,
    most_pictures,
    named_people,
    random_pictures,
    read_boxes,
    split_people,
)
from models.encoder.material import LearningMaterial
from models.encoder.paper_config import PaperPlan

# What is being done, how far it is, and how far it goes.
Report = Callable[[str, int, int], None]
# Streams of randomness, one for each choice, so that none of them moves another.
PEOPLE, FACES, FACELESS_TRAIN, FACELESS_TEST, LEARNING, LEARNING_FACELESS, LEARNING_VALIDATION = range(7)


@dataclass(frozen=True, eq=False)
class Part:
    """Cropped pictures of one split. `stores` one after the other; `labels`: int64 (n,)."""

    stores: list[CropStore]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def looks(self) -> int:
        """Crops of each picture."""
        return self.stores[0].count

    @property
    def digest(self) -> str:
        """SHA-256 of what decides the crops and their labels."""
        found = hashlib.sha256(self.labels.tobytes())
        for store in self.stores:
            found.update(b"".join(f"{path.parent.name}/{path.name};".encode() for path in store.shards))
        return found.hexdigest()

    def pieces(self) -> Iterator[NDArray[np.uint8]]:
        """Crops uint8 (k, looks, 64, 64, 3), shard by shard."""
        for store in self.stores:
            yield from store.parts()


@dataclass(frozen=True, eq=False)
class Parts:
    """One question's splits; `classes`: how many answers there are."""

    train: Part
    validation: Part
    test: Part
    classes: int


class PaperData:
    """The images of a rerun, cropped when they are first asked for and kept in the plan's cache."""

    def __init__(self, plan: PaperPlan, report: Report) -> None:
        self.plan, self.report = plan, report
        self.faces_root, self.others_root = Path(plan.data.vggface2), Path(plan.data.ilsvrc)
        self.cache = Path(str(plan.cache)) / "crops"

    @cached_property
    def learning_pictures(self) -> tuple[Pictures, Pictures, list[str]]:
        """Pictures to learn on and to validate on, and the people: of the published lists, or chosen as they were."""
        data, sizes = self.plan.data, self.plan.sizes
        if data.learning_list is not None and data.learning_validation_list is not None:
            return _listed(Path(data.learning_list), Path(data.learning_validation_list))
        least = sizes.learning_validation_each + 1
        people = most_pictures(self.faces_root, PARTS, sizes.learning_people, at_least=least)
        rng = np.random.default_rng(LEARNING)
        split = split_people(
            self.faces_root, people, 0, sizes.learning_validation_each, rng, most_train=sizes.learning_each
        )
        return split.train, split.validation, people

    @cached_property
    def evaluation(self) -> PeopleSplit:
        """The people that every row is tested on, and their pictures: nobody an encoder was learned on."""
        sizes = self.plan.sizes
        least = sizes.test_each + sizes.validation_each + 1
        without = self.learning_pictures[2]
        people = most_pictures(self.faces_root, PARTS[1:], sizes.people, without, least)
        rng = np.random.default_rng(PEOPLE)
        return split_people(self.faces_root, people, sizes.test_each, sizes.validation_each, rng, sizes.train_each)

    @cached_property
    def notes(self) -> list[str]:
        """What is missing of the people's pictures, by the data set's own count."""
        people = self.evaluation.people + self.learning_pictures[2]
        missing = missing_pictures(self.faces_root, people)
        if not missing:
            return []
        return [f"VGGFace2 is not complete: {missing} pictures of the {len(people)} people used are not there."]

    @cached_property
    def learning_material(self) -> LearningMaterial:
        """What encoders are learned on, in memory. Crops are the middle ones: the learning shifts and mirrors them."""
        sizes, (train, validation, people) = self.plan.sizes, self.learning_pictures
        faces, held_out = (self._faces(part.names, "centre").firsts() for part in (train, validation))
        negatives = self._faceless("train", sizes.learning_faceless, LEARNING_FACELESS, "centre").firsts()
        tested = self._faceless("val", sizes.learning_faceless_validation, LEARNING_VALIDATION, "centre").firsts()
        return LearningMaterial(
            faces=faces,
            people=np.array(train.people, np.int64),
            held_out_faces=held_out,
            held_out_people=np.array(validation.people, np.int64),
            positives=faces,
            negatives=negatives,
            held_out_positives=held_out,
            held_out_negatives=tested,
            names=tuple(people),
        )

    @cached_property
    def identity(self) -> Parts:
        """Exp. 1: who is it?"""
        split = self.evaluation

        def part(pictures: Pictures, rule: CropRule) -> Part:
            return Part([self._faces(pictures.names, rule)], np.array(pictures.people, np.int64))

        train, validation = part(split.train, "random"), part(split.validation, "centre")
        return Parts(train, validation, part(split.test, "centre"), len(split.people))

    @cached_property
    def face(self) -> Parts:
        """Exp. 2: is there a face (1) or none (0)? The test faces are those of Exp. 1."""
        sizes = self.plan.sizes
        # The learning's people are left out, though the paper does not say so: a face seen while learning is no test.
        count = sizes.faces + sizes.faces_validation
        names = random_pictures(
            self.faces_root, "train", count, np.random.default_rng(FACES), self.learning_pictures[2]
        )
        others = self._faceless_names("train", count, FACELESS_TRAIN)

        def part(rule: CropRule, first: int, end: int) -> Part:
            return _two(self._faces(names[first:end], rule), self._others(others[first:end], rule))

        test = _two(
            self._faces(self.evaluation.test.names, "centre"),
            self._faceless("val", sizes.faceless_test, FACELESS_TEST, "centre"),
        )
        return Parts(part("random", 0, sizes.faces), part("centre", sizes.faces, count), test, 2)

    def _faceless_names(self, part: IlsvrcPart, count: int, stream: int) -> list[str]:
        data = self.plan.data
        listed = data.faceless_train_list if part == "train" else data.faceless_val_list
        return faceless_pictures(
            self.others_root, part, count, np.random.default_rng(stream), None if listed is None else Path(listed)
        )

    def _faceless(self, part: IlsvrcPart, count: int, stream: int, rule: CropRule) -> CropStore:
        return self._others(self._faceless_names(part, count, stream), rule)

    def _others(self, names: list[str], rule: CropRule) -> CropStore:
        return self._cropped(self.others_root, names, rule, None, "faceless crops")

    def _faces(self, names: list[str], rule: CropRule) -> CropStore:
        boxes = None
        if self.plan.crop == "box":
            rule, boxes = "box", self._boxes(names)
        return self._cropped(self.faces_root, names, rule, boxes, "face crops")

    def _cropped(
        self, root: Path, names: list[str], rule: CropRule, boxes: dict[str, Box] | None, what: str
    ) -> CropStore:
        count = self.plan.sizes.random_crops if rule == "random" and self.plan.crop == "published" else 1

        def report(done: int) -> None:
            self.report(what, done, len(names))

        return cropped(self.cache, root, names, rule, 0, count, boxes, report)

    def _boxes(self, names: list[str]) -> dict[str, Box]:
        found: dict[str, Box] = {}
        for part in PARTS:
            some = [name.removeprefix(f"{part}/") for name in names if name.startswith(f"{part}/")]
            if some:
                found |= {f"{part}/{name}": box for name, box in read_boxes(self.faces_root, part, some).items()}
        return found


def _two(faces: CropStore, others: CropStore) -> Part:
    return Part([faces, others], np.repeat(np.array([1, 0], np.int64), [len(faces), len(others)]))


def _listed(learning: Path, validation: Path) -> tuple[Pictures, Pictures, list[str]]:
    """Pictures of the two published lists, people numbered as the first names them. Raises AnnotationError."""
    train, people = named_people(read_names(learning))
    names = read_names(validation)
    both, everyone = named_people(train.names + names)
    if len(everyone) > len(people):
        raise AnnotationError(f"{validation} names a person, {everyone[len(people)]}, that {learning} does not.")
    if twice := set(train.names) & set(names):
        raise AnnotationError(f"{validation} names {sorted(twice)[0]}, which {learning} names too: one or the other.")
    return train, Pictures(names, both.people[len(train.names) :]), people
