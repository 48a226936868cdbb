"""Counts in two recordings that training never sees: two people in a corridor, and a room with people from behind."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.detector.archives import DataMissingError, Photograph, file_digest
from models.detector.batches import exposed_codes, subtracts
from models.detector.metrics import wilson_interval
from models.detector.runtime import FaceDetector
from models.detector.scenes import fitted
from optics.encoding import Encoding, pooled
from optics.exposure import steady_exposure

CORRIDOR = "corridor_two_people.gif"
CORRIDOR_PEOPLE = 2
ROOM = "occupancy_room.mp4"
ROOM_COUNTS = "occupancy_room_counts.csv"


def clips_present(data: Path) -> bool:
    """Whether folder `data` holds both recordings and the counts."""
    return all((data / name).is_file() for name in (CORRIDOR, ROOM, ROOM_COUNTS))


def frames_of(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Frames of a recording, sRGB uint8 (height, width, 3). Raises DataMissingError when it cannot be opened."""
    recording = cv2.VideoCapture(str(path))
    if not recording.isOpened():
        raise DataMissingError(
            f"{path} is missing or cannot be decoded. Give the folder that holds it (option --data)."
        )
    try:
        while True:
            more, frame = recording.read()
            if not more:
                return
            yield np.ascontiguousarray(frame[:, :, ::-1])
    finally:
        recording.release()


def steady_codes(image: NDArray[np.uint8], encoding: Encoding, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Codes of one frame fitted to the plane, at its steady exposure, with the noise of training."""
    frame = Photograph("frame", image, np.zeros((0, 4), np.float32), np.zeros(0, np.bool_))
    radiance = fitted(frame, continued=subtracts(encoding)).radiance
    cells = pooled(radiance, encoding, threads=1)
    exposure = 1.0 if encoding.range == "per_frame" else steady_exposure(cells, encoding.thresholds)
    return exposed_codes(cells, exposure, encoding, rng, float(radiance.mean()))


def clip_report(data: Path, encoding: Encoding, detector: FaceDetector, every: int = 5) -> dict[str, Any]:
    """Counts in the corridor (every frame) and false faces in the room (every `every`-th frame), as a JSON object.

    Every frame is judged by itself, exposed by itself: no smoothing and no exposure control. "data_sha256" names the
    files.
    """
    rng = np.random.default_rng(0)
    corridor = [len(detector.detect(steady_codes(one, encoding, rng))) for one in frames_of(data / CORRIDOR)]
    with (data / ROOM_COUNTS).open(newline="") as file:
        truth = [(int(row["people"]), row["uncertain"] == "1") for row in csv.DictReader(file)]
    empty: list[int] = []
    occupied: list[int] = []
    for index, image in enumerate(frames_of(data / ROOM)):
        people, uncertain = truth[index]
        if index % every == 0 and not uncertain:
            (occupied if people else empty).append(len(detector.detect(steady_codes(image, encoding, rng))))
    return {
        "data_sha256": {name: file_digest(data / name) for name in (CORRIDOR, ROOM, ROOM_COUNTS)},
        "corridor": {"counts": corridor} | _share("exactly_two", [count == CORRIDOR_PEOPLE for count in corridor]),
        "room_empty": _faces(empty),
        "room_occupied": _faces(occupied),
    }


def _faces(counts: list[int]) -> dict[str, Any]:
    return {"faces_per_frame": float(np.mean(counts))} | _share("with_a_face", [count > 0 for count in counts])


def _share(name: str, hits: list[bool]) -> dict[str, Any]:
    return {
        name: sum(hits),
        "frames": len(hits),
        f"{name}_share": sum(hits) / max(1, len(hits)),
        f"{name}_share_95": list(wilson_interval(sum(hits), len(hits))),
    }
