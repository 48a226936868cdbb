"""The driver on a real camera, where one is plugged in: what only a sensor can show."""

from collections.abc import Iterator

import numpy as np
import pytest

from host.camera.about import CameraWanted
from host.camera.device import open_picamera2
from host.camera.driver import Camera
from host.camera.errors import CameraBusy, CameraMissing


def _open() -> Camera:
    camera = Camera(open_picamera2, CameraWanted(240, 320))
    try:
        camera.open()
    except (CameraMissing, CameraBusy) as error:
        pytest.skip(f"plug in a Raspberry Pi camera ({f'{error}'.split('. ')[0]})")
    return camera


@pytest.fixture
def camera() -> Iterator[Camera]:
    opened = _open()
    yield opened
    opened.close()


def test_the_mosaic_is_the_one_that_was_configured(camera: Camera) -> None:
    about = camera.identity
    shape, low, high, white = camera.capture(
        lambda mosaic, exposed: (mosaic.shape, int(mosaic.min()), int(mosaic.max()), exposed.white_dn)
    )
    assert shape == (about.rows_px, about.columns_px)
    assert 0 <= low < high <= white == 2**about.bits - 1
    assert not about.simulated


def test_exposures_are_what_was_asked_for(camera: Camera) -> None:
    (shortest, longest), (lowest, highest) = camera.exposure_limits
    for exposure_us, gain in ((10_000, lowest), (2_000, min(8, highest)), (50_000, lowest)):
        asked = camera.set_exposure(exposure_us, gain)
        exposed = camera.capture(lambda _mosaic, about: about)
        assert exposed.exposure_us == pytest.approx(asked[0], rel=0.05)
        assert exposed.gain == pytest.approx(asked[1], rel=0.07)
    assert shortest < 10_000 < longest


def test_the_shortest_exposure_is_dark_and_at_the_black_level_of_the_metadata(camera: Camera) -> None:
    (shortest, _), (lowest, _) = camera.exposure_limits
    camera.set_exposure(shortest, lowest)
    low, about = camera.capture(lambda mosaic, about: (float(np.percentile(mosaic, 5)), about))
    assert low == pytest.approx(min(about.black_dn), abs=0.03 * about.white_dn)


def test_frames_are_counted_and_their_clock_runs(camera: Camera) -> None:
    series = [camera.capture(lambda _mosaic, about: (about.frame, about.time_s)) for _ in range(5)]
    frames, times = zip(*series, strict=True)
    assert all(1 <= step <= 10 for step in np.diff(frames))
    assert (np.diff(times) > 0).all()


def test_it_can_be_opened_again_at_once(camera: Camera) -> None:
    camera.close()
    again = _open()
    again.capture(lambda _mosaic, _about: None)
    again.close()
