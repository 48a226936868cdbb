"""The version of the presence model belongs to its answers: these, to one made-up day, are those of version 1.

Every score of presence in a bundle names the version. Where a test here fails, answers have changed: raise
`models.presence.VERSION`, and write down the new ones beside it. Numbers in shipped bundles are then shown as an older
version's until they are measured again.
"""

import hashlib
import importlib
import pkgutil
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

import models.presence
from models.presence import VERSION, Presence, PresenceConfig, PresenceModel
from optics.archive import canonical_json
from tests.models.test_presence import EIGHT, Camera, Cells, Watch, made_up_room, with_person
from tests.models.test_presence_cells import coarse

# Digest of the settings and of every constant, by version: many of them do not show in one short day.
NUMBERS = {1: "47d8456512fe3a2a"}
# By version and side of a cell in pixels.
ANSWERS: dict[int, dict[int, dict[str, float]]] = {
    1: {
        8: {
            "present": 32, "learned": 63, "steps": 5, "moving": 22, "regions": 33,
            "changed": 2.36021, "light": -14.30680, "low": -1.40643, "high": -0.80382,
        },
        32: {
            "present": 31, "learned": 63, "steps": 5, "moving": 21, "regions": 32,
            "changed": 0.98167, "light": -13.26612, "low": -1.29577, "high": -0.70103,
        },
    },
}  # fmt: skip


def day(pool: int) -> dict[str, float]:
    """Somebody comes, stays, has the lamp dimmed and leaves; what the model says to it, in few numbers."""
    room = made_up_room(np.random.default_rng(4))
    watch = Watch(Camera(EIGHT, automatic=False), PresenceModel(EIGHT, pool=pool))

    def see(scene: Cells, seconds: float) -> list[Presence]:
        return watch.see(scene if pool == 8 else coarse(scene, pool), seconds)

    said = see(room, 3)
    for x in np.linspace(-8, 40, 8):
        said += see(with_person(room, float(x)), 0.2)
    said += see(with_person(room, 40), 3)
    said += see(0.7 * with_person(room, 40), 2)
    said += see(0.7 * room, 5)
    known: Any = watch.model.room
    return {
        "present": sum(one.present for one in said),
        "learned": sum(one.learned for one in said),
        "steps": sum(one.light_step for one in said),
        "moving": sum(one.moving for one in said),
        "regions": sum(one.regions for one in said),
        "changed": float(sum(one.changed_share for one in said)),
        "light": float(sum(one.light_nats for one in said)),
        "low": float(known.low.mean(dtype=np.float64)),
        "high": float(known.high.mean(dtype=np.float64)),
    }


@pytest.mark.parametrize("pool", [8, 32])
def test_the_same_codes_get_the_answers_of_this_version(pool: int) -> None:
    expected = ANSWERS[VERSION][pool]
    found = day(pool)
    counts = [name for name in expected if isinstance(expected[name], int)]
    # Another processor rounds otherwise: by less than a change of the model does.
    assert [found[name] for name in counts] == pytest.approx([expected[name] for name in counts], abs=1)
    rest = [name for name in expected if name not in counts]
    assert [found[name] for name in rest] == pytest.approx([expected[name] for name in rest], rel=2e-3)


def test_the_numbers_in_it_are_those_of_this_version() -> None:
    numbers = {f"settings.{name}": str(value) for name, value in asdict(PresenceConfig()).items()}
    for part in pkgutil.iter_modules(models.presence.__path__):
        for name, value in vars(importlib.import_module(f"models.presence.{part.name}")).items():
            if name.isupper() and isinstance(value, (int, float, np.floating)):
                numbers[f"{part.name}.{name}"] = f"{float(value):.6g}"
    assert len(numbers) > 40
    assert hashlib.sha256(canonical_json(numbers)).hexdigest()[:16] == NUMBERS[VERSION], numbers
