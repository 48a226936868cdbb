"""A plan with a mask: learned to the end, stopped and gone on with, written as masks that do what the encoding says."""

import json

import numpy as np
import pytest

from models.encoder.height_masks import mask_encoding
from models.encoder.material import LearningMaterial
from models.encoder.plan import PlanError, checked_plan
from optics.design.constraints import violations
from optics.mask import read_mask

torch = pytest.importorskip("torch", reason="learning needs torch: pip install 'canopic[train]'")

from models.encoder.alternate import learn  # noqa: E402
from models.encoder.checkpoint import read_checkpoint, write_checkpoint  # noqa: E402
from models.encoder.height import HeightKernels  # noqa: E402
from models.encoder.start import starting_chain  # noqa: E402

NETWORKS = {"networks": [{"network": "small", "width": 0.05}], "epochs": 1, "batch": 8}
MASK = {"cells": 40, "pitch_m": 4e-6, "kernel_px": 7, "levels": 4, "start_iterations": 3, "start_descent": 0}
PLAN = {
    "chain": {
        "kernels": "height",
        "mask": MASK,
        "levels": 4,
        "start": {"sigma_px": [1.5], "side_px": 7},
    },
    "schedule": {"cycles": 1, "encoder_steps": 4, "batch": 8, "looks": 1, "learning_rate": 0.3},
    "recognition": NETWORKS,
    "detection": NETWORKS,
    "choice": {"network": {"width": 0.05}, "identity_epochs": 1, "face_epochs": 1, "keep": "last"},
}


@pytest.fixture(autouse=True)
def _small_photographs(monkeypatch):
    monkeypatch.setattr("models.encoder.height_masks.REPORT_PX", (64, 64))


def _plan(**chain):
    return checked_plan({**PLAN, "chain": {**PLAN["chain"], **chain}}, "test")


def _material():
    rng = np.random.default_rng(0)

    def crops(count):
        return rng.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)

    people = np.arange(12) % 3
    return LearningMaterial(crops(12), people, crops(6), people[:6], crops(8), crops(8), crops(4), crops(4))


def test_learns_goes_on_and_writes_masks_that_do_what_the_encoding_says(tmp_path):
    plan, material = _plan(), _material()
    encoding = learn(plan, material, tmp_path / "whole")
    # Stopped in the middle of the encoder's steps, and gone on with: the same, bit for bit.
    for _ in range(60):
        again = learn(plan, material, tmp_path / "parts", stop_after=5)
        if json.loads((tmp_path / "parts" / "learning.json").read_text())["finished"]:
            break
    assert again.id == encoding.id
    start = starting_chain(plan.chain, material.faces, plan.seed)
    assert isinstance(start.kernels, HeightKernels)
    masks = [read_mask(tmp_path / "whole" / f"mask_{number}.npz") for number in range(1)]
    for mask, before in zip(masks, start.kernels.masks(), strict=True):
        assert (mask.height_m != before.height_m).any()
        assert violations(mask.height_m, plan.chain.mask.largest_m, plan.chain.mask.heights_m) == []
    expected = mask_encoding(masks, encoding.thresholds, encoding.pool, plan.chain.mask.haze)
    np.testing.assert_allclose(encoding.kernels, expected.kernels, atol=1e-5 * float(expected.kernels.max()))
    reports = json.loads((tmp_path / "whole" / "learning.json").read_text())["masks"]
    assert len(reports) == 1
    assert all(0 <= report["stray_light"]["share_changed"] <= 1 for report in reports)


def test_a_plan_with_a_pair_learns_both_masks_and_their_shares(tmp_path):
    plan = _plan(mask={**MASK, "pair": True}, start={"form": "centre_surround", "sigma_px": [1.0], "side_px": 7})
    start = starting_chain(plan.chain, _material().faces, plan.seed).kernels
    encoding = learn(plan, _material(), tmp_path)
    masks = [read_mask(tmp_path / f"mask_0_{sign}.npz") for sign in ("plus", "minus")]
    for mask, before in zip(masks, start.masks(), strict=True):
        assert (mask.height_m != before.height_m).any()
    (report,) = json.loads((tmp_path / "learning.json").read_text())["masks"]
    assert report["share"] != pytest.approx(start.shares()[0], abs=1e-6)
    expected = mask_encoding(masks, encoding.thresholds, encoding.pool, plan.chain.mask.haze, [report["share"]])
    np.testing.assert_allclose(encoding.kernels, expected.kernels, atol=1e-6)


def test_a_random_mask_to_start_from():
    designed, random = (
        starting_chain(_plan(mask={**MASK, "start": start}).chain, _material().faces, 0)
        for start in ("design", "diffuser")
    )
    assert (designed.kernels.heights() != random.kernels.heights()).any()
    other = starting_chain(_plan(mask={**MASK, "start": "diffuser"}).chain, _material().faces, 1)
    assert (other.kernels.heights() != random.kernels.heights()).any()


def test_a_checkpoint_from_before_a_setting_existed_still_counts(tmp_path):
    """A plan without a mask reads as one from before there were masks; any other difference is told by its name."""
    plan = checked_plan({}, "test")

    class Before:
        def model_dump_json(self):
            values = json.loads(plan.model_dump_json())
            del values["chain"]["mask"]
            return json.dumps(values)

    write_checkpoint(tmp_path / "checkpoint.pt", Before(), "digest", {"cycle": 3})
    assert read_checkpoint(tmp_path / "checkpoint.pt", plan, "digest")["cycle"] == 3
    with pytest.raises(PlanError, match=r"chain\.mask"):
        read_checkpoint(tmp_path / "checkpoint.pt", _plan(), "digest")


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        ({"mask": None}, "expect each other"),
        ({"kernels": "psf"}, "expect each other"),
        ({"light": "srgb"}, "light: linear"),
        ({"mask": {**MASK, "kernel_px": 9}}, "start.side_px 7"),
        ({"mask": {**MASK, "levels": 1}}, "chain.mask.levels"),
        ({"mask": {**MASK, "pitch_um": 4}}, "chain.mask.pitch_um"),
        ({"mask": {**MASK, "cells": 4}}, "diffraction alone"),
        ({"mask": {**MASK, "min_feature_m": 1e-6}}, "less than one cell"),
    ],
)
def test_a_mask_that_does_not_fit_the_plan_is_refused(chain, said):
    with pytest.raises(PlanError, match=said):
        _plan(**chain)


def test_kernels_that_no_single_mask_has_are_refused_as_a_start():
    plan = _plan(start={"form": "centre_surround", "side_px": 7})
    with pytest.raises(PlanError, match=r"chain\.mask: target is negative"):
        starting_chain(plan.chain, _material().faces, 0)


def test_yaml_gives_wavelengths_as_a_list():
    plan = _plan(mask={**MASK, "wavelengths_m": [640e-9, 532e-9, 460e-9]})
    assert plan.chain.mask.wavelengths_m[1] == 532e-9
    assert type(plan).model_validate_json(plan.model_dump_json()) == plan
