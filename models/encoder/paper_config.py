"""The configuration of `canopic train paper`: where the data sets lie, what to run, how large. Needs no torch."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from models.encoder.paper_table import BASELINES, ROWS
from models.encoder.sections import Section

Count = Annotated[int, Field(ge=1)]
Width = Annotated[float, Field(gt=0, le=4)]
Scale = Literal["full", "small"]
# Exp. 3 of the paper compares these.
FIG_6 = ("clean", "blur", "pixelate", "conv1_maxpool_quantize_alpha1", "conv4_maxpool_quantize_alpha1")


class PaperError(ValueError):
    """A configuration that cannot be followed. Names the file, each key, its value and what was expected."""


class DataPlan(Section):
    """Roots of the data sets as distributed, and lists of names that the paper's authors published."""

    vggface2: str = Field(description="holds train/ and test/")
    ilsvrc: str = Field(description="holds train/ and val/")
    wider: str | None = Field(default=None, description="holds WIDER_train/ and wider_face_split/; needed for Fig. 6")
    fddb: str | None = Field(default=None, description="holds originalPics/ and FDDB-folds/; needed for Fig. 6")
    learning_list: str | None = Field(default=None, description="most_popular_100_training_filenames.txt")
    learning_validation_list: str | None = Field(default=None, description="most_popular_100_val_filenames.txt")
    faceless_train_list: str | None = Field(default=None, description="training_faceless_filenames_....txt")
    faceless_val_list: str | None = Field(default=None, description="val_faceless_filenames.txt")


class SizesPlan(Section):
    """How many images. Defaults are the paper's."""

    people: Annotated[int, Field(ge=2)] = Field(default=100, description="of VGGFace2's test folder")
    test_each: Count = 30
    validation_each: Count = 30
    train_each: Count | None = Field(default=None, description="of one person at most; null: all that are left")
    faces: Annotated[int, Field(ge=2)] = Field(default=100_000, description="and as many faceless images, to train")
    faces_validation: Count = Field(default=10_000, description="and as many faceless images")
    faceless_test: Count = 3000
    learning_people: Annotated[int, Field(ge=2)] = Field(default=100, description="whom encoders are learned on")
    learning_each: Count | None = Field(default=None, description="of one person at most; null: all that are left")
    learning_validation_each: Count = 50
    learning_faceless: Count = 60_000
    learning_faceless_validation: Count = 2000
    random_crops: Annotated[int, Field(ge=1, le=64)] = Field(
        default=4, description="random crops kept of each training image; the paper draws one anew each epoch"
    )


class LearningPlan(Section):
    """What of the published schedule is replaced; null: as published."""

    width: Width | None = Field(default=None, description="of recognition and detection networks (1.0 as published)")
    cycles: Annotated[int, Field(ge=0)] | None = None
    encoder_epochs: Count | None = None
    recognition_epochs: Count | None = None
    detection_epochs: Count | None = None
    judge_epochs: Count | None = Field(default=None, description="of the fresh networks that judge each cycle")
    batch: Annotated[int, Field(ge=4)] | None = None


class AttackerPlan(Section):
    """The fresh networks of Exp. 1 and 2."""

    network: Literal["googlenet", "resnet18", "small"] = "googlenet"
    width: Width = 1.0
    identity_epochs: Count = 60
    face_epochs: Count = 15
    batch: Annotated[int, Field(ge=2)] = 32
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4


class DetectionPlan(Section):
    """Exp. 3: the project's heat-map detector trained on WIDER FACE, tried on FDDB (docs/decisions/0034)."""

    subjects: list[str] = Field(default=list(FIG_6), description="baselines and quantizing rows; empty: no Fig. 6")
    scenes: Count = Field(default=25_000, description="training scenes cut from WIDER FACE")
    steps: Count = 40_000
    batch: Count = 16
    widths: tuple[Count, Count, Count] = (24, 48, 72)
    folds: Annotated[list[Annotated[int, Field(ge=1, le=10)]], Field(min_length=1)] = Field(default=list(range(1, 11)))

    @field_validator("widths", mode="before")
    @classmethod
    def _three(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("subjects")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        return _names(value, [*BASELINES, *(name for name in ROWS if "quantize" in name)])


class PaperPlan(Section):
    """Everything of one rerun."""

    data: DataPlan
    out: str = Field(description="folder for results; encoders and finished rows in it are not made again")
    cache: str | None = Field(default=None, description="folder for crops and codes; null: `cache` in out")
    scale: Scale = "full"
    rows: list[str] = Field(default=list(ROWS), description="rows of Table 1")
    alphas: list[Annotated[float, Field(ge=0)]] | None = Field(
        default=None, description="null: each row's own; else every learned row is learned with each of these"
    )
    seeds: Annotated[list[Annotated[int, Field(ge=0, le=2**31 - 1)]], Field(min_length=1)] = Field(default=[0])
    crop: Literal["published", "box"] = Field(
        default="published", description="box: around the face boxes of bb_landmark/, tighter than published"
    )
    sizes: SizesPlan = SizesPlan()
    learning: LearningPlan = LearningPlan()
    attackers: AttackerPlan = AttackerPlan()
    detection: DetectionPlan = DetectionPlan()

    @field_validator("rows")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        return _names(value, list(ROWS))

    @field_validator("seeds")
    @classmethod
    def _different(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value):
            raise PydanticCustomError("paper", "each seed once")
        return value


# What two slow cores finish overnight: a tenth of the people, quarter widths, short schedules.
SMALL: dict[str, dict[str, Any]] = {
    "sizes": {
        "people": 20, "test_each": 15, "validation_each": 10, "train_each": 80, "faces": 4000, "faces_validation": 500,
        "faceless_test": 300, "learning_people": 20, "learning_each": 80, "learning_validation_each": 20,
        "learning_faceless": 2000, "learning_faceless_validation": 400, "random_crops": 2,
    },
    "learning": {
        "width": 0.25, "cycles": 8, "encoder_epochs": 2, "recognition_epochs": 8, "detection_epochs": 3,
        "judge_epochs": 8, "batch": 64,
    },
    "attackers": {"width": 0.25, "identity_epochs": 30, "face_epochs": 6, "batch": 64},
    "detection": {"scenes": 3000, "steps": 5000},
}  # fmt: skip


def read_paper_plan(path: Path) -> PaperPlan:
    """The configuration in a YAML file; relative paths in it are relative to it. Raises PaperError."""
    try:
        values = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PaperError(f"{path}: cannot be read ({error.strerror}); give a copy of docs/paper.yaml") from None
    except UnicodeDecodeError:
        raise PaperError(f"{path}: is not text; give a copy of docs/paper.yaml") from None
    except YAMLError as error:
        raise PaperError(f"{path}: is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise PaperError(f"{path}: expected sections such as `data:`, got {type(values).__name__}; see docs/paper.yaml")
    return checked_paper_plan(values, str(path), path.parent)


def checked_paper_plan(values: dict[str, Any], source: str, folder: Path) -> PaperPlan:
    """The configuration of plain values, `source` naming them in messages, relative paths taken from `folder`."""
    if values.get("scale") == "small":
        values = dict(values)
        for section, smaller in SMALL.items():
            given = values.get(section, {})
            values[section] = smaller | given if isinstance(given, dict) else given
    try:
        plan = PaperPlan.model_validate(values)
    except ValidationError as error:
        raise PaperError("\n".join(f"{source}: {problem}" for problem in _problems(error))) from None
    data = plan.data.model_copy(update=_absolute(plan.data.model_dump(), folder))
    where = _absolute({"out": plan.out, "cache": plan.cache or f"{plan.out}/cache"}, folder)
    plan = plan.model_copy(update={"data": data, **where})
    problems = _missing(plan)
    if problems:
        raise PaperError("\n".join(f"{source}: {problem}" for problem in problems))
    return plan


def _absolute(paths: dict[str, str | None], folder: Path) -> dict[str, str]:
    return {name: str(folder / Path(value).expanduser()) for name, value in paths.items() if value is not None}


def _missing(plan: PaperPlan) -> list[str]:
    """What is not there, all of it at once: a rerun takes days, and its last step needs FDDB."""
    data = plan.data
    found = []
    if plan.detection.subjects:
        found += [f"data.{name}: null is refused: Fig. 6 needs it, or set `detection: {{subjects: []}}`"
                  for name in ("wider", "fddb") if getattr(data, name) is None]  # fmt: skip
    if (data.learning_list is None) != (data.learning_validation_list is None):
        found.append("data.learning_list and data.learning_validation_list go together: give both or none")
    for name, value in data.model_dump().items():
        kind = "file" if name.endswith("_list") else "folder"
        there = value is None or (Path(value).is_file() if kind == "file" else Path(value).is_dir())
        if not there:
            found.append(f"data.{name}: {value!r} is no {kind}; give the {kind} as in docs/paper-data.md")
    return found


def _names(value: list[str], known: list[str]) -> list[str]:
    wrong = [name for name in value if name not in known]
    if wrong or len(set(value)) < len(value):
        what = {"known": ", ".join(known)}
        raise PydanticCustomError("paper", "each of these once, or some of them: {known}", what)
    return value


def _problems(error: ValidationError) -> list[str]:
    found = []
    for one in error.errors():
        key = ".".join(str(part) for part in one["loc"]) or "configuration"
        if one["type"] == "extra_forbidden":
            found.append(f"{key}: is no setting; remove it or correct its spelling (see docs/paper.yaml)")
        elif one["type"] == "missing":
            found.append(f"{key}: is missing: {_described(one['loc'])}")
        else:
            found.append(f"{key}: {one['input']!r} is refused: {one['msg']}")
    return found


def _described(place: tuple[int | str, ...]) -> str:
    section = DataPlan if place[0] == "data" and len(place) > 1 else PaperPlan
    return section.model_fields[str(place[-1])].description or "see docs/paper.yaml"
