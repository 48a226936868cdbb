"""Readers of pictures: video files, animated GIFs, folders of images and webcams, each as one stream of pictures."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence, UnidentifiedImageError

from host.twin.frame import SceneError

# uint8 (height, width, 3) sRGB in OpenCV's BGR order, or float32 (height, width, 3) linear RGB.
Picture = NDArray[Any]
# When a picture is shown in its recording (seconds; None: unknown, count frames), and how to get it.
Shown = tuple[float | None, Callable[[], Picture]]

# What browsers do with a delay that a GIF leaves at 0 or 10 ms.
GIF_LEAST_DELAY_MS, GIF_DEFAULT_DELAY_MS = 20, 100
CAMERA_DEFAULT_FPS = 30.0
CAMERA_SILENCE_S = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A stream of pictures. `play` starts from the first one, each time that it is called (a live one just goes on).

    `count` is how many pictures `play` gives, None when there is no end.
    """

    play: Callable[[], Iterator[Shown]]
    fps: float
    count: int | None
    live: bool = False
    close: Callable[[], None] = field(default=lambda: None)


def open_video(path: Path) -> Source:
    """A video file through FFmpeg; at its own frame rate. Raises SceneError when it is not one or holds no frame."""
    reader = _video_reader(path)
    fps = float(reader.get(cv2.CAP_PROP_FPS))
    promised = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
    has_frame = reader.grab()
    reader.release()
    if not has_frame or not math.isfinite(fps) or fps <= 0:
        raise SceneError(f"{path} holds no readable frame: it may be damaged or cut off; try to play it elsewhere")
    count = promised if promised > 0 else None

    def play() -> Iterator[Shown]:
        video, shown = _video_reader(path), 0
        try:
            while video.grab():
                yield None, lambda: _retrieved(video, path)
                shown += 1
        finally:
            video.release()
        # Some containers only estimate their number of frames; a cut-off file misses more than that.
        if count is not None and shown < count - max(2, count // 100):
            raise SceneError(f"{path} ended after {shown} of {count} frames: the file is damaged or was cut off")

    return Source(play, fps, count)


def open_gif(path: Path) -> Source:
    """An animated GIF with each frame's own delay (`fps` is the median). Raises SceneError when it is not one."""
    try:
        with Image.open(path) as image:
            delays_ms = [_delay_ms(frame) for frame in ImageSequence.Iterator(image)]
    except (OSError, UnidentifiedImageError, EOFError, SyntaxError) as error:
        raise SceneError(f"{path} is not a readable GIF: {error}") from error
    starts_s = np.concatenate([[0.0], np.cumsum(delays_ms)]) / 1000

    def play() -> Iterator[Shown]:
        try:
            with Image.open(path) as image:
                for start_s, frame in zip(starts_s.tolist(), ImageSequence.Iterator(image), strict=False):
                    picture = np.asarray(frame.convert("RGB"))[:, :, ::-1]
                    yield start_s, lambda picture=picture: np.ascontiguousarray(picture)  # type: ignore[misc]
        except (OSError, EOFError, SyntaxError) as error:
            raise SceneError(f"{path} stopped being readable: {error}") from error

    return Source(play, 1000.0 / float(np.median(delays_ms)), len(delays_ms))


def open_folder(images: Sequence[Path], fps: float) -> Source:
    """Image files, one after another, `fps` a second; sizes may differ. Raises SceneError when one is unreadable."""
    _read_image(images[0])

    def play() -> Iterator[Shown]:
        for path in images:
            yield None, lambda path=path: _read_image(path)  # type: ignore[misc]

    return Source(play, fps, len(images))


def open_camera(number: int) -> Source:
    """Camera `number` of this computer, live. Raises SceneError where there is none, it is in use, or it stops."""
    device = Path(f"/dev/video{number}")
    if Path("/dev").is_dir() and not device.exists():
        raise SceneError(f'no camera {number}: {device} does not exist; plug one in, or play a file or "demo"')
    camera = cv2.VideoCapture(number)
    if not camera.isOpened() or not camera.grab():
        camera.release()
        raise SceneError(f"camera {number} gives no picture: it may be in use, or you may not be in the group 'video'")
    fps = float(camera.get(cv2.CAP_PROP_FPS))

    def play() -> Iterator[Shown]:
        heard_s = time.monotonic()
        while True:
            if camera.grab():
                heard_s = time.monotonic()
                yield None, lambda: _retrieved(camera, device)
            elif time.monotonic() - heard_s > CAMERA_SILENCE_S:
                raise SceneError(f"camera {number} gave no picture for {CAMERA_SILENCE_S:g} s: was it unplugged?")
            else:
                time.sleep(0.02)

    return Source(play, fps if fps > 0 else CAMERA_DEFAULT_FPS, None, live=True, close=camera.release)


def _video_reader(path: Path) -> cv2.VideoCapture:
    # One decoding thread: the other core convolves meanwhile.
    reader = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if not reader.isOpened():
        reader.release()
        missing = "" if path.exists() else " any more: it is gone"
        raise SceneError(f"{path} is not a readable video{missing or ' (nor a .gif, an image or a folder of images)'}")
    return reader


def _retrieved(reader: cv2.VideoCapture, path: Path) -> Picture:
    ok, picture = reader.retrieve()
    if not ok:
        raise SceneError(f"{path}: a frame cannot be decoded; the file is damaged")
    return picture


def _read_image(path: Path) -> Picture:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if picture is None:
        state = "is damaged or not an image" if path.is_file() else "is gone"
        raise SceneError(f"{path} {state}: a folder of images must stay readable while it plays")
    return picture


def _delay_ms(frame: Image.Image) -> float:
    delay_ms = float(frame.info.get("duration", 0))
    return delay_ms if delay_ms >= GIF_LEAST_DELAY_MS else float(GIF_DEFAULT_DELAY_MS)
