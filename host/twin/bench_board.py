"""The bench of a board: a simulated one with hidden offsets, noise, hysteresis and an uneven DAC; and wrong ones."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from host.board.protocol import DAC_CHANNELS
from host.board.thresholds import COMPARATORS, REFERENCE_VOLTS, dac_codes_to_volts
from host.calibrate.board_ramps import LADDER_CODES
from host.calibrate.procedure import Setup
from host.twin.bench import Bench, make_bench
from host.twin.board_process import BoardProcess
from host.twin.sensor import SensorModel

FAULTS: dict[str, str] = {
    "stuck_comparator": "one comparator's output stays high, or low, whatever its input",
    "swapped_comparators": "two comparators are exchanged: each switches where the other should",
    "missing_reference": "the threshold DAC runs on another reference: every transition is scaled",
    "wrong_thresholds": "one threshold arrives at its comparator a tenth of a volt and more off",
    "noisy_supply": "the supply is noisy: every comparator has many times its usual noise",
    "dac_drift": "a DAC channel does not read back what was written to it",
    "brown_out": "the supply is too low",
    "no_board": "the cable is out",
}
_FAULT_STREAM = 1


def make(seed: int, fault: str | None) -> Bench:
    """A board of middling parts: offsets of 1 to 5 mV (standard deviation), 0.15 to 0.8 mV of noise, 0 to 4 mV of
    hysteresis, gain errors of up to 0.2 %, a 16-bit DAC with up to 0.4 mV of curvature and 0.6 LSB of unevenness."""
    rng = np.random.default_rng(seed)
    board = {
        "serial": f"TWIN-{seed:04d}"[:16],
        "seed": int(rng.integers(2**31)),
        "offset_volts": float(rng.uniform(1e-3, 5e-3)),
        "noise_volts": float(rng.uniform(0.15e-3, 0.8e-3)),
        "hysteresis_volts": float(rng.uniform(0.0, 4e-3)),
        "gain_error": float(rng.uniform(0.0, 2e-3)),
        "spread": 0.3,
        "dac_inl_volts": float(rng.uniform(0.0, 0.4e-3)),
        "dac_dnl_lsb": float(rng.uniform(0.1, 0.6)),
    }
    truth = {} if fault is None else {"wrong_setup": fault}
    return Bench("board", None, SensorModel(), None, _no_hands, truth, board=board)


@contextmanager
def twin_board(seed: int, fault: str | None, dac_codes: ArrayLike) -> Iterator[tuple[BoardProcess, dict[str, Any]]]:
    """A running board of that seed and fault, and the truth for thresholds `dac_codes`, uint16 (15,).

    Raises BenchError for an unknown fault, BoardProgramError where the firmware cannot be built or started.
    """
    bench = make_bench("board", seed, fault)
    with BoardProcess(**bench.board) as process:
        truth = {"board_serial": bench.board["serial"], **bench.truth, **true_board(process, dac_codes)}
        inject(process, seed, fault)
        yield process, truth


def inject(process: BoardProcess, seed: int, fault: str | None) -> None:
    """Make one thing wrong with a running board; None and unknown names do nothing."""
    rng = np.random.default_rng([seed, _FAULT_STREAM])
    one, other = (int(i) for i in rng.choice(np.arange(2, COMPARATORS - 2), 2, replace=False))
    if fault == "stuck_comparator":
        process.control(f"stick {one} {rng.choice(['high', 'low'])}")
    elif fault == "swapped_comparators":
        # Each is moved to where the other's threshold of the ladder lies: with these thresholds that is an exchange.
        offsets = json.loads(process.control("reveal"))["offset_volts"]
        apart = float(np.diff(dac_codes_to_volts(LADDER_CODES[[one, other]]))[0])
        process.control(f"offset {one} {offsets[one] - apart}")
        process.control(f"offset {other} {offsets[other] + apart}")
    elif fault == "missing_reference":
        # 2.048, 3.0 or 3.3 V instead of 2.5 V, as the ramp sees it: a comparator that divides its input the other way.
        scale = rng.choice([2.048, 3.0, 3.3]) / REFERENCE_VOLTS
        for i in range(COMPARATORS):
            process.control(f"gain {i} {1 / scale - 1}")
    elif fault == "wrong_thresholds":
        process.control(f"offset {one} {rng.choice([-1, 1]) * rng.uniform(0.1, 0.25)}")
    elif fault == "noisy_supply":
        process.control(f"noise {rng.uniform(0.012, 0.03)}")
    elif fault == "dac_drift":
        process.control(f"drift {one} {rng.choice([-1, 1]) * rng.uniform(2e-3, 0.1)}")
    elif fault == "brown_out":
        process.control(f"supply {int(rng.integers(2500, 2950))}")
    elif fault == "no_board":
        process.close()


def true_board(process: BoardProcess, dac_codes: ArrayLike, trims: ArrayLike | None = None) -> dict[str, Any]:
    """What calibrating a running board should find, by the names of its result; lists by comparator.

    dac_codes: uint16 (15,) thresholds; trims: int (15,) or None. Transitions are on the ramp's scale: the code, in
    volts of an ideal DAC, at which the board's own, curved DAC gives the voltage where the comparator switches. They
    are those without trims (`transition_before_volts`, `offset_volts`) and, where `trims` are given, with
    (`transition_volts`).
    """
    parts = json.loads(process.control("reveal"))
    codes = np.asarray(dac_codes, dtype=np.int64)
    gain = 1.0 + np.array(parts["gain_error"])
    before = _transitions(process, parts, codes)
    truth: dict[str, Any] = {
        "transition_before_volts": before.tolist(),
        "offset_volts": (before - dac_codes_to_volts(codes)).tolist(),
        "noise_volts": (np.array(parts["noise_volts"]) / gain).tolist(),
        "hysteresis_volts": (np.array(parts["hysteresis_volts"]) / gain).tolist(),
    }
    if trims is not None:
        truth["transition_volts"] = _transitions(process, parts, codes + np.asarray(trims, dtype=np.int64)).tolist()
    return truth


def _transitions(process: BoardProcess, parts: Mapping[str, Any], written: NDArray[np.int64]) -> NDArray[np.float64]:
    """The middle of rising and falling transition of each comparator, on the ramp's scale, float64 (15,)."""
    thresholds = [float(process.control(f"output {i} {code}").split()[1]) for i, code in enumerate(written)]
    at = (np.array(thresholds) - np.array(parts["offset_volts"])) / (1.0 + np.array(parts["gain_error"]))
    bow = float(parts["dac_bow_volts"][DAC_CHANNELS - 1])
    nominal: NDArray[np.float64] = at.copy()
    for _ in range(4):  # the curvature is thousandths of a volt: each turn gains three digits
        fraction = nominal / REFERENCE_VOLTS
        nominal = at - 4 * bow * fraction * (1 - fraction)
    return nominal


def _no_hands(_: Setup) -> None:
    """Nothing has to be arranged for a board."""
