"""A scene as the camera's twin sees it: played on the sensor's clock, through the bundle's kernel or another one."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from host.measurement import KernelUse
from host.twin.frame import Frame, SceneError
from host.twin.kernel import KernelError, kernel_use, load_kernel
from host.twin.scene import Scene
from optics.bundle import Bundle
from optics.encoding import THROUGHPUT_TOLERANCE, convolve_planes, convolve_psf


class SceneWorld:
    """Light behind the mask while a scene plays (host.twin.bench.World).

    A frame of the scene lies on the sensor for one of its periods. Until `begin` the first one stands still, so that no
    frame of a recording is lost while the camera settles.
    """

    def __init__(self, scene: Scene, bundle: Bundle, kernel: str | None = None, first: int = 0) -> None:
        """scene: opened for the bundle's plane. kernel: a file whose kernel acts in place of the bundle's. first: index
        of the frame to begin with. Raises KernelError."""
        self.rows_px, self.columns_px = bundle.rows_px, bundle.columns_px
        self.kernel: KernelUse | None = None
        self._taps: NDArray[np.float32] | None = None
        self._encoding = bundle.encoding
        if kernel is not None:
            loaded = load_kernel(kernel, bundle.encoding.filters, (bundle.rows_px, bundle.columns_px))
            light = loaded.taps.sum(axis=(-2, -1), dtype=np.float64)
            if loaded.taps.min() < 0 or light.max() > 1 + THROUGHPUT_TOLERANCE:
                raise KernelError(
                    f"{kernel}: one mask in front of one camera takes no light away and adds none, this kernel goes "
                    f"down to {loaded.taps.min():.3g} and passes up to {light.max():.3g}: use path twin for it"
                )
            self._taps = loaded.taps
            self.kernel = kernel_use(loaded, bundle.encoding.kernels)
        self._live = scene.live
        self._count = scene.frame_count
        self._fps = scene.fps
        self._first = first
        self._wanted = first
        self._frames: Iterator[Frame] = scene.frames(lambda index, _time_s: index >= self._wanted)
        self._began_s: float | None = None
        self._shown = -1
        self._last: int | None = None
        self._failure: SceneError | None = None
        self._light = np.zeros((3, self.rows_px, self.columns_px), np.float32)
        self._advance(first)

    def begin(self, time_s: float) -> None:
        """Let the scene run from this moment of the sensor's clock on."""
        if self._began_s is None:
            self._began_s = time_s

    def index_at(self, time_s: float) -> int:
        """Index of the scene's frame that an exposure beginning at this moment shows."""
        if self._began_s is None:
            return self._first
        if self._live:
            return self._shown
        return self._first + max(0, round((time_s - self._began_s) * self._fps))

    def scene_time_s(self, index: int) -> float:
        """The scene's clock at a frame, seconds from its first one."""
        return index / self._fps

    @property
    def failure(self) -> SceneError | None:
        """Why the scene cannot go on."""
        return self._failure

    def over(self, index: int) -> bool:
        """Whether the scene ended before this frame."""
        return self._last is not None and index > self._last

    @property
    def frames(self) -> int | None:
        """How many frames the scene had, None before its end."""
        return None if self._last is None else self._last + 1

    def irradiance(self, time_s: float) -> NDArray[np.float32]:
        """Light at this moment, float32 (3, rows_px, columns_px); it stays as it is once the scene has ended."""
        index = self._shown + 1 if self._live and self._began_s is not None else self.index_at(time_s)
        if index > self._shown and self._last is None:
            self._advance(index)
        return self._light

    def _advance(self, index: int) -> None:
        self._wanted = index
        try:
            frame = next(self._frames, None)
        except SceneError as error:
            self._failure, frame = error, None
        if frame is None:
            self._last = index - 1 if self._count is None else self._count - 1
            return
        self._shown = frame.index
        if self._taps is not None:
            light = convolve_psf(frame.radiance, self._taps[0], threads=1)
        else:
            light = convolve_planes(frame.radiance, self._encoding, threads=1)
        # A convolution by transforms leaves light of a few 1e-7 below 0 where there is none.
        np.maximum(light, 0, out=self._light)
        light.fill(0)
