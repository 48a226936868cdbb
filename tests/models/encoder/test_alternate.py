"""Alternating optimisation: resumes to the same result, keeps its promises at every step, and follows its weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.encoder.material import LearningMaterial
from models.encoder.plan import EncoderPlan, PlanError, checked_plan

torch = pytest.importorskip("torch", reason="learning needs torch: pip install 'canopic[train]'")

from models.encoder.alternate import Progress, learn, learn_chain  # noqa: E402

SMALL = {"networks": [{"network": "small", "width": 0.05}], "epochs": 2, "batch": 8}
TINY: dict[str, Any] = {
    "chain": {"levels": 4, "start": {"sigma_px": [2.0], "side_px": 7}},
    "privacy": {"alpha": 2.0},
    "schedule": {"cycles": 2, "encoder_steps": 4, "batch": 8, "looks": 2},
    "recognition": SMALL,
    "detection": SMALL,
    "choice": {"network": {"width": 0.05}, "identity_epochs": 1, "face_epochs": 1, "every": 1},
}


def tiny(**changes: dict[str, Any]) -> EncoderPlan:
    """A plan that takes a second, with sections changed."""
    return checked_plan({**TINY, **{key: {**TINY.get(key, {}), **value} for key, value in changes.items()}}, "test")


def material(seed: int = 0, people: int = 3, each: int = 6) -> LearningMaterial:
    """Made-up faces: a bright disc (a face is there) with stripes at an angle of each person's own; no disc, no face."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64] - 31.5

    def crops(persons: "np.ndarray", disc: bool) -> "np.ndarray":  # type: ignore[type-arg]
        images = []
        for person in persons:
            phase, angle = rng.uniform(0, 2 * np.pi), np.pi * person / people
            stripes = 25 * np.sin((x * np.cos(angle) + y * np.sin(angle)) * 0.5 + phase)
            light = 60 + stripes + (110.0 * (np.hypot(x, y) < 20) if disc else 0) + rng.normal(0, 6, (64, 64))
            images.append(np.repeat(light[:, :, None], 3, axis=2))
        return np.clip(np.stack(images), 0, 255).astype(np.uint8)

    labels = np.repeat(np.arange(people), each)
    tests = np.repeat(np.arange(people), 2)
    strangers = rng.uniform(0, people, 12)
    return LearningMaterial(
        crops(labels, True), labels, crops(tests, True), tests,
        crops(strangers, True), crops(strangers, False), crops(strangers[:6], True), crops(strangers[:6], False),
    )  # fmt: skip


def record(folder: Path) -> dict[str, Any]:
    """learning.json without the times."""
    found: dict[str, Any] = json.loads((folder / "learning.json").read_text())
    found.pop("seconds")
    for entry in found["cycles"]:
        entry.pop("seconds")
    return found


class KilledError(Exception):
    """Ends a learning where a power cut would: nothing is saved."""


def test_resumed_equals_uninterrupted_wherever_it_was_stopped(tmp_path: Path) -> None:
    plan, images = tiny(schedule={"cycles": 1}), material()
    whole = learn(plan, images, tmp_path / "whole")
    steps = 0
    for number in range(200):
        done = []
        found = learn(plan, images, tmp_path / "parts", done.append, stop_after=3)
        steps += sum(one.phase != "judge" for one in done)
        if json.loads((tmp_path / "parts" / "learning.json").read_text())["finished"]:
            break
    assert number > 3
    assert steps == 4 + (2 + 3) * 2
    assert found.id == whole.id
    assert record(tmp_path / "parts") == record(tmp_path / "whole")
