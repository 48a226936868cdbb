"""Every row of the paper's Table 1 is a plan with the published settings, and its chain can be made."""

import numpy as np
import pytest

from models.encoder.plan import PlanError
from models.encoder.rows import LEARNED_ROWS, ROWS, UNLEARNED_ROWS, plan_for_row
from optics.encoding import quantize


def test_the_table_is_complete() -> None:
    assert set(LEARNED_ROWS) == {
        "conv1_maxpool_quantize_alpha1", "conv1_maxpool_quantize_alpha50", "conv1_maxpool_quantize_alpha300",
        "conv4_maxpool_quantize_alpha1", "conv4_maxpool_quantize_alpha50", "conv1_alpha300", "quantize_alpha300",
        "conv1_maxpool_alpha300", "conv1_quantize_alpha300", "maxpool_quantize_alpha300",
    }  # fmt: skip
    assert len(UNLEARNED_ROWS) == 8


@pytest.mark.parametrize("name", ROWS)
def test_settings_are_the_published_ones(name: str) -> None:
    plan = plan_for_row(name)
    assert (plan.chain.range, plan.chain.light) == ("per_frame", "srgb")
    assert plan.chain.pool == (8 if "maxpool" in name else 1)
    assert plan.chain.levels == (16 if "quantize" in name else None)
    assert plan.chain.free_thresholds == ("quantize" in name)
    assert [network.name for network in plan.recognition.networks] == [
        "resnet18 x8" if "maxpool" in name else "resnet18"
    ]
    assert (plan.recognition.epochs, plan.detection.epochs, plan.schedule.encoder_epochs) == (100, 10, 10)
    assert (plan.schedule.slope, plan.schedule.slope_rise, plan.schedule.learning_rate) == (5, 5, 1e-2)
    assert plan.recognition.restart_below == 0.1
    assert not plan.nuisance.on
    assert plan.privacy.entropy_on == "people"
    assert (plan.choice.people, plan.choice.linear) == (None, False)
    learned = "alpha" in name
    assert plan.schedule.cycles == (20 if learned else 0)
    assert plan.privacy.alpha == (float(name.partition("alpha")[2]) if learned else 0)


@pytest.mark.parametrize("name", UNLEARNED_ROWS)
def test_chains_of_rows_start_as_published(name: str) -> None:
    pytest.importorskip("torch", reason="learning needs torch: pip install 'canopic[train]'")
    from models.encoder.start import starting_chain

    plan = plan_for_row(name)
    chain = starting_chain(plan.chain, np.zeros((0, 64, 64, 3), np.uint8), plan.seed)
    kernels = chain.kernels().detach().numpy()
    shape, total = {"conv1": ((1, 63, 63), 1), "conv4": ((4, 11, 11), 220)}.get(name[:5], ((1, 1, 1), 1))
    assert kernels.shape == shape
    assert kernels.sum() == pytest.approx(total, rel=1e-5)
    if plan.chain.levels is not None:
        thresholds = chain.export().thresholds
        assert thresholds * 15 == pytest.approx(np.arange(15) + 0.5)
        assert quantize(np.array([0, 1], np.float32), thresholds).tolist() == [0, 15]


def test_max_pooling_alone_has_one_name_for_both() -> None:
    assert plan_for_row("maxpool").chain == plan_for_row("maxpool_unlearned").chain


@pytest.mark.parametrize("name", ["conv2_maxpool", "conv1_alpha50", "", "maxpool_alpha300", "clean"])
def test_what_is_no_row_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(PlanError, match=r"no row of Table 1; expected one of conv1_maxpool_quantize_alpha1,"):
        plan_for_row(name)
