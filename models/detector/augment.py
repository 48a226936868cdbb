"""Makes varied training scenes out of photographs with boxes, face crops and crops without faces."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.detector.archives import Crops, Photograph
from models.detector.scenes import (
    PLANE_COLUMNS_PX,
    PLANE_ROWS_PX,
    Scene,
    boxes_on_plane,
    fitted,
    linear_to_srgb,
    place,
    resized,
    srgb_to_linear,
)

# Where the face lies in a 64 x 64 crop of the LFW sets, as x, y, width, height: median over 300 training crops of the
# box that a detector trained on WIDER FACE (version-RFB-320) puts around it, so the convention is the scenes' own.
CROP_FACE_BOX = np.array([15.6, 8.4, 32.9, 47.8], np.float32)
CROP_SIDE = 64

LARGEST_ZOOM = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What scenes are made of: photographs with boxes, and crops uint8 (n, 64, 64, 3) with and without a face."""

    photographs: Sequence[Photograph]
    faces: NDArray[np.uint8]
    non_faces: NDArray[np.uint8]


def material(photographs: list[Photograph], faces: Crops, non_faces: Crops) -> Material:
    """Material out of what `archives` reads."""
    return Material(photographs, faces.images, non_faces.images)


def random_scene(source: Material, rng: np.random.Generator) -> Scene:
    """One training scene, linear float32 (480, 640, 3) with its boxes.

    Seven in ten are one photograph (fitted as the twin fits it, or zoomed so that a random face spans 16 to 140 px),
    one in ten two photographs side by side, two in ten crops alone. Crops are also pasted into half of the others.
    Crops with and without a face are equally likely and go through the same enlargement, light and blending, so that
    being pasted tells nothing about being a face.
    """
    kind = rng.random()
    if kind < 0.7:
        scene = _photograph_scene(source, rng)
    elif kind < 0.8:
        scene = _pair_scene(source, rng)
    else:
        scene = Scene(_background(source, rng), np.zeros((0, 4), np.float32), np.zeros(0, np.bool_))
    if kind >= 0.8 or rng.random() < 0.5:
        scene = with_crops(scene, source, rng, count=int(rng.integers(0, 10 if kind >= 0.8 else 4)))
    return Scene(_recoloured(scene.radiance, rng), scene.boxes, scene.ignore)


def with_crops(scene: Scene, source: Material, rng: np.random.Generator, count: int) -> Scene:
    """`scene` with up to `count` crops blended in where they hide no face; those with a face add a box."""
    radiance = scene.radiance.copy()
    boxes, ignore = scene.boxes, scene.ignore
    for _ in range(count):
        with_face = rng.random() < 0.5
        crops = source.faces if with_face else source.non_faces
        side_px = float(np.exp(rng.uniform(np.log(22), np.log(200))))
        left, top = (
            int(rng.uniform(-0.2 * side_px, size - 0.8 * side_px)) for size in (PLANE_COLUMNS_PX, PLANE_ROWS_PX)
        )
        area = np.array([left, top, side_px, side_px], np.float32)
        if _overlaps(area, boxes):
            continue
        crop = crops[rng.integers(len(crops))]
        mirrored = rng.random() < 0.5
        patch = resized(srgb_to_linear(crop[:, ::-1] if mirrored else crop), side_px / CROP_SIDE)
        patch *= np.float32(np.exp(rng.uniform(-0.9, 0.5)))
        _blend(radiance, patch, left, top, edge_share=float(rng.uniform(0.02, 0.25)), elliptic=rng.random() < 0.5)
        if with_face:
            box = CROP_FACE_BOX * (side_px / CROP_SIDE)
            if mirrored:
                box[0] = side_px - box[0] - box[2]
            new, new_ignore = boxes_on_plane(box[None] + np.array([left, top, 0, 0], np.float32), np.zeros(1, np.bool_))
            boxes, ignore = np.concatenate([boxes, new]), np.concatenate([ignore, new_ignore])
    return Scene(np.minimum(radiance, 1.0, dtype=np.float32), boxes, ignore)


def _photograph_scene(source: Material, rng: np.random.Generator) -> Scene:
    photograph = source.photographs[int(rng.integers(len(source.photographs)))]
    background = None if rng.random() < 0.35 else _background(source, rng)
    usable = np.flatnonzero(~photograph.ignore & (photograph.boxes[:, 2:].max(axis=1, initial=0) > 8))
    if rng.random() < 0.3 or len(usable) == 0:
        if rng.random() < 0.5:
            return fitted(photograph)
        height, width = photograph.image.shape[:2]
        scale = min(PLANE_COLUMNS_PX / width, PLANE_ROWS_PX / height) * float(rng.uniform(0.5, 1.1))
        left = rng.uniform(min(0, PLANE_COLUMNS_PX - width * scale), max(0, PLANE_COLUMNS_PX - width * scale))
        top = rng.uniform(min(0, PLANE_ROWS_PX - height * scale), max(0, PLANE_ROWS_PX - height * scale))
        return place(photograph, scale, float(left), float(top), background)
    x, y, width_px, height_px = photograph.boxes[rng.choice(usable)]
    wanted_px = float(np.exp(rng.uniform(np.log(16), np.log(140))))
    scale = float(np.clip(wanted_px / max(width_px, height_px), 0.35, LARGEST_ZOOM))
    centre_x, centre_y = (x + width_px / 2) * scale, (y + height_px / 2) * scale
    # The chosen face lands anywhere on the plane, so that place on the plane says nothing.
    left = rng.uniform(0.04, 0.96) * PLANE_COLUMNS_PX - centre_x
    top = rng.uniform(0.04, 0.96) * PLANE_ROWS_PX - centre_y
    if rng.random() < 0.7:
        # Most scenes should be photograph, not surroundings: move it until it covers as much of the plane as it can.
        overhang = np.array([PLANE_COLUMNS_PX, PLANE_ROWS_PX]) - np.array(photograph.image.shape[1::-1]) * scale
        left, top = np.clip([left, top], np.minimum(overhang, 0), np.maximum(overhang, 0))
    return place(photograph, scale, float(left), float(top), background)


def _pair_scene(source: Material, rng: np.random.Generator) -> Scene:
    split_px = int(rng.uniform(0.3, 0.7) * PLANE_COLUMNS_PX)
    left, right = _photograph_scene(source, rng), _photograph_scene(source, rng)
    radiance = left.radiance.copy()
    radiance[:, split_px:] = right.radiance[:, split_px:]
    parts = [_cut(left, 0, split_px), _cut(right, split_px, PLANE_COLUMNS_PX)]
    return Scene(radiance, np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))


def _cut(scene: Scene, first_px: int, end_px: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes that reach between two columns, clipped to them; one that loses more than 40 % is to be ignored."""
    first = np.maximum(scene.boxes[:, 0], first_px)
    end = np.minimum(scene.boxes[:, 0] + scene.boxes[:, 2], end_px)
    boxes = scene.boxes.copy()
    boxes[:, 0], boxes[:, 2] = first, end - first
    kept = end - first > 1
    ignore = scene.ignore | ((end - first) < 0.6 * scene.boxes[:, 2])
    return boxes[kept], ignore[kept]


def _background(source: Material, rng: np.random.Generator) -> NDArray[np.float32]:
    """A smooth picture without faces over the whole plane: a random part of a crop without a face, much enlarged."""
    crop = source.non_faces[rng.integers(len(source.non_faces))]
    height = int(rng.integers(20, 49))
    width = height * 4 // 3
    top, left = int(rng.integers(0, CROP_SIDE - height + 1)), int(rng.integers(0, CROP_SIDE - width + 1))
    part = srgb_to_linear(crop[top : top + height, left : left + width])
    plane = cv2.resize(part, (PLANE_COLUMNS_PX, PLANE_ROWS_PX), interpolation=cv2.INTER_LINEAR)
    return np.asarray(plane, np.float32) * np.float32(np.exp(rng.uniform(-1.5, 0.0)))


def _blend(
    radiance: NDArray[np.float32], patch: NDArray[np.float32], left: int, top: int, edge_share: float, elliptic: bool
) -> None:
    """Mixes `patch` into `radiance` in place with soft edges: a square or an ellipse that fades over `edge_share`."""
    height, width = patch.shape[:2]
    y = np.abs(np.linspace(-1, 1, height, dtype=np.float32))[:, None]
    x = np.abs(np.linspace(-1, 1, width, dtype=np.float32))[None, :]
    distance = np.sqrt(x * x + y * y) if elliptic else np.maximum(x, y)
    weight = np.clip((1 - distance) / (2 * edge_share), 0, 1)[:, :, None]
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(radiance.shape[1], left + width), min(radiance.shape[0], top + height)
    part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    target = radiance[y0:y1, x0:x1]
    target += weight[part] * (patch[part] - target)


def _overlaps(area: NDArray[np.float32], boxes: NDArray[np.float32]) -> bool:
    gap = np.minimum(boxes[:, :2] + boxes[:, 2:], area[:2] + area[2:]) - np.maximum(boxes[:, :2], area[:2])
    return bool((gap > 0).all(axis=1).any())


def _recoloured(radiance: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Another white balance (each colour by up to 25 %), another tone curve, and sometimes no colour at all."""
    gains = np.exp(rng.uniform(-0.22, 0.22, 3)).astype(np.float32)
    changed = radiance * gains
    if rng.random() < 0.15:
        changed = np.repeat(changed.mean(axis=2, keepdims=True), 3, axis=2)
    if rng.random() < 0.3:
        changed = np.power(np.clip(changed, 0, 1), np.float32(np.exp(rng.uniform(-0.35, 0.35))))
    return np.asarray(np.clip(changed, 0, 1), np.float32)


def contact_sheet(scenes: list[Scene]) -> NDArray[np.uint8]:
    """Scenes with their boxes drawn, side by side, sRGB uint8: to look at what training sees. Not for publication."""
    pictures = []
    for scene in scenes:
        picture = linear_to_srgb(scene.radiance)
        for (x, y, width, height), ignored in zip(scene.boxes, scene.ignore, strict=True):
            colour = (255, 200, 0) if ignored else (0, 255, 0)
            cv2.rectangle(picture, (int(x), int(y)), (int(x + width), int(y + height)), colour, 2)
        pictures.append(cv2.resize(picture, (PLANE_COLUMNS_PX // 2, PLANE_ROWS_PX // 2), interpolation=cv2.INTER_AREA))
    return np.concatenate(pictures, axis=1)
