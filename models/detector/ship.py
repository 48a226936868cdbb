"""Puts encoding, detector and evidence into one bundle and writes its model card, every number of it from the evidence.

    python -m models.detector.ship --detector DIR --evaluation FILE --identity FILE --choice FILE --out default.canopic

The card is written beside the bundle (default.md). No torch needed.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from models.detector.card import model_card
from models.detector.default_encoding import read_encoding
from models.detector.scenes import PLANE_COLUMNS_PX, PLANE_ROWS_PX, plane_cells
from optics.archive import BundleError
from optics.bundle import Bundle, read_bundle, write_bundle
from optics.encoding import Encoding

MODEL = "detector.onnx"


def assembled(encoding: Encoding, model: bytes, training: dict[str, Any], evidence: dict[str, Any]) -> Bundle:
    """The bundle of an encoding and the detector trained for it.

    training: what `train` wrote about the detector. evidence: "detector" (from `evaluate`), "identity" (from
    `attackers.identity`) and "choice" (from `compare_encodings`). Raises BundleError when the detector was
    trained for another encoding, ValueError for a pool that no detector is made for.
    """
    rows, columns = plane_cells(encoding.pool)
    metadata = {
        "encoding_id": training["encoding_id"],
        "score_threshold": training["score_threshold"],
        "input": f"codes uint8 (1, {rows}, {columns}, {encoding.channels}), each 0..15",
        "outputs": [
            f"heat float32 ({rows}, {columns}): probability that a face has its centre in the cell",
            f"box float32 (4, {rows}, {columns}): offset x, y from the cell's middle, ln width, ln height; in cells",
        ],
        "parameters": training["parameters"],
        "terms": "research only: trained on photographs of real people; see the card",
    }
    return Bundle(
        encoding,
        PLANE_ROWS_PX,
        PLANE_COLUMNS_PX,
        models={MODEL: model},
        metadata={MODEL: metadata},
        evidence={**evidence, "training": training},
    )


def main(
    detector: Annotated[Path, typer.Option(help="Folder made by `train`.")],
    evaluation: Annotated[Path, typer.Option(help="JSON made by `evaluate`.")],
    identity: Annotated[Path, typer.Option(help="JSON made by `attackers.identity`.")],
    choice: Annotated[Path, typer.Option(help="JSON made by `compare_encodings`.")],
    out: Annotated[Path, typer.Option(help="The bundle to write.")],
) -> None:
    """Write the bundle and, beside it, its model card."""
    console = Console(stderr=True)
    try:
        training = json.loads((detector / "training.json").read_text())
        evidence = {
            name: json.loads(path.read_text())
            for name, path in (("detector", evaluation), ("identity", identity), ("choice", choice))
        }
        encoding = read_encoding(detector / "encoding.npz")
        bundle = assembled(encoding, (detector / MODEL).read_bytes(), training, evidence)
        write_bundle(bundle, out)
    except (OSError, BundleError, ValueError) as error:
        console.print(f"[red]{error}")
        sys.exit(1)
    # From what is in the file, not from what was meant to be in it.
    out.with_suffix(".md").write_text(model_card(read_bundle(out)))
    console.print(f"{out}: bundle {bundle.id}, encoding {encoding.id}")


if __name__ == "__main__":
    typer.run(main)
