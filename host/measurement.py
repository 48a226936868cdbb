"""A measurement: the codes of one frame and where each of its steps happened. The only image data the daemon sees."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

CapturePath = Literal["board", "camera", "loop", "twin"]
RehearsedPath = Literal["camera", "loop"]
Step = Literal["optical", "analog", "digital", "simulated"]

# Where each step of the signal chain happens on each capture path: (convolution, pooling, thresholds).
STEPS: dict[CapturePath, tuple[Step, Step, Step]] = {
    "board": ("optical", "analog", "analog"),
    "camera": ("optical", "digital", "digital"),
    "loop": ("optical", "digital", "analog"),
    "twin": ("simulated", "simulated", "simulated"),
}


def steps_of(path: CapturePath) -> dict[str, Step]:
    """Where each step happens on a path, by its name."""
    return dict(zip(("convolution", "pooling", "thresholds"), STEPS[path], strict=True))


@dataclass(frozen=True, slots=True)
class KernelUse:
    """The kernel that a twin simulates in place of its bundle's: what a run says about it.

    file: its name. digest: 12 hexadecimal digits over its taps. light: share of the light that each kernel passes, by
    filter and colour. correlation: with the bundle's kernels, for which thresholds and detector were made, mean over
    filters and colours.
    """

    file: str
    digest: str
    light: tuple[float, ...]
    correlation: float


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where, when and with what one measurement was made.

    `rehearsed_path` names the path whose drivers ran on a twin in place of its parts: the steps stay simulated, it is
    None otherwise. On path camera, where there is no board, `board_serial` is the camera's name, `firmware` its driver,
    `thresholds_digest` that of the thresholds applied inside the boundary process, and `boot_id` that process' own.
    `encoding_id` is the full hexadecimal id of the bundle's encoding, to which thresholds and detector belong;
    `simulated_kernel` is None where the convolution was that encoding's, else FILE:DIGEST of the kernel that the twin
    simulated instead, so that the codes are not quite those of `encoding_id`; `thresholds_digest` the CRC-32 (8
    hexadecimal digits) of the 15 DAC codes that the board read back; `boot_id` changes with every start of the board;
    `board_sequence` counts measurements since the board was armed, without gaps; `frame` counts the sensor's frames, so
    a gap is a frame that was not measured; `capture_time_s` is on the clock of the scene (a recording) or of the board
    (seconds since it started).
    """

    capture_path: CapturePath
    encoding_id: str
    board_serial: str
    firmware: str
    thresholds_digest: str
    boot_id: int
    board_sequence: int
    frame: int
    capture_time_s: float
    exposure_us: int
    gain: float
    monotonic_s: float
    wall_time_s: float
    simulated_kernel: str | None = None
    rehearsed_path: RehearsedPath | None = None

    @property
    def steps(self) -> dict[str, Step]:
        """Where convolution, pooling and thresholds happened: every privacy claim is derived from this."""
        return steps_of(self.capture_path)


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """Codes uint8 (rows, columns, channels), each 0..15, with their provenance."""

    codes: NDArray[np.uint8]
    provenance: Provenance
