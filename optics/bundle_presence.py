"""What a bundle's evidence says of presence: how often a sensor with it knew that somebody was in a scene, or nobody.

docs/bundle.md describes the entry. Numbers that contradict each other are refused, as is every other form: an entry
that cannot be read is never taken for "not measured".
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optics.archive import canonical_json

# The scene that the twin makes up itself; all others are recordings.
BUILT_IN = "demo"
DIGITS = 12
# Of the presence model, where an entry names none: it was written before there was another.
FIRST_VERSION = 1
# A share is its hits out of its total, less what rounding may do.
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Counted:
    """A share of frames: hits out of n. low, high: its 95 % interval as if frames were independent (Wilson); block_low,
    block_high: from resampling blocks of consecutive frames, None where there was only one block."""

    value: float
    low: float
    high: float
    hits: int
    n: int
    block_low: float | None = None
    block_high: float | None = None


@dataclass(frozen=True, slots=True)
class ScenePresence:
    """How often "occupied" was right in one scene, played whole. A share without a single trial is None.

    frames: those with a certain truth, occupied_frames of them with somebody. visits: separate times with somebody.
    precision: of frames called occupied, those with somebody; recall: of frames with somebody, those called occupied;
    specificity: of frames with nobody, those called empty. count_exact: frames with the true number of people. light:
    steps (seconds, factor). block_s: length of the blocks that are resampled. version: of the presence model that gave
    the answers. protocol: equal for numbers that compare.
    """

    scene: str
    frames: int
    occupied_frames: int
    visits: int
    precision: Counted | None
    recall: Counted | None
    specificity: Counted | None
    count_exact: Counted | None
    truth: str
    seed: int
    light: tuple[tuple[float, float], ...]
    block_s: float
    version: int
    protocol: str

    @property
    def built_in(self) -> bool:
        """Whether the scene is made up, not a recording."""
        return self.scene == BUILT_IN

    @property
    def empty_frames(self) -> int:
        """Frames with nobody."""
        return self.frames - self.occupied_frames


def read_presence(entry: Any) -> tuple[ScenePresence, ...]:
    """The scenes of the entry "presence", in its order; none where there is no such entry (None).

    Raises KeyError, TypeError, ValueError or AttributeError for any other form. Whether it is of the bundle's encoding
    and model is not looked at here.
    """
    if entry is None:
        return ()
    for name in ("encoding_id", "model_sha256"):
        _text(entry[name], name)
    if not isinstance(entry["scenes"], list) or not entry["scenes"]:
        raise TypeError("presence has no list of scenes")
    scenes = tuple(_scene(one) for one in entry["scenes"])
    if len({one.scene for one in scenes}) < len(scenes):
        raise ValueError("a scene is in it twice")
    return scenes


def _scene(one: Mapping[str, Any]) -> ScenePresence:
    frames, occupied = _whole(one["frames"], "frames"), _whole(one["occupied_frames"], "occupied_frames")
    shares = {name: _counted(one[name], name) for name in ("precision", "recall", "specificity", "count_exact")}
    trials = {name: 0 if share is None else share.n for name, share in shares.items()}
    expected = {"recall": occupied, "specificity": frames - occupied, "count_exact": frames}
    if any(trials[name] != n for name, n in expected.items()) or frames == 0:
        raise ValueError(f"shares of {trials} frames do not fit {frames} frames, {occupied} of them occupied")
    precise, found, right = (shares[name] for name in ("precision", "recall", "specificity"))
    hits, alarms = (0 if found is None else found.hits), (0 if right is None else right.n - right.hits)
    if (0 if precise is None else precise.hits) != hits or trials["precision"] != hits + alarms:
        raise ValueError("precision, recall and specificity contradict each other")
    light = tuple((_number(at_s), _number(factor)) for at_s, factor in one["light"])
    seed, truth = _whole(one["seed"], "seed"), _text(one["truth"], "truth")
    files = {_text(name, "a file"): _text(digest, "a digest") for name, digest in one["data_sha256"].items()}
    played: dict[str, Any] = {"truth": truth, "seed": seed, "light": [list(step) for step in light], "files": files}
    version = _whole(one.get("presence_version", FIRST_VERSION), "presence_version")
    if version < FIRST_VERSION:
        raise ValueError(f"presence_version is {version}: versions count from {FIRST_VERSION}")
    digest = hashlib.sha256(canonical_json(played)).hexdigest()[:DIGITS]
    return ScenePresence(
        scene=_text(one["scene"], "scene"),
        frames=frames,
        occupied_frames=occupied,
        visits=_whole(one["visits"], "visits"),
        **shares,
        truth=truth,
        seed=seed,
        light=light,
        block_s=_number(one["block_s"]),
        version=version,
        protocol=f"{frames} frames, {occupied} occupied, of {digest}, presence model {version}",
    )


def _counted(share: Mapping[str, Any], name: str) -> Counted | None:
    hits, total = _whole(share["hits"], name), _whole(share["total"], name)
    if total == 0:
        if hits or share["value"] is not None:
            raise ValueError(f"{name} has a value without a single frame")
        return None
    value, (low, high) = _share(share["value"]), (_share(bound) for bound in share["interval_95"])
    blocks = share["block_interval_95"]
    if abs(value - hits / total) > ROUNDING or not low - ROUNDING <= value <= high + ROUNDING:
        raise ValueError(f"{name} is {value} ({low} to {high}), which is not {hits} of {total}")
    block_low, block_high = (None, None) if blocks is None else (_share(bound) for bound in blocks)
    if block_low is not None and block_high is not None and block_low > block_high:
        raise ValueError(f"{name} has an interval by blocks from {block_low} to {block_high}")
    return Counted(value, low, high, hits, total, block_low, block_high)


def _share(value: Any) -> float:
    if not 0 <= _number(value) <= 1:
        raise ValueError(f"{value} is no share from 0 to 1")
    return float(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e12:
        raise TypeError(f"{value!r} is no number of 0 or more")
    return float(value)


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{name} is {value!r}, no whole number of 0 or more")
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{name} is {value!r}, no text")
    return value
