"""Measures a detector on scenes it was not trained on: average precision by face size, and the error of its counts.

python -m models.detector.evaluate --data ../shared/data [--bundle default | --detector DIR] [--ceiling DIR]
"""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import onnxruntime as ort
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from models.detector.archives import (
    SCENES,
    DataMissingError,
    Photograph,
    archive_path,
    file_digest,
    read_scenes,
    validation_part,
)
from models.detector.batches import exposed_codes, subtracts
from models.detector.cache import Light, Samples, measured
from models.detector.clips import clip_report, clips_present
from models.detector.decode import Faces, decode
from models.detector.metrics import Matches, average_precision, bootstrap_interval, match, wilson_interval
from models.detector.runtime import INPUT, OUTPUTS, FaceDetector
from models.detector.scenes import fitted
from models.encoding_file import EncodingFileError, read_encoding
from optics.archive import BundleError
from optics.bundle import read_bundle, resolve_bundle
from optics.encoding import Encoding

if TYPE_CHECKING:
    from models.detector.network import FaceNetwork

# heat float32 (rows, columns), box float32 (4, rows, columns) of one uint8 input (rows, columns, channels).
Answer = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]

# What a report holds numbers of.
VIEWS = ("codes", "plain")
SIZES_PX = ((16, 24), (24, 40), (40, 64), (64, 120))
# Candidates below this score hardly change the average precision, and there are many.
LOWEST_SCORE = 0.02


def onnx_answer(model: bytes) -> Answer:
    """An ONNX detector as an Answer."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def answer(codes: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        heat, box = session.run(list(OUTPUTS), {INPUT: codes[None]})
        return heat, box

    return answer


def torch_answer(network: "FaceNetwork", full_scale: float = 15.0) -> Answer:
    """A torch network as an Answer. Needs torch."""
    from models.detector.export import network_answers

    def answer(codes: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        heat, box = network_answers(network, codes[None], full_scale)
        return heat[0], box[0]

    return answer


def validation_scenes(data: Path, encoding: Encoding | None, light: Light = "linear") -> Samples:
    """The part of the training split that training does not see, fitted to the plane as the twin does."""
    return fitted_scenes([one for one in read_scenes(data, "train") if validation_part(one.name)], encoding, light)


def fitted_scenes(photographs: list[Photograph], encoding: Encoding | None, light: Light = "linear") -> Samples:
    """Photographs fitted to the plane (scaled to fit, centred) and measured.

    The rest is black, or for an encoding with negative taps the outermost pixels continued: such a kernel answers to
    edges, and the photograph's border is none.
    """
    continued = encoding is not None and subtracts(encoding)
    return measured((fitted(one, continued) for one in photographs), encoding, light)


def inputs_of(
    samples: Samples,
    encoding: Encoding | None,
    rng: np.random.Generator,
    encoded: bool = True,
    limit: int | None = None,
) -> NDArray[np.uint8]:
    """Codes of measured scenes at steady exposure, with the noise of training; `encoded` False: the plain pictures."""
    count = len(samples) if limit is None else min(limit, len(samples))
    if not encoded or encoding is None:
        return samples.plain[:count]
    return np.stack(
        [
            exposed_codes(
                samples.cells[index], float(samples.steady[index]), encoding, rng, samples.mean_radiance(index)
            )
            for index in range(count)
        ]
    )


def found_in(answer: Answer, codes: NDArray[np.uint8], pool_px: int, threshold: float = LOWEST_SCORE) -> list[Faces]:
    """Faces in each of the inputs uint8 (n, rows, columns, channels), of cells of `pool_px` plane pixels."""
    return [decode(*answer(one), threshold, pool_px) for one in codes]


def matches_of(found: list[Faces], samples: Samples, sizes_px: tuple[float, float] | None = None) -> list[Matches]:
    """Faces found against faces there, scene by scene."""
    return [match(faces, *samples.boxes_of(index), sizes_px=sizes_px) for index, faces in enumerate(found)]


def average_precision_of(answer: Answer, codes: NDArray[np.uint8], samples: Samples, encoded: bool = True) -> float:
    """Average precision at IoU 0.5 over all scenes; `codes` are those of `samples`, or with `encoded` False its plain
    pictures."""
    return average_precision(matches_of(found_in(answer, codes, samples.cell_px(encoded)), samples))


def counting_threshold(
    answer: Answer, codes: NDArray[np.uint8], samples: Samples, encoded: bool = True
) -> tuple[float, float]:
    """The score threshold (in steps of 0.01) at which the count is right on average, and the mean absolute error of the
    count there.

    The sensor reports a count, so as many faces may be missed as are invented; the threshold with the best F1
    undercounts.
    """
    matches = matches_of(found_in(answer, codes, samples.cell_px(encoded)), samples)
    truth = np.array([one.faces for one in matches])
    steps = np.round(np.arange(0.1, 0.8, 0.01), 2)
    counts = np.array([[int((one.scores >= threshold).sum()) for one in matches] for threshold in steps])
    best = int(np.abs((counts - truth).mean(axis=1)).argmin())
    return float(steps[best]), float(np.abs(counts[best] - truth).mean())


def judged(
    answer: Answer,
    codes: NDArray[np.uint8],
    samples: Samples,
    threshold: float,
    rng: np.random.Generator,
    encoded: bool = True,
) -> dict[str, Any]:
    """Average precision overall and by size, and the error of the counts at `threshold`, as a JSON object.

    Intervals are 95 %: bootstrap over scenes, and Wilson's for the share of exact counts. `empty` is a predictor that
    always says 0, `constant` one that always says the median count.
    """
    found = found_in(answer, codes, samples.cell_px(encoded))
    matches = matches_of(found, samples)
    sizes = []
    for low, high in SIZES_PX:
        part = matches_of(found, samples, (low, high))
        sizes.append({"from_px": low, "to_px": high} | _precision(part, rng))
    truth = np.array([one.faces for one in matches])
    counts = np.array([int((one.scores >= threshold).sum()) for one in matches])
    errors = np.abs(counts - truth)
    exact = int((errors == 0).sum())
    return {
        "scenes": len(matches),
        "ap": _precision(matches, rng),
        "ap_by_size": sizes,
        "score_threshold": threshold,
        "count": {
            "mean_absolute_error": float(errors.mean()),
            "mean_absolute_error_95": _mean_interval(errors, rng),
            "mean_error": float((counts - truth).mean()),
            "exact": exact,
            "exact_share": exact / len(errors),
            "exact_share_95": list(wilson_interval(exact, len(errors))),
            "mean_faces": float(truth.mean()),
            "empty_mean_absolute_error": float(truth.mean()),
            "empty_exact_share": float((truth == 0).mean()),
            "constant": float(np.median(truth)),
            "constant_mean_absolute_error": float(np.abs(truth - np.median(truth)).mean()),
            "constant_exact_share": float((truth == np.median(truth)).mean()),
        },
    }


def _precision(matches: list[Matches], rng: np.random.Generator) -> dict[str, Any]:
    faces = sum(one.faces for one in matches)
    if faces == 0:
        return {"value": None, "interval_95": None, "faces": 0}
    interval = bootstrap_interval(matches, average_precision, rng, rounds=500)
    return {"value": average_precision(matches), "interval_95": list(interval), "faces": faces}


def _mean_interval(errors: NDArray[np.int64], rng: np.random.Generator) -> list[float]:
    return list(bootstrap_interval(errors.tolist(), lambda some: float(np.mean(some)), rng))


def loaded(bundle_name: str, folder: Path | None) -> tuple[Encoding, bytes, float]:
    """Encoding, ONNX detector and score threshold out of a folder that `train` made, or else out of a bundle."""
    if folder is None:
        bundle = read_bundle(resolve_bundle(bundle_name))
        return (
            bundle.encoding,
            bundle.models["detector.onnx"],
            float(bundle.metadata["detector.onnx"]["score_threshold"]),
        )
    about = json.loads((folder / "training.json").read_text())
    return (
        read_encoding(folder / "encoding.npz"),
        (folder / "detector.onnx").read_bytes(),
        float(about["score_threshold"]),
    )


def evaluation(
    data: Path, encoding: Encoding, model: bytes, threshold: float, ceiling: Path | None = None
) -> dict[str, Any]:
    """What `main` reports, as a JSON object: the detector on the test split, the same architecture on unencoded
    pictures where a folder made by `train --plain` is given, and the clips where `data` holds them.

    It names what it was measured on, so that it cannot stand for anything else: "encoding_id", "model_sha256",
    "data_sha256" (archive of the scenes to SHA-256) and, for the ceiling, "plain_model_sha256". "surroundings": what
    `fitted_scenes` put round the photographs.
    """
    samples = fitted_scenes(read_scenes(data, "test"), encoding)
    rng = np.random.default_rng(0)
    codes = inputs_of(samples, encoding, rng)
    report: dict[str, Any] = {
        "encoding_id": encoding.id,
        "model_sha256": hashlib.sha256(model).hexdigest(),
        "data_sha256": {SCENES: file_digest(archive_path(data, SCENES))},
        "surroundings": "continued" if subtracts(encoding) else "black",
        "codes": judged(onnx_answer(model), codes, samples, threshold, rng),
    }
    if ceiling is not None:
        _, plain_model, plain_threshold = loaded("", ceiling)
        plain = inputs_of(samples, encoding, rng, encoded=False)
        report["plain_model_sha256"] = hashlib.sha256(plain_model).hexdigest()
        report["plain"] = judged(onnx_answer(plain_model), plain, samples, plain_threshold, rng, encoded=False)
    if clips_present(data):
        report["clips"] = clip_report(
            data, encoding, FaceDetector(model, score_threshold=threshold, pool_px=encoding.pool)
        )
    return report


def report_table(report: dict[str, Any]) -> Table:
    """The report as a table to read."""
    clips = report.get("clips")
    bound = f"encoding {report['encoding_id'][:12]}, model {report['model_sha256'][:12]}"
    report = {name: report[name] for name in VIEWS if name in report}
    table = Table("", *report, title="WIDER test scenes, fitted to 480 x 640", caption=bound)
    first = next(iter(report.values()))

    def cell(value: dict[str, Any]) -> str:
        if value["value"] is None:
            return "no faces"
        low, high = value["interval_95"]
        return f"{value['value']:.3f} ({low:.3f}..{high:.3f}), {value['faces']} faces"

    table.add_row("AP at IoU 0.5", *(cell(one["ap"]) for one in report.values()))
    for index, size in enumerate(first["ap_by_size"]):
        name = f"AP, {size['from_px']}..{size['to_px']} px"
        table.add_row(name, *(cell(one["ap_by_size"][index]) for one in report.values()))
    for key in ("mean_absolute_error", "exact_share", "empty_mean_absolute_error", "constant_mean_absolute_error"):
        table.add_row(f"count: {key}", *(f"{one['count'][key]:.3f}" for one in report.values()))
    if clips is None:
        return table
    corridor = clips["corridor"]
    table.add_row("corridor, frames with exactly two", f"{corridor['exactly_two']} of {corridor['frames']}")
    for name in ("room_empty", "room_occupied"):
        table.add_row(f"{name}, frames with a face", f"{clips[name]['with_a_face']} of {clips[name]['frames']}")
    return table


def main(
    data: Annotated[Path, typer.Option(help="Folder with the image archives.")],
    bundle: Annotated[str, typer.Option(help='A bundle file, or "default".')] = "default",
    detector: Annotated[Path | None, typer.Option(help="A folder made by `train`, instead of a bundle.")] = None,
    ceiling: Annotated[Path | None, typer.Option(help="Folder made by `train --plain`, for comparison.")] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
) -> None:
    """Measure the detector in a bundle on the test scenes."""
    console = Console(stderr=True)
    try:
        report = evaluation(data, *loaded(bundle, detector), ceiling)
    except (DataMissingError, BundleError, EncodingFileError, OSError) as error:
        console.print(f"[red]{error}")
        sys.exit(1)
    console.print(report_table(report))
    if out is not None:
        out.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    typer.run(main)
