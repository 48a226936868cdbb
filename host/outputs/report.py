"""What the daemon reports and what an output is: readings, events and the sensor's standing. No frame, only codes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from host.measurement import KernelUse, Measurement

State = Literal["starting", "verifying", "sensing", "blind"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at `time_s` on the scene's clock (recording) or in Unix time (live)."""

    kind: str
    time_s: float
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One measurement and what was decided from it.

    `sequence` counts from 0 without gaps; `count` people; `faces` float32 (n, 4) x, y, width, height in pixels of the
    sensor plane; `latency_ms` as documented in docs/configuration.md, None where the capture path cannot know it;
    `stages_ms` where the host's time went.
    """

    sequence: int
    time_s: float
    count: int
    occupied: bool
    measurement: Measurement
    faces: NDArray[np.float32]
    present: bool
    latency_ms: float | None
    stages_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class About:
    """What is running: stays the same from start to stop. `kernel`: what a twin simulates in place of the bundle's.
    `warnings`: what is allowed, but not well; each is an event at the start."""

    bundle_name: str
    bundle_id: str
    encoding_id: str
    effective_levels: int
    rows_px: int
    columns_px: int
    capture_path: str
    source: str
    state_directory: str
    kernel: KernelUse | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """The sensor's state now. `reason` is why it is blind; `storage_problem` what cannot be written."""

    state: State
    reason: str | None = None
    advice: str | None = None
    storage_problem: str | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """The run in numbers, reported once when it ends. `frames` is None where the scene does not tell."""

    measurements: int
    frames: int | None
    unmeasured: int
    duration_s: float
    events: Mapping[str, int]
    occupied_share: float
    frames_per_second: float
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    state: State
    reason: str | None
    why_stopped: str
    failed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class Output(Protocol):
    """Where reports go. Must not raise for a reader that went away: `wanted` says whether it still has one."""

    @property
    def wanted(self) -> bool: ...

    def start(self, about: About) -> None: ...

    def standing(self, standing: Standing) -> None: ...

    def progress(self, text: str) -> None: ...

    def reading(self, reading: Reading) -> None: ...

    def event(self, event: Event) -> None: ...

    def close(self, summary: Summary) -> None: ...
