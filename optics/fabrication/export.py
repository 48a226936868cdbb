"""One call that writes a mask to all the files that are wanted, or says at once which of them cannot be."""

from pathlib import Path

from optics.fabrication.gds import check_levels, write_gds
from optics.fabrication.height_image import AMPLITUDES, amplitude_path, write_height_png, write_height_tiff
from optics.fabrication.layout import (
    ExportedFile,
    FabricationError,
    Faces,
    Outside,
    needed_package,
    prepare_path,
    sidecar_path,
)
from optics.fabrication.slm_image import write_slm
from optics.fabrication.stl import write_stl
from optics.mask import Mask
from optics.masks import Slm

SUFFIXES = {
    "stl": (".stl",),
    "gds": (".gds", ".gds2", ".gdsii"),
    "tiff": (".tif", ".tiff"),
    "png": (".png",),
    "slm": (".png", ".bmp"),
}


def export_paths(files: dict[str, Path]) -> list[Path]:
    """All that an export to these files, kind to path, may write: the files, aperture pictures, sidecars.

    Raises FabricationError for files that would get in each other's way, and for endings that do not go with the kind.
    """
    paths = []
    for kind, path in files.items():
        paths += [path, sidecar_path(path)]
        if kind in ("tiff", "png"):
            paths += [amplitude_path(path, name) for name in AMPLITUDES]
    if len({path.resolve() for path in paths}) < len(paths):
        raise FabricationError(f"two files have the same path, of {', '.join(map(str, paths))}: give each its own")
    for kind, path in files.items():
        if path.suffix.lower() not in SUFFIXES[kind]:
            raise FabricationError(
                f"{path} is not a name for --{kind}: that file ends in {' or '.join(SUFFIXES[kind])}"
            )
    return paths


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
    levels and paths are checked before the first one is written; missing folders are made. Raises FabricationError.
    """
    named = {"stl": stl, "gds": gds, "tiff": tiff, "png": png, "slm": slm}
    files = {kind: Path(path) for kind, path in named.items() if path is not None}
    if not files:
        raise FabricationError("nothing to export: name at least one of stl, gds, tiff, png, slm")
    if gds is not None:
        needed_package("gdstk", "GDSII")
        check_levels(mask, outside)
    if tiff is not None:
        needed_package("tifffile", "A TIFF")
    export_paths(files)
    for path in files.values():
        prepare_path(path)
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
