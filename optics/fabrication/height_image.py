"""Height maps as 16-bit grey pictures, TIFF and PNG, with a sidecar that says what a count means, and back to a mask.

A printer or a grey-scale laser writer takes the picture: count 0 is the lowest height, 65535 the highest, linear in
between; a pixel is a cell. Where the mask passes light unevenly (a coded aperture, a stop that is not the round one), a
second picture holds the amplitude. Pictures are read with OpenCV, which the base install has.
"""

import hashlib
import io
import json
import math
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import TypeAdapter

from optics.fabrication.layout import (
    FORMAT,
    ExportedFile,
    FabricationError,
    Faces,
    Outside,
    as_made,
    as_seen,
    describe,
    has_round_stop,
    needed_package,
    relief_facts,
    relief_warnings,
    sidecar_path,
    unfinished,
    write_sidecar,
)
from optics.mask import Geometry, Mask
from optics.materials import Material

MOST_COUNTS = 65535
# A picture without relief still needs a scale; a nanometre per count is a harmless one.
FLAT_METRES_PER_COUNT = 1e-9
# What may lie in a picture of its own beside the heights.
AMPLITUDES = ("stop", "transmission")


def write_height_tiff(
    mask: Mask,
    path: str | Path,
    *,
    faces: Faces = "sensor",
    outside: Outside = "flat",
    metres_per_count: float | None = None,
) -> ExportedFile:
    """Write the heights as a 16-bit grey TIFF (with its pitch as resolution) and `<path>.json`.

    height = offset_m + count * metres_per_count, rounded to the nearest count, so off by half a count at most.
    metres_per_count: by default the highest cell is 65535. faces: where the structured side looks. outside: see
    `as_made`. Needs tifffile. Raises FabricationError if tifffile is missing, if heights do not fit into 16 bits at
    this metres_per_count, or if the file cannot be written.
    """
    tifffile = needed_package("tifffile", "A TIFF")

    def encoded(counts: NDArray[np.uint16]) -> bytes:
        buffer = io.BytesIO()
        per_centimetre = 1e-2 / mask.pitch_m
        tifffile.imwrite(
            buffer,
            counts,
            photometric="minisblack",
            resolution=(per_centimetre, per_centimetre),
            resolutionunit="CENTIMETER",
            software="canopic",
            description=f"height map, {mask.pitch_m * 1e6:.9g} um per pixel; heights: see the .json beside it",
            metadata=None,
        )
        return buffer.getvalue()

    return _write(mask, Path(path), "tiff", encoded, faces, outside, metres_per_count)


def write_height_png(
    mask: Mask,
    path: str | Path,
    *,
    faces: Faces = "sensor",
    outside: Outside = "flat",
    metres_per_count: float | None = None,
) -> ExportedFile:
    """Write the heights as a 16-bit grey PNG (with its pitch as pixels per metre) and `<path>.json`.

    As `write_height_tiff`, without any package beyond the base install.
    """

    def encoded(counts: NDArray[np.uint16]) -> bytes:
        buffer = io.BytesIO()
        per_inch = 0.0254 / mask.pitch_m
        Image.fromarray(counts).save(buffer, "PNG", dpi=(per_inch, per_inch))
        return buffer.getvalue()

    return _write(mask, Path(path), "png", encoded, faces, outside, metres_per_count)


def _write(
    mask: Mask,
    path: Path,
    kind: Literal["tiff", "png"],
    encoded: Any,
    faces: Faces,
    outside: Outside,
    metres_per_count: float | None,
) -> ExportedFile:
    height = as_made(mask, outside)
    offset, span = float(height.min()), float(np.ptp(height))
    if metres_per_count is None:
        metres_per_count = span / MOST_COUNTS if span > 0 else FLAT_METRES_PER_COUNT
    if not (math.isfinite(metres_per_count) and metres_per_count > 0):
        raise FabricationError(f"metres_per_count must be a positive number of metres, got {metres_per_count!r}")
    if span / metres_per_count > MOST_COUNTS + 0.5:
        raise FabricationError(
            f"heights over {span:g} m do not fit into 16 bits at {metres_per_count:g} m per count: "
            f"use at least {span / MOST_COUNTS:g} m per count, or leave it out"
        )
    counts = np.rint((height - offset) / metres_per_count).clip(0, MOST_COUNTS).astype(np.uint16)
    facts = {
        **relief_facts(mask, height),
        "metres_per_count": metres_per_count,
        "offset_m": offset,
        "quantization_m": metres_per_count / 2,
    }
    with unfinished(path) as partial:
        partial.write_bytes(encoded(as_seen(counts, faces)))
    document = describe(mask, kind, faces, outside, facts)
    document["height"] = "height_m = offset_m + count * metres_per_count"
    companions = [path]
    for name, amplitude, needed in (
        ("stop", mask.stop, not has_round_stop(mask)),
        ("transmission", mask.transmission, bool((mask.transmission != 1).any())),
    ):
        if needed:
            picture = amplitude_path(path, name)
            content = encoded(as_seen(np.rint(amplitude * MOST_COUNTS).astype(np.uint16), faces))
            with unfinished(picture) as partial:
                partial.write_bytes(content)
            document[f"{name}_picture"] = {
                "file": picture.name,
                "sha256": hashlib.sha256(content).hexdigest(),
                "amplitude": f"count / {MOST_COUNTS}",
            }
            companions.append(picture)
    companions.append(write_sidecar(path, document))
    warnings = relief_warnings(facts)
    if len(companions) > 2:
        names = ", ".join(companion.name for companion in companions[1:-1])
        warnings.append(f"where light passes is not in this picture: it needs an opaque layer made from {names}")
    return ExportedFile(kind, path, tuple(companions), metres_per_count / 2, facts, tuple(warnings))


def amplitude_path(path: Path, name: str) -> Path:
    """Where the picture of an amplitude, one of AMPLITUDES, lies beside the heights."""
    return path.with_name(f"{path.stem}.{name}{path.suffix}")


def read_height_image(path: str | Path) -> Mask:
    """The mask from a TIFF or PNG and its sidecar, in the mask's own axes whichever side it faces.

    Heights within the sidecar's quantization_m; pitch, material, geometry and stop as they were. Raises
    FabricationError, whose message begins with the path, if the sidecar is missing or damaged, or the picture is not
    the one that it describes.
    """
    path = Path(path)
    try:
        document = json.loads(_content(sidecar_path(path), "the sidecar that says what a count means"))
    except ValueError as error:
        if isinstance(error, FabricationError):
            raise
        raise FabricationError(f"{sidecar_path(path)} is not JSON: {error}") from error
    try:
        if document["format"] != FORMAT or document["kind"] not in ("tiff", "png"):
            raise FabricationError(
                f'{sidecar_path(path)} is of format "{document["format"]}", kind "{document["kind"]}": '
                f'expected "{FORMAT}" and a height map, "tiff" or "png"'
            )
        shape = (int(document["rows"]), int(document["columns"]))
        faces = document["orientation"]["structured_side_faces"]
        scale, offset = float(document["metres_per_count"]), float(document["offset_m"])
        counts = _picture(path, document["sha256"], shape)
        geometry = dict(document["geometry"])
        if geometry["source_distance_m"] is None:
            geometry["source_distance_m"] = math.inf
        amplitudes = {
            name: as_seen(
                _picture(path.with_name(entry["file"]), entry["sha256"], shape).astype(np.float64) / MOST_COUNTS, faces
            )
            for name in AMPLITUDES
            if (entry := document.get(f"{name}_picture")) is not None
        }
        return Mask(
            as_seen(offset + counts * scale, faces),
            float(document["pitch_m"]),
            TypeAdapter(Material).validate_python(document["material"]),
            TypeAdapter(Geometry).validate_python(geometry),
            surface=document["surface"],
            about=document["about"],
            **amplitudes,
        )
    except KeyError as error:
        raise FabricationError(f"{sidecar_path(path)}: {error} is missing: not a height map's sidecar") from error
    except FabricationError:
        raise
    except (ValueError, TypeError, AttributeError) as error:
        raise FabricationError(f"{sidecar_path(path)}: {error}") from error


def _content(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FabricationError(f"{path}, {what}, cannot be read: {error}") from error


def _picture(path: Path, digest: str, shape: tuple[int, int]) -> NDArray[np.uint16]:
    """The counts of a picture, (rows, columns), if it is the one with this SHA-256."""
    content = _content(path, "the picture")
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise FabricationError(
            f"{path} is not the picture that its sidecar describes (SHA-256 {found[:12]}..., expected "
            f"{str(digest)[:12]}...): it was changed or replaced after it was exported; export both again"
        )
    counts = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    if counts is None or counts.dtype != np.uint16 or counts.shape != shape:
        raise FabricationError(f"{path} is not a 16-bit grey picture of {shape[0]} x {shape[1]} pixels")
    return np.asarray(counts)
