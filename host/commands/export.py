"""canopic optics export: the files for whoever makes the mask, and a figure of what is in them."""

from pathlib import Path
from typing import Any

from rich.table import Table

from host.commands.common import DONE, WRONG_INPUT, expected, out, print_json
from host.commands.optics import check_suffix, mask_line, steps
from host.figures.exports import export_card
from host.optic_files import (
    OpticFileError,
    read_any_mask,
    read_numbers,
    separate,
)
from optics.fabrication import ExportedFile, export_mask, export_paths, prepare_path
from optics.masks import Slm

# Of a level, unless --display-bits says another number.
PLAIN_BITS = 8


def export(
    mask_file: Path,
    *,
    files: dict[str, Path | None],
    display: dict[str, Any],
    wavelength_nm: float | None,
    base_mm: float,
    rim_mm: float,
    faces: str,
    outside: str,
    figure: Path | None,
    as_json: bool,
) -> int:
    """Write the files that a fab, a printer or a phase display takes; each says how exact it is.

    files: "tiff", "png", "stl", "gds", "slm" to paths. display: the options of `_display`.
    """
    with expected(ValueError, OSError, status=WRONG_INPUT), steps() as bar:
        wanted = {kind: path for kind, path in files.items() if path is not None}
        if not wanted:
            raise OpticFileError("nothing to write: name at least one of --stl, --gds, --tiff, --png, --slm")
        mask = read_any_mask(mask_file)
        described = _display(**display)
        if "slm" not in wanted and described is not None:
            raise OpticFileError("--display-... describe the display of the phase picture: name that with --slm, too")
        drawn = figure or next(iter(wanted.values())).with_name(f"{mask_file.stem}-export.png")
        for path in (*wanted.values(), drawn):
            prepare_path(path)
        check_suffix(drawn, ".png")
        read = [mask_file, *([display["lut"]] if display["lut"] else [])]
        separate(read, [drawn, *export_paths(wanted)])
        separate(wanted.values(), [drawn])
        bar.begin("writing " + ", ".join(path.name for path in wanted.values()))
        made = export_mask(
            mask,
            **wanted,
            display=described,
            wavelength_m=None if wavelength_nm is None else wavelength_nm * 1e-9,
            base_m=base_mm * 1e-3,
            rim_m=rim_mm * 1e-3,
            faces=faces,  # type: ignore[arg-type]  # checked there, as is `outside`
            outside=outside,  # type: ignore[arg-type]
        )
        bar.begin("figure")
        export_card(
            drawn,
            mask,
            faces,  # type: ignore[arg-type]
            outside,  # type: ignore[arg-type]
            wanted.get("slm"),
            title=f"{mask_file.name} for its maker",
            facts=f"{mask_line(mask)}; seen looking at the structured side, which faces the {faces}",
        )
    if as_json:
        files_made = [_about_file(each) for each in made]
        print_json({"mask": str(mask_file), "faces": faces, "files": files_made, "figure": str(drawn)})
        return DONE
    table = Table("file", "kind", "size", "heights exact to", "goes with it", box=None, pad_edge=False)
    for each in made:
        beside = ", ".join(file.name for file in each.files if file != each.path)
        exact = f"{each.quantization_m * 1e9:.3g} nm"
        table.add_row(str(each.path), each.kind, f"{each.bytes / 1000:,.0f} kB", exact, beside)
    console = out()
    console.print(table)
    for each in made:
        for warning in each.warnings:
            console.print(f"{each.path.name}: {warning}")
    where = "the sensor" if faces == "sensor" else "the scene (the files are mirrored left-right)"
    console.print(f"seen looking at the structured side, which faces {where}; {drawn} shows it")
    return DONE


def _display(pixels: str | None, pitch_um: float | None, lut: Path | None, bits: int) -> Slm | None:
    """The phase display that the options describe, None for one pixel a cell. Raises ValueError."""
    if pixels is None and pitch_um is None and lut is None and bits == PLAIN_BITS:
        return None
    columns, _, rows = (pixels or "").partition("x")
    if pitch_um is None or not (columns.isdecimal() and rows.isdecimal()):
        raise OpticFileError(
            "a display is described by --display-px COLUMNSxROWS (as 1920x1080) and --display-pitch-um; --display-bits "
            "and --display-lut (where it was measured) need both"
        )
    phases = None if lut is None else tuple(read_numbers(lut).tolist())
    return Slm(int(rows), int(columns), pitch_um * 1e-6, bits=bits, lut_rad=phases)


def _about_file(made: ExportedFile) -> dict[str, Any]:
    return {
        "kind": made.kind,
        "path": str(made.path),
        "files": [str(file) for file in made.files],
        "bytes": made.bytes,
        "quantization_m": made.quantization_m,
        "warnings": list(made.warnings),
        "facts": made.facts,
    }
