"""How much of a person's identity do codes hold? A fresh attacker's accuracy, beside clean, blurred, pixelated faces.

    python -m models.attackers.identity --data ../shared/data [--bundle default] [--seeds 3] [--out FILE]

The attackers are small and see about 1,400 faces, so their figures are lower bounds of what leaks. Needs torch.
"""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from models.attackers.audit import (
    FEWEST_IMAGES,
    IDENTITY_EPOCHS,
    MOST_PER_PERSON,
    Part,
    attack,
    face_parts,
    identity_parts,
    small_attacker,
)
from models.attackers.looks import MakeView
from models.attackers.views import View, blurred_view, clean_view, codes_view, pixelated_view, pooled_crops
from models.detector.archives import FACES, FACES_BY_PERSON, NON_FACES, DataMissingError, archive_path, file_digest
from models.detector.metrics import wilson_interval
from models.detector.train import encoding_from
from optics.archive import BundleError
from optics.encoding import Encoding

FACE_EPOCHS = 15


def views_of(encoding: Encoding) -> dict[str, MakeView]:
    """The ways of looking at a crop that are compared."""

    def codes(crops: NDArray[np.uint8]) -> View:
        return codes_view(pooled_crops(crops, encoding), encoding)

    return {"clean": clean_view, "blur": blurred_view, "pixelate": pixelated_view, "codes": codes}


def identity_report(data: Path, encoding: Encoding, seeds: int, epochs: int, console: Console) -> dict[str, Any]:
    """Identity and face-or-not attacks on every view, as a JSON object: for each view and question one result per seed
    and their summary."""
    cv2.setNumThreads(1)
    train, test, people = identity_parts(data)
    face_train, face_test = face_parts(data, np.random.default_rng(0))
    questions: dict[str, tuple[Part, Part, int, int]] = {
        "identity": (train, test, len(people), epochs),
        "face": (face_train, face_test, 2, min(epochs, FACE_EPOCHS)),
    }
    report: dict[str, Any] = {
        "encoding_id": encoding.id,
        "effective_levels": encoding.effective_levels,
        "people": len(people),
        "fewest_images": FEWEST_IMAGES,
        "most_per_person_and_part": MOST_PER_PERSON,
        "exposure": "each crop on its own, 2 % of its cells at the highest code (kind to the attacker)",
        "data_sha256": {name: file_digest(archive_path(data, name)) for name in (FACES_BY_PERSON, FACES, NON_FACES)},
        "views": {},
    }
    for name, make_view in views_of(encoding).items():
        report["views"][name] = {}
        for question, (seen, unseen, classes, rounds) in questions.items():
            started = time.monotonic()
            runs = [
                attack(make_view, seen, unseen, classes, small_attacker(rounds, seed), np.random.default_rng(0))
                for seed in range(seeds)
            ]
            report["views"][name][question] = summary(runs)
            mean = report["views"][name][question]["accuracy"]
            console.print(f"{name}, {question}: {100 * mean:.1f} % ({time.monotonic() - started:.0f} s)")
    return report


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds, with the Wilson interval of one run's number of test images around the mean accuracy."""
    accuracy = float(np.mean([run["accuracy"] for run in runs]))
    n = int(runs[0]["n"])
    return {
        "accuracy": accuracy,
        "accuracy_95": list(wilson_interval(round(accuracy * n), n)),
        "per_class": float(np.mean([run["per_class"] for run in runs])),
        "train_accuracy": float(np.mean([run["train_accuracy"] for run in runs])),
        "n": n,
        "n_train": int(runs[0]["n_train"]),
        "chance": float(runs[0]["chance"]),
        "runs": runs,
    }


def report_table(report: dict[str, Any]) -> Table:
    """The report as a table to read."""
    people = report["people"]
    table = Table("view", f"who, of {people} people", "per person", "on its training images", "face or not")
    for name, view in report["views"].items():
        who, face = view["identity"], view["face"]
        low, high = who["accuracy_95"]
        table.add_row(
            name,
            f"{100 * who['accuracy']:.1f} % ({100 * low:.1f}..{100 * high:.1f})",
            f"{100 * who['per_class']:.1f} %",
            f"{100 * who['train_accuracy']:.1f} %",
            f"{100 * face['accuracy']:.1f} %",
        )
    table.add_row("chance", f"{100 / people:.1f} %", f"{100 / people:.1f} %", "", "50.0 %")
    return table


def main(
    data: Annotated[Path, typer.Option(help="Folder with the image archives.")],
    bundle: Annotated[
        str, typer.Option(help='A bundle file, "default", or an .npz from gaussian_encoding.')
    ] = "default",
    seeds: Annotated[int, typer.Option(help="Attackers trained per view and question.")] = 3,
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = IDENTITY_EPOCHS,
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
) -> None:
    """Train attackers on the codes of a bundle's encoding and say how often they are right."""
    console = Console(stderr=True)
    try:
        report = identity_report(data, encoding_from(bundle), seeds, epochs, console)
    except (DataMissingError, BundleError) as error:
        console.print(f"[red]{error}")
        sys.exit(1)
    console.print(report_table(report))
    if out is not None:
        out.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    typer.run(main)
