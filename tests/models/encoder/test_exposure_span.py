"""A face that does not meter its scene: exposed by a factor, while learning, in adversaries' looks and the judge's."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.encoder.material import LearningMaterial
from models.encoder.plan import NuisancePlan, PlanError, checked_plan

torch = pytest.importorskip("torch", reason="learning needs torch: pip install 'canopic[train]'")

from models.encoder.adversaries import Lesson, encoded_lesson, new_network  # noqa: E402
from models.encoder.alternate import learn  # noqa: E402
from models.encoder.checkpoint import write_chain  # noqa: E402
from models.encoder.looks import encoded_looks  # noqa: E402
from models.encoder.nuisance import CameraNuisance  # noqa: E402
from models.encoder.objective import encoder_loss  # noqa: E402
from models.encoder.start import starting_chain  # noqa: E402

FAINT = NuisancePlan(
    shot=0, read=0, comparator=0, exposure=0, mask=0, blur_px=0, shift_px=0, exposure_span=[0.15, 0.15]
)
PLAN = checked_plan({"chain": {"levels": 8, "thresholds": "spread", "start": {"sigma_px": [2.0], "side_px": 7}}}, "x")


def crops(count: int, seed: int) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(20, 236, (count, 8, 8, 3))
    return np.asarray(coarse.repeat(8, axis=1).repeat(8, axis=2), np.uint8)


def material() -> LearningMaterial:
    people = np.arange(12) % 3
    return LearningMaterial(
        crops(12, 0), people, crops(6, 1), people[:6], crops(8, 2), crops(8, 3), crops(4, 4), crops(4, 5)
    )


def test_factors_are_log_uniform_over_the_span() -> None:
    nuisance = CameraNuisance(FAINT.model_copy(update={"exposure_span": [0.15, 1.2]}), 8)
    found = nuisance.on_cells(torch.full((2000, 3, 2, 2), 0.5), np.random.default_rng(0)) / 0.5
    assert float(found.std(dim=(1, 2, 3)).max()) < 1e-6
    factors = np.log(found[:, 0, 0, 0].numpy())
    assert np.log(0.15) - 1e-6 <= factors.min() < np.log(0.17)
    assert np.log(1.1) < factors.max() <= np.log(1.2) + 1e-6
    quarters = np.quantile(factors, [0.25, 0.5, 0.75])
    assert quarters == pytest.approx(np.log(0.15) + np.log(8) * np.array([0.25, 0.5, 0.75]), abs=0.1)


def test_without_a_span_nothing_else_is_drawn() -> None:
    """Learnings from before the setting repeat bit for bit."""
    plain, cells = CameraNuisance(NuisancePlan(), 8), torch.rand(4, 3, 8, 8)
    spanned = CameraNuisance(NuisancePlan(exposure_span=[0.2, 1.0]), 8)
    found = [one.on_cells(cells, np.random.default_rng(1)) for one in (plain, spanned.metered(), spanned)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_the_second_look_alone_is_the_faint_one() -> None:
    chain, nuisance = starting_chain(PLAN.chain, crops(0, 0), 0), CameraNuisance(FAINT, 8)
    rng = np.random.default_rng(2)
    codes = encoded_looks(chain, crops(6, 1), 4, nuisance, rng, nuisance.metered()).codes
    brightest = codes.max(axis=(0, 2, 3, 4))
    assert brightest[0] == brightest[2] == brightest[3] == 15
    # 0.15 of the highest threshold lies above three of seven, which are 7 of fifteen.
    assert brightest[1] == 7


def test_spread_thresholds_still_tell_something_of_a_faint_face() -> None:
    """The premise: at 0.15 of the exposure, thresholds of a metered crop are silent."""
    silent = checked_plan(
        {"chain": {**PLAN.chain.model_dump(), "thresholds": [0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.9]}}, "x"
    )
    nuisance = CameraNuisance(FAINT, 8)
    kinds = []
    for plan in (silent, PLAN):
        chain = starting_chain(plan.chain, crops(0, 0), 0)
        looks = encoded_looks(chain, crops(6, 1), 2, nuisance, np.random.default_rng(3))
        kinds.append(len(np.unique(looks.codes[:, 1])))
    assert kinds[0] == 1
    assert kinds[1] >= 3


def test_whether_there_is_a_face_is_also_asked_of_faint_ones() -> None:
    chain, nuisance = starting_chain(PLAN.chain, crops(0, 0), 0), CameraNuisance(FAINT, 8)
    for part, looks in (("identity", 3), ("face", 2), ("held_out_identity", 1), ("held_out_face", 2)):
        further = nuisance.metered()
        found = encoded_lesson(part, chain, material(), 3, nuisance, np.random.default_rng(4), further)
        assert found.looks.codes.shape[1] == looks, part
    plain = encoded_lesson("held_out_face", chain, material(), 3, nuisance.metered(), np.random.default_rng(4))
    assert plain.looks.codes.shape[1] == 1


def test_entropy_of_the_networks_people_alone_where_published() -> None:
    """Strangers' faces then change the loss through detection only."""
    small = {"networks": [{"network": "small", "width": 0.05}]}
    entropies = {}
    for whose in ("faces", "people"):
        values = {"chain": PLAN.chain.model_dump(), "privacy": {"alpha": 5.0, "entropy_on": whose}}
        plan = checked_plan({**values, "schedule": {"batch": 16}, "recognition": small, "detection": small}, "x")
        chain, images = starting_chain(plan.chain, crops(0, 0), 0), material()
        lesson = Lesson(encoded_looks(chain, images.faces, 1, None, np.random.default_rng(5)), images.people, 3)
        networks = {
            f"{kind} 0": new_network(plan.recognition.networks[0], lesson, [seed])
            for seed, kind in enumerate(("recognition", "detection"))
        }
        dark = LearningMaterial(
            images.faces, images.people, images.held_out_faces, images.held_out_people, np.zeros_like(images.positives),
            images.negatives, images.held_out_positives, images.held_out_negatives,
        )  # fmt: skip
        found = [
            encoder_loss(chain, networks, plan, one, 5.0, None, np.random.default_rng(6))[1] for one in (images, dark)
        ]
        entropies[whose] = [one["entropy"] for one in found]
        assert found[0]["detection"] != found[1]["detection"]
    assert entropies["people"][0] == entropies["people"][1]
    assert entropies["faces"][0] != entropies["faces"][1]


def test_a_learning_with_all_of_it_resumes_and_says_what_it_went_on_from(tmp_path: Path) -> None:
    """A mirrored pair from a file, faint faces, spread thresholds: stopped anywhere, the same to the last bit."""
    small = {"networks": [{"network": "small", "width": 0.05}], "epochs": 1, "batch": 4}
    first = {"levels": 4, "kernels": "pair", "start": {"form": "centre_surround", "sigma_px": [1.5], "side_px": 7}}
    write_chain(tmp_path, starting_chain(checked_plan({"chain": first}, "x").chain, crops(12, 9), 0))
    file = tmp_path / "encoding.npz"
    plan = checked_plan(
        {
            "chain": {
                **first,
                "symmetric": True,
                "thresholds": "spread",
                "start": {"form": "file", "path": str(file)},
            },
            "schedule": {"cycles": 1, "encoder_steps": 4, "batch": 8},
            "recognition": small,
            "detection": small,
            "choice": {"network": {"width": 0.05}, "identity_epochs": 1, "face_epochs": 1, "keep": "last", "people": 2},
            "nuisance": {"exposure_span": [0.15, 1.2]},
        },
        "x",
    )
    whole = learn(plan, material(), tmp_path / "whole")
    assert whole.id != starting_chain(plan.chain, crops(0, 0), 0).export().id
    assert np.array_equal(whole.kernels, whole.kernels[:, :, ::-1])
    learn(plan, material(), tmp_path / "parts", stop_after=6)
    assert learn(plan, material(), tmp_path / "parts").id == whole.id
    record = json.loads((tmp_path / "whole" / "learning.json").read_text())
    assert record["start_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert record["cycles"][-1]["identity"]["n"] == 4
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(PlanError, match=r"encoding\.npz has changed since"):
        learn(plan, material(), tmp_path / "parts")
