"""The parts that a verification looks at: a sensor's own, or a twin's, which may have drifted since it was sealed."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Protocol

import numpy as np
from scipy.ndimage import gaussian_filter

from calibration.outcome import KINDS, Kind
from host.board.client import BoardClient
from host.board.thresholds import COMPARATORS
from host.boundary.rigs import twin_rig
from host.calibrate.acquire_board import board_rig
from host.calibrate.catalogue import CannotCalibrate, on_devices
from host.calibrate.procedure import Procedure
from host.calibrate.run import Session
from host.calibrate.sessions import RigSession
from host.config import Config
from host.twin.bench import Bench, BenchError, all_faults, make_bench
from host.twin.bench_board import inject
from host.twin.bench_psf import PointWorld
from host.twin.board_process import BoardProcess
from optics.bundle import Bundle

# What a twin's parts can do between sealing and verifying, besides the wrong set-ups of each calibration.
DRIFTS: dict[str, str] = {
    "board_drifted": "one comparator switches 6 mV from where it did",
    "psf_drifted": "the mask has come loose or got dusty: its PSF is wider than it was",
}
DRIFT_VOLTS, DRIFT_BLUR_PX = 6e-3, 1.3
# The noise of a verification is not that of the calibration, though the parts are the same.
NOISE_STREAM = 0x7E51


class Parts(Protocol):
    """What can be verified. arranges_itself: nobody has to be asked to arrange the bench."""

    arranges_itself: bool

    def board(self) -> AbstractContextManager[BoardClient]:
        """The board, connected. Raises BoardError."""

    def session(self, procedure: Procedure) -> AbstractContextManager[Session]:
        """A session for a calibration's steps. Raises SessionError."""


class DeviceParts:
    """The parts that a configuration names."""

    arranges_itself = False

    def __init__(self, bundle: Bundle, config: Config) -> None:
        self._bundle, self._config = bundle, config

    @contextmanager
    def board(self) -> Iterator[BoardClient]:
        """The board at the configured port."""
        if self._config.capture.port is None:
            raise CannotCalibrate("the bundle is sealed with a board, and none is named: give --board PORT")
        with BoardClient(self._config.capture.port) as client:
            client.connect()
            yield client

    @contextmanager
    def session(self, procedure: Procedure) -> Iterator[Session]:
        """The camera inside the boundary process."""
        with on_devices(procedure, self._bundle, self._config) as opened:
            yield opened.session


class TwinParts:
    """The simulated parts of a seed, as `canopic calibrate --path twin` made them; `fault`: what is wrong with them
    now. Their steps are acquired by this process: a twin has no frame that could leak."""

    arranges_itself = True

    def __init__(self, seed: int, fault: str | None = None, bundle: Bundle | None = None) -> None:
        """bundle: whose mask stands there, None: the default one's. Raises BenchError for a fault that no part
        knows."""
        self._seed, self._fault, self._bundle = seed, fault, bundle
        self._kinds: list[Kind] = []
        if fault is None or fault in DRIFTS:
            return
        known = all_faults()
        self._kinds = [kind for kind in KINDS if fault in known[kind]]
        if not self._kinds:
            names = sorted({*DRIFTS, *(name for names in known.values() for name in names)})
            raise BenchError(f"no part of a twin knows the fault {fault!r}; there are {', '.join(names)}")

    @contextmanager
    def board(self) -> Iterator[BoardClient]:
        """The simulated board."""
        bench = make_bench("board", self._seed, self._fault if "board" in self._kinds else None)
        with BoardProcess(**bench.board) as process, BoardClient(process.pty) as client:
            if "board" in self._kinds:
                inject(process, self._seed, self._fault)
            if self._fault == "board_drifted":
                offsets = json.loads(process.control("reveal"))["offset_volts"]
                drifted = int(np.random.default_rng(self._seed).integers(2, COMPARATORS - 2))
                process.control(f"offset {drifted} {offsets[drifted] + DRIFT_VOLTS}")
            client.connect()
            yield client

    @contextmanager
    def calibrating(self, procedure: Procedure, bundle: Bundle) -> Iterator[Session]:
        """A session for a whole calibration of these parts, a board's too."""
        if procedure.kind == "board":
            with self.board() as client:
                yield RigSession(procedure, board_rig(client, bundle), f"twin {self._seed}")
        else:
            with self.session(procedure) as session:
                yield session

    @contextmanager
    def session(self, procedure: Procedure) -> Iterator[Session]:
        """The simulated camera, with other noise than when it was calibrated."""
        fault = self._fault if procedure.kind in self._kinds else None
        bench = make_bench(procedure.kind, self._seed, fault, self._bundle)
        if self._fault == "psf_drifted" and isinstance(bench.world, PointWorld):
            wider = gaussian_filter(bench.world.mask_psf, (0, DRIFT_BLUR_PX, DRIFT_BLUR_PX))
            # Without what was drawn of the mask as it was.
            drifted = replace(bench.world, mask_psf=wider, _drawn={})
            bench = replace(bench, world=drifted, light=drifted, arrange=drifted.arrange)
        with twin_rig(_one_camera(bench, self._seed)) as rig:
            yield RigSession(procedure, rig, f"twin {self._seed}")


def _one_camera(bench: Bench, seed: int) -> Bench:
    """The bench with the seed's own sensor, the one that `calibrate sensor` measured, and fresh noise."""
    own = make_bench("sensor", seed)
    options = {**bench.camera_options, **own.camera_options, "seed": seed ^ NOISE_STREAM}
    return replace(bench, sensor=own.sensor, camera_options=options)
