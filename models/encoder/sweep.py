"""A sweep: one file that names many plans, each learned and judged on its own. Needs no torch.

name: realisable
base:                     # what all points share, as in a plan (`models.encoder.plan`)
  schedule: {cycles: 8}
grid:                     # every combination; a list of such grids is possible
  alpha: [5, 20, 80]      # the end of a setting's name is enough where it is the only such one: privacy.alpha
  pool: [8, 16]
points:                   # single ones, with a name if you like
  - {name: no privacy, alpha: 0}
seeds: [0, 1, 2]          # each point once per seed; their results are joined
judge: {epochs: 30}       # the fresh attackers afterwards
"""

import difflib
import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from models.detector.archives import FACES, FACES_BY_PERSON, NON_FACES, SCENES
from models.encoder.plan import EncoderPlan, NetworkPlan, PlanError, checked_plan
from models.encoder.sections import Count, Positive, Section
from models.encoder.sweep_grid import grid_problems

# Raise it when the same plan and data give another result: points of another format are done again.
FORMAT = 1
MOST_POINTS = 10_000
# `filters: N` starts from N Gaussians, each wider than the last by this factor: equal ones would learn the same.
WIDER = 2**0.5
FILTERS = "filters"
WIDTHS = "chain.start.sigma_px"
SWEEPS = Path(__file__).parent / "sweeps"


class SweepError(ValueError):
    """A sweep that cannot be run. The message names the file, each key, its value and what was expected."""


class JudgePlan(Section):
    """Fresh attackers that judge a finished encoder on people and images it was not learned on."""

    networks: Annotated[list[NetworkPlan], Field(min_length=1, max_length=8)] = Field(
        default=[NetworkPlan(network="small", width=0.25), NetworkPlan(network="resnet18", width=0.25)]
    )
    epochs: Count = Field(default=40, description="of identity attackers")
    face_epochs: Count = Field(default=12, description="of the networks that tell a face from none")
    batch: Annotated[int, Field(ge=2)] = 64
    learning_rate: Positive = 2e-3
    looks: Annotated[int, Field(ge=1, le=64)] = Field(default=4, description="measurements of each training crop")
    faces: Literal["archives", "photographs"] = Field(
        default="archives", description="face or none from two archives, or both from the same photographs"
    )
    people: Annotated[int, Field(ge=2)] = 71
    most_training: Annotated[int, Field(ge=1)] = Field(default=30, description="images of one person")
    most_test: Annotated[int, Field(ge=1)] = Field(default=8, description="images of one person")
    faces_training: Count = 2400
    faces_test: Count = 700


class SweepPlan(Section):
    """A sweep file as it is written; `points_of` makes the points of it."""

    name: str = Field(default="sweep", min_length=1)
    base: dict[str, Any] = Field(default={})
    grid: dict[str, list[Any]] | list[dict[str, list[Any]]] = Field(default={})
    points: list[dict[str, Any]] = Field(default=[])
    seeds: Annotated[list[Annotated[int, Field(ge=0, le=2**31 - 1)]], Field(min_length=1)] = Field(default=[0])
    judge: JudgePlan = JudgePlan()


@dataclass(frozen=True, slots=True)
class Point:
    """One plan of a sweep with one seed. `name` is shared by its seeds; `overrides` are as the file has them."""

    name: str
    overrides: Mapping[str, Any]
    plan: EncoderPlan
    judge: JudgePlan
    digest: str


def sweep_file(text: str) -> Path:
    """A path, or the name of a shipped sweep. Raises SweepError where there is neither."""
    if Path(text).is_file():
        return Path(text)
    shipped = {path.stem: path for path in sorted(SWEEPS.glob("*.yaml"))}
    if text in shipped:
        return shipped[text]
    raise SweepError(f"{text}: no such file; give a sweep file, or one of the shipped ones: {', '.join(shipped)}")


def read_sweep(path: Path) -> SweepPlan:
    """The sweep in a YAML file. Raises SweepError for whatever is wrong with it."""
    try:
        values = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SweepError(f"{path}: cannot be read ({error.strerror}); give the YAML file of a sweep") from None
    except (UnicodeDecodeError, YAMLError) as error:
        raise SweepError(f"{path}: is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise SweepError(f"{path}: expected keys such as `base:` and `grid:`, got {type(values).__name__}")
    try:
        return SweepPlan.model_validate(values)
    except ValidationError as error:
        problems = [*grid_problems(values.get("grid", {})), *_problems(error)]
        raise SweepError("\n".join(f"{path}: {problem}" for problem in problems)) from None


def points_of(sweep: SweepPlan, data_sha256: Mapping[str, str], source: str = "sweep") -> list[Point]:
    """Every point of a sweep, seed by seed: the first seed of all, then the second, so that a front shows early.

    data_sha256: of the archives, part of every digest. source: names the file in messages. A plan that occurs twice is
    there once, under its first name. Raises SweepError for overrides that do not exist, values that a plan refuses, an
    empty sweep, two points of one name, or more than `MOST_POINTS`.
    """
    named = _named(sweep, source)
    if not named:
        raise SweepError(f"{source}: grid and points are empty; give at least one point, `points: [{{}}]` is the base")
    found: dict[str, Point] = {}
    problems: list[str] = []
    for seed, (name, overrides) in itertools.product(dict.fromkeys(sweep.seeds), named.items()):
        where = f"{source}: point '{name}'"
        try:
            plan = _plan(sweep.base, overrides, seed, where)
        except PlanError as error:
            problems += _with_base(sweep.base, source) or str(error).splitlines()
            continue
        if plan.chain.levels is None:
            problems.append(f"{where}: chain.levels: null has no codes that attackers could be given; expected 2 to 16")
            continue
        digest = digest_of(plan, sweep.judge, data_sha256)
        plan = plan.model_copy(update={"name": digest[:12]})
        found.setdefault(digest, Point(name, overrides, plan, sweep.judge, digest))
    if problems:
        raise SweepError("\n".join(dict.fromkeys(problems)))
    return list(found.values())


def digest_of(plan: EncoderPlan, judge: JudgePlan, data_sha256: Mapping[str, str]) -> str:
    """SHA-256 of what decides a point: the plan but for its name, those archives that it needs, and the format.

    How it is judged is not part of it: with another judge, the same learning is judged again.
    """
    used = {name: data_sha256[name] for name in archives_of(plan, judge) if name in data_sha256}
    content = {"format": FORMAT, "plan": plan.model_dump(mode="json", exclude={"name"}), "data": used}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def archives_of(plan: EncoderPlan, judge: JudgePlan) -> list[str]:
    """Names of the archives that a point needs."""
    scenes = plan.material.photographs or judge.faces == "photographs"
    return [FACES_BY_PERSON, FACES, NON_FACES, *([SCENES] if scenes else [])]


def settings_of(model: type[BaseModel] = EncoderPlan, before: str = "") -> Iterator[str]:
    """Dotted names of every setting of a plan that is not a section itself."""
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        if section is None:
            yield before + name
        else:
            yield from settings_of(section, f"{before}{name}.")


def full_name(key: str, source: str = "sweep") -> str:
    """The dotted name of the setting that `key` stands for: itself, or the only one that ends in it.

    Raises SweepError where there is none, or more than one.
    """
    if key == FILTERS:
        return WIDTHS
    known = [name for name in settings_of() if name not in ("seed", "name")]
    if key in known:
        return key
    ends = [name for name in known if name.endswith("." + key)]
    # chain.pool before what only adversaries or nuisances have: the shortest way down, where it is the only one.
    least = min((name.count(".") for name in ends), default=0)
    nearest = [name for name in ends if name.count(".") == least]
    # A list of networks is one setting, of which no single width can be meant: that of another must not stand for it.
    lists = [name for name in known if name.endswith(".networks")] if key in NetworkPlan.model_fields else []
    if len(nearest) == 1 and not lists:
        return nearest[0]
    if nearest:
        raise SweepError(f"{source}: '{key}' could be any of {', '.join([*nearest, *lists])}; write one of them")
    close = difflib.get_close_matches(key, [*known, *(name.rsplit(".", 1)[-1] for name in known)], n=1)
    hint = f"; did you mean '{close[0]}'?" if close else "; the settings are those of a plan, such as privacy.alpha"
    seeds = "; seeds have a key of their own, `seeds:`" if key == "seed" else ""
    raise SweepError(f"{source}: '{key}' is no setting of a plan{seeds or hint}")


def _named(sweep: SweepPlan, source: str) -> dict[str, dict[str, Any]]:
    """The overrides of every point by its name."""
    grids = sweep.grid if isinstance(sweep.grid, list) else [sweep.grid] if sweep.grid else []
    total = len(sweep.points) + sum(math.prod(len(values) for values in grid.values()) for grid in grids)
    if total * len(sweep.seeds) > MOST_POINTS:
        raise SweepError(f"{source}: {total} points of {len(sweep.seeds)} seeds are more than {MOST_POINTS}")
    made: list[tuple[str, dict[str, Any]]] = []
    for grid in grids:
        empty = [key for key, values in grid.items() if not values]
        if empty:
            raise SweepError(f"{source}: grid.{empty[0]}: an empty list leaves no point; give one value or more")
        for key in grid:
            full_name(key, f"{source}: grid")
        for values in itertools.product(*grid.values()):
            overrides = dict(zip(grid, values, strict=True))
            # A number that never changes says nothing in every name; a word tells one grid from the next.
            told = {key: value for key, value in overrides.items() if len(grid[key]) > 1 or isinstance(value, str)}
            made.append((label(told or overrides), overrides))
    if len({name for name, _ in made}) < len(made):
        made = [(label(overrides), overrides) for _, overrides in made]
    names = dict(made)
    for single in sweep.points:
        overrides = {key: value for key, value in single.items() if key != "name"}
        name = str(single.get("name", label(overrides)))
        if names.setdefault(name, overrides) != overrides:
            raise SweepError(f"{source}: two points are called '{name}'; give them names of their own")
    return names


def label(overrides: Mapping[str, Any]) -> str:
    """What a point is called that has no name."""
    return ", ".join(f"{key} {_short(value)}" for key, value in overrides.items()) or "base"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value) if isinstance(value, (list, dict)) else str(value)


def _plan(base: Mapping[str, Any], overrides: Mapping[str, Any], seed: int, source: str) -> EncoderPlan:
    values = json.loads(json.dumps(dict(base)))
    taken: dict[str, str] = {}
    for key, value in overrides.items():
        name = full_name(key, source)
        if name in taken:
            raise SweepError(f"{source}: '{taken[name]}' and '{key}' are the same setting")
        taken[name] = key
        _put(values, name, _widths(values, value, source) if key == FILTERS else value, source)
    return checked_plan(values | {"seed": seed}, source)


def _with_base(base: Mapping[str, Any], source: str) -> list[str]:
    """What is wrong with the base on its own: said once, not for every point."""
    try:
        checked_plan(dict(base), f"{source}: base")
    except PlanError as error:
        return str(error).splitlines()
    return []


def _put(values: dict[str, Any], name: str, value: Any, source: str) -> None:
    *sections, last = name.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise SweepError(f"{source}: base has no section '{section}' in which '{name}' could be set")
    values[last] = value


def _widths(values: Mapping[str, Any], count: Any, source: str) -> list[float]:
    """The widths of so many filters: the base's first, and each next one wider."""
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 16:
        raise SweepError(f"{source}: {FILTERS}: {count!r} is refused; give a number of filters, 1 to 16")
    start = checked_plan(dict(values), source).chain.start
    if start.form == "halves":
        raise SweepError(f"{source}: {FILTERS} cannot be chosen with 'chain.start.form: halves', which are four")
    return [start.sigma_px[0] * WIDER**step for step in range(count)]


def _section(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType):
        return next((found for one in get_args(annotation) if (found := _section(one))), None)
    return None


def _problems(error: ValidationError) -> Iterator[str]:
    for one in error.errors(include_url=False):
        key = ".".join(str(part) for part in one["loc"]) or "sweep"
        if one["loc"][:1] == ("grid",):
            # Said by `grid_problems`: this would name the types that a grid may have, once for each of them.
            continue
        if one["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(one["loc"][-1]), SweepPlan.model_fields, n=1)
            yield f"{key}: is no key of a sweep" + (f"; did you mean '{near[0]}'?" if near else "")
        else:
            yield f"{key}: {one['input']!r} is refused: {one['msg']}"
