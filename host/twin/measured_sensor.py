"""A sensor as a calibration measured it, for a twin to simulate: from `sensor.json` to the sensor model."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from host.twin.sensor import SensorModel

# A file of results is a few kilobytes.
LARGEST_FILE_BYTES = 1 << 20


class MeasuredSensorError(ValueError):
    """No usable sensor calibration. The message says what is missing and what to do."""


@dataclass(frozen=True, slots=True)
class MeasuredSensor:
    """What was measured, as the twin takes it.

    model: without a converter, as the camera's twin wants it. bits, black_dn: of the converter. camera: the camera
    that was measured. The twin's converter ends where its well is full; where the measured well ended before the
    converter, the twin keeps the system gain, and with it the noise at every light, and saturates later.
    """

    model: SensorModel
    bits: int
    black_dn: float
    camera: str

    @property
    def camera_options(self) -> dict[str, Any]:
        """Further options of `host.twin.picamera.twin_camera` beside the model."""
        return {"bits": self.bits, "black_dn": self.black_dn}

    @property
    def with_converter(self) -> SensorModel:
        """The model with its converter, for the twin that simulates without a camera (path twin)."""
        return replace(self.model, bits=self.bits, black_level_dn=round(self.black_dn))


def read_measured_sensor(path: str | Path) -> MeasuredSensor:
    """The sensor in what `canopic calibrate sensor` kept. Raises MeasuredSensorError, whose message names the file."""
    file = Path(path)
    try:
        if file.stat().st_size > LARGEST_FILE_BYTES:
            raise MeasuredSensorError(f"{file}: larger than any result of a calibration ({LARGEST_FILE_BYTES} bytes)")
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise MeasuredSensorError(f"{file}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        if isinstance(error, MeasuredSensorError):
            raise
        raise MeasuredSensorError(f"{file}: not JSON: give the sensor.json of `canopic calibrate sensor`") from error
    try:
        return measured_sensor(content)
    except MeasuredSensorError as error:
        raise MeasuredSensorError(f"{file}: {error}") from error


def measured_sensor(outcome: Any) -> MeasuredSensor:
    """The sensor in an outcome as JSON holds it: {"kind", "result", ...}. Raises MeasuredSensorError."""
    if not isinstance(outcome, Mapping) or not isinstance(outcome.get("result"), Mapping):
        raise MeasuredSensorError("not the result of a calibration: give the sensor.json of `canopic calibrate sensor`")
    if outcome.get("kind") != "sensor":
        raise MeasuredSensorError(f"the result of `canopic calibrate {outcome.get('kind')}`, not of a sensor's")
    result = outcome["result"]
    if result.get("wrong_setup"):
        raise MeasuredSensorError(
            f"this calibration failed ({result['wrong_setup']}) and measured no sensor: repeat it"
        )
    gain = _number(result, "system_gain_dn_per_e")
    black_dn = _number(result, "black_level_dn")
    bits = result.get("bits")
    if type(bits) is not int or not 8 <= bits <= 16 or not gain > 0:
        raise MeasuredSensorError(f"bits must be 8 to 16 and the system gain above 0, got {bits} and {gain}")
    try:
        model = SensorModel(
            full_well_electrons=(2**bits - 1 - black_dn) / gain,
            read_noise_electrons=_number(result, "read_noise_e"),
            # Noise can make the dark current of a cold sensor come out below nothing.
            dark_current_electrons_per_s=max(_number(result, "dark_current_e_per_s"), 0.0),
            prnu_percent=_number(result, "prnu_percent"),
            dsnu_electrons=_number(result, "dsnu_e"),
        )
        replace(model, bits=bits, black_level_dn=round(black_dn))
    except ValueError as error:
        raise MeasuredSensorError(str(error)) from error
    return MeasuredSensor(model, bits, black_dn, str(result.get("camera", "")))


def _number(result: Mapping[str, Any], name: str) -> float:
    value = result.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise MeasuredSensorError(f"the result has no {name}: repeat `canopic calibrate sensor`")
    return float(value)
