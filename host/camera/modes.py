"""Which of a sensor's raw modes a capture path uses: the smallest that covers what is wanted, or none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from host.camera.about import CameraWanted
from host.camera.errors import CameraUnsuitable
from host.camera.unpack import raw_format

Crop = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class RawMode:
    """One raw mode of a sensor.

    size_px: (width, height) of the mosaic. bits: of the sensor's samples. asked_format: unpacked format to ask for.
    crop_px: (x, y, width, height) of the part that it sees, in pixels of the whole sensor. fps: the most it gives.
    """

    size_px: tuple[int, int]
    bits: int
    asked_format: str
    crop_px: Crop | None
    fps: float | None

    @property
    def binning(self) -> float:
        """Pixels of the sensor to a sample of the mosaic, along a row; 1 where unknown."""
        return self.crop_px[2] / self.size_px[0] if self.crop_px is not None else 1.0

    def __str__(self) -> str:
        rate = f" up to {self.fps:g} fps" if self.fps else ""
        return f"{self.size_px[0]} x {self.size_px[1]} at {self.bits} bit{rate}"


def read_modes(sensor_modes: Sequence[Mapping[str, Any]]) -> list[RawMode]:
    """picamera2's `sensor_modes` as far as they are Bayer modes that can be read here."""
    modes = []
    for mode in sensor_modes:
        try:
            name, bits, size = str(mode["unpacked"]), int(mode["bit_depth"]), mode["size"]
            raw_format(name)
        except (KeyError, CameraUnsuitable):
            continue
        crop = mode.get("crop_limits")
        fps = mode.get("fps")
        x, y, width, height = crop if crop else (0, 0, 0, 0)
        modes.append(
            RawMode(
                (int(size[0]), int(size[1])),
                bits,
                name,
                (int(x), int(y), int(width), int(height)) if width and height else None,
                float(fps) if fps else None,
            )
        )
    return modes


def choose_mode(sensor_modes: Sequence[Mapping[str, Any]], wanted: CameraWanted) -> RawMode:
    """The smallest mode whose colour planes are at least as large as wanted.

    Where several have that size: the one with the most bits, then the one that sees most of the sensor. A size or a bit
    depth that was insisted on is never replaced by another. Raises CameraUnsuitable, which lists the modes.
    """
    modes = read_modes(sensor_modes)
    if not modes:
        named = ", ".join(sorted({str(mode.get("format")) for mode in sensor_modes})) or "none"
        raise CameraUnsuitable(
            f"the camera has no raw Bayer mode (its formats: {named}): use a Raspberry Pi camera with a colour sensor"
        )
    width, height = 2 * wanted.columns_px, 2 * wanted.rows_px
    if wanted.raw_size_px is not None and (wanted.raw_size_px[0] < width or wanted.raw_size_px[1] < height):
        raise CameraUnsuitable(
            f"camera.raw_size_px {_times(wanted.raw_size_px)} is too small: {wanted.columns_px} x {wanted.rows_px}"
            f" values of each colour need {width} x {height}; {_listed(modes)}"
        )
    fitting = [
        mode
        for mode in modes
        if mode.size_px[0] >= width
        and mode.size_px[1] >= height
        and (wanted.raw_size_px is None or mode.size_px == tuple(wanted.raw_size_px))
        and (wanted.bits is None or mode.bits == wanted.bits)
    ]
    if not fitting:
        size = "" if wanted.raw_size_px is None else f" of exactly {_times(wanted.raw_size_px)}"
        depth = "" if wanted.bits is None else f" at {wanted.bits} bit"
        raise CameraUnsuitable(
            f"no raw mode{size}{depth} covers {width} x {height} samples ({wanted.columns_px} x {wanted.rows_px} of"
            f" each colour); {_listed(modes)}: choose one with camera.raw_size_px and camera.bits, or use another"
            " sensor"
        )
    return min(fitting, key=lambda mode: (mode.size_px[0] * mode.size_px[1], -mode.bits, -_seen(mode)))


def _seen(mode: RawMode) -> int:
    return mode.crop_px[2] * mode.crop_px[3] if mode.crop_px is not None else 0


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _listed(modes: list[RawMode]) -> str:
    return "the sensor has " + "; ".join(dict.fromkeys(str(mode) for mode in modes))
