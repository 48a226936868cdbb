"""Reruns Fig. 6 of the CAnOPIC paper: faces found in FDDB by detectors trained on WIDER FACE, as discrete ROC curves.

Needs torch. The paper trains Faster R-CNN; here every subject trains the project's own heat-map detector, which reads
codes at their own resolution: docs/decisions/0034 says why, and what may therefore be compared.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.datasets.fddb import LARGEST_MAJOR_AXIS_PX, fddb_photographs
from models.datasets.wider import WiderFaces, WiderPhotographs, table_path
from models.datasets.windows import same_photograph_windows
from models.detector.archives import DataMissingError, Photograph, file_digest
from models.detector.augment import Material
from models.detector.evaluate import matches_of
from models.detector.metrics import Matches, average_precision, bootstrap_interval
from models.detector.network import FaceNetwork
from models.detector.scenes import PLANE_COLUMNS_PX, PLANE_ROWS_PX
from models.encoder.paper import Task, chain_of
from models.encoder.paper_config import PaperPlan
from models.encoder.paper_data import PaperData, Report
from models.encoder.paper_figure import draw_figure
from models.encoder.paper_table import BASELINES, ROWS
from models.evidence.roc import Scored, roc, scored_ellipses
from models.evidence.scenes import Placed, SceneSettings, found_by, placed, scene_detector
from models.evidence.subjects import Subject
from optics.whole_file import write_whole

# Raise this whenever the same plan and data give another curve.
RECIPE = 1
# Photographs of WIDER FACE from which small faces and faceless windows are cut to be pasted into scenes.
WINDOW_PHOTOGRAPHS = 1500
CHUNK = 50
FALSE_POSITIVES = (100, 500, 1000)
BOOTSTRAP_ROUNDS = 300


def rerun_figure(plan: PaperPlan, data: PaperData, report: Report) -> dict[str, Any] | None:
    """The curves of all subjects, written to roc.json and fig6.png in the plan's output after each; None without any.

    Finished subjects are kept in `detection/` there, unfinished trainings go on from their checkpoints.
    """
    if not plan.detection.subjects:
        return None
    out = Path(plan.out)
    curves: dict[str, dict[str, Any]] = {}
    document: dict[str, Any] = {}
    for name in plan.detection.subjects:
        curves[name] = curve_of(subject_of(name, plan, data, report), plan, report)
        document = {"curves": curves, "notes": notes_of(plan)}
        write_whole(out / "roc.json", json.dumps(document, indent=1, allow_nan=False) + "\n")
        draw_figure(curves, out / "fig6.png")
    return document


def subject_of(name: str, plan: PaperPlan, data: PaperData, report: Report) -> Subject:
    """A baseline, or the row's encoder as it was learned for Table 1 with the first seed."""
    if name in BASELINES:
        return Subject(name, "baseline", source="conventional")
    row = ROWS[name]
    chain = chain_of(Task(row, "learned", row.alpha, plan.seeds[0]), plan, data, report)
    return Subject(name, "ours", chain.export(), "srgb", row.title)


def curve_of(subject: Subject, plan: PaperPlan, report: Report) -> dict[str, Any]:
    """One subject's detector, trained and tried: its ROC, true positive rates and AP with intervals."""
    detection = plan.detection
    settings = SceneSettings(
        detection.scenes, detection.steps, detection.batch, widths=detection.widths, largest_px=LARGEST_MAJOR_AXIS_PX
    )
    wider = Path(str(plan.data.wider))
    digests = {"wider": file_digest(table_path(wider, "train")), "windows": f"{WINDOW_PHOTOGRAPHS} {RECIPE}"}
    content = {
        "recipe": RECIPE, "subject": subject.digest, "settings": asdict(settings), "data": digests,
        "fddb": [str(plan.data.fddb), detection.folds],
    }  # fmt: skip
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path = Path(plan.out) / "detection" / f"{subject.name}_{key[:12]}.json"
    if path.is_file():
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return kept

    def tell(what: str, done: int, total: int) -> None:
        report(f"{subject.name}, WIDER FACE: {what}", done, total)

    network = scene_detector(
        subject, lambda: wider_material(wider, tell), digests, settings, Path(str(plan.cache)) / "scenes", tell
    )
    curve = judged_on_fddb(subject, network, plan, report)
    write_whole(path, json.dumps(curve, indent=1, allow_nan=False) + "\n")
    return curve


def wider_material(wider: Path, report: Report) -> Material:
    """What training scenes are made of: photographs of WIDER FACE that show a face, read one at a time, and windows
    with and without a face cut from some of them."""
    photographs = WiderPhotographs(wider, "train", wanted=_shows_a_face)
    rng = np.random.default_rng(0)
    faces: list[NDArray[np.uint8]] = []
    others: list[NDArray[np.uint8]] = []
    chosen = rng.permutation(len(photographs))[:WINDOW_PHOTOGRAPHS]
    for done, index in enumerate(chosen, 1):
        crops, labels = same_photograph_windows([photographs[int(index)]], rng, 2)
        faces.append(crops[labels == 1])
        others.append(crops[labels == 0])
        report("cutting windows", done, len(chosen))
    if not sum(len(some) for some in faces):
        raise DataMissingError(f"{wider} has no photograph with a face of 16 px or more: unpack the whole set.")
    return Material(photographs, np.concatenate(faces), np.concatenate(others))


def judged_on_fddb(subject: Subject, network: FaceNetwork, plan: PaperPlan, report: Report) -> dict[str, Any]:
    """A trained detector on the photographs of FDDB, as a JSON object."""
    pictures: list[Scored] = []
    matches: list[Matches] = []
    chunk: list[tuple[Placed, NDArray[np.float64]]] = []

    def judge() -> None:
        found, samples = found_by(subject, network, [scene for scene, _ in chunk])
        pictures.extend(scored_ellipses(one, each) for one, (_, each) in zip(found, chunk, strict=True))
        matches.extend(matches_of(found, samples))
        chunk.clear()
        report(f"{subject.name}, FDDB: photographs", len(pictures), len(pictures))

    for photograph, ellipses in fddb_photographs(Path(str(plan.data.fddb)), plan.detection.folds):
        scene, left, top = on_plane(photograph)
        chunk.append((scene, scene.ellipses(ellipses + np.array([0, 0, 0, left, top]))))
        if len(chunk) == CHUNK:
            judge()
    if chunk:
        judge()
    if not sum(one.faces for one in pictures):
        raise DataMissingError(f"{plan.data.fddb} has no face in folds {plan.detection.folds}: unpack the whole set.")
    rng = np.random.default_rng(0)
    curve = roc(pictures)
    rates = {}
    for allowed in FALSE_POSITIVES:

        def rate(some: list[Scored], allowed: int = allowed) -> float:
            return roc(some).rate_at(allowed)

        low, high = bootstrap_interval(pictures, rate, rng, BOOTSTRAP_ROUNDS)
        rates[str(allowed)] = {"value": curve.rate_at(allowed), "interval_95": [low, high]}
    interval = bootstrap_interval(matches, average_precision, rng, BOOTSTRAP_ROUNDS)
    return {
        "subject": subject.name,
        "photographs": len(pictures),
        "faces": curve.faces,
        "roc": curve.as_json(),
        "true_positive_rate_at": rates,
        "ap": {"value": average_precision(matches), "interval_95": list(interval)},
    }


def on_plane(photograph: Photograph) -> tuple[Placed, int, int]:
    """A photograph in the middle of the plane at its own size (never enlarged, so that faces stay as small as they were
    brought), its outermost pixels continued; and where its corner lies, left and top in px."""
    height, width = photograph.image.shape[:2]
    down, across = max(0, PLANE_ROWS_PX - height), max(0, PLANE_COLUMNS_PX - width)
    top, left = down // 2, across // 2
    edges = (top, down - top, left, across - left)
    image = np.asarray(cv2.copyMakeBorder(photograph.image, *edges, cv2.BORDER_REPLICATE), np.uint8)
    boxes = photograph.boxes + np.array([left, top, 0, 0], np.float32)
    scene = placed(Photograph(photograph.name, image, boxes, photograph.ignore), float("inf"))
    return scene, left, top


def notes_of(plan: PaperPlan) -> list[str]:
    """What a reader has to know before comparing with the published curves."""
    notes = [
        "Detector: the project's heat-map network for every subject; the paper used Faster R-CNN (decision 0034).",
        "Clean and pixelate are 8 x 8 means here, one and the same picture; baselines are in linear light.",
        f"FDDB photographs were shrunk until their smallest face is at most {LARGEST_MAJOR_AXIS_PX:g} px long.",
    ]
    return notes + (["Scale small: short trainings. Do not compare."] if plan.scale == "small" else [])


def _shows_a_face(entry: WiderFaces) -> bool:
    return bool((entry.faces[:, 2:4].max(axis=1, initial=0) > 0).any())
