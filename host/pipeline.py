"""From a measurement to a decision: faces, presence, occupancy, and the exposure to ask for. No device, no file."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from host.board.assembly import BoardMeasurement
from host.config import Config
from host.exposure import ExposureConfig, ExposureController
from host.outputs.report import Event
from models.detector.runtime import FaceDetector
from models.presence import PresenceModel, PresenceStateError
from optics.encoding import Encoding

from host.occupancy import Occupancy

REFERENCE_EXPOSURE_US = 10_000  # at this exposure and gain 1, radiance 1 reaches full scale
ROOM, OCCUPANCY = "room", "occupancy"


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What one measurement led to. `exposure`: (exposure_us, gain) to ask for now, None to leave it; `faces` float32
    (n, 4) x, y, width, height in sensor pixels; `stages_ms` where the time went."""

    count: int
    occupied: bool
    faces: NDArray[np.float32]
    present: bool
    events: Sequence[Event]
    exposure: tuple[int, float] | None
    stages_ms: Mapping[str, float]


class Pipeline:
    """The models of one sensor with what they have learned. Bounded memory: one room, one occupancy state."""

    def __init__(self, detector: FaceDetector, encoding: Encoding, config: Config) -> None:
        self._detector = detector
        self._presence = (
            PresenceModel(encoding.thresholds, encoding.id, pool=encoding.pool) if config.presence.enabled else None
        )
        self._occupancy = Occupancy()
        self._controller = None
        if config.exposure.mode == "auto":
            self._controller = ExposureController(
                encoding.thresholds, ExposureConfig(mains_hz=config.exposure.mains_hz)
            )
        # What the board is told when it is armed (again): the last exposure asked for.
        self.exposure: tuple[int, float] = (config.exposure.exposure_us, config.exposure.gain)

    def decide(self, measured: BoardMeasurement, time_s: float, new_stream: bool = False) -> Decision:
        """Decide on one measurement. `time_s` is the scene's clock; `new_stream`: it began anew with this measurement.

        Raises ValueError or TypeError for codes that cannot be used.
        """
        marks = [time.perf_counter()]
        faces = self._detector.detect(measured.codes)
        marks.append(time.perf_counter())
        scale = measured.exposure_us * measured.gain / REFERENCE_EXPOSURE_US
        presence = None
        if self._presence is not None:
            presence = self._presence.update(measured.codes, scale, faces.boxes, time_s, measured.gain)
        marks.append(time.perf_counter())
        occupancy = self._occupancy.update(len(faces), presence.present if presence else False, time_s)
        marks.append(time.perf_counter())
        request = None
        if self._controller is not None:
            request = self._controller.update(measured.codes, measured.exposure_us, measured.gain)
        if request is not None:
            self.exposure = request
        marks.append(time.perf_counter())
        names = ("detector", "presence", "occupancy", "exposure")
        return Decision(
            count=occupancy.count,
            occupied=occupancy.occupied,
            faces=faces.boxes,
            present=presence.present if presence else len(faces) > 0,
            events=occupancy.events,
            exposure=request,
            stages_ms={name: (b - a) * 1000 for name, a, b in zip(names, marks, marks[1:], strict=False)},
        )

    def small_state(self) -> dict[str, bytes]:
        """What has to be stored with every event: the occupancy's state."""
        return {OCCUPANCY: self._occupancy.to_bytes()}

    def room_state(self) -> dict[str, bytes]:
        """The learned room: large, and stored rarely."""
        return {ROOM: self._presence.to_bytes()} if self._presence is not None else {}

    def restore(self, stored: Mapping[str, bytes]) -> list[str]:
        """Take over stored state; what cannot be used is learned again, and said in the notices returned."""
        notices = []
        if self._presence is not None and ROOM in stored:
            try:
                self._presence.load(stored[ROOM])
            except PresenceStateError as error:
                notices.append(str(error))
        return notices
