"""How fast one frame is encoded: against the obvious OpenCV and NumPy code, and against this machine's memory.

Everything is measured in one run, in turns, so that other work on the machine slows all of it alike. The kernel is a
random one of full rank: what is measured is the general path, which any mask takes, not one for separable kernels.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from optics.encoding import Encoding, encode, pooled

ROWS_PX, COLUMNS_PX, KERNEL_PX, POOL = 480, 640, 63, 8
# Far beyond any cache of the machines this runs on, so that the copy measures memory.
COPY_BYTES = 96 * 1024 * 1024
FLOAT_BYTES = 4
CLOSE_CALL = 1e-5


@dataclass(frozen=True, slots=True)
class Timing:
    """Minimum and median over the rounds, milliseconds."""

    minimum_ms: float
    median_ms: float


@dataclass(frozen=True, slots=True)
class EncodeBench:
    """What `bench_encode` measured. `ratio` and `distance_to_bound` compare medians, the `best_` ones minima.

    bound_bytes: see `bytes_to_move`; bound_ms: those bytes at the bandwidth of a copy on both cores in the same rounds.
    disagreements: cells whose code differs between the two implementations; close_calls: cells with a value within 1e-5
    of full scale of a threshold, the only ones where rounding may decide.
    """

    ours_ms: Timing
    one_thread_ms: Timing
    baseline_ms: Timing
    ratio: float
    best_ratio: float
    bandwidth_gb_per_s: float
    bound_bytes: int
    bound_ms: Timing
    distance_to_bound: float
    best_distance_to_bound: float
    cells: int
    disagreements: int
    close_calls: int
    kernel_rank: int
    threads: int
    cores: int
    rounds: int
    load_average: float

    def as_json(self) -> dict[str, Any]:
        """Plain numbers for `--json`."""
        return asdict(self)


def bench_encode(rounds: int = 40, threads: int = 2, seed: int = 0) -> EncodeBench:
    """Encode a 640 x 480 x 3 scene with a general 63 x 63 kernel, pool and thresholds included; takes a few seconds."""
    rng = np.random.default_rng(seed)
    # Light and shade at every scale, so that the cells spread over the thresholds.
    coarse = cv2.resize(rng.random((9, 12, 3), dtype=np.float32), (COLUMNS_PX, ROWS_PX))
    scene = np.asarray(coarse * rng.random((ROWS_PX, COLUMNS_PX, 3), dtype=np.float32), dtype=np.float32)
    kernels = rng.random((1, KERNEL_PX, KERNEL_PX), dtype=np.float32)
    kernels /= kernels.sum()
    draft = Encoding(kernels, np.linspace(0, 1, 15, dtype=np.float32), POOL)
    levels = np.quantile(pooled(scene, draft), np.arange(1, 16) / 16).astype(np.float32)
    encoding = Encoding(kernels, levels, POOL)
    turned = np.ascontiguousarray(kernels[0, ::-1, ::-1])
    source = np.ones(COPY_BYTES // FLOAT_BYTES, dtype=np.float32)
    target = np.zeros_like(source)

    with ThreadPoolExecutor(threads) as executor:
        steps: dict[str, Callable[[], object]] = {
            "ours": lambda: encode(scene, encoding, threads),
            "one": lambda: encode(scene, encoding, 1),
            "baseline": lambda: baseline_encode(scene, turned, levels),
            "copy": lambda: list(
                executor.map(np.copyto, np.array_split(target, threads), np.array_split(source, threads))
            ),
        }
        times_ms: dict[str, list[float]] = {name: [] for name in steps}
        for step in steps.values():
            step()
        for _ in range(rounds):
            # In a new order every time: a step that follows the copy finds nothing in the caches.
            for name in rng.permutation(list(steps)):
                start = time.perf_counter()
                steps[name]()
                times_ms[name].append((time.perf_counter() - start) * 1e3)

    ours, one, baseline, copy = (_timing(times_ms[name]) for name in ("ours", "one", "baseline", "copy"))
    moved = bytes_to_move(ROWS_PX, COLUMNS_PX, KERNEL_PX)
    # A copy reads and writes every byte.
    share = moved / (2 * COPY_BYTES)
    bound = Timing(copy.minimum_ms * share, copy.median_ms * share)
    cells = pooled(scene, encoding)
    differ = encode(scene, encoding) != baseline_encode(scene, turned, levels)
    return EncodeBench(
        ours_ms=ours,
        one_thread_ms=one,
        baseline_ms=baseline,
        ratio=baseline.median_ms / ours.median_ms,
        best_ratio=baseline.minimum_ms / ours.minimum_ms,
        bandwidth_gb_per_s=2 * COPY_BYTES / copy.median_ms / 1e6,
        bound_bytes=moved,
        bound_ms=bound,
        distance_to_bound=ours.median_ms / bound.median_ms,
        best_distance_to_bound=ours.minimum_ms / bound.minimum_ms,
        cells=cells.size,
        disagreements=int(np.count_nonzero(differ)),
        close_calls=int(np.count_nonzero(np.abs(cells[..., None] - levels).min(axis=-1) <= CLOSE_CALL)),
        kernel_rank=int(np.linalg.matrix_rank(kernels[0].astype(np.float64))),
        threads=threads,
        cores=os.cpu_count() or 1,
        rounds=rounds,
        load_average=os.getloadavg()[0],
    )


def baseline_encode(
    scene: NDArray[np.float32], turned: NDArray[np.float32], thresholds: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """The obvious implementation in float32. `turned` is the kernel rotated by 180 degrees: filter2D correlates."""
    image = cv2.filter2D(scene, cv2.CV_32F, turned, borderType=cv2.BORDER_REPLICATE)
    rows, columns = scene.shape[0] // POOL, scene.shape[1] // POOL
    cells = image.reshape(rows, POOL, columns, POOL, 3).max(axis=(1, 3))
    return np.asarray(np.searchsorted(thresholds, cells, side="right"), dtype=np.uint8)


def bytes_to_move(rows_px: int, columns_px: int, kernel_px: int) -> int:
    """Bytes that a convolution by transforms of the whole padded planes moves, when each pass touches memory once.

    Counted are: the scene read and the padded planes written; row transforms (read, write); column transforms, product
    and inverse column transforms as one pass (read, write, spectrum read); inverse row transforms (read, write); the
    maximum (read). Planes are not enlarged to convenient lengths, nothing is counted for arithmetic, and an
    implementation whose tiles stay in cache moves less: the bound is a scale to compare with, not a law.
    """
    plane = rows_px * columns_px
    padded = (rows_px + kernel_px - 1) * (columns_px + kernel_px - 1)
    values = 3 * (plane + padded) + 3 * 2 * padded + (3 * 2 * padded + padded) + 3 * 2 * padded + 3 * plane
    return values * FLOAT_BYTES


def as_table(result: EncodeBench) -> Table:
    """The result for a terminal."""
    table = Table(title=f"Encoding {COLUMNS_PX} x {ROWS_PX} x 3 with a general {KERNEL_PX} x {KERNEL_PX} kernel")
    table.add_column("whole frame, in milliseconds")
    table.add_column("minimum", justify="right")
    table.add_column("median", justify="right")
    for name, timing in (
        (f"optics.encoding.encode, {result.threads} threads", result.ours_ms),
        ("optics.encoding.encode, 1 thread", result.one_thread_ms),
        ("filter2D, reshape-max, searchsorted", result.baseline_ms),
        ("memory-bandwidth bound", result.bound_ms),
    ):
        table.add_row(name, f"{timing.minimum_ms:.2f}", f"{timing.median_ms:.2f}")
    table.add_section()
    table.add_row("times faster than filter2D", f"{result.best_ratio:.1f}", f"{result.ratio:.1f}")
    table.add_row("times the bound", f"{result.best_distance_to_bound:.1f}", f"{result.distance_to_bound:.1f}")
    table.caption = (
        f"{result.rounds} interleaved rounds, load average {result.load_average:.1f} on {result.cores} cores. "
        f"The kernel has rank {result.kernel_rank}: no separable short cut. "
        f"Codes differ from filter2D's in {result.disagreements} of {result.cells} cells; {result.close_calls} lie "
        f"within 1e-5 of full scale of a threshold. The bound is {result.bound_bytes / 1e6:.0f} MB, what transforms of "
        f"whole padded planes move, at the {result.bandwidth_gb_per_s:.0f} GB/s of a copy on {result.threads} threads."
    )
    return table


def _timing(times_ms: list[float]) -> Timing:
    return Timing(float(np.min(times_ms)), float(np.median(times_ms)))
