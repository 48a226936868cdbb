"""canopic optics tolerance: simulated copies of a mask, their PSFs and codes, and the parameter that matters most."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from host import judgement
from host.commands.common import DONE, WRONG_INPUT, expected, out, print_json
from host.commands.optics import check_out, check_suffix, folder_for, steps
from host.figures.cards import Bar, tolerance_card
from host.optic_files import framed, read_any_mask, read_optic, separate, write_json
from optics.as_built import PARAMETERS, Deviations
from optics.tolerance import ToleranceReport, tolerance


def simulate(
    mask_file: Path,
    deviations: dict[str, float],
    *,
    target: str | None,
    samples: int,
    code_samples: int,
    limit: float,
    seed: int,
    bundle: str,
    images: Path | None,
    limit_images: int | None,
    directory: Path | None,
    figure: Path | None,
    as_json: bool,
) -> int:
    """Simulate, say what was found, draw it. deviations: fields of `optics.tolerance.Deviations`, in their units."""
    with expected(ValueError, OSError, status=WRONG_INPUT), steps() as bar:
        mask = read_any_mask(mask_file)
        wanted = None if target is None else judgement.as_light(read_optic(target))
        if wanted is not None:
            rows, columns = (max(pair) for pair in zip(mask.geometry.psf_px, wanted.shape[-2:], strict=True))
            wanted = framed(wanted, rows, columns)
        measure = judgement.yardstick(bundle, images, limit_images)
        folder = mask_file.parent if directory is None else directory
        drawn = figure or folder / "tolerance.png"
        document_file = None if directory is None else directory / "tolerance.json"
        check_suffix(drawn, ".png")
        separate(
            [mask_file, *([] if target is None else [target])],
            [drawn, *([] if document_file is None else [document_file])],
        )
        if directory is not None:
            folder_for(directory)
        check_out(drawn, ".png")
        check_out(document_file, ".json")
        bar.begin("copies of the mask")
        report = tolerance(
            mask,
            wanted,
            Deviations(**deviations),
            samples,
            np.random.default_rng(seed),
            lambda done, total: bar.at(done, total, f"copies of the mask: {done} of {total}"),
            thresholds=measure.thresholds,
            pool=measure.pool,
            images=measure.images if code_samples else (),
            code_samples=min(code_samples, samples),
            limit=limit,
        )
        bar.begin("figure")
        tolerance_card(
            drawn,
            title=f"Tolerances of {mask_file.name}",
            facts=f"{report.passing:.0%} of {samples} copies reach {limit:g} after the best shift",
            aligned=report.aligned,
            plain=report.correlation,
            limit=limit,
            changed=report.changed_aligned,
            alone=[Bar(_named(each.name, each.reading()), each.drop_aligned, each.changed_aligned)
                   for each in report.alone],
        )  # fmt: skip
        document = report.as_json() | {"mask": str(mask_file), "seed": seed, "figure": str(drawn)}
        if document_file is not None:
            write_json(document, document_file)
    if as_json:
        print_json(document)
    else:
        _show(report, document, directory)
    return DONE


def _show(report: ToleranceReport, document: dict[str, Any], directory: Path | None) -> None:
    console = out()
    table = Table("each alone, 1 sigma", "size", "correlation lost", "after the best shift", "codes changed",
                  box=None, pad_edge=False)  # fmt: skip
    for each in report.alone:
        codes = "" if each.changed_aligned is None else f"{each.changed_aligned:.1%}"
        table.add_row(PARAMETERS[each.name][0], each.reading(), f"{each.drop:.4f}", f"{each.drop_aligned:.4f}", codes)
    console.print(table)
    spreads = Table("all together", "1 %", "5 %", "median", "95 %", box=None, pad_edge=False)
    for key, name in (
        ("correlation", "correlation as mounted"),
        ("aligned_correlation", "correlation after the best shift"),
        ("target_correlation", "correlation with the target"),
    ):
        if key in document:
            at = document[key]["percentiles"]
            spreads.add_row(name, *(f"{at[each]:.4f}" for each in ("1", "5", "50", "95")))
    if "share_changed_aligned" in document:
        at = document["share_changed_aligned"]["percentiles"]
        spreads.add_row("codes changed", *(f"{at[each]:.1%}" for each in ("1", "5", "50", "95")))
    console.print(spreads)
    console.print(report.sentence())
    for note in report.notes:
        console.print(note)
    files = document["figure"] if directory is None else f"{directory}: tolerance.json, {Path(document['figure']).name}"
    console.print(files)


def _named(name: str, reading: str) -> str:
    return f"{PARAMETERS[name][0]}\n{reading}"
