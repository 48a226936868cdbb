"""From a measurement to a decision: faces, presence, occupancy, and the exposure to ask for. No device, no file."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from host.board.assembly import BoardMeasurement
from host.config import Config
from host.exposure import ExposureConfig, ExposureController
from host.occupancy import Occupancy, OccupancyConfig, OccupancyState
from host.outputs.report import Event
from models.detector.runtime import FaceDetector
from models.presence import PresenceConfig, PresenceModel, PresenceStateError
from optics.encoding import Encoding

REFERENCE_EXPOSURE_US = 10_000  # at this exposure and gain 1, radiance 1 reaches full scale
LEAST_CHANGED_SHARE = 0.25  # of a face's cells
ROOM, OCCUPANCY = "room", "occupancy"


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What one measurement led to. `exposure`: (exposure_us, gain) to ask for now, None to leave it; `faces` float32
    (n, 4) x, y, width, height in sensor pixels; `stages_ms` where the time went."""

    count: int
    occupied: bool
    faces: NDArray[np.float32]
    present: bool
    room_known: bool
    events: Sequence[Event]
    exposure: tuple[int, float] | None
    stages_ms: Mapping[str, float]


class Pipeline:
    """The models of one sensor with what they have learned. Bounded memory: one room, one occupancy state."""

    def __init__(self, detector: FaceDetector, encoding: Encoding, config: Config, room_key: str | None = None) -> None:
        """`room_key`: what a stored room belongs to; by default the encoding's id."""
        self._detector = detector
        self._presence = None
        if config.presence.enabled:
            learning = PresenceConfig(absorb_s=config.presence.absorb_s, dark_hold_s=config.presence.dark_hold_s)
            self._presence = PresenceModel(encoding.thresholds, room_key or encoding.id, learning, encoding.pool)
        self._occupancy = Occupancy(
            OccupancyConfig(
                config.occupancy.smoothing_s,
                config.occupancy.arrived_hold_s,
                config.occupancy.left_hold_s,
                config.occupancy.count_hold_s,
            )
        )
        self._controller = None
        if config.exposure.mode == "auto":
            self._controller = ExposureController(
                encoding.thresholds, ExposureConfig(mains_hz=config.exposure.mains_hz)
            )
        # What the board is told when it is armed (again): the last exposure asked for.
        self.exposure: tuple[int, float] = (config.exposure.exposure_us, config.exposure.gain)

    def decide(self, measured: BoardMeasurement, time_s: float) -> Decision:
        """Decide on one measurement; `time_s` is the scene's clock. Raises ValueError or TypeError for bad codes."""
        marks = [time.perf_counter()]
        faces = self._detector.detect(measured.codes).boxes
        marks.append(time.perf_counter())
        scale = measured.exposure_us * measured.gain / REFERENCE_EXPOSURE_US
        presence = None
        if self._presence is not None:
            if self._presence.room is not None:
                faces = faces[in_change(faces, self._presence.room.evidence > 0, self._presence.cell_px)]
            presence = self._presence.update(measured.codes, scale, faces, time_s, measured.gain)
        marks.append(time.perf_counter())
        completed = self._occupancy.update(time_s, len(faces), presence is not None and presence.present)
        marks.append(time.perf_counter())
        request = None
        if self._controller is not None:
            request = self._controller.update(measured.codes, measured.exposure_us, measured.gain)
        if request is not None:
            self.exposure = request
        marks.append(time.perf_counter())
        names = ("detector", "presence", "occupancy", "exposure")
        return Decision(
            count=self._occupancy.state.count,
            occupied=self._occupancy.state.occupied,
            faces=faces,
            present=presence.present if presence else len(faces) > 0,
            room_known=presence is not None and presence.learned,
            events=[Event(e.event, e.time_s, {"count": e.count, "since": round(e.since_s, 6)}) for e in completed],
            exposure=request,
            stages_ms={name: (b - a) * 1000 for name, a, b in zip(names, marks, marks[1:], strict=False)},
        )

    @property
    def undecided(self) -> bool:
        """Whether something has begun that may become an event: then the state is worth storing often."""
        state = self._occupancy.state
        return state.occupied_since_s is not None or state.count_since_s is not None

    def small_state(self) -> dict[str, bytes]:
        """What has to be stored with every event: the occupancy's state."""
        return {OCCUPANCY: json.dumps(self._occupancy.state.to_dict()).encode()}

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
        if OCCUPANCY in stored:
            try:
                self._occupancy.state = OccupancyState.from_dict(json.loads(stored[OCCUPANCY]))
            except (ValueError, TypeError, AttributeError) as error:
                notices.append(f"the stored occupancy was not used: {error}")
        return notices


def in_change(boxes: NDArray[np.float32], changed: NDArray[np.bool_], cell_px: float) -> NDArray[np.bool_]:
    """Which boxes float32 (n, 4), x, y, width, height in sensor pixels, lie in change: bool (n,).

    `changed` bool (rows, columns): cells of `cell_px` that differ from the empty room, or moved while it was not known.
    A face on a poster, or a motorcycle that looks like one, is part of the room; it must neither count nor keep its
    place from being learned.
    """
    rows, columns = changed.shape
    inside = np.zeros(len(boxes), dtype=bool)
    for index, (x, y, width, height) in enumerate(np.asarray(boxes, dtype=np.float64) / cell_px):
        top, bottom = (int(np.clip(edge, 0, rows)) for edge in (np.floor(y), np.ceil(y + height)))
        left, right = (int(np.clip(edge, 0, columns)) for edge in (np.floor(x), np.ceil(x + width)))
        cells = changed[top:bottom, left:right]
        inside[index] = cells.size > 0 and cells.mean() >= LEAST_CHANGED_SHARE
    return inside
