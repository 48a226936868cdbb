"""One call that writes a mask to all the files that are wanted."""

from pathlib import Path

from optics.fabrication.height_image import write_height_png, write_height_tiff
from optics.fabrication.layout import ExportedFile, FabricationError, Faces, Outside
from optics.fabrication.stl import write_stl
from optics.mask import Mask


def export_mask(
    mask: Mask,
    *,
    stl: str | Path | None = None,
    tiff: str | Path | None = None,
    png: str | Path | None = None,
    faces: Faces = "sensor",
    outside: Outside = "flat",
) -> list[ExportedFile]:
    """Write a mask to each of the paths that is given."""
    if not any((stl, tiff, png)):
        raise FabricationError("nothing to export: name at least one file")
    exported = []
    if tiff is not None:
        exported.append(write_height_tiff(mask, tiff, faces=faces, outside=outside))
    if png is not None:
        exported.append(write_height_png(mask, png, faces=faces, outside=outside))
    if stl is not None:
        exported.append(write_stl(mask, stl, faces=faces, outside=outside))
    return exported
