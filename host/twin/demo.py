"""The built-in scene: a workshop that two people walk into, stop in together and leave, with its ground truth.

It is composed of photographs that ship inside dependencies, so it needs no download: the portraits of Eileen Collins
(scikit-image, NASA, public domain) and Grace Hopper (matplotlib, US Navy, public domain), a workshop (scikit-image,
Middlebury stereo data 2014, Scharstein et al., DOI 10.1007/978-3-319-11752-2_3) and a table (scikit-image, CC0). The
portraits are cut out along the outlines in demo_outlines.py and stand behind a counter, which hides where they end.
Everything is a function of the frame's number: every run shows the same light.
"""

import importlib.util
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from host.twin.demo_outlines import COLLINS_OUTLINE, HOPPER_OUTLINE
from host.twin.frame import SceneError
from host.twin.media import Shown, Source
from host.twin.radiance import linearize, rgb_from_bgr

ROWS_PX, COLUMNS_PX = 480, 640
FPS = 10.0
FRAMES = 500
COUNTER_TOP_PX = 372
# A face this close to the edge of the picture, or to somebody standing in front, may or may not be seen: uncertain.
MARGIN_PX = 6
STEPS_PER_S = 1.8


@dataclass(frozen=True, slots=True)
class Walk:
    """Who is where: `keys` are (time_s, x_px of the eyes, scale of the portrait), ascending in time.

    `face`: x, y, width, height in the portrait's pixels, forehead to chin; `eyes`: x, y there; `eyes_px`: height of the
    eyes in the scene; `reach`: portrait's scale of someone standing where scale is 1 (orders people by distance).
    """

    portrait: str
    face: tuple[float, float, float, float]
    eyes: tuple[float, float]
    eyes_px: float
    reach: float
    keys: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Stand:
    """One person in one frame: position of the eyes, scale, and the face's corners in scene pixels."""

    walk: Walk
    x_px: float
    y_px: float
    scale: float
    face: tuple[float, float, float, float]


WALKS = (
    Walk(
        "collins", (178, 62, 98, 128), (222, 101), 222, 1.0,
        ((4.5, -190, 0.50), (7.5, 190, 0.50), (11.0, 200, 0.58), (23.5, 196, 0.58), (26.0, 225, 0.42),
         (29.5, 440, 0.42), (32.0, 760, 0.44)),
    ),
    Walk(
        "hopper", (162, 135, 205, 198), (262, 188), 208, 1.75,
        ((14.0, 745, 0.29), (17.0, 455, 0.29), (29.0, 452, 0.31), (31.5, 322, 0.40), (37.0, 318, 0.40),
         (40.0, -130, 0.38)),
    ),
    Walk(
        "collins", (178, 62, 98, 128), (222, 101), 222, 1.0,
        ((42.5, 780, 0.54), (45.0, 330, 0.54), (47.0, 326, 0.54), (49.4, 790, 0.50)),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class DemoTruth:
    """Ground truth of every frame: `frame` int64 (n,), `people` int64 (n,), `uncertain` bool (n,).

    `people` is the number of people whose face is wholly in the picture and not covered. `uncertain` marks frames with
    somebody entering, leaving or passing behind another; leave them out of scoring, as in occupancy_room_counts.csv.
    """

    frame: NDArray[np.int64]
    people: NDArray[np.int64]
    uncertain: NDArray[np.bool_]


def open_demo() -> Source:
    """The built-in scene as a stream of pictures, linear float32 (480, 640, 3)."""
    _room(), _counter(), _cut_out("collins"), _cut_out("hopper")

    def play() -> Iterator[Shown]:
        for index in range(FRAMES):
            yield index / FPS, lambda index=index: demo_radiance(index)  # type: ignore[misc]

    return Source(play, FPS, FRAMES)


def demo_radiance(index: int) -> NDArray[np.float32]:
    """Linear light of frame `index` (0..499) of the built-in scene, float32 (480, 640, 3), RGB."""
    scene = _room().copy()
    for stand in _stands(index / FPS):
        _draw(scene, stand)
    scene[COUNTER_TOP_PX:] = _counter()
    scene *= np.float32(_daylight(index / FPS))
    return scene


def demo_truth() -> DemoTruth:
    """Ground truth of the built-in scene; see DemoTruth."""
    people, uncertain = zip(*(_truth(_stands(index / FPS)) for index in range(FRAMES)), strict=True)
    return DemoTruth(np.arange(FRAMES), np.array(people, np.int64), np.array(uncertain, np.bool_))


def demo_faces(index: int) -> list[tuple[float, float, float, float]]:
    """Boxes (x, y, width, height in px) of the faces that are wholly visible in frame `index`."""
    stands = _stands(index / FPS)
    boxes = [stand.face for position, stand in enumerate(stands) if _sight(stand, stands[position + 1 :]) == "whole"]
    return [(left, top, right - left, bottom - top) for left, top, right, bottom in boxes]


def _stands(time_s: float) -> list[Stand]:
    """Everybody present, the farthest first."""
    stands = [stand for walk in WALKS if (stand := _stand(walk, time_s)) is not None]
    return sorted(stands, key=lambda stand: stand.scale * stand.walk.reach)


def _stand(walk: Walk, time_s: float) -> Stand | None:
    for (from_s, from_px, from_scale), (to_s, to_px, to_scale) in pairwise(walk.keys):
        if from_s <= time_s < to_s:
            along = (time_s - from_s) / (to_s - from_s)
            eased = along * along * (3 - 2 * along)
            scale = from_scale + (to_scale - from_scale) * eased
            walking = min(1.0, abs(to_px - from_px) / (to_s - from_s) / 60)
            step = math.sin(2 * math.pi * STEPS_PER_S * time_s)
            x_px = from_px + (to_px - from_px) * eased + 1.2 * math.sin(1.7 * time_s) + 0.8 * math.sin(0.6 * time_s)
            y_px = walk.eyes_px - 3.0 * walking * abs(step) + 0.6 * math.sin(0.9 * time_s)
            x, y, width, height = walk.face
            left, top = x_px + (x - walk.eyes[0]) * scale, y_px + (y - walk.eyes[1]) * scale
            return Stand(walk, x_px, y_px, scale, (left, top, left + width * scale, top + height * scale))
    return None


def _truth(stands: list[Stand]) -> tuple[int, bool]:
    sights = [_sight(stand, stands[position + 1 :]) for position, stand in enumerate(stands)]
    return sights.count("whole"), "partly" in sights


def _sight(stand: Stand, nearer: list[Stand]) -> str:
    """How well a face is seen: "whole", "partly" (or hardly, by a margin), or "out" of the picture, body and all."""
    left, top, right, bottom = _body(stand)
    if right < 0 or left > COLUMNS_PX:
        return "out"
    left, top, right, bottom = stand.face
    if left < MARGIN_PX or top < MARGIN_PX or right > COLUMNS_PX - MARGIN_PX or bottom > COUNTER_TOP_PX - MARGIN_PX:
        return "partly"
    bodies = [_body(other) for other in nearer]
    covered = any(left < body[2] + MARGIN_PX and right > body[0] - MARGIN_PX for body in bodies)
    return "partly" if covered else "whole"


def _body(stand: Stand) -> tuple[float, float, float, float]:
    outline = _outline(stand.walk.portrait)
    corners = (outline - np.array(stand.walk.eyes)) * stand.scale + np.array([stand.x_px, stand.y_px])
    left, top = corners.min(axis=0)
    right, bottom = corners.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def _draw(scene: NDArray[np.float32], stand: Stand) -> None:
    """Blend a person into `scene` in place, in linear light, down to the counter."""
    body = _body(stand)
    left, top = max(0, math.floor(body[0]) - 2), max(0, math.floor(body[1]) - 2)
    right, bottom = min(COLUMNS_PX, math.ceil(body[2]) + 2), COUNTER_TOP_PX
    if right <= left:
        return
    cut, cut_scale = _cut_out(stand.walk.portrait)
    scale = stand.scale / cut_scale
    eyes = np.array(stand.walk.eyes) * cut_scale
    place = np.array([[scale, 0, stand.x_px - eyes[0] * scale - left], [0, scale, stand.y_px - eyes[1] * scale - top]])
    drawn = cv2.warpAffine(cut, place, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    region = scene[top:bottom, left:right]
    region *= 1 - drawn[:, :, 3:]
    region += drawn[:, :, :3]


def _daylight(time_s: float) -> float:
    """A cloud now and then: a slow drift of the light by a few per cent."""
    return 1 + 0.05 * math.sin(2 * math.pi * time_s / 31) + 0.02 * math.sin(2 * math.pi * time_s / 7.3 + 1)


@cache
def _cut_out(portrait: str) -> tuple[NDArray[np.float32], float]:
    """A portrait cut out: float32 (height, width, 4), premultiplied linear RGB and coverage; and its scale.

    It is stored at the largest scale that is drawn, averaged down once, so that drawing neither aliases nor blurs.
    """
    picture = _photograph("skimage", "data/astronaut.png") if portrait == "collins" else _hopper()
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(mask, [_outline(portrait).astype(np.int32)], 255)
    # The outermost pixels of a cut-out still show the old background: take one off, then soften the edge.
    coverage = cv2.GaussianBlur(cv2.erode(mask, np.ones((3, 3), np.uint8)), (0, 0), 1.2).astype(np.float32) / 255
    layers = np.dstack([picture * coverage[:, :, None], coverage])
    scale = max(key[2] for walk in WALKS if walk.portrait == portrait for key in walk.keys)
    small = np.asarray(cv2.resize(layers, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.float32)
    small.flags.writeable = False
    return small, scale


def _hopper() -> NDArray[np.float32]:
    """The portrait with its jacket carried on downwards, since it ends above the counter for someone far away."""
    picture = _photograph("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")
    row = picture[560:575].mean(axis=0, keepdims=True)
    row[:, :45] = row[:, 45:46]  # left of the jacket the row shows the old background
    cloth = cv2.blur(row, (61, 1))
    return np.vstack([picture[:575], np.repeat(cloth, 185, axis=0)])


@cache
def _outline(portrait: str) -> NDArray[np.float64]:
    return np.array(COLLINS_OUTLINE if portrait == "collins" else HOPPER_OUTLINE, np.float64)


@cache
def _room() -> NDArray[np.float32]:
    picture = _photograph("skimage", "data/motorcycle_left.png")
    scale = ROWS_PX / picture.shape[0]
    wide = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    room: NDArray[np.float32] = np.ascontiguousarray(wide[:, 20 : 20 + COLUMNS_PX])
    room.flags.writeable = False
    return room


@cache
def _counter() -> NDArray[np.float32]:
    """The counter in front, float32 (480 - COUNTER_TOP_PX, 640, 3): a lit edge over a darker front, of real wood."""
    wood = cv2.rotate(_photograph("skimage", "data/coffee.png")[:, 490:], cv2.ROTATE_90_CLOCKWISE)
    rows = ROWS_PX - COUNTER_TOP_PX
    front: NDArray[np.float32] = cv2.resize(wood, (COLUMNS_PX, rows), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    light = np.interp(np.arange(rows), [0, 13, 15, 19, rows], [1.25, 1.15, 0.25, 0.6, 0.4]).astype(np.float32)
    counter: NDArray[np.float32] = (front * light[:, None, None]).clip(0, 1)
    counter.flags.writeable = False
    return counter


def _photograph(package: str, name: str) -> NDArray[np.float32]:
    """A picture that ships inside an installed package, linear float32 (height, width, 3), RGB; nothing is imported."""
    found = importlib.util.find_spec(package)
    folder = Path(found.submodule_search_locations[0]) if found and found.submodule_search_locations else None
    picture = cv2.imread(str(folder / name), cv2.IMREAD_COLOR) if folder and (folder / name).is_file() else None
    if picture is None:
        raise SceneError(f"the built-in scene needs {name} from the package {package}: install {package} again")
    return linearize(rgb_from_bgr(picture))
