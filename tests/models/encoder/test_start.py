"""Where learnings start: a matched pair, an encoding that there is, spread thresholds, mirror images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.detector.gaussian_encoding import LEAST_STEP, spread_encoding
from models.encoder.chain_plan import ChainPlan
from models.encoder.plan import PlanError, checked_plan
from optics.encoding import Encoding

torch = pytest.importorskip("torch", reason="learning needs torch: pip install 'canopic[train]'")

from models.encoder.checkpoint import write_chain  # noqa: E402
from models.encoder.matched import matched_kernel  # noqa: E402
from models.encoder.start import start_digest, starting_chain, starting_kernels  # noqa: E402


def crops(count: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)


def chain_plan(**values: Any) -> ChainPlan:
    return checked_plan({"chain": values}, "test").chain


def written(folder: Path, **values: Any) -> Encoding:
    """The encoding of a start, in `folder`/encoding.npz."""
    chain = starting_chain(chain_plan(**values), crops(8, 0), 0)
    write_chain(folder, chain)
    return chain.export()


def test_a_matched_start_is_the_template_as_a_pair() -> None:
    known = (crops(6, 1), crops(6, 2))
    plan = chain_plan(kernels="pair", start={"form": "matched", "side_px": 9})
    found = starting_chain(plan, crops(4, 3), 5, known).export().kernels
    wanted = matched_kernel(*known, 9, np.random.default_rng([5, 10]))
    # No tap of a softmax is quite zero.
    assert found == pytest.approx(wanted, abs=1e-4)
    with pytest.raises(ValueError, match="matched start needs crops"):
        starting_kernels(plan.start, 5)


@pytest.mark.parametrize("levels", [2, 3, 4, 16])
def test_spread_thresholds_are_one_factor_apart(levels: int) -> None:
    plan = chain_plan(levels=levels, thresholds="spread", start={"side_px": 5})
    found = np.unique(starting_chain(plan, crops(0, 0), 0).export().thresholds)
    assert len(found) == levels - 1
    assert found[-1] == pytest.approx(0.9)
    assert found[1:] / found[:-1] == pytest.approx((0.9 / 0.012) ** (1 / (levels - 1)), rel=1e-3)


@pytest.mark.parametrize(
    "values",
    [
        {"kernels": "pair", "levels": 4, "start": {"form": "centre_surround", "sigma_px": [1.0], "side_px": 9}},
        {"kernels": "psf", "levels": 16, "pool": 16, "start": {"sigma_px": [1.5, 3.0], "side_px": 7}},
        {"kernels": "signed", "range": "per_frame", "start": {"form": "halves", "side_px": 6}},
    ],
)
def test_from_a_file_it_goes_on_as_it_was(tmp_path: Path, values: dict[str, Any]) -> None:
    before = written(tmp_path, **values)
    start = {"form": "file", "path": str(tmp_path / "encoding.npz")}
    plan = chain_plan(**values | {"start": start, "thresholds": "file"})
    after = starting_chain(plan, crops(0, 0), 0).export()
    assert after.kernels == pytest.approx(before.kernels, abs=1e-4)
    assert after.thresholds == pytest.approx(before.thresholds, abs=2e-4)
    assert (after.pool, after.range) == (before.pool, before.range)
    digest = start_digest(plan.start)
    assert len(digest or "") == 64


def test_a_file_that_cannot_be_gone_on_with_is_refused_with_the_reason(tmp_path: Path) -> None:
    written(tmp_path, kernels="pair", levels=4, start={"form": "centre_surround", "sigma_px": [1.0], "side_px": 9})
    start = {"form": "file", "path": str(tmp_path / "encoding.npz")}
    with pytest.raises(PlanError, match="has negative taps; expected 'kernels: pair' or signed"):
        starting_chain(chain_plan(levels=4, start=start), crops(4, 0), 0)
    with pytest.raises(PlanError, match="the file has 4 levels and the range fixed, the plan 8 and fixed"):
        starting_chain(chain_plan(kernels="pair", levels=8, start=start, thresholds="file"), crops(4, 0), 0)
    broken = tmp_path / "broken.npz"
    for content in (b"not an archive", b""):
        broken.write_bytes(content)
        with pytest.raises(PlanError, match=r"chain\.start\.path: .*broken\.npz .*: expected an \.npz file"):
            starting_chain(chain_plan(start={"form": "file", "path": str(broken)}), crops(4, 0), 0)
    with pytest.raises(PlanError, match=r"chain\.start\.path: .*nowhere\.npz is missing"):
        starting_chain(chain_plan(start={"form": "file", "path": str(tmp_path / "nowhere.npz")}), crops(4, 0), 0)


@pytest.mark.parametrize("kind", ["psf", "pair", "signed"])
def test_symmetric_kernels_are_their_own_mirror_image_after_every_step(kind: str) -> None:
    form = "gaussian" if kind == "psf" else "centre_surround"
    plan = chain_plan(kernels=kind, symmetric=True, start={"form": form, "side_px": 9, "roughness": 0.5})
    chain = starting_chain(plan, crops(8, 0), 0)
    optimizer = torch.optim.Adam(chain.parameters(), 1e-3 if kind == "signed" else 0.1)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(9))
    for step in range(4):
        taps = chain.export().kernels
        assert np.array_equal(taps, taps[:, :, ::-1])
        assert np.abs(taps - taps[:, ::-1]).max() > 1e-5, "only left and right are mirrored"
        if kind == "psf":
            assert taps.min() >= 0
            assert taps.sum() == pytest.approx(1, abs=1e-5)
        if kind == "pair":
            assert np.abs(taps).sum() <= 1 + 1e-5
        codes = chain(images, slope=5.0)
        optimizer.zero_grad()
        (codes * torch.randn(codes.shape, generator=torch.Generator().manual_seed(step))).sum().backward()
        optimizer.step()
        assert all(float(one.grad.abs().max()) > 0 for one in chain.kernels.parameters())


def test_a_file_of_even_width_has_no_mirror_image(tmp_path: Path) -> None:
    written(tmp_path, kernels="signed", start={"form": "halves", "side_px": 6})
    start = {"form": "file", "path": str(tmp_path / "encoding.npz")}
    with pytest.raises(PlanError, match=r"chain\.symmetric: .* need an odd width, got 6 px"):
        starting_chain(chain_plan(kernels="signed", symmetric=True, start=start), crops(8, 0), 0)


@pytest.mark.parametrize("levels", [4, 10, 16])
def test_a_spread_start_is_the_ladder_that_needs_no_learning(levels: int) -> None:
    """`gaussian_encoding.spread_encoding` rounds to thousandths, and moves up what that brings too near."""
    plan = chain_plan(levels=levels, thresholds="spread", least_step=LEAST_STEP, start={"side_px": 5})
    found = np.unique(starting_chain(plan, crops(0, 0), 0).export().thresholds)
    assert found == pytest.approx(np.unique(spread_encoding(levels=levels).thresholds), abs=0.0015)
