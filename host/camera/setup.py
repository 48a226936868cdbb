"""Checks what a camera was configured to, and puts together what is known of it."""

import contextlib
import importlib.metadata
import inspect
from collections.abc import Mapping
from typing import Any

from host.camera.about import CameraIdentity, CameraWanted
from host.camera.errors import CameraMissing, CameraUnsuitable
from host.camera.modes import RawMode
from host.camera.unpack import RawFormat, raw_format

# The picture that libcamera insists on beside the raw one: as small as its processors make it.
MAIN_PX, BUFFERS = (320, 240), 4


def configuration(device: Any, mode: RawMode, wanted: CameraWanted) -> dict[str, Any]:
    """What to configure a picamera2 `device` with for this raw mode. Raises CameraMissing where it is too old."""
    try:
        if "flush" not in inspect.signature(device.capture_request).parameters:
            raise TypeError("capture_request() has no argument 'flush'")
        transform = type(device.create_video_configuration()["transform"])
        made: dict[str, Any] = device.create_video_configuration(
            main={"size": MAIN_PX, "format": "YUV420"},
            raw={"size": mode.size_px, "format": mode.asked_format},
            sensor={"output_size": mode.size_px, "bit_depth": mode.bits},
            transform=transform(hflip=wanted.hflip, vflip=wanted.vflip),
            buffer_count=BUFFERS,
            queue=False,
            display=None,
            encode=None,
        )
    except TypeError as error:
        raise CameraMissing(
            f"this picamera2 is too old ({error}): `sudo apt update && sudo apt full-upgrade` brings a newer one"
        ) from error
    return made


def layout(mode: RawMode, got: Mapping[str, Any], wanted: CameraWanted) -> RawFormat:
    """The layout of the raw stream as picamera2's camera_configuration() has it.

    picamera2 adjusts what a camera cannot do. Raises CameraUnsuitable where it is not what was asked for.
    """
    raw = got.get("raw")
    if raw is None:
        raise CameraUnsuitable("the camera gives no raw stream: use a Raspberry Pi camera, not a webcam")
    sensor_bits = (got.get("sensor") or {}).get("bit_depth") or mode.bits
    form = raw_format(str(raw["format"]), int(sensor_bits))
    size = (int(raw["size"][0]), int(raw["size"][1]))
    if size != mode.size_px or form.bits != mode.bits:
        raise CameraUnsuitable(
            f"asked for {mode}, the camera adjusted it to {size[0]} x {size[1]} at {form.bits} bit ({form.name}):"
            " choose a mode that it keeps with camera.raw_size_px and camera.bits; `rpicam-hello --list-cameras` lists"
            " them"
        )
    if int(raw["stride"]) < form.row_bytes(size[0]):
        raise CameraUnsuitable(f"rows of {raw['stride']} bytes cannot hold {size[0]} samples of {form.name}")
    transform = got["transform"]
    if (bool(transform.hflip), bool(transform.vflip)) != (wanted.hflip, wanted.vflip):
        raise CameraUnsuitable(
            "the sensor does not mirror its picture as camera.hflip and camera.vflip ask: leave them off and turn the"
            " camera or the mask"
        )
    return form


def limits(controls: Mapping[str, Any], name: str) -> tuple[float, float]:
    """(least, largest) value of a control. Raises CameraUnsuitable for a camera without it."""
    if name not in controls:
        raise CameraUnsuitable(f"this camera has no control {name}: its exposure cannot be fixed; use another one")
    lowest, highest = float(controls[name][0]), float(controls[name][1])
    return max(lowest, 1.0), max(lowest, highest, 1.0)


def identity(device: Any, number: int, mode: RawMode, form: RawFormat) -> CameraIdentity:
    """What is known of a configured camera."""
    properties, info = device.camera_properties, device.global_camera_info()
    cell = properties.get("UnitCellSize")
    package = type(device).__module__.split(".")[0]
    # Whatever is not picamera2 itself must not be called optical.
    simulated = package != "picamera2"
    version = ""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        version = "" if simulated else importlib.metadata.version(package)
    return CameraIdentity(
        model=str(properties.get("Model", "unknown")),
        serial=str(info[number].get("Id", "")) if number < len(info) else "",
        rows_px=mode.size_px[1],
        columns_px=mode.size_px[0],
        bayer=form.bayer,
        bits=form.bits,
        packing=form.packing,
        pixel_um=float(cell[0]) / 1000 * mode.binning if cell else None,
        driver=f"{type(device).__name__ if simulated else package} {version}".strip(),
        simulated=simulated,
    )
