"""Interlocks on a running daemon: cover, mask and modulator blind it at once, and mending them brings it back."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from host.capture import Identity
from host.causes import Cause
from host.config import Capture as CaptureSection
from host.config import Config, Gpio, Mask
from host.daemon import Limits
from host.gpio.pins import Pins
from host.interlocks import StatusLight, interlocks_of, open_panel
from host.mask.slm import Slm
from host.outputs.report import Standing
from host.seal.sealing import mask_attachment
from host.shown_mask import ShownMask, open_shown_mask, phase_on
from host.twin.gpio import TwinGpio
from host.twin.slm import Panel, SlmTwin
from optics.bundle import Bundle, default_bundle_path, read_bundle
from optics.mask import Geometry
from optics.mask import Mask as OpticalMask
from optics.materials import refractive_index
from tests.host.sensing import Running, make_room

CAMERA: dict[str, Any] = {"capture.path": "camera", "camera.device": "twin", "capture.pace": "realtime"}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_room(tmp_path_factory.mktemp("scene") / "room")


def panel_twin(rows: int = 12, columns: int = 16) -> SlmTwin:
    linear = np.linspace(0, 2 * np.pi, 257)[:256]
    return SlmTwin(Panel(linear, np.ones((rows, columns)), np.zeros((rows, columns))), clock=lambda: 0.0)


def lens() -> OpticalMask:
    y, x = np.mgrid[-4:4, -5:5]
    return OpticalMask(1e-7 * (x * x + 2 * y * y).astype(float), 8e-6, geometry=Geometry(psf_px=(9, 9)))


def with_mask(mask: OpticalMask | None) -> Bundle:
    plain = read_bundle(default_bundle_path())
    attachment = None if mask is None else mask_attachment(mask)
    return Bundle(plain.encoding, plain.rows_px, plain.columns_px, plain.models, plain.metadata, mask=attachment)


def test_a_masks_phase_lies_in_the_middle_of_the_panel() -> None:
    mask = lens()
    phase = phase_on(mask_attachment(mask), (12, 16))
    index = refractive_index(mask.material, 550e-9)
    assert np.allclose(phase[2:10, 3:13], 2 * np.pi * (index - 1) * mask.height_m / 550e-9)
    assert phase[:2].max() == phase[10:].max() == phase[:, :3].max() == phase[:, 13:].max() == 0
    with pytest.raises(Exception, match="8 x 10 cells, the panel 6 x 16 pixels"):
        phase_on(mask_attachment(mask), (6, 16))


def test_a_panel_that_was_off_is_shown_the_mask_again() -> None:
    display = panel_twin()
    phase = phase_on(mask_attachment(lens()), (12, 16))
    interlock = ShownMask(Slm(display, settle_s=0.0), phase)
    assert interlock(None) is None
    seen = np.exp(1j * display.phase_rad(1.0))
    assert np.abs(seen - np.exp(1j * phase)).max() < 0.03  # 256 levels of a turn
    display.off = True
    cause = interlock(None)
    assert cause is not None
    assert cause.kind == "slm_off"
    assert not cause.latched
    display.off = False
    assert display.phase_rad(1.0).max() == 0  # it came back without the mask
    assert interlock(None) is None
    assert np.abs(np.exp(1j * display.phase_rad(1.0)) - np.exp(1j * phase)).max() < 0.03


def test_a_modulator_without_a_mask_to_show_or_a_display_is_a_cause() -> None:
    config = Config(capture=CaptureSection(path="camera"), mask=Mask(kind="slm", slm_display="/dev/fb77"))
    with ExitStack() as stack:
        no_mask = open_shown_mask(config, with_mask(None), stack)
        assert isinstance(no_mask, Cause)
        assert "--mask FILE" in no_mask.reason
        no_display = open_shown_mask(config, with_mask(lens()), stack)
        assert isinstance(no_display, Cause)
        assert no_display.latched
        shown = open_shown_mask(config, with_mask(lens()), stack, lambda _name: panel_twin())
        assert isinstance(shown, ShownMask)
        assert open_shown_mask(Config(), with_mask(lens()), stack) is None


def test_a_modulator_that_goes_off_blinds_the_daemon_until_it_is_on(room: Path, tmp_path: Path) -> None:
    display = panel_twin()
    interlock = ShownMask(Slm(display, settle_s=0.0), np.full((12, 16), 1.0))
    with Running(room, tmp_path, interlocks=[interlock], **CAMERA) as running:
        memory = running.memory
        running.until(lambda: len(memory.measurements) > 3)
        display.off = True
        running.until(lambda: "blind" in memory.states())
        held = len(memory.measurements)
        assert "off or unplugged" in str(memory.standings[-1].reason)
        assert running.boundary.pid is None
        display.off = False
        running.until(lambda: len(memory.measurements) > held + 2)
    assert display.phase_rad(1.0).min() == pytest.approx(1.0, abs=0.02)


def test_the_cover_and_the_status_light_hang_on_the_configured_pins() -> None:
    gpio = TwinGpio()
    config = Config(gpio=Gpio(device="rpi", cover_pin=17, status_pin=22))
    with ExitStack() as stack:
        pins = open_panel(config, stack, lambda: gpio)
        assert isinstance(pins, Pins)
        cover = interlocks_of(config, with_mask(None), Path("/nowhere"), pins)[-1]
        gpio.drive(17, True)
        while cover(None) is not None:  # the contact settles
            continue
        light = StatusLight(pins)
        light.standing(Standing("sensing"))
        assert gpio.lit(22)
        light.standing(Standing("blind", "the lens cover is on"))
        assert not gpio.lit(22)
        gpio.drive(17, False)
        cause = cover(None)
        assert cause is not None
        assert cause.kind == "cover_on"
    assert not gpio.lit(22)


def test_pins_that_cannot_be_had_are_a_cause(room: Path, tmp_path: Path) -> None:
    with Running(room, tmp_path, Limits(stay_blind=False), **{**CAMERA, "gpio.cover_pin": 17}) as running:
        memory = running.finish()
    assert memory.summary is not None
    assert memory.summary.state == "blind"
    assert "gpio.device: twin" in str(memory.summary.reason)


def test_another_printed_mask_is_a_cause() -> None:
    mask = lens()
    right = Config(mask=Mask(id=mask.id[:8]))
    wrong = Config(mask=Mask(id="0123abcd"))
    identity = Identity("x", "y", 1, "00000000", "twin")
    for config, blinds in ((right, False), (wrong, True)):
        causes = [lock(identity) for lock in interlocks_of(config, with_mask(mask), Path("/nowhere"), None)]
        assert any(cause is not None and cause.kind == "mask_id" for cause in causes) == blinds
