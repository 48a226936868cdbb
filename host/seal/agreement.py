"""How well a sealed bundle's model predicts codes: share of equal codes with the camera itself, on real photographs.

The camera is a twin whose mask, comparators and sensor are hidden, and whose light nobody has measured; its codes come
from the real firmware. They are compared with the design's prediction, with those of the sealed model, calibration by
calibration, and with what no model can beat by much: a second exposure of the same scene.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from host.board.client import BoardClient
from host.board.deadline import Deadline
from host.board.errors import DeadlineExceeded
from host.board.thresholds import thresholds_to_dac_codes
from host.seal.sealed_model import CodeModel, designed_model, light_of_white, predicted_codes, sealed_model
from host.seal.sealing import sealed_exposure, sealed_result, sealed_trims
from host.twin.bench import BenchError, make_bench
from host.twin.bench_psf import PointWorld
from host.twin.bench_range import LitScene
from host.twin.board_process import BoardProcess
from host.twin.feed import BoardFeed, Cells
from host.twin.sensor import REFERENCE_EXPOSURE_US, SensorModel
from host.twin.simulation import behind_mask, cell_volts, exposed, make_camera, workspace
from optics.bundle import Bundle
from optics.code_change import BOOTSTRAP_DRAWS, INTERVAL, Photograph

Codes = NDArray[np.uint8]
MEASURE_S = 10.0
# What is calibrated, in the order in which the table adds it; the last row is the sealed model.
PARTS = (("psf", "PSF and colours"), ("board", "board"), ("sensor", "sensor noise"))


@dataclass(frozen=True, eq=False)
class HiddenCamera:
    """A twin that only its codes tell about.

    kernels: float32 (3, h, w), the made mask's PSF of each colour and the colour's sensitivity. sensor: its pixels.
    board: arguments of BoardProcess. white: radiance of a white surface in the scene (1.0 fills the scale in 10 ms at
    gain 1). chart: what `calibrate range` looked at, behind the mask, float32 (3, rows, columns), white is 1.0; known
    to whoever calibrates, unlike the others. seed: of everything drawn while it measures.
    """

    kernels: NDArray[np.float32]
    sensor: SensorModel
    board: Mapping[str, Any]
    white: float
    chart: NDArray[np.float32]
    seed: int


@dataclass(frozen=True, slots=True)
class Share:
    """Cells with equal codes: share over all photographs, its 95 % interval (bootstrap over the photographs), and the
    share of each photograph."""

    name: str
    share: float
    low: float
    high: float
    per_image: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """rows: prediction against the twin, from nothing calibrated to everything; exposures: the limit, two exposures of
    the calibrated twin against each other. names: of the photographs. levels: distinct codes that the encoding has."""

    rows: tuple[Share, ...]
    exposures: Share
    names: tuple[str, ...]
    cells: int
    levels: int

    @property
    def before(self) -> Share:
        """Nothing calibrated."""
        return self.rows[0]

    @property
    def after(self) -> Share:
        """Everything calibrated."""
        return self.rows[-1]

    def as_json(self) -> dict[str, Any]:
        """Plain numbers."""

        def plain(row: Share) -> dict[str, Any]:
            return {"share_equal": row.share, "interval": [row.low, row.high], "per_image": list(row.per_image)}

        return {
            "before": plain(self.before),
            "after": plain(self.after),
            "two_exposures": plain(self.exposures),
            "steps": {row.name: plain(row) for row in self.rows},
            "photographs": list(self.names),
            "cells": self.cells,
            "effective_levels": self.levels,
        }


def agreement(
    sealed: Bundle,
    camera: HiddenCamera,
    photographs: Sequence[Photograph],
    progress: Callable[[int, int, str], None] = lambda *_: None,
) -> Agreement:
    """Predict and measure every photograph. progress(done, total, what).

    photographs: (name, linear light float32 (rows, columns, 3), 1.0 a white surface) of the bundle's plane. Before
    calibration the twin has even thresholds and the default exposure, and a white surface is taken to have radiance 1;
    afterwards the sealed trims and exposure. Raises BoardError, BoardProgramError, or ValueError for a bundle that the
    twin's board cannot measure.
    """
    if not photographs:
        raise ValueError("there are no photographs to compare codes on")
    nominal, exposure = (REFERENCE_EXPOSURE_US, 1.0), sealed_exposure(sealed) or (REFERENCE_EXPOSURE_US, 1.0)
    done: list[list[Codes]] = [[], [], [], []]
    total = 4 * len(photographs)
    ways: list[tuple[tuple[float, float], NDArray[np.int16] | None, str]] = [
        (nominal, None, "the twin before calibration"),
        (exposure, None, "the twin at its sealed exposure"),
        (exposure, sealed_trims(sealed), "the twin as sealed"),
        (exposure, sealed_trims(sealed), "the twin as sealed, once more"),
    ]
    for way, (used, trims, what) in enumerate(ways):
        rng = np.random.default_rng([camera.seed, way])
        with hidden_codes(sealed, camera, used, trims, rng) as measure:
            for number, (_, picture) in enumerate(photographs):
                progress(way * len(photographs) + number, total, what)
                done[way].append(measure(picture))
    progress(total, total, "predictions")
    pictures = [picture for _, picture in photographs]
    rows = [_share("nothing calibrated", done[0], [predicted_codes(designed_model(sealed), each) for each in pictures])]
    used_parts: set[str] = set()
    for part, name in (("range", "range"), *PARTS):
        used_parts.add(part)
        model = sealed_model(sealed, "twin", parts=frozenset(used_parts))
        white = measured_white(sealed, camera.chart, model)
        measured = done[2] if "board" in used_parts else done[1]
        predicted = [predicted_codes(model, each * np.float32(white)) for each in pictures]
        rows.append(_share(f"+ {name}", measured, predicted))
    return Agreement(
        tuple(rows),
        _share("two exposures", done[2], done[3]),
        tuple(name for name, _ in photographs),
        int(done[0][0].size),
        sealed.encoding.effective_levels,
    )


def measured_white(sealed: Bundle, chart: NDArray[np.float32], model: CodeModel) -> float:
    """Radiance of a white surface in the scene's light, as the sealed range and the chart that it saw give it; 1.0 for
    a bundle without a range."""
    found = sealed_result(sealed, "range")
    if not {"product_us", "saturated_share_target"} <= set(found):
        return 1.0
    at_chart = replace(model, light=float(found["product_us"]) / REFERENCE_EXPOSURE_US)
    return light_of_white(
        at_chart, chart, float(found["saturated_share_target"]), float(sealed.encoding.thresholds[-1])
    )


def hidden_camera(seed: int, bundle: Bundle | None = None) -> HiddenCamera:
    """The twin of a seed: mask and colours of `calibrate psf`, sensor of `calibrate sensor`, board of `calibrate
    board`, light of `calibrate range`. bundle: whose mask stands there, None: the default one's. Raises BenchError."""
    point, lit = (make_bench(kind, seed, None, bundle).world for kind in ("psf", "range"))
    if not isinstance(point, PointWorld) or not isinstance(lit, LitScene):
        raise BenchError(f"the twin of seed {seed} has no mask or no scene")
    kernels = (point.gains[:, np.newaxis, np.newaxis] * point.mask_psf).astype(np.float32)
    # The analog output: what the converter of the camera's twin adds is none of the board's.
    sensor = replace(make_bench("sensor", seed).sensor, bits=None, black_level_dn=0)
    return HiddenCamera(kernels, sensor, make_bench("board", seed).board, lit.level, lit.light, seed)


@contextmanager
def hidden_codes(
    bundle: Bundle,
    camera: HiddenCamera,
    exposure: tuple[float, float],
    trims: NDArray[np.int16] | None,
    rng: np.random.Generator,
) -> Iterator[Callable[[NDArray[np.float32]], Codes]]:
    """The camera's own codes of pictures, through its firmware: picture float32 (rows, columns, 3) to codes.

    The sensor's fixed pattern comes from the camera's seed (it is the same each time), the noise of exposures from
    `rng`; the board's comparators draw their own. Raises what BoardClient and BoardProcess raise.
    """
    encoding = bundle.encoding
    rows, columns = bundle.rows_px // encoding.pool, bundle.columns_px // encoding.pool
    made = np.random.default_rng([camera.seed, 0x5EA1])
    taps = camera.kernels[np.newaxis]
    optics = make_camera(encoding, bundle.rows_px, bundle.columns_px, camera.sensor, made, taps)
    work = workspace(optics)
    with BoardProcess(**camera.board) as board, BoardClient(board.pty) as client:
        client.connect()
        client.provision(encoding.id, thresholds_to_dac_codes(encoding.thresholds), trims)
        client.set_exposure(*exposure)
        client.arm(rows, columns, encoding.channels)
        feed = BoardFeed(board.frames_socket)
        if not feed.connect():
            raise DeadlineExceeded("connecting to the twin's side channel", 0.0)
        number = 0

        def measure(picture: NDArray[np.float32]) -> Codes:
            nonlocal number
            light = behind_mask(optics, picture * np.float32(camera.white))
            volts = cell_volts(optics, exposed(optics, light, *exposure, rng, work))
            deadline = Deadline(MEASURE_S, "measuring a picture")
            feed.send(Cells(number, number, number / 10, round(exposure[0]), exposure[1], volts))
            number += 1
            while (found := client.read_measurement(deadline.at_most_s(0.5))) is None:
                if deadline.expired:
                    raise DeadlineExceeded("measuring a picture", MEASURE_S)
            feed.reports()
            return found.codes

        try:
            yield measure
        finally:
            feed.disconnect()


def _share(name: str, measured: Sequence[Codes], predicted: Sequence[Codes]) -> Share:
    equal = np.array([np.mean(one == other) for one, other in zip(measured, predicted, strict=True)])
    rng = np.random.default_rng(0)
    low, high = 0.0, 1.0
    if len(equal) > 1:
        drawn = rng.integers(0, len(equal), (BOOTSTRAP_DRAWS, len(equal)))
        low, high = (float(each) for each in np.quantile(equal[drawn].mean(axis=1), INTERVAL))
    return Share(name, float(equal.mean()), low, high, tuple(float(each) for each in equal))
