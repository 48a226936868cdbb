"""A sealed range gives the sensor its first exposure, unless the configuration has its own."""

from typing import Any

import pytest

from calibration.outcome import Kind
from host.calibrate.results import Kept
from host.config import Config
from host.seal.sealing import seal
from host.sensor import with_sealed_exposure
from optics.bundle import Bundle, default_bundle_path, read_bundle
from tests.host.seal import parts


def sealed(exposure_us: float, gain: float) -> Bundle:
    bundle = read_bundle(default_bundle_path())
    found: dict[Kind, Kept] = {"range": parts.light_range(exposure_us=exposure_us, gain=gain)}
    return seal(bundle, found, sealed_at=parts.SEALED_AT, by=parts.BY)


def configured(path: str = "camera", **exposure: Any) -> Config:
    return Config.model_validate({"capture": {"path": path}, "exposure": exposure})


@pytest.mark.parametrize(
    ("config", "measured", "expected"),
    [
        (configured(), (8_000.0, 2.0), (8_000, 2.0)),
        (configured(exposure_us=5_000), (8_000.0, 2.0), (5_000, 2.0)),
        (configured(gain=4.0), (8_000.0, 2.0), (8_000, 4.0)),
        (configured(), (400_000.0, 40.0), (33_000, 16.0)),
        (configured(), (20.0, 1.0), (100, 1.0)),
        (configured("twin"), (8_000.0, 2.0), (10_000, 1.0)),
    ],
)
def test_where_it_starts(config: Config, measured: tuple[float, float], expected: tuple[int, float]) -> None:
    made = with_sealed_exposure(config, sealed(*measured)).exposure
    assert (made.exposure_us, made.gain) == expected
    Config.model_validate({"exposure": made.model_dump()})


def test_without_a_sealed_range_nothing_changes() -> None:
    config = configured()
    assert with_sealed_exposure(config, read_bundle(default_bundle_path())) == config
