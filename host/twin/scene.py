"""Scenes for the twin: what the camera looks at, named by one string and played as frames of linear light.

"demo" is the built-in scene (host/twin/demo.py), "camera:N" is camera N of this computer, and anything else is the path
of a video, an animated GIF, an image or a folder of images.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from host.twin import demo
from host.twin.frame import Frame, SceneError
from host.twin.media import Picture, Source, open_camera, open_folder, open_gif, open_video
from host.twin.radiance import fit, linearize, rgb_from_bgr

SceneKind = Literal["demo", "camera", "folder", "gif", "video"]
Light = Sequence[tuple[float, float]]

ACCEPTED = (
    '"demo" (built in), "camera:N", a video file (.mp4, .avi, .mkv, .mov, .webm, ...), an animated .gif, '
    "an image, or a folder of images"
)
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
DEFAULT_FOLDER_FPS = 10.0


@dataclass(frozen=True, slots=True)
class SceneSpec:
    """What to play and how. `parse_scene` makes one from text and checks it.

    fps: frames per second; None takes the recording's own (10 for a folder). `start_s`: where a recording begins to
    play; frame indices and times still count from its own beginning. `loop`: begin again at its end, without end.
    `light`: steps in light, ascending (time_s, factor): from time_s on the radiance is multiplied by factor.
    """

    text: str
    kind: SceneKind
    camera: int = 0
    fps: float | None = None
    start_s: float = 0.0
    loop: bool = False
    light: tuple[tuple[float, float], ...] = ()


def parse_scene(
    text: str, *, fps: float | None = None, start_s: float = 0.0, loop: bool = False, light: Light = ()
) -> SceneSpec:
    """The scene that `text` names (see the top of this file), not opened yet. Raises SceneError for what is none."""
    if fps is not None and not 0 < fps <= 1000:
        raise SceneError(f"fps must be above 0 and at most 1000, got {fps}")
    if start_s < 0:
        raise SceneError(f"start must be 0 s or later, got {start_s} s")
    steps = tuple((float(at_s), float(factor)) for at_s, factor in light)
    if any(factor < 0 for _, factor in steps) or sorted(steps) != list(steps):
        raise SceneError(f"a light schedule has ascending times and factors of 0 or more, got {steps}")
    kind, camera = _kind_of(text)
    if kind == "camera" and (start_s or loop):
        raise SceneError(f"{text}: a camera is live: it has no start and no loop")
    return SceneSpec(text, kind, camera, fps, start_s, loop, steps)


class Scene:
    """An opened scene: iterate it once for its frames; a context manager that closes what it reads from.

    `fps`: nominal frames per second; `frame_count`: how many frames it will give, None when unknown or endless;
    `live`: its clock is the wall's, not a recording's.
    """

    def __init__(self, spec: SceneSpec, source: Source, rows_px: int, columns_px: int) -> None:
        self._spec, self._source = spec, source
        self._rows_px, self._columns_px = rows_px, columns_px
        self.live = source.live
        self.fps = spec.fps if spec.fps is not None and not source.live else source.fps
        self._skip = round(spec.start_s * self.fps)
        self.frame_count = None if spec.loop or source.count is None else max(0, source.count - self._skip)
        if self.frame_count == 0:
            raise SceneError(f"{spec.text}: starts at {spec.start_s:g} s, but has only {source.count} frames")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file or camera. Can be called again."""
        self._source.close()

    def __iter__(self) -> Iterator[Frame]:
        return self.frames(lambda _index, _time_s: True)

    def frames(self, wanted: Callable[[int, float], bool]) -> Iterator[Frame]:
        """The frames for which `wanted(index, time_s)` is true; the others are passed over without being decoded."""
        for index, time_s, read in self._pictures():
            if wanted(index, time_s):
                radiance = fit(_linear(read()), self._rows_px, self._columns_px)
                factor = light_factor(self._spec.light, time_s)
                yield Frame(index, time_s, radiance if factor == 1.0 else radiance * np.float32(factor))

    def _pictures(self) -> Iterator[tuple[int, float, Callable[[], Picture]]]:
        index, began_s, lap_s = 0, time.monotonic(), 0.0
        while True:
            shown = 0
            end_s = 0.0
            for stamp_s, read in self._source.play():
                local_s = stamp_s if self._spec.fps is None and stamp_s is not None else shown / self.fps
                end_s = local_s + 1 / self.fps
                if shown >= self._skip or index > shown:
                    yield index, time.monotonic() - began_s if self.live else lap_s + local_s, read
                shown += 1
                index += 1
            if not self._spec.loop or not shown:
                return
            lap_s += end_s


def open_scene(scene: str | SceneSpec, rows_px: int = 480, columns_px: int = 640) -> Scene:
    """Open a scene for a sensor plane of rows_px x columns_px pixels. Raises SceneError; it says what is accepted."""
    spec = parse_scene(scene) if isinstance(scene, str) else scene
    path = Path(spec.text)
    match spec.kind:
        case "demo":
            source = demo.open_demo()
        case "camera":
            source = open_camera(spec.camera)
        case "folder":
            source = open_folder(_images(path), spec.fps or DEFAULT_FOLDER_FPS)
        case "gif":
            source = open_gif(path)
        case "video":
            source = open_video(path)
    return Scene(spec, source, rows_px, columns_px)


def light_factor(light: Light, time_s: float) -> float:
    """Factor of a light schedule at time_s: that of the last step at or before it, 1.0 before the first."""
    factor = 1.0
    for at_s, value in light:
        if at_s > time_s:
            break
        factor = value
    return factor


def _linear(picture: Picture) -> NDArray[np.float32]:
    return linearize(rgb_from_bgr(picture)) if picture.dtype == np.uint8 else picture


def _kind_of(text: str) -> tuple[SceneKind, int]:
    if text == "demo":
        return "demo", 0
    if text.startswith("camera:"):
        number = text.removeprefix("camera:")
        if not number.isascii() or not number.isdigit():
            raise SceneError(f'"{text}": a camera is named by its number, as in "camera:0"')
        return "camera", int(number)
    path = Path(text)
    if not text or not path.exists():
        raise SceneError(f'no scene "{text}": there is no such file or folder; accepted are {ACCEPTED}')
    if path.is_dir():
        return "folder", 0
    if not path.stat().st_size:
        raise SceneError(f"{text} is empty; accepted are {ACCEPTED}")
    if path.suffix.lower() == ".gif":
        return "gif", 0
    return ("folder" if path.suffix.lower() in IMAGE_SUFFIXES else "video"), 0


def _images(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    images = sorted((p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES), key=_by_number)
    if not images:
        raise SceneError(f"{path} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); accepted are {ACCEPTED}")
    return images


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sorts names by the value of the numbers in them: frame 2 before frame 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]
