"""One call that writes a mask to all the files that are wanted, or says at once which of them cannot be."""

from pathlib import Path

from optics.fabrication.gds import check_levels, write_gds
from optics.fabrication.height_image import write_height_png, write_height_tiff
from optics.fabrication.layout import ExportedFile, FabricationError, Faces, Outside, needed_package
from optics.fabrication.slm_image import write_slm
from optics.fabrication.stl import write_stl
from optics.mask import Mask
from optics.masks import Slm


def export_mask(
    mask: Mask,
    *,
    stl: str | Path | None = None,
    gds: str | Path | None = None,
    tiff: str | Path | None = None,
    png: str | Path | None = None,
    slm: str | Path | None = None,
    display: Slm | None = None,
    wavelength_m: float | None = None,
    base_m: float = 0.5e-3,
    rim_m: float = 0.1e-3,
    faces: Faces = "sensor",
    outside: Outside = "flat",
) -> list[ExportedFile]:
    """Write a mask to each of the paths that is given, each with its sidecar; results in the order of the arguments.

    display, wavelength_m: see `write_slm`. base_m, rim_m: see `write_stl`. faces: where the structured side looks.
    outside: "flat" or "keep" the heights that no light passes. Each file is there whole or not at all; packages and
    levels are checked before the first one is written. Raises FabricationError.
    """
    paths = [Path(path) for path in (stl, gds, tiff, png, slm) if path is not None]
    if not paths:
        raise FabricationError("nothing to export: name at least one of stl, gds, tiff, png, slm")
    if len({path.absolute() for path in paths}) < len(paths):
        raise FabricationError("two files have the same path: give each its own")
    if gds is not None:
        needed_package("gdstk", "GDSII")
        check_levels(mask, outside)
    if tiff is not None:
        needed_package("tifffile", "A TIFF")
    exported = []
    if stl is not None:
        exported.append(write_stl(mask, stl, base_m=base_m, rim_m=rim_m, faces=faces, outside=outside))
    if gds is not None:
        exported.append(write_gds(mask, gds, faces=faces, outside=outside))
    if tiff is not None:
        exported.append(write_height_tiff(mask, tiff, faces=faces, outside=outside))
    if png is not None:
        exported.append(write_height_png(mask, png, faces=faces, outside=outside))
    if slm is not None:
        exported.append(write_slm(mask, slm, slm=display, wavelength_m=wavelength_m, faces=faces, outside=outside))
    return exported
