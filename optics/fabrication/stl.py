"""The mask as a solid: watertight binary STL in millimetres, relief on a base plate, flat cells with vertical walls.

x grows to the right (with the column, as seen looking at the structured side), y upwards (against the row), z away
from the base; z = 0 is height 0, the plate lies below. The middle of the array is at x = y = 0. A square notch in the
plate's rim marks the corner of cell [0, 0].

Two things make a height map leak when it is written naively, and both are settled by construction:

- Where heights meet only at a corner (a checkerboard), four walls would share one vertical edge and the solid would
  touch itself. There the corner of one high cell is cut off, CUT of a cell long, and the gap stays open. This is the
  only place where the solid differs from the cells: by (CUT cell)^2 / 2 of area.
- A wall next to walls of other heights needs their corners on its own edges, and a merged row of equal cells needs the
  corners of the rows beside it. Each wall and each row is triangulated between its two chains of such points.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optics.fabrication.layout import (
    ExportedFile,
    FabricationError,
    Faces,
    Outside,
    as_made,
    as_seen,
    describe,
    has_round_stop,
    relief_facts,
    relief_warnings,
    unfinished,
    write_sidecar,
)
from optics.mask import Mask

CUT = 0.01
Z_STEP_M = 1e-10
MM = 1e3
LARGEST_TRIANGLES = 40_000_000
BAND_ROWS = 128

Array = NDArray[np.float64]


def write_stl(
    mask: Mask,
    path: str | Path,
    *,
    base_m: float = 0.5e-3,
    rim_m: float = 0.1e-3,
    notch: bool = True,
    faces: Faces = "sensor",
    outside: Outside = "flat",
) -> ExportedFile:
    """Write the mask as a binary STL in millimetres, and `<path>.json`.

    base_m: thickness of the plate below height 0. rim_m: width of the flat rim (height 0) around the array; 0: none.
    notch: leave a square of the rim out at the corner of cell [0, 0]. A "stepped" mask has flat cells and vertical
    walls; a "smooth" one has its heights at the cells' centres, joined by triangles, out to the array's edge.
    Heights are rounded to Z_STEP_M and to float32, coordinates in the plane to float32 (sidecar: quantization_m,
    in_plane_rounding_m). Raises FabricationError for a plate that cannot be, or a mask that needs more than
    LARGEST_TRIANGLES.
    """
    path = Path(path)
    for name, value, least in (("base_m", base_m, 1e-6), ("rim_m", rim_m, 0.0)):
        if not least <= value <= 0.1:
            raise FabricationError(f"{name} must be {least:g} to 0.1 m, got {value!r}")
    if 0 < rim_m < 2 * mask.pitch_m:
        raise FabricationError(f"rim_m must be 0 or at least two cells ({2 * mask.pitch_m:g} m), got {rim_m!r}")
    height = as_made(mask, outside)
    z_mm = (np.rint(as_seen(height, faces) / Z_STEP_M) * (Z_STEP_M * MM)).astype(np.float32).astype(np.float64)
    solid = _stepped if mask.surface == "stepped" else _smooth
    notch_column = None if not notch or rim_m == 0 else (0 if faces == "sensor" else -1)
    triangles = 0
    with unfinished(path) as partial, partial.open("wb") as file:
        file.write(_header(0))
        for part in solid(z_mm, mask.pitch_m * MM, rim_m * MM, base_m * MM, notch_column):
            triangles += len(part)
            if triangles > LARGEST_TRIANGLES:
                raise FabricationError(
                    f"this mask needs more than {LARGEST_TRIANGLES:,} triangles ({LARGEST_TRIANGLES * 50e-9:.0f} GB): "
                    "export a TIFF instead, or make the mask smaller"
                )
            file.write(_records(part).tobytes())
        file.seek(0)
        file.write(_header(triangles))
    half_mm = max(height.shape) / 2 * mask.pitch_m * MM + rim_m * MM
    facts = {
        **relief_facts(mask, height),
        "units": "mm",
        "triangles": triangles,
        "base_m": base_m,
        "rim_m": rim_m,
        "notch": None if notch_column is None else "rim at the corner of cell [0, 0]",
        "quantization_m": Z_STEP_M / 2 + float(np.spacing(np.float32(z_mm.max()))) / 2 / MM,
        "in_plane_rounding_m": float(np.spacing(np.float32(half_mm))) / 2 / MM,
        "cut_corner_m": CUT * mask.pitch_m if mask.surface == "stepped" else 0.0,
    }
    document = describe(mask, "stl", faces, outside, facts)
    document["axes"] = "x right, y up, z = height above the plate; middle of the array at x = y = 0"
    warnings = relief_warnings(facts)
    if not has_round_stop(mask) or bool((mask.transmission != 1).any()):
        warnings.append("a solid has no opaque parts: the aperture needs its own layer (the GDS and the TIFF have it)")
    if notch_column is None:
        warnings.append("nothing on the plate shows which corner is cell [0, 0]: use notch=True and a rim")
    return ExportedFile(
        "stl", path, (path, write_sidecar(path, document)), facts["quantization_m"], facts, tuple(warnings)
    )


def _header(triangles: int) -> bytes:
    text = b"CAnOPIC mask, millimetres, x right, y up, seen looking at the structured side"
    return text.ljust(80) + triangles.to_bytes(4, "little")


def _records(triangles: Array) -> NDArray[Any]:
    """Binary STL records of float64 (n, 3 corners, 3) in millimetres, corners anticlockwise seen from outside."""
    records = np.zeros(len(triangles), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("unused", "<u2")])
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    records["normal"] = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    records["corners"] = triangles
    return records


# --- flat cells, vertical walls -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cells:
    """Cells with a height each, and the corners between them; a ring of cells without material lies around.

    Corner [i, j], at (x[j], y[i]), lies between the cells a = [i, j], b = [i, j + 1] above it and c = [i + 1, j],
    d = [i + 1, j + 1] below it. pinch_a: a and d are both higher than b and c, and a's corner is cut off and given to
    b; pinch_b: the same with b and c, a and d. special: cells around such a corner. point: whether triangles that lie
    flat need this corner. void: height of a cell without material, where the plate's underside is.
    """

    x: Array
    y: Array
    z: Array
    void: float
    cut: float
    pinch_a: NDArray[np.bool_]
    pinch_b: NDArray[np.bool_]
    special: NDArray[np.bool_]
    point: NDArray[np.bool_]


def _stepped(relief: Array, pitch: float, rim: float, base: float, notch_column: int | None) -> Iterator[Array]:
    """All triangles of a stepped solid, float64 (n, 3, 3), some rows at a time."""
    z = np.pad(relief, 1 if rim else 0)
    if notch_column is not None:
        z[0, notch_column] = -base
    z = np.pad(z, 1, constant_values=-base)
    a, b, c, d = z[:-1, :-1], z[:-1, 1:], z[1:, :-1], z[1:, 1:]
    pinch_a = np.minimum(a, d) > np.maximum(b, c)
    pinch_b = np.minimum(b, c) > np.maximum(a, d)
    special = np.zeros(z.shape, dtype=bool)
    for rows in (slice(-1), slice(1, None)):
        for columns in (slice(-1), slice(1, None)):
            special[rows, columns] |= pinch_a | pinch_b
    ends = (z[:, 1:] != z[:, :-1]) | special[:, 1:] | special[:, :-1]
    cells = _Cells(
        _edges(relief.shape[1], pitch, rim),
        -_edges(relief.shape[0], pitch, rim),
        z,
        -base,
        CUT * pitch,
        pinch_a,
        pinch_b,
        special,
        ends[1:] | ends[:-1],
    )
    material = z > -base
    yield from _flat(cells.x, cells.y, z, material & ~special, cells.point)
    for top in range(0, z.shape[0] - 1, BAND_ROWS):
        band = slice(top, min(top + BAND_ROWS, z.shape[0] - 1))
        yield from _special_tops(cells, band)
        yield _walls_between_columns(cells, band)
        yield _walls_between_rows(cells, band)
        yield from _walls_at_pinches(cells, band)
    yield from _underside(cells.x, cells.y, material, cells.point, -base)


def _edges(cells: int, pitch: float, rim: float) -> Array:
    """Where cells begin and end along an axis, rim included, with the middle at 0."""
    edges = np.asarray((np.arange(cells + 1) - cells / 2) * pitch, dtype=np.float64)
    return np.concatenate((edges[:1] - rim, edges, edges[-1:] + rim)) if rim else edges


def _flat(
    x: Array, y: Array, z: Array, covered: NDArray[np.bool_], point: NDArray[np.bool_], downwards: bool = False
) -> Iterator[Array]:
    """Triangles over the covered cells, each run of a row between two points in one piece.

    A run's upper and lower side are chains of points. Going along both to the right, each step on one makes a triangle
    with where the other has come to; at equal x the upper side goes first.
    """
    columns = np.arange(point.shape[1], dtype=np.int32)
    for top in range(1, z.shape[0] - 1, BAND_ROWS):
        rows = np.arange(top, min(top + BAND_ROWS, z.shape[0] - 1))
        come_to = np.maximum.accumulate(np.where(point[top - 1 : rows[-1] + 1], columns, -1), axis=1)
        for upper in (True, False):
            line, left, right = _segments(point[rows - upper])
            row = rows[line]
            keep = covered[row, left + 1]
            line, left, right, row = line[keep], left[keep], right[keep], row[keep]
            if upper:
                apex = come_to[line + 1, right - 1]
                corners = ((apex, row), (right, row - 1), (left, row - 1))
            else:
                apex = come_to[line, right]
                corners = ((left, row), (right, row), (apex, row - 1))
            height = z[row, left + 1]
            faces = np.stack([np.stack([x[column], y[at], height], axis=1) for column, at in corners], axis=1)
            yield faces[:, ::-1] if downwards else faces


def _segments(point: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of neighbouring points of each line: (line, left column, right column)."""
    line, column = np.nonzero(point)
    same = line[1:] == line[:-1]
    return line[:-1][same], column[:-1][same], column[1:][same]


def _underside(
    x: Array, y: Array, material: NDArray[np.bool_], point: NDArray[np.bool_], void: float
) -> Iterator[Array]:
    """Triangles of the plate's underside; along the plate's outline it has the points that the outer walls have."""
    ends = material[:, 1:] != material[:, :-1]
    outline = ~(material[:-1, :-1] & material[:-1, 1:] & material[1:, :-1] & material[1:, 1:])
    below = ends[1:] | ends[:-1] | (point & outline)
    yield from _flat(x, y, np.full(material.shape, void), material, below, downwards=True)


def _special_tops(cells: _Cells, band: slice) -> Iterator[Array]:
    """Tops of the cells around a pinch: a fan from the middle to an outline with cut or added points."""
    row, column = np.nonzero(cells.special[band])
    row += band.start
    if not row.size:
        return
    middle = _points(
        (cells.x[column - 1] + cells.x[column]) / 2, (cells.y[row - 1] + cells.y[row]) / 2, cells.z[row, column]
    )

    def pinch(which: NDArray[np.bool_], down: int, right: int) -> NDArray[np.bool_]:
        return np.asarray(which[row - 1 + down, column - 1 + right])

    always = np.ones(row.size, dtype=bool)
    a, b = cells.pinch_a, cells.pinch_b
    # Anticlockwise from the upper left: (corner down, corner right, along x, along y, is it there).
    outline = (
        (0, 0, 0, 0, always),
        (1, 0, 0, 1, pinch(a | b, 1, 0)),
        (1, 0, 0, 0, ~pinch(b, 1, 0)),
        (1, 0, 1, 0, pinch(b, 1, 0)),
        (1, 1, -1, 0, pinch(a, 1, 1)),
        (1, 1, 0, 0, ~pinch(a, 1, 1)),
        (1, 1, 0, 1, pinch(a | b, 1, 1)),
        (0, 1, 0, 0, always),
        (0, 1, -1, 0, pinch(a, 0, 1)),
        (0, 0, 1, 0, pinch(b, 0, 0)),
    )
    last = None
    first = middle  # the upper left corner, once it is known
    for down, right, along_x, along_y, there in outline:
        at = _points(
            cells.x[column - 1 + right] + along_x * cells.cut,
            cells.y[row - 1 + down] + along_y * cells.cut,
            cells.z[row, column],
        )
        if last is None:
            first = last = at
            continue
        yield np.stack([middle, last, at], axis=1)[there]
        last = np.where(there[:, np.newaxis], at, last)
    yield np.stack([middle, np.asarray(last), first], axis=1)


def _points(x: Array, y: Array, z: Array) -> Array:
    return np.stack([x, y, z], axis=1)


def _walls_between_columns(cells: _Cells, band: slice) -> Array:
    """Walls between a cell and the one to its right."""
    z = cells.z
    row, column = np.nonzero(z[band, :-1] != z[band, 1:])
    row += band.start
    lower_pinch = (cells.pinch_a | cells.pinch_b)[row, column]
    upper_pinch = (cells.pinch_a | cells.pinch_b)[row - 1, column]
    lower = np.stack([cells.x[column], cells.y[row] + cells.cut * lower_pinch], axis=1)
    upper = np.stack([cells.x[column], cells.y[row - 1]], axis=1)
    # A wall that ends at a cut above its lower corner meets no others there; at a cut corner, the cut cell is not.
    below = [np.where(lower_pinch, np.nan, z[row + 1, column + right]) for right in (0, 1)]
    above = (z[row - 1, column], z[row - 1, column + 1])
    beyond = [np.minimum(*above), np.where(upper_pinch, np.nan, np.maximum(*above))]
    return _walls(lower, upper, z[row, column], z[row, column + 1], below, beyond)


def _walls_between_rows(cells: _Cells, band: slice) -> Array:
    """Walls between a run of cells and the run below it."""
    z, a, b = cells.z, cells.pinch_a, cells.pinch_b
    row, left, right = _segments(cells.point[band])
    row += band.start
    differ = z[row, left + 1] != z[row + 1, left + 1]
    row, left, right = row[differ], left[differ], right[differ]
    start = np.stack([cells.x[left] + cells.cut * b[row, left], cells.y[row]], axis=1)
    stop = np.stack([cells.x[right] - cells.cut * a[row, right], cells.y[row]], axis=1)
    at_start = [
        np.where(a[row, left], np.nan, z[row, left]),
        np.where(b[row, left], np.nan, z[row + 1, left]),
    ]
    at_stop = [
        np.where(b[row, right], np.nan, z[row, right + 1]),
        np.where(a[row, right], np.nan, z[row + 1, right + 1]),
    ]
    return _walls(start, stop, z[row, left + 1], z[row + 1, left + 1], at_start, at_stop)


def _walls_at_pinches(cells: _Cells, band: slice) -> Iterator[Array]:
    """Where a corner is cut off: the cut, the wall of what was added to its neighbour, and the top of that."""
    for which, side in ((cells.pinch_a, -1), (cells.pinch_b, 1)):
        row, column = np.nonzero(which[band])
        row += band.start
        z = [cells.z[row + down, column + right] for down in (0, 1) for right in (0, 1)]
        corner = np.stack([cells.x[column], cells.y[row]], axis=1)
        above = corner + np.array([0, cells.cut])
        beside = corner + np.array([side * cells.cut, 0])
        nothing = np.full(row.size, np.nan)
        a, b, c, d = z
        if side < 0:
            yield _walls(above, beside, b, a, [nothing, nothing], [c, nothing])
            yield _walls(beside, corner, b, c, [a, nothing], [d, nothing])
        else:
            yield _walls(above, beside, b, a, [nothing, nothing], [d, nothing])
            yield _walls(corner, beside, a, d, [c, nothing], [b, nothing])
        added = np.minimum(a, b)
        corners = (corner, above, beside) if side < 0 else (corner, beside, above)
        yield np.stack([np.column_stack([each, added]) for each in corners], axis=1)


def _walls(start: Array, stop: Array, left: Array, right: Array, at_start: list[Array], at_stop: list[Array]) -> Array:
    """Vertical walls from `start` to `stop`, (n, 2), between heights on the left and on the right of that direction.

    at_start, at_stop: two more heights each, of the other cells that meet there (NaN: none); those within the wall
    become points of its edge, since the walls of those cells have them. Triangles are made as in `_flat`, upwards.
    """
    turn = left < right
    bottom, top = np.minimum(left, right), np.maximum(left, right)
    near = np.where(turn[:, np.newaxis], stop, start)
    far = np.where(turn[:, np.newaxis], start, stop)
    chains = []
    for ends in (at_start, at_stop):
        inner = [np.where((each > bottom) & (each < top), each, top) for each in ends]
        chains.append(np.sort(np.stack([bottom, *inner, top], axis=1), axis=1))
    near_z = np.where(turn[:, np.newaxis], chains[1], chains[0])
    far_z = np.where(turn[:, np.newaxis], chains[0], chains[1])
    faces = []
    for low, high in ((0, 1), (1, 2), (2, 3)):
        up = near_z[:, low] < near_z[:, high]
        reached = np.where(far_z < near_z[:, high : high + 1], far_z, -np.inf).max(axis=1)
        corners = ((near, near_z[:, low]), (far, reached), (near, near_z[:, high]))
        faces.append(np.stack([np.column_stack(corner) for corner in corners], axis=1)[up])
        up = far_z[:, low] < far_z[:, high]
        reached = np.where(near_z <= far_z[:, high : high + 1], near_z, -np.inf).max(axis=1)
        corners = ((near, reached), (far, far_z[:, low]), (far, far_z[:, high]))
        faces.append(np.stack([np.column_stack(corner) for corner in corners], axis=1)[up])
    return np.concatenate(faces)


# --- smooth -------------------------------------------------------------------------------------------------------


def _smooth(relief: Array, pitch: float, rim: float, base: float, notch_column: int | None) -> Iterator[Array]:
    """All triangles of a smooth solid: heights at the cells' centres, level from the outermost ones to the edge.

    From the edge the relief goes down to the rim within one pitch.
    """
    z = np.pad(relief, 1, mode="edge")
    if rim:
        z = np.pad(z, 2)
    x, y = (_samples(cells, pitch, rim) for cells in relief.shape[::-1])
    y = -y
    material = np.pad(np.ones((z.shape[0] - 1, z.shape[1] - 1), dtype=bool), 1)
    if notch_column is not None:
        material[1, 1 if notch_column == 0 else -2] = False
    for top in range(0, z.shape[0] - 1, BAND_ROWS):
        row, column = np.nonzero(material[1:-1, 1:-1][top : top + BAND_ROWS])
        row += top
        corner = [_points(x[column + right], y[row + down], z[row + down, column + right]) for down, right in _SQUARE]
        yield np.concatenate([np.stack([corner[k] for k in order], axis=1) for order in ((0, 1, 2), (0, 2, 3))])
    # Material to the left of the way from one point to the next, nothing to the right of it.
    upright, level = material[1:-1], material[:, 1:-1]
    for inside, outside, first, second in (
        (upright[:, :-1], upright[:, 1:], (1, 0), (0, 0)),
        (upright[:, 1:], upright[:, :-1], (0, 0), (1, 0)),
        (level[:-1], level[1:], (0, 0), (0, 1)),
        (level[1:], level[:-1], (0, 1), (0, 0)),
    ):
        row, column = np.nonzero(inside & ~outside)
        ends = [(row + down, column + right) for down, right in (first, second)]
        start, stop = (_points(x[at[1]], y[at[0]], z[at]) for at in ends)
        under_start, under_stop = start.copy(), stop.copy()
        under_start[:, 2] = under_stop[:, 2] = -base
        yield np.stack([under_start, under_stop, stop], axis=1)
        yield np.stack([under_start, stop, start], axis=1)
    yield from _underside(x, y, material, np.ones(z.shape, dtype=bool), -base)


# Corners of a square of samples, anticlockwise: (down, right).
_SQUARE = ((0, 0), (1, 0), (1, 1), (0, 1))


def _samples(cells: int, pitch: float, rim: float) -> Array:
    """Where a smooth surface has its points along an axis: edge, centres, edge; and the rim's."""
    half = cells / 2 * pitch
    inner = np.concatenate(([-half], (np.arange(cells) - (cells - 1) / 2) * pitch, [half]))
    return np.concatenate(([-half - rim, -half - pitch], inner, [half + pitch, half + rim])) if rim else inner
