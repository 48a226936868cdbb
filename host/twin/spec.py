"""What a twin is told to be: one value that crosses from the caller's process into the twin's, as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from host.twin.scene import SceneSpec, parse_scene
from host.twin.sensor import SensorModel

Pace = Literal["realtime", "fast"]


@dataclass(frozen=True, slots=True)
class TwinSpec:
    """A scene, the camera that looks at it and the board that measures it.

    scene, fps, start_s, loop, light: see `host.twin.scene.SceneSpec`. bundle: a path or a shipped bundle's name.
    kernel: a file whose kernels take the place of the bundle's (see `host.twin.kernel`). pace: "realtime" drops what is
    not measured in time, "fast" waits. offset_volts, noise_volts: standard deviations of the comparators' offsets
    (fixed) and noise (each look); the defaults are typical of a quad comparator after trimming (before, offsets are
    some millivolts). board: arguments of BoardProcess that take the place of those above, for a board made otherwise
    (its serial too).
    pty: where the serial port's symlink goes, None for a private place. Raises SceneError or ValueError for what cannot
    be.
    """

    scene: str
    bundle: str = "default"
    pace: Pace = "fast"
    seed: int = 0
    fps: float | None = None
    start_s: float = 0.0
    loop: bool = False
    light: tuple[tuple[float, float], ...] = ()
    kernel: str | None = None
    sensor: SensorModel = field(default_factory=SensorModel)
    offset_volts: float = 0.001
    noise_volts: float = 0.0005
    serial: str = "TWIN-0001"
    board: Mapping[str, Any] = field(default_factory=dict)
    pty: str | None = None

    def __post_init__(self) -> None:
        if self.pace not in get_args(Pace):
            raise ValueError(f'pace must be "realtime" or "fast", got {self.pace!r}')
        if self.seed < 0 or self.offset_volts < 0 or self.noise_volts < 0:
            raise ValueError("seed, offset_volts and noise_volts must be 0 or more")
        self.parsed_scene()

    def parsed_scene(self) -> SceneSpec:
        """The scene with its options. Raises SceneError."""
        return parse_scene(self.scene, fps=self.fps, start_s=self.start_s, loop=self.loop, light=self.light)


def spec_to_json(spec: TwinSpec) -> str:
    """One line of JSON."""
    return json.dumps(asdict(spec))


def spec_from_json(text: str) -> TwinSpec:
    """The spec that `spec_to_json` wrote. Raises what TwinSpec raises."""
    values = json.loads(text)
    values["sensor"] = SensorModel(**values["sensor"])
    values["light"] = tuple((at_s, factor) for at_s, factor in values["light"])
    return TwinSpec(**values)
