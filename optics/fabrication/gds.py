"""The mask as lithography masks: a GDSII file with an etch mask per bit, an area per level, and alignment marks.

Layers (datatype 0), drawn as seen looking at the structured side, x right, y up, the middle of the array at 0, in um:

    1, 2, ...   etch masks: what their polygons cover is etched, by the depth that the sidecar gives
    10          alignment crosses beside the four corners of the array, and the text that a person reads
    11          "0,0" beside the corner of cell [0, 0]: shows which corner it is, and whether the plate lies mirrored
    12          labels: text in the file that is not printed
    20          opaque layer: cells that pass no light (outside the stop, closed cells of a coded aperture)
    101, ...    one layer per level, the lowest first; together they cover the array once

Each etch mask repeats the crosses and the "0,0", so that each can be aligned to the one before. Etching starts from a
plate at the highest level. With equal steps between the levels the depths are step, 2 step, 4 step, ...: k masks for up
to 2^k levels, any number (G. J. Swanson, Binary Optics Technology, MIT Lincoln Laboratory TR-854, 1989). With unequal
steps there is one mask per step.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optics.fabrication.layout import (
    SAME_HEIGHT_M,
    ExportedFile,
    FabricationError,
    Faces,
    Outside,
    as_made,
    as_seen,
    describe,
    height_levels,
    needed_package,
    relief_facts,
    relief_warnings,
    unfinished,
    write_sidecar,
)
from optics.mask import Mask

ETCH, MARKS, ORIENTATION, LABELS, OPAQUE, LEVEL = 1, 10, 11, 12, 20, 101
MOST_LEVELS = 64
MOST_STEPS = 255
MOST_SINGLE_ETCHES = 15
LARGEST_RECTANGLES = 4_000_000
NM = 1e-9
# A GDSII file says when it was made; with a constant, equal masks give equal files.
TIMESTAMP = datetime(2000, 1, 1, tzinfo=UTC)

Cells = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class EtchMask:
    """One lithography step: the cells that it opens, bool (rows, columns), and how deep they are etched there."""

    opened: Cells
    depth_m: float


def etch_masks(height_m: NDArray[np.float64]) -> list[EtchMask]:
    """The etchings, from a flat plate at the highest level, that leave this relief: float64 (rows, columns).

    height = highest - sum of the depths of the masks that open the cell, within SAME_HEIGHT_M. Equal steps need
    ceil(log2(steps + 1)) masks, each twice as deep as the one before; otherwise one per step. None for a flat plate,
    and none for more than MOST_SINGLE_ETCHES unequal steps, which nobody aligns.
    """
    levels, level = height_levels(height_m)
    steps = _equal_steps(levels)
    if steps is not None:
        step = (levels[-1] - levels[0]) / max(int(steps[-1]), 1)
        etched = (steps[-1] - steps)[level]
        return [EtchMask((etched >> bit) & 1 == 1, float(step * 2**bit)) for bit in range(int(steps[-1]).bit_length())]
    if levels.size - 1 > MOST_SINGLE_ETCHES:
        return []
    return [EtchMask(level < at, float(levels[at] - levels[at - 1])) for at in range(levels.size - 1, 0, -1)]


def _equal_steps(levels: NDArray[np.float64]) -> NDArray[np.intp] | None:
    """Each level as a number of equal steps above the lowest, with as few steps as possible; None: there is no way."""
    above = levels - levels[0]
    for steps in range(levels.size - 1, MOST_STEPS + 1):
        step = above[-1] / max(steps, 1)
        number = np.rint(above / step).astype(np.intp) if steps else np.zeros(1, np.intp)
        if np.abs(above - number * step).max() <= SAME_HEIGHT_M:
            return number
    return None


def check_levels(mask: Mask, outside: Outside) -> None:
    """Raises FabricationError, with what to do instead, for a mask that lithography cannot make in a few levels."""
    levels = height_levels(as_made(mask, outside))[0].size
    if levels > MOST_LEVELS:
        raise FabricationError(
            f"the mask has {levels:,} different heights, GDSII takes up to {MOST_LEVELS}: export it with --tiff "
            "(16-bit grey-scale lithography or two-photon printing), or design it with levels=2, 4, 8 or 16"
        )


def write_gds(mask: Mask, path: str | Path, *, faces: Faces = "sensor", outside: Outside = "flat") -> ExportedFile:
    """Write the mask as GDSII (unit 1 um, precision 1 nm) and `<path>.json` with layers, depths and level heights.

    Heights are exact (the sidecar has them); edges of cells are rounded to a nanometre (in_plane_rounding_m). faces:
    where the structured side looks. Needs gdstk. Raises FabricationError for more than MOST_LEVELS heights, cells
    below a nanometre, more than LARGEST_RECTANGLES, or if gdstk is missing.
    """
    gdstk = needed_package("gdstk", "GDSII")
    path = Path(path)
    check_levels(mask, outside)
    if mask.pitch_m < NM:
        raise FabricationError(f"cells of {mask.pitch_m:g} m are smaller than GDSII's grid of {NM:g} m")
    height = as_seen(as_made(mask, outside), faces)
    levels, level = height_levels(height)
    etches = etch_masks(height)
    amplitude = as_seen(mask.amplitude, faces)
    maps = {
        ETCH + number: (f"etch mask {number + 1}", {"depth_m": each.depth_m}, each.opened)
        for number, each in enumerate(etches)
    }
    maps[OPAQUE] = ("opaque layer", {}, amplitude < 0.5)
    maps |= {
        LEVEL + number: (f"level {number}", {"height_m": float(value)}, level == number)
        for number, value in enumerate(levels)
    }

    x_nm, y_nm = _edges_nm(height.shape[1], mask.pitch_m), -_edges_nm(height.shape[0], mask.pitch_m)
    library = gdstk.Library("CANOPIC", unit=1e-6, precision=NM)
    cell = library.new_cell("MASK")
    layers: list[dict[str, Any]] = []
    total = 0
    for layer, (purpose, numbers, covered) in maps.items():
        rectangles = _rectangles(covered)
        total += len(rectangles)
        if total > LARGEST_RECTANGLES:
            raise FabricationError(
                f"this mask needs more than {LARGEST_RECTANGLES:,} rectangles: export it with --tiff, or design it "
                "with a larger min_feature_m"
            )
        for top, bottom, left, right in rectangles:
            corners = (x_nm[left] / 1000, y_nm[top] / 1000), (x_nm[right] / 1000, y_nm[bottom] / 1000)
            cell.add(gdstk.rectangle(*corners, layer=layer))
        layers.append({"layer": layer, "purpose": purpose, **numbers, "rectangles": len(rectangles)})
    text = f"{mask.pitch_m * 1e6:.6g} um, {levels.size} levels, faces {faces}"
    layers += _add_marks(gdstk, cell, -x_nm[0] / 1000, y_nm[0] / 1000, faces, len(etches), text)
    with unfinished(path) as partial:
        library.write_gds(str(partial), timestamp=TIMESTAMP)

    ideal = [np.abs(np.arange(nm.size) - (nm.size - 1) / 2) * mask.pitch_m for nm in (x_nm, y_nm)]
    off = max(np.abs(np.abs(nm) * NM - at).max() for nm, at in zip((x_nm, y_nm), ideal, strict=True))
    facts = {
        **relief_facts(mask, height),
        "unit_m": 1e-6,
        "precision_m": NM,
        "in_plane_rounding_m": float(off) if off > 1e-15 else 0.0,
        "quantization_m": SAME_HEIGHT_M,
        "etch_masks": len(etches),
        "rectangles": total,
        "layers": layers,
    }
    document = describe(mask, "gds", faces, outside, facts)
    document["height"] = "height_m = height_max_m - sum of depth_m of the etch masks that cover the cell"
    document["axes"] = "x right, y up; middle of the array at x = y = 0"
    return ExportedFile(
        "gds", path, (path, write_sidecar(path, document)), SAME_HEIGHT_M, facts, tuple(_warnings(mask, facts))
    )


def _warnings(mask: Mask, facts: dict[str, Any]) -> list[str]:
    warnings = relief_warnings(facts)
    if mask.surface == "smooth":
        warnings.append("the mask's surface is smooth: this file has it in flat cells")
    if facts["levels"] > 1 and not facts["etch_masks"]:
        warnings.append(
            f"the {facts['levels']} levels have unequal steps, too many to etch one by one: only their areas are there "
            "(layers 101...), no etch masks; design with equal levels"
        )
    if ((mask.amplitude > 0) & (mask.amplitude < 1)).any():
        warnings.append("the aperture has grey cells: the opaque layer covers those that pass less than half the field")
    return warnings


def _edges_nm(cells: int, pitch_m: float) -> NDArray[np.float64]:
    """Edges of cells along an axis in whole nanometres from the middle, each within half of where it belongs.

    Exact halves all go up, so that cells of whole nanometres stay equal.
    """
    edges = (np.arange(cells + 1) - cells / 2) * (pitch_m / NM)
    return np.asarray(np.floor(np.round(edges, 6) + 0.5), dtype=np.float64)


def _rectangles(covered: Cells) -> list[tuple[int, int, int, int]]:
    """Rectangles (top, bottom, left, right), ends beyond the last, that cover these cells once.

    Runs of a row, joined downwards with those below them that begin and end at the same columns.
    """
    change = np.diff(np.pad(covered.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    row, left = np.nonzero(change == 1)
    right = np.nonzero(change == -1)[1]
    if not row.size:
        return []
    order = np.lexsort((row, right, left))
    row, left, right = row[order], left[order], right[order]
    begins = np.concatenate(
        ([True], (np.diff(left) != 0) | (np.diff(right) != 0) | (np.diff(row) != 1)),
    )
    first = np.nonzero(begins)[0]
    last = np.concatenate((first[1:], [row.size])) - 1
    return [
        (int(top), int(bottom) + 1, int(begin), int(end))
        for top, bottom, begin, end in zip(row[first], row[last], left[first], right[first], strict=True)
    ]


def _add_marks(
    gdstk: Any, cell: Any, half_x: float, half_y: float, faces: Faces, etches: int, text: str
) -> list[dict[str, Any]]:
    """Crosses, "0,0" and text around an array of half these sides (um). Returns what is on which layer."""
    size = float(max(20.0, math.ceil(min(half_x, half_y) / 5)))
    width = size / 5
    # Even beside a tiny array, "0,0" ends before the middle.
    away_x, away_y = math.ceil(max(half_x + 1.5 * size, 3 * size)), math.ceil(half_y + 1.5 * size)
    crosses = [(x, y) for y in (away_y, -away_y) for x in (-away_x, away_x)]
    # Inwards from the cross, above the array.
    left = faces == "sensor"
    at = (-away_x + size, away_y - size / 2) if left else (away_x - size - 3 * size * 9 / 16, away_y - size / 2)
    for layer in (MARKS, *range(ETCH, ETCH + etches)):
        for x, y in crosses:
            cell.add(gdstk.cross((x, y), size, width, layer=layer))
    for layer in (ORIENTATION, *range(ETCH, ETCH + etches)):
        cell.add(*gdstk.text("0,0", size, at, layer=layer))
    # Below the crosses, since beside a tiny array it is longer than they are apart.
    below = (-away_x - size / 2, -away_y - 1.5 * size)
    cell.add(*gdstk.text(text, 0.6 * size, below, layer=MARKS))
    corner = (-half_x if left else half_x, half_y)
    cell.add(gdstk.Label("cell [0,0]", corner, layer=LABELS), gdstk.Label(text, (0, 0), layer=LABELS))
    return [
        {
            "layer": MARKS,
            "purpose": "alignment crosses and text",
            "crosses_m": [[x * 1e-6, y * 1e-6] for x, y in crosses],
            "size_m": size * 1e-6,
            "line_m": width * 1e-6,
        },
        {
            "layer": ORIENTATION,
            "purpose": 'the text "0,0" beside the corner of cell [0, 0]',
            "x_m": at[0] * 1e-6,
            "y_m": at[1] * 1e-6,
        },
        {"layer": LABELS, "purpose": "labels, not printed"},
    ]
