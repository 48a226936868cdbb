"""The small classes of picamera2 and libcamera that its twin hands out: formats, transforms, requests, jobs."""

import re
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from host.twin.picamera import TwinPicamera2


class Transform:
    """libcamera.Transform: mirrored, upside down, or transposed."""

    def __init__(self, rotation: int = 0, hflip: bool = False, vflip: bool = False, transpose: bool = False) -> None:
        if rotation not in (0, 180):
            raise ValueError("Invalid rotation")
        turned = rotation == 180
        self.hflip, self.vflip, self.transpose = bool(hflip) != turned, bool(vflip) != turned, bool(transpose)

    def __repr__(self) -> str:
        return f"<twin Transform hflip={self.hflip} vflip={self.vflip} transpose={self.transpose}>"


class SensorFormat:
    """picamera2.sensor_format.SensorFormat: "SRGGB10_CSI2P" taken apart."""

    def __init__(self, fmt_string: str) -> None:
        pixels, _, packing = fmt_string.partition("_")
        self.packing = packing or None
        digits = re.search(r"\d+$", pixels)
        letters = re.search("[RGB]+", pixels)
        if letters is None or (digits is None and not packing.startswith("PISP_COMP")):
            raise AttributeError("'NoneType' object has no attribute 'group'")  # what picamera2 says to such a name
        self.bit_depth = int(digits.group()) if digits is not None and not packing.startswith("PISP_COMP") else 16
        self.bayer_order = letters.group()

    @property
    def unpacked(self) -> str:
        """The same without packing."""
        return f"{'' if self.mono else 'S'}{self.bayer_order}{self.bit_depth}"

    @property
    def format(self) -> str:
        """libcamera's name."""
        return f"{self.unpacked}{f'_{self.packing}' if self.packing else ''}"

    @property
    def mono(self) -> bool:
        """Whether there is no colour filter."""
        return self.bayer_order == "R"

    def __repr__(self) -> str:
        return self.format

    def transform(self, transform: Transform) -> None:
        """Mirror the order of the colours."""
        order = np.reshape(list(self.bayer_order), (2, 2))
        if transform.hflip:
            order = np.flip(order, 1)
        if transform.vflip:
            order = np.flip(order, 0)
        self.bayer_order = "".join(order.flatten())


class Job:
    """picamera2.job.Job: steps that the event loop tries at every frame until each is done.

    pump: how a simulated clock is moved on while somebody waits for the result; None on a real clock.
    """

    def __init__(
        self,
        functions: list[Callable[[], tuple[bool, Any]]],
        signal_function: Callable[["Job"], None] | None = None,
        pump: Callable[["Job", float | None], None] | None = None,
    ) -> None:
        self._functions = functions
        self._future: Future[Any] = Future()
        self._future.set_running_or_notify_cancel()
        self._signal_function = signal_function
        self._result: Any = None
        self._pump = pump
        self.calls = 0

    @property
    def done(self) -> bool:
        """Whether there is a result, an exception, or a cancellation (no part of picamera2's Job)."""
        return self._future.done()

    def execute(self) -> bool:
        """Try the steps; whether all are done."""
        try:
            while self._functions:
                finished, self._result = self._functions[0]()
                self.calls += 1
                if not finished:
                    break
                self._functions.pop(0)
        except Exception as error:  # noqa: BLE001 - the one who waits for the job gets it
            self._future.set_exception(error)
            self._functions = []
        return not self._functions

    def signal(self) -> None:
        """Tell who waits that it is finished."""
        if not self._future.done():
            self._future.set_result(self._result)
        if self._signal_function is not None:
            self._signal_function(self)

    def get_result(self, timeout: float | None = None) -> Any:
        """The result of the last step; TimeoutError after `timeout` seconds, for ever without one."""
        if self._pump is not None:
            self._pump(self, timeout)
        return self._future.result(timeout=None if self._pump is not None else timeout)

    def cancel(self) -> None:
        """Make whoever waits raise CancelledError. The job stays queued: cancel_all_and_flush takes it out."""
        self._future.set_exception(CancelledError())


class Buffer:
    """One frame buffer of the camera's memory: bytes of the raw and the main stream. It is not cleared in between."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self.bytes: dict[str, NDArray[np.uint8]] = {name: np.zeros(size, np.uint8) for name, size in sizes.items()}


class CompletedRequest:
    """picamera2.request.CompletedRequest: a frame that the camera has finished, to be released by whoever has it.

    The twin computes the picture when its buffer is first looked at: frames that are dropped cost nothing.
    """

    def __init__(
        self, picam2: "TwinPicamera2", buffer: Buffer, metadata: dict[str, Any], draw: Callable[[Buffer], None]
    ) -> None:
        self.request: Buffer | None = buffer
        self.ref_count = 1
        self.lock = picam2.request_lock
        self.picam2 = picam2
        self.stop_count = picam2.stop_count
        self.configure_count = picam2.configure_count
        self.config: dict[str, Any] = dict(picam2.camera_config)
        self._metadata = metadata
        self._draw: Callable[[Buffer], None] | None = draw
        self._draw_lock = threading.Lock()

    def acquire(self) -> None:
        """One more user."""
        with self.lock:
            if self.ref_count == 0:
                raise RuntimeError("CompletedRequest: acquiring lock with ref_count 0")
            self.ref_count += 1

    def release(self) -> None:
        """One user fewer; the last one gives the buffer back to the camera."""
        with self.lock:
            self.ref_count -= 1
            if self.ref_count < 0:
                raise RuntimeError("CompletedRequest: lock now has negative ref_count")
            if self.ref_count == 0:
                buffer, self.request, self.config = self.request, None, {}
                if buffer is not None and self.stop_count == self.picam2.stop_count:
                    self.picam2.requeue(buffer)

    def get_metadata(self) -> dict[str, Any]:
        """Metadata of this frame."""
        if self.request is None:
            raise AttributeError("'NoneType' object has no attribute 'metadata'")  # as picamera2, after the release
        return dict(self._metadata)

    def make_buffer(self, name: str) -> NDArray[np.uint8]:
        """Copy of a stream's bytes, uint8 (n,)."""
        if self.config.get(name) is None:
            raise RuntimeError(f"Stream {name!r} is not defined")
        with MappedArray(self, name, reshape=False, write=False) as mapped:
            return np.array(mapped.array, dtype=np.uint8)

    def make_array(self, name: str) -> NDArray[np.uint8]:
        """Copy of a stream as uint8 (rows, stride): for a raw stream bytes, not samples, and with its padding."""
        if self.config.get(name) is None:
            raise RuntimeError(f"Stream {name!r} is not defined")
        with MappedArray(self, name, write=False) as mapped:
            return np.array(mapped.array, dtype=np.uint8)

    def mapped(self, name: str) -> NDArray[np.uint8]:
        """The bytes themselves (no part of picamera2; MappedArray is)."""
        buffer = self.request
        if buffer is None:
            raise RuntimeError("failed to find buffer")
        with self._draw_lock:
            if self._draw is not None:
                draw, self._draw = self._draw, None
                draw(buffer)
        return buffer.bytes[name]


class MappedArray:
    """picamera2.MappedArray: a stream's own bytes, without a copy, for as long as the context lasts."""

    def __init__(self, request: CompletedRequest, stream: str, reshape: bool = True, write: bool = True) -> None:
        self._request, self._stream, self._reshape = request, stream, reshape
        self._write = write
        self._array: NDArray[np.uint8] | None = None

    def __enter__(self) -> "MappedArray":
        array = self._request.mapped(self._stream)
        if self._reshape:
            config = self._request.config[self._stream]
            width, height = config["size"]
            rows = height * 3 // 2 if config["format"] in ("YUV420", "YVU420") else height
            array = array.reshape(rows, config["stride"])
            colours = {"RGB888": 3, "BGR888": 3, "XBGR8888": 4, "XRGB8888": 4}.get(config["format"])
            if colours is not None:
                array = array[:, : colours * width].reshape(rows, width, colours)
        self._array = array
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._array = None

    @property
    def array(self) -> NDArray[np.uint8] | None:
        """uint8 (n,), or (rows, stride) where it was to be reshaped."""
        return self._array
