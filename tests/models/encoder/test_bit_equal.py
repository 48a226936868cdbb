"""An exported encoding gives the same codes in torch, in NumPy and in the firmware, under the rule that is stated here.

The comparators compare; nothing in them rounds a value. Two things do, before them. Thresholds become DAC codes, which
moves each by up to half a step (7.6e-6 of full scale): whoever wants the board's codes rounds them first, as the
daemon's paths do. And convolution is arithmetic in float32, which torch and NumPy do in another order. So:

- torch and NumPy, same thresholds: equal wherever no threshold is within ARITHMETIC * gain of the value, gain being
  what exposure or stretching multiplies the values by;
- NumPy and firmware, thresholds rounded to DAC codes on both sides: equal wherever none is within float32's rounding;
- values that are DAC codes themselves (path `loop`): equal everywhere, whole numbers are compared.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="learning needs torch: pip install 'canopic[train]'")

from host.board.client import BoardClient  # noqa: E402 - after the skip
from host.board.thresholds import dac_codes_to_fractions, thresholds_to_dac_codes  # noqa: E402
from host.twin.board_process import BoardProcess  # noqa: E402
from host.twin.feed import BoardFeed, Cells  # noqa: E402
from models.detector.gaussian_encoding import gaussian_kernel  # noqa: E402
from models.encoder.chain import Chain, ChainSettings  # noqa: E402
from models.encoder.kernels import KernelKind, centre_surround, halves  # noqa: E402
from optics.encoding import Encoding, Range, encode, pooled  # noqa: E402
from optics.exposure import steady_exposure  # noqa: E402
from tests.host.sensing import board_missing  # noqa: E402

# What `optics.encoding.pooled` promises for light in [0, 1].
ARITHMETIC = 1e-5
# A unit in the last place of a value below 1, and of its volts.
ROUNDING = 2.0**-22
SCENE_PX = (192, 224)


@dataclass(frozen=True)
class Case:
    kernels: KernelKind
    filters: int
    pool: int
    levels: int
    range: Range


CASES = [
    Case("psf", 1, 8, 16, "fixed"),
    Case("psf", 1, 16, 2, "fixed"),
    Case("psf", 4, 8, 3, "fixed"),
    Case("psf", 4, 16, 16, "per_frame"),
    Case("psf", 1, 8, 2, "per_frame"),
    Case("pair", 1, 8, 3, "fixed"),
    Case("pair", 1, 16, 16, "fixed"),
    Case("pair", 4, 8, 16, "fixed"),
    Case("pair", 4, 16, 2, "per_frame"),
    Case("pair", 1, 8, 3, "per_frame"),
]


def learned(case: Case, seed: int = 3) -> Chain:
    """A chain whose every parameter has moved away from where it started, as learning leaves it."""
    if case.filters == 4:
        start = halves(11) - (0.5 if case.kernels == "pair" else 0)
    else:
        start = centre_surround(1.5, 4.0, 21) if case.kernels == "pair" else gaussian_kernel(3.0, 21)
    chain = Chain(ChainSettings(case.kernels, case.pool, case.levels, case.range), start.astype(np.float32))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in chain.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return chain


def scene(seed: int = 5) -> NDArray[np.float32]:
    """Light in [0, 1], dark at the left, with large and small structure, float32 (rows, columns, 3)."""
    rng = np.random.default_rng(seed)
    rows, columns = SCENE_PX
    coarse = rng.uniform(0, 1, (rows // 8, columns // 8, 3)).repeat(8, axis=0).repeat(8, axis=1)
    light = np.clip(0.8 * coarse + rng.normal(0, 0.1, (rows, columns, 3)), 0, 1)
    return (light * np.linspace(0.005, 1, columns)[:, None] ** 2).astype(np.float32)


def as_used(light: NDArray[np.float32], encoding: Encoding) -> tuple[NDArray[np.float32], float]:
    """The scene at steady exposure (fixed range), and what its values are multiplied by beside those of unit light."""
    if encoding.range == "fixed":
        factor = steady_exposure(pooled(light, encoding), encoding.thresholds, limits=(1e-6, 1e6))
        return (light * np.float32(factor)).astype(np.float32), max(1.0, factor)
    unit = pooled(light, Encoding(encoding.kernels, encoding.thresholds, encoding.pool, "fixed"))
    return light, max(1.0, 1 / float(np.ptp(unit)))


def clear(values: NDArray[np.float32], thresholds: NDArray[np.float32], margin: float) -> NDArray[np.bool_]:
    """Which values have no threshold within `margin`."""
    distance = np.abs(values.astype(np.float64)[..., None] - thresholds.astype(np.float64))
    return np.asarray(distance.min(axis=-1) > margin)


def on_the_board(encoding: Encoding) -> Encoding:
    """The encoding with its thresholds as the DAC has them."""
    rounded = dac_codes_to_fractions(thresholds_to_dac_codes(encoding.thresholds))
    return Encoding(encoding.kernels, rounded, encoding.pool, encoding.range)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_torch_and_numpy_give_equal_codes(case: Case) -> None:
    chain = learned(case)
    encoding = chain.export()
    assert (encoding.filters, encoding.effective_levels) == (case.filters, case.levels)
    assert (encoding.kernels.min() < 0) == (case.kernels == "pair")
    light = scene()
    with torch.no_grad():
        images = torch.from_numpy(light.transpose(2, 0, 1)[None])
        exact = chain(images)[0].numpy().transpose(1, 2, 0)
        values = chain.cells(images)[0].numpy().transpose(1, 2, 0)
    used, gain = as_used(light, encoding)
    cells = pooled(used, encoding)
    np.testing.assert_allclose(values, cells, rtol=0, atol=ARITHMETIC * gain)
    judged = clear(cells, encoding.thresholds, ARITHMETIC * gain)
    codes = encode(used, encoding)
    assert judged.mean() > 0.95
    np.testing.assert_array_equal(exact[judged].astype(np.uint8), codes[judged])
    assert np.unique(codes).size == case.levels


@pytest.fixture(scope="module")
def board() -> Iterator[tuple[BoardClient, BoardFeed]]:
    if board_missing():
        pytest.skip(f"no board program: {board_missing()}")
    with BoardProcess() as process, BoardClient(process.pty) as client:
        feed = BoardFeed(process.frames_socket)
        client.connect()
        assert feed.connect()
        yield client, feed
        feed.disconnect()


def measured(board: tuple[BoardClient, BoardFeed], encoding: Encoding, cells: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The codes that the firmware gives for cells in fractions of full scale."""
    client, feed = board
    client.provision(encoding.id, thresholds_to_dac_codes(encoding.thresholds))
    client.arm(*cells.shape)
    assert feed.send(Cells(0, 0, 0.0, 10_000, 1.0, cells * np.float32(2.5)))
    measurement = client.read_measurement(10)
    client.disarm()
    assert measurement is not None
    return measurement.codes


@pytest.mark.parametrize("case", CASES, ids=str)
def test_numpy_and_firmware_give_equal_codes(case: Case, board: tuple[BoardClient, BoardFeed]) -> None:
    learned_encoding = learned(case).export()
    encoding = on_the_board(learned_encoding)
    assert encoding.effective_levels == case.levels
    assert np.abs(encoding.thresholds - learned_encoding.thresholds).max() <= 0.5 / 65535 + ROUNDING
    used, _ = as_used(scene(), encoding)
    cells = pooled(used, encoding)
    judged = clear(cells, encoding.thresholds, ROUNDING)
    codes = measured(board, encoding, cells)
    assert judged.mean() > 0.95
    np.testing.assert_array_equal(codes[judged], encode(used, encoding)[judged])


def test_torch_and_firmware_give_equal_codes_beyond_both_roundings(board: tuple[BoardClient, BoardFeed]) -> None:
    """With the thresholds as learned in torch and as rounded on the board: equal beyond the sum of both margins."""
    chain = learned(CASES[0])
    encoding = chain.export()
    light = scene()
    with torch.no_grad():
        exact = chain(torch.from_numpy(light.transpose(2, 0, 1)[None]))[0].numpy().transpose(1, 2, 0)
    used, gain = as_used(light, encoding)
    cells = pooled(used, encoding)
    judged = clear(cells, encoding.thresholds, ARITHMETIC * gain + 0.5 / 65535)
    assert judged.mean() > 0.95
    np.testing.assert_array_equal(measured(board, encoding, cells)[judged], exact[judged].astype(np.uint8))


def test_values_that_are_dac_codes_are_compared_without_rounding(board: tuple[BoardClient, BoardFeed]) -> None:
    encoding = learned(CASES[0]).export()
    thresholds = thresholds_to_dac_codes(encoding.thresholds)
    at = thresholds.astype(np.int64)
    levels = np.unique(np.concatenate([at - 1, at, at + 1, np.random.default_rng(0).integers(0, 65536, 60)]))
    client, _ = board
    client.provision(encoding.id, thresholds)
    client.arm(2, 2, 3)
    codes = client.convert(levels)
    client.disarm()
    np.testing.assert_array_equal(codes, (levels[:, None] >= at).sum(axis=1))
