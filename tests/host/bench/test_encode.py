"""The encoding benchmark measures what it says; how fast this machine is, is not asserted."""

import json

import numpy as np
import pytest
from rich.console import Console

from host.bench.encode import CLOSE_CALL, EncodeBench, as_table, baseline_encode, bench_encode, bytes_to_move
from optics.encoding import Encoding, encode, pooled


@pytest.fixture(scope="module")
def result() -> EncodeBench:
    return bench_encode(rounds=2)


def test_baseline_and_ours_give_the_same_codes() -> None:
    rng = np.random.default_rng(1)
    kernels = rng.random((1, 20, 13), dtype=np.float32) / 260
    kernels = np.pad(kernels, ((0, 0), (1, 0), (0, 0)))  # odd sizes: filter2D has the same middle then
    encoding = Encoding(kernels, np.linspace(0.1, 0.6, 15, dtype=np.float32))
    scene = rng.random((64, 96, 3), dtype=np.float32)
    turned = np.ascontiguousarray(kernels[0, ::-1, ::-1])
    differ = encode(scene, encoding) != baseline_encode(scene, turned, encoding.thresholds)
    distance = np.abs(pooled(scene, encoding)[..., None] - encoding.thresholds).min(axis=-1)
    assert not (differ & (distance > CLOSE_CALL)).any()


def test_ratios_follow_from_the_times(result: EncodeBench) -> None:
    assert result.ratio == pytest.approx(result.baseline_ms.median_ms / result.ours_ms.median_ms)
    assert result.distance_to_bound == pytest.approx(result.ours_ms.median_ms / result.bound_ms.median_ms)
    moved_ms = result.bound_bytes / (result.bandwidth_gb_per_s * 1e6)
    assert result.bound_ms.median_ms == pytest.approx(moved_ms)
    assert result.kernel_rank == 63
    assert result.cells == 60 * 80 * 3
    assert result.disagreements <= result.close_calls < result.cells // 100


def test_the_bound_counts_passes_over_padded_planes() -> None:
    plane, padded = 480 * 640 * 3 * 4, 542 * 702 * 3 * 4
    assert bytes_to_move(480, 640, 63) == 2 * plane + 7 * padded + padded // 3


def test_the_result_can_be_printed_and_stored(result: EncodeBench) -> None:
    assert json.loads(json.dumps(result.as_json()))["threads"] == 2
    console = Console(record=True, width=100)
    console.print(as_table(result))
    text = console.export_text()
    for words in ("times faster than filter2D", "times the bound", "load average", "no separable short cut"):
        assert words in " ".join(text.split())
