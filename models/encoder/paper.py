"""Reruns Table 1 of the CAnOPIC paper on the original data sets: learn each row's encoder, attack it afresh, compare.

Needs torch. Row by row and seed by seed: an encoder is learned by alternating optimisation with the row's published
plan, then fresh networks answer "who is it?" (Exp. 1) and "is there a face?" (Exp. 2) from what the encoder leaves.
Whatever is finished lies in the output folder and is not done again:

    encoders/ROW_alphaA_seedS/   what `learn_chain` writes, its checkpoint too
    runs/*.json                  one answer each: view, question, seed
    table1.json, table1.md       what is known so far, written anew after each answer
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.attackers.device import CPU
from models.attackers.fit import FitSettings, fit
from models.detector.metrics import wilson_interval
from models.encoder.alternate import Progress, learn_chain
from models.encoder.chain import Chain
from models.encoder.paper_config import PaperPlan
from models.encoder.paper_data import PaperData, Parts, Report
from models.encoder.paper_table import BASELINES, ROWS, Kind, Question, Row, table_markdown
from models.encoder.paper_views import PaperView, baseline_view, chain_view, codes_file, encoded
from models.encoder.plan import EncoderPlan
from models.encoder.rows import plan_for_row
from models.encoder.start import starting_chain
from optics.whole_file import write_whole

# Raise this whenever an answer would come out otherwise for the same images and settings.
RECIPE = 1
SIDE_PX = 64
QUESTIONS: tuple[Question, ...] = ("identity", "face")
NO_CROPS = np.zeros((0, SIDE_PX, SIDE_PX, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to be attacked: a row of the table, unlearned or learned with `alpha`, by one seed."""

    row: Row
    kind: Kind
    alpha: float | None
    seed: int

    @property
    def name(self) -> str:
        """As files and progress name it."""
        alpha = "" if self.alpha is None else f"_alpha{self.alpha:g}"
        return f"{self.row.name.partition('_alpha')[0]}{alpha}_seed{self.seed}"


def tasks(plan: PaperPlan) -> Iterator[Task]:
    """Everything that a plan asks for, in the table's order, all seeds of a row together."""
    for name in plan.rows:
        row = ROWS[name]
        alphas = [row.alpha] if plan.alphas is None or not row.learned else plan.alphas
        for seed in plan.seeds:
            yield Task(row, "unlearned", row.alpha, seed)
            for alpha in alphas if row.learned else []:
                yield Task(row, "learned", alpha, seed)


def rerun_table(plan: PaperPlan, data: PaperData, report: Report, device: str = CPU) -> dict[str, Any]:
    """All rows of `plan`: the document that table1.json holds.

    report: what is being done, how far it is, how far it goes. device: where networks are trained
    (`models.attackers.device`). Raises `models.detector.archives.DataMissingError` or
    `models.datasets.files.AnnotationError` for images, `models.encoder.alternate.LearningError` for a loss that is no
    number any more.
    """
    out = Path(plan.out)
    answers: list[tuple[Task, Question, dict[str, Any]]] = []
    document = table_document(plan, data, answers)
    for task in tasks(plan):
        view = view_of(task, plan, data, report, device)
        for question in QUESTIONS:
            answers.append((task, question, answered(view, question, task.seed, plan, data, report, device)))
            document = table_document(plan, data, answers)
            write_whole(out / "table1.json", json.dumps(document, indent=1, allow_nan=False) + "\n")
            write_whole(out / "table1.md", table_markdown(document["cells"], document["notes"]))
    return document


def view_of(task: Task, plan: PaperPlan, data: PaperData, report: Report, device: str = CPU) -> PaperView:
    """What attackers of a task see; a learned encoder is learned first where it is not there yet."""
    if task.row.name in BASELINES:
        return baseline_view(task.row.name)
    return chain_view(task.name, chain_of(task, plan, data, report, device))


def chain_of(task: Task, plan: PaperPlan, data: PaperData, report: Report, device: str = CPU) -> Chain:
    """The chain of a task: as it starts, or learned (its folder is `encoders/NAME` in the plan's output)."""
    learning = learning_plan(task, plan)
    if task.kind == "unlearned":
        return starting_chain(learning.chain, NO_CROPS, task.seed)

    def tell(progress: Progress) -> None:
        what = f"learning {task.name}, cycle {progress.cycle}/{progress.cycles}, {progress.phase}"
        report(what, progress.step, progress.steps)

    folder = Path(plan.out) / "encoders" / task.name
    return learn_chain(learning, data.learning_material, folder, tell, device=device)


def learning_plan(task: Task, plan: PaperPlan) -> EncoderPlan:
    """The row's published plan with this task's alpha and seed, and what the configuration replaces."""
    published, given = plan_for_row(task.row.name), plan.learning
    changed: dict[str, Any] = published.model_dump(mode="json")
    changed["name"], changed["seed"] = task.name, task.seed
    if task.alpha is not None:
        changed["privacy"]["alpha"] = float(task.alpha)
    for section, epochs in (("recognition", given.recognition_epochs), ("detection", given.detection_epochs)):
        for network in changed[section]["networks"]:
            network["width"] = network["width"] if given.width is None else float(given.width)
        changed[section]["epochs"] = epochs or changed[section]["epochs"]
    choice = changed["choice"]
    if given.width is not None:
        choice["network"]["width"] = float(given.width)
    if given.judge_epochs is not None:
        choice["identity_epochs"] = choice["face_epochs"] = given.judge_epochs
    schedule = changed["schedule"]
    schedule["cycles"] = schedule["cycles"] if given.cycles is None else given.cycles
    if given.encoder_epochs is not None:
        schedule["encoder_epochs"] = given.encoder_epochs
    if given.batch is not None:
        schedule["batch"] = changed["recognition"]["batch"] = changed["detection"]["batch"] = given.batch
    return EncoderPlan.model_validate(changed)


def answered(
    view: PaperView, question: Question, seed: int, plan: PaperPlan, data: PaperData, report: Report, device: str = CPU
) -> dict[str, Any]:
    """One fresh network's answers, from `runs/` where it has them: right, n, chance, and on what it was trained."""
    parts: Parts = data.identity if question == "identity" else data.face
    settings = {
        "recipe": RECIPE,
        "view": view.digest,
        "question": question,
        "seed": seed,
        "attackers": plan.attackers.model_dump(mode="json"),
        "images": [parts.train.digest, parts.validation.digest, parts.test.digest],
    }
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    path = Path(plan.out) / "runs" / f"{key[:20]}.json"
    if path.is_file():
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return kept
    codes, cache = {}, Path(str(plan.cache)) / "codes"
    splits = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    for name, part in splits.items():

        def tell(done: int, name: str = name, count: int = len(part)) -> None:
            report(f"{view.name}, {question}: encoding {name} images", done, count)

        codes[name] = encoded(part, view, cache, tell)
    report(f"{view.name}, {question}: training a fresh {plan.attackers.network}", 0, 1)
    answer = settings | attacked(codes, view, parts, question, seed, plan, device)
    report(f"{view.name}, {question}: training a fresh {plan.attackers.network}", 1, 1)
    write_whole(path, json.dumps(answer, indent=1, allow_nan=False) + "\n")
    # Twelve gigabytes for each view of full size: made again in minutes, should another seed want them.
    for part in splits.values():
        codes_file(part, view, cache).unlink()
    return answer


def attacked(
    codes: dict[str, NDArray[np.uint8]],
    view: PaperView,
    parts: Parts,
    question: Question,
    seed: int,
    plan: PaperPlan,
    device: str = CPU,
) -> dict[str, Any]:
    """Trains one network on the training codes and says how often it is right on the others, as a JSON object."""
    attackers = plan.attackers
    side = codes["train"].shape[2]
    settings = FitSettings(
        network=attackers.network,
        width=attackers.width,
        # As published: codes are enlarged back to the size of the crops, pictures of that size are taken as they are.
        upsample=max(1, SIDE_PX // side),
        epochs=attackers.identity_epochs if question == "identity" else attackers.face_epochs,
        batch=attackers.batch,
        learning_rate=attackers.learning_rate,
        weight_decay=attackers.weight_decay,
        smoothing=0.0,
        # Crops to train on are mirrored before they are encoded; codes of unsymmetrical kernels must not be.
        mirror=False,
        seed=seed,
    )
    fitted = fit(codes["train"], view.full_scale, parts.train.labels, parts.classes, settings, device=device)
    right = fitted.logits(codes["test"][:, 0]).argmax(axis=1) == parts.test.labels
    validated = fitted.logits(codes["validation"][:, 0]).argmax(axis=1) == parts.validation.labels
    shares = [float(right[parts.test.labels == label].mean()) for label in range(parts.classes)]
    return {
        "right": int(right.sum()),
        "n": len(right),
        "per_class": float(np.mean(shares)),
        "validation_accuracy": float(validated.mean()),
        "train_accuracy": fitted.train_accuracy,
        "n_train": len(parts.train),
        "crops_each": parts.train.looks,
        "chance": 1 / parts.classes,
    }


def table_document(
    plan: PaperPlan, data: PaperData, answers: list[tuple[Task, Question, dict[str, Any]]]
) -> dict[str, Any]:
    """What table1.json holds: the plan, a cell for each row, kind, alpha and question over all seeds, and notes."""
    groups: dict[tuple[str, Kind, float | None, Question], list[dict[str, Any]]] = {}
    for task, question, answer in answers:
        groups.setdefault((task.row.name, task.kind, task.alpha, question), []).append(answer)
    cells = []
    for (name, kind, alpha, question), found in groups.items():
        row = ROWS[name]
        # Seeds share their test images: together they say no more about other images than one of them.
        right, total = sum(one["right"] for one in found) / len(found), found[0]["n"]
        low, high = wilson_interval(round(right), total)
        cells.append(
            {
                "row": name, "title": row.title, "kind": kind, "alpha": alpha if kind == "learned" else None,
                "question": question, "percent": 100 * right / total, "low": 100 * low, "high": 100 * high,
                "n": total, "seeds": len(found), "chance": found[0]["chance"],
                "train_percent": 100 * float(np.mean([one["train_accuracy"] for one in found])),
                "per_class_percent": 100 * float(np.mean([one["per_class"] for one in found])),
                "published": row.published.get((kind, question)) if alpha == row.alpha else None,
            }
        )  # fmt: skip
    return {"plan": plan.model_dump(mode="json"), "cells": cells, "notes": notes_of(plan) + data.notes}


def notes_of(plan: PaperPlan) -> list[str]:
    """What a reader has to know before comparing with the published numbers."""
    notes = ["Attackers got codes alone; the paper's also got each image's minimum and maximum (decision 0034)."]
    if plan.scale == "small":
        notes.append("Scale small: fewer people and images, narrower networks, shorter schedules. Do not compare.")
    if plan.data.faceless_train_list is None or plan.data.faceless_val_list is None:
        notes.append("No list of faceless images for all of ILSVRC: some images without a face do show one.")
    if plan.crop == "box":
        notes.append("Faces were cropped by their boxes, tighter than published.")
    return notes
