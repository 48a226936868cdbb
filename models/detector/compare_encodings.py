"""Measures encodings of other widths and numbers of levels: what decision 8 rests on. Needs torch.

    python -m models.detector.compare_encodings --data ../shared/data --out choice.json

Identity and face-or-not attackers on crops, and a short detector training judged on the held-out part of the training
scenes. Results already in the file are kept, so it goes on where it stopped.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from models.attackers.audit import attack, face_parts, identity_parts, small_attacker
from models.attackers.views import View, codes_view, pooled_crops
from models.detector.archives import DataMissingError
from models.detector.cache import default_cache_root
from models.detector.evaluate import found_in, inputs_of, matches_of, torch_answer, validation_scenes
from models.detector.gaussian_encoding import chosen_encoding
from models.detector.metrics import average_precision, bootstrap_interval
from models.detector.training import Settings
from models.detector.workflow import train_on_cache
from optics.encoding import Encoding

Row = dict[str, Any]


def attacked(data: Path, encoding: Encoding) -> Row:
    """Identity and face-or-not attacks on one encoding (one seed), as a JSON object."""

    def view(crops: NDArray[np.uint8]) -> View:
        return codes_view(pooled_crops(crops, encoding), encoding)

    train, test, people = identity_parts(data)
    face_train, face_test = face_parts(data, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    return {
        "identity": attack(view, train, test, len(people), small_attacker(), rng),
        "face": attack(view, face_train, face_test, 2, small_attacker(epochs=15), rng),
    }


def detected(data: Path, encoding: Encoding, steps: int, scenes: int, cache: Path, console: Console) -> Row:
    """Average precision on the validation part after a short training, as a JSON object."""
    folder = cache / "compare" / f"{encoding.id[:16]}_{steps}_{scenes}"
    network, _ = train_on_cache(data, encoding, Settings(steps=steps), scenes, cache, folder, console)
    seen = validation_scenes(data, encoding)
    rng = np.random.default_rng(0)
    matches = matches_of(found_in(torch_answer(network), inputs_of(seen, encoding, rng), encoding.pool), seen)
    return {
        "ap": average_precision(matches),
        "ap_95": list(bootstrap_interval(matches, average_precision, rng)),
        "faces": sum(one.faces for one in matches),
        "steps": steps,
        "scenes": scenes,
    }


def main(
    data: Annotated[Path, typer.Option(help="Folder with the image archives.")],
    out: Annotated[Path, typer.Option(help="JSON file to write, and to go on from.")],
    pairs: Annotated[str, typer.Option(help="Width in px and number of levels of each encoding.")] = (
        "4:4,4:6,4:8,4:16,8:8"
    ),
    detector_pairs: Annotated[
        str, typer.Option(help="Those for which a detector is trained, too.")
    ] = "4:6,4:8,4:16,8:8",
    steps: Annotated[int, typer.Option(help="Detector training steps.")] = 1500,
    scenes: Annotated[int, typer.Option(help="Training scenes for the detector.")] = 4000,
    cache: Annotated[Path | None, typer.Option(help="Where measured scenes are kept (else CANOPIC_CACHE).")] = None,
) -> None:
    """Compare encodings by what an attacker and what a detector make of them."""
    console = Console(stderr=True)
    cv2.setNumThreads(1)
    rows: dict[str, Row] = json.loads(out.read_text()) if out.exists() else {}
    try:
        for pair in dict.fromkeys([*pairs.split(","), *detector_pairs.split(",")]):
            sigma_px, levels = (float(part) for part in pair.split(":"))
            row = rows.setdefault(pair, {"sigma_px": sigma_px, "levels": int(levels)})
            encoding = chosen_encoding(data, sigma_px, int(levels))
            row["thresholds"] = [round(float(value), 5) for value in encoding.thresholds]
            if "identity" not in row:
                row.update(attacked(data, encoding))
            if "detector" not in row and pair in detector_pairs.split(","):
                row["detector"] = detected(data, encoding, steps, scenes, cache or default_cache_root(), console)
            out.write_text(json.dumps(rows, indent=1))
            console.print(described(row))
    except (DataMissingError, ValueError) as error:
        console.print(f"[red]{error}")
        sys.exit(1)


def described(row: Row) -> str:
    """One row in words."""
    parts = [f"sigma {row['sigma_px']:g} px, {row['levels']} levels"]
    parts += [f"{name} {100 * row[name]['per_class']:.1f} %" for name in ("identity", "face")]
    if "detector" in row:
        parts.append(f"AP {row['detector']['ap']:.3f}")
    return ", ".join(parts)


if __name__ == "__main__":
    typer.run(main)
