"""What the board looks at: a twin that this process starts, or a board (or a served twin) on a given port."""

from dataclasses import dataclass
from pathlib import Path

from host.config import Capture
from host.measurement import KernelUse
from host.twin.player import Twin, TwinError


@dataclass
class Source:
    """A serial port and what is known about the scene behind it. `twin` is None for a board that is simply there."""

    port: str
    description: str
    twin: Twin | None = None

    @property
    def live(self) -> bool:
        """Whether the scene's clock is the wall's."""
        return self.twin is None or self.twin.live

    @property
    def finished(self) -> bool:
        """Whether no further frame will come."""
        return self.twin is not None and self.twin.finished

    @property
    def frames(self) -> int | None:
        """How many frames the scene had, once it is finished."""
        return self.twin.frames if self.twin is not None and self.twin.finished else None

    @property
    def dropped(self) -> int:
        """Frames that were not measured in time (pace realtime), as last reported."""
        return self.twin.status.dropped if self.twin is not None else 0

    @property
    def kernel(self) -> KernelUse | None:
        """What the twin simulates in place of the bundle's kernel, None where it does not."""
        return self.twin.kernel if self.twin is not None else None

    @property
    def failure(self) -> str | None:
        """Why the scene cannot go on, None while all is well."""
        return self.twin.failure if self.twin is not None else None

    def again_from(self, frame: int) -> None:
        """Ask for the frames from `frame` on once more, after a board lost what it had measured."""
        if self.twin is not None and self.twin.failure is None:
            self.twin.rewind(frame)

    def close(self) -> None:
        if self.twin is not None:
            self.twin.close()


def open_source(capture: Capture, bundle_path: Path) -> Source:
    """Start the twin, or name the board's port. Raises SceneError, TwinError or ValueError for an impossible scene."""
    if capture.path == "board" and capture.port is not None:
        return Source(capture.port, f"board on {capture.port}")
    light = tuple((at_s, factor) for at_s, factor in capture.light)
    twin = Twin(capture.scene, bundle_path, pace=capture.pace, seed=capture.seed, light=light, kernel=capture.kernel)
    twin.start()
    if twin.pty is None:
        raise TwinError("the twin has no serial port")
    return Source(str(twin.pty), f"twin, scene {Path(capture.scene).name}, {capture.pace}", twin)
