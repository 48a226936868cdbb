"""Fabrication files read by other people's libraries: heights as a person sees them who looks at the structured side.

Nothing here uses the code that wrote the files. Each returns float64 (rows, columns), row 0 at the top of the view.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Heights = NDArray[np.float64]
EXTRA = "reads fabrication files back: pip install 'canopic[dev]'"


def sidecar(path: Path) -> dict[str, Any]:
    document = json.loads(path.with_name(path.name + ".json").read_text())
    assert document["file"] == path.name
    return document


def heights_from_tiff(path: Path) -> Heights:
    tifffile = pytest.importorskip("tifffile", reason=EXTRA)
    about = sidecar(path)
    return tifffile.imread(path) * about["metres_per_count"] + about["offset_m"]


def heights_from_png(path: Path) -> Heights:
    from PIL import Image

    about = sidecar(path)
    with Image.open(path) as picture:
        return np.asarray(picture).astype(np.float64) * about["metres_per_count"] + about["offset_m"]


def load_solid(path: Path) -> Any:
    return pytest.importorskip("trimesh", reason=EXTRA).load(path, file_type="stl")


def heights_from_stl(path: Path) -> Heights:
    """The uppermost surface over the middle of each cell: millimetres in the file, metres here."""
    solid, about = load_solid(path), sidecar(path)
    pitch_mm = about["pitch_m"] * 1e3
    x = (np.arange(about["columns"]) - (about["columns"] - 1) / 2) * pitch_mm
    y = -(np.arange(about["rows"]) - (about["rows"] - 1) / 2) * pitch_mm
    height = np.full((y.size, x.size), -np.inf)
    for corners in solid.triangles[solid.face_normals[:, 2] > 0]:
        (x0, y0), (x1, y1), (x2, y2) = corners[:, :2]
        columns = np.nonzero((x >= corners[:, 0].min()) & (x <= corners[:, 0].max()))[0]
        rows = np.nonzero((y >= corners[:, 1].min()) & (y <= corners[:, 1].max()))[0]
        if not columns.size or not rows.size:
            continue
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        at_x, at_y = x[columns], y[rows, np.newaxis]
        share1 = ((at_x - x0) * (y2 - y0) - (x2 - x0) * (at_y - y0)) / area
        share2 = ((x1 - x0) * (at_y - y0) - (at_x - x0) * (y1 - y0)) / area
        inside = (share1 >= -1e-6) & (share2 >= -1e-6) & (share1 + share2 <= 1 + 1e-6)
        z = corners[0, 2] + share1 * (corners[1, 2] - corners[0, 2]) + share2 * (corners[2, 2] - corners[0, 2])
        block = np.ix_(rows, columns)
        height[block] = np.maximum(height[block], np.where(inside, z, -np.inf))
    return height * 1e-3


def gds_cover(path: Path) -> dict[int, NDArray[np.intp]]:
    """How many polygons of each layer lie over the middle of each cell, by layer."""
    gdstk = pytest.importorskip("gdstk", reason=EXTRA)
    library, about = gdstk.read_gds(path), sidecar(path)
    assert library.unit == about["unit_m"] == 1e-6
    assert library.precision == about["precision_m"] == 1e-9
    (cell,) = library.top_level()
    pitch_um = about["pitch_m"] * 1e6
    x = (np.arange(about["columns"]) - (about["columns"] - 1) / 2) * pitch_um
    y = -(np.arange(about["rows"]) - (about["rows"] - 1) / 2) * pitch_um
    cover: dict[int, NDArray[np.intp]] = {}
    for polygon in cell.polygons:
        (left, bottom), (right, top) = polygon.bounding_box()
        columns = np.nonzero((x > left) & (x < right))[0]
        rows = np.nonzero((y > bottom) & (y < top))[0]
        over = cover.setdefault(polygon.layer, np.zeros((y.size, x.size), dtype=np.intp))
        if rows.size and columns.size:
            points = [(at_x, at_y) for at_y in y[rows] for at_x in x[columns]]
            over[np.ix_(rows, columns)] += np.reshape(polygon.contain(*points), (rows.size, columns.size))
    return cover


def heights_from_gds(path: Path) -> Heights:
    """What is left after all etchings."""
    about, cover = sidecar(path), gds_cover(path)
    height = np.full((about["rows"], about["columns"]), about["height_max_m"])
    for layer in about["layers"]:
        if layer["purpose"].startswith("etch mask"):
            height -= layer["depth_m"] * (cover[layer["layer"]] > 0)
    return height


def heights_from_gds_levels(path: Path) -> Heights:
    """The level whose area each cell lies in; the levels cover the array once."""
    about, cover = sidecar(path), gds_cover(path)
    levels = [layer for layer in about["layers"] if layer["purpose"].startswith("level")]
    assert (sum(cover[layer["layer"]] for layer in levels) == 1).all()
    return np.asarray(sum(layer["height_m"] * cover[layer["layer"]] for layer in levels), dtype=np.float64)


def heights_from_slm(path: Path) -> Heights:
    """Heights up to a whole wave, from the drive levels and the phases that the sidecar gives for them."""
    import cv2

    about = sidecar(path)
    drive = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert drive.dtype == np.uint8
    phase = np.asarray(about["drive_phases_rad"])[drive]
    return np.asarray(phase / (2 * np.pi) * about["wave_height_m"])
