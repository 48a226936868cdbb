"""What the tests of the whole twin share: a small bundle, a small scene, and a host that reads the real board."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from host.board.assembly import BoardMeasurement
from host.board.client import BoardClient
from host.board.deadline import Deadline
from host.board.errors import BoardError, NotConnected
from host.board.thresholds import thresholds_to_dac_codes
from host.twin.player import Twin
from optics.bundle import Bundle, write_bundle
from optics.encoding import Encoding

ROWS_PX, COLUMNS_PX = 48, 64
THRESHOLDS = np.linspace(0.05, 0.95, 15, dtype=np.float32)


def small_encoding() -> Encoding:
    return Encoding(np.full((1, 3, 3), 1 / 9, np.float32), THRESHOLDS)


def write_small_bundle(folder: Path) -> Path:
    path = folder / "small.canopic"
    write_bundle(Bundle(small_encoding(), rows_px=ROWS_PX, columns_px=COLUMNS_PX), path)
    return path


def write_pictures(folder: Path, count: int) -> Path:
    """A folder of noise pictures, each brighter than the one before."""
    path = folder / "pictures"
    path.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        picture = rng.integers(0, 40, (ROWS_PX, COLUMNS_PX, 3)) + 200 * index // count
        Image.fromarray(picture.astype(np.uint8)).save(path / f"{index:04d}.png")
    return path


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for a condition; fail where it does not come true in time."""
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it did not come true in time"
        time.sleep(0.005)


class Host(threading.Thread):
    """Reads every measurement of a twin, as a daemon does: after a loss it rewinds the twin and resumes the board."""

    def __init__(
        self,
        twin: Twin,
        rows: int,
        columns: int,
        thresholds: np.ndarray,
        encoding_id: str,
        exposure: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(daemon=True)
        self.twin = twin
        self.measurements: list[BoardMeasurement] = []
        self.losses = 0
        self.failure: BaseException | None = None
        self._stopping = threading.Event()
        self._client = BoardClient(str(twin.pty))
        self._client.connect(Deadline(10, "connecting"))
        self._client.provision(encoding_id, thresholds_to_dac_codes(thresholds), deadline=Deadline(10, "provisioning"))
        if exposure is not None:
            self._client.set_exposure(*exposure, Deadline(10, "setting the exposure"))
        self._client.arm(rows, columns, 3, deadline=Deadline(10, "arming"))
        self.start()

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._read()
                except BoardError:
                    self.losses += 1
                    self._drain()
                    self.twin.rewind(self.measurements[-1].frame + 1 if self.measurements else 0)
                    self._client.resume(Deadline(20, "resuming"))
            self._client.close()
        except (BoardError, AssertionError) as error:
            self.failure = error

    def stop(self) -> None:
        self._stopping.set()
        self.join(20)
        if self.failure is not None:
            raise self.failure

    def _read(self) -> None:
        measurement = self._client.read_measurement(0.1)
        if measurement is not None:
            self.measurements.append(measurement)

    def _drain(self) -> None:
        try:
            while True:
                self._read()
        except NotConnected:
            return
