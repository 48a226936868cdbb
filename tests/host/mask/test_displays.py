"""Displays: bytes land where a framebuffer's layout says, connectors tell whether a panel is there, SDL shows it."""

import ctypes
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.mask import framebuffer
from host.mask.display import connector_status, connectors, open_display
from host.mask.errors import SlmError, SlmOff, SlmUnsuitable
from host.mask.framebuffer import FIXED, VARIABLE, Framebuffer, Screen, pixels_of, screen_of
from host.mask.interlock import slm_cause
from host.mask.slm import Slm

RGB565 = ((11, 5), (5, 6), (0, 5))
XRGB8888 = ((16, 8), (8, 8), (0, 8))


def variable(columns=6, rows=4, depth=32, channels=XRGB8888, offset=(0, 0)) -> bytes:
    words = [columns, rows, columns, rows, *offset, depth, 0]
    for start, length in channels:
        words += [start, length, 0]
    return struct.pack("40I", *words, *[0] * (40 - len(words)))


def fixed(stride=64, name=b"vc4drmfb") -> bytes:
    return FIXED.pack(name, 0, 4096, 0, 0, 2, 1, 1, 0, stride, 0, 0, 0, 0, 0, 0)


def drm(root: Path, **status: str) -> Path:
    for name, text in status.items():
        place = root / "sys/class/drm" / name.replace("_", "-")
        place.mkdir(parents=True, exist_ok=True)
        (place / "status").write_text(text + "\n")
        (place / "enabled").write_text("enabled\n")
    return root


def test_the_structures_have_the_kernels_sizes():
    # sizeof(struct fb_var_screeninfo) and sizeof(struct fb_fix_screeninfo), linux/fb.h.
    assert VARIABLE.size == 160
    assert FIXED.size == (80 if ctypes.sizeof(ctypes.c_long) == 8 else 68)


def test_the_kernels_answers():
    screen = screen_of(variable(1920, 1080, 16, RGB565, (0, 1080)), fixed(3840))
    assert screen == Screen("vc4drmfb", 1080, 1920, 3840, 1080 * 3840, 16, RGB565)
    assert screen.bits == 5
    assert screen.bytes == 2160 * 3840


@pytest.mark.parametrize(
    "answers",
    [
        (variable(depth=8, channels=((0, 8),) * 3), fixed()),
        (variable(channels=((16, 9), (8, 8), (0, 8))), fixed()),
        (variable(depth=16, channels=XRGB8888), fixed()),
        (variable(), fixed(stride=10)),
        (variable(rows=0), fixed()),
    ],
)
def test_answers_that_cannot_be(answers):
    with pytest.raises(SlmUnsuitable, match="framebuffer"):
        screen_of(*answers)


@pytest.mark.parametrize(("depth", "channels", "bits"), [(32, XRGB8888, 8), (24, XRGB8888, 8), (16, RGB565, 5)])
@given(level=st.integers(0, 255))
def test_a_level_is_in_every_channel(depth, channels, bits, level):
    screen = Screen("x", 1, 2, 64, 0, depth, channels)
    line = pixels_of(np.full((1, 2), level, np.uint8), screen)
    assert line.shape == (1, 2 * depth // 8)
    pixel = int.from_bytes(line[0, : depth // 8].tobytes(), "little")
    for start, length in channels:
        shown = (pixel >> start) & (2**length - 1)
        # What the panel is sent is the channel's share of white; off by at most half a step.
        assert abs(shown / (2**length - 1) - level / 255) <= 0.5 / (2**length - 1) + 1e-9
    assert screen.bits == bits


def fake(tmp_path: Path, screen: Screen, size: int | None = None) -> Framebuffer:
    path = tmp_path / "fb0"
    path.write_bytes(bytes([0xEE]) * (screen.bytes if size is None else size))
    return Framebuffer(str(path), query=lambda _descriptor: screen, root=tmp_path)


@pytest.mark.parametrize(("depth", "channels"), [(32, XRGB8888), (24, XRGB8888), (16, RGB565)])
def test_lines_land_at_the_stride_and_padding_is_left_alone(tmp_path, depth, channels):
    size = depth // 8
    screen = Screen("x", 3, 5, 32, 64, depth, channels)
    display = fake(tmp_path, screen)
    levels = np.random.default_rng(2).integers(0, 256, (3, 5), dtype=np.uint8)
    display.put(levels)
    display.close()
    display.close()
    content = np.frombuffer((tmp_path / "fb0").read_bytes(), np.uint8)
    assert (content[:64] == 0xEE).all()
    lines = content[64:].reshape(3, 32)
    assert (lines[:, 5 * size :] == 0xEE).all()
    assert np.array_equal(lines[:, : 5 * size], pixels_of(levels, screen))
    if depth != 16:
        assert np.array_equal(lines[:, : 5 * size].reshape(3, 5, size)[..., 1], levels)
    with pytest.raises(SlmError, match="closed"):
        display.put(levels)


def test_the_driver_on_a_framebuffer(tmp_path):
    screen = Screen("x", 3, 5, 20, 0, 32, XRGB8888)
    drm(tmp_path, card1_HDMI_A_1="connected")
    with Slm(fake(tmp_path, screen), settle_s=0) as slm:
        slm.write(slm.levels_of(np.full((3, 5), np.pi)))
        assert slm_cause(slm) is None
        content = np.frombuffer((tmp_path / "fb0").read_bytes(), np.uint8).reshape(3, 5, 4)
        assert (content[..., :3] == 128).all()
        drm(tmp_path, card1_HDMI_A_1="disconnected")
        with pytest.raises(SlmOff, match="unplugged"):
            slm.write(slm.levels_of(np.zeros((3, 5))))
        cause = slm_cause(slm)
        assert cause is not None
        assert cause.kind == "slm_off"
        drm(tmp_path, card1_HDMI_A_1="connected")
        slm.write(slm.levels_of(np.zeros((3, 5))))
        assert (np.frombuffer((tmp_path / "fb0").read_bytes(), np.uint8).reshape(3, 5, 4)[..., :3] == 0).all()


def test_framebuffers_that_are_none(tmp_path, monkeypatch):
    with pytest.raises(SlmUnsuitable, match="hotplug"):
        Framebuffer(str(tmp_path / "fb9"))
    ordinary = tmp_path / "fb1"
    ordinary.write_bytes(b"x")
    with pytest.raises(SlmUnsuitable, match="no framebuffer"):
        Framebuffer(str(ordinary))
    with pytest.raises(SlmUnsuitable, match="mapped"):
        fake(tmp_path, Screen("x", 3, 5, 32, 64, 32, XRGB8888), size=10)
    with pytest.raises(SlmUnsuitable, match="more than any display"):
        fake(tmp_path, Screen("x", 2**20, 5, 32768, 0, 32, XRGB8888), size=10)

    def refuse(*_args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(framebuffer.os, "open", refuse)
    with pytest.raises(SlmUnsuitable, match="usermod -aG video"):
        Framebuffer(str(ordinary))


class TestConnectors:
    def test_none_listed_is_unknown(self, tmp_path):
        assert connectors(tmp_path) == []
        assert connector_status(None, root=tmp_path) == "unknown"

    def test_named_and_any(self, tmp_path):
        drm(tmp_path, card1_HDMI_A_1="connected", card1_HDMI_A_2="disconnected", card0_DSI_1="connected")
        assert [each.name for each in connectors(tmp_path)] == ["DSI-1", "HDMI-A-1", "HDMI-A-2"]
        assert connector_status("HDMI-A-1", root=tmp_path) == "on"
        assert connector_status("HDMI-A-2", root=tmp_path) == "off"
        assert connector_status("HDMI-A-9", root=tmp_path) == "off"
        assert connector_status("HDMI-A-1", "card0", tmp_path) == "off"
        assert connector_status(None, "card1", tmp_path) == "on"
        (tmp_path / "sys/class/drm/card1-HDMI-A-1/enabled").write_text("disabled\n")
        assert connector_status(None, "card1", tmp_path) == "off"
        assert connector_status(None, None, tmp_path) == "on"

    def test_the_card_of_a_framebuffer(self, tmp_path):
        drm(tmp_path, card0_DSI_1="connected", card1_HDMI_A_1="disconnected")
        (tmp_path / "sys/class/graphics/fb0/device/drm/card1").mkdir(parents=True)
        display = fake(tmp_path, Screen("x", 3, 5, 20, 0, 32, XRGB8888))
        assert display.status() == "off"
        drm(tmp_path, card1_HDMI_A_1="connected")
        assert display.status() == "on"


@pytest.mark.parametrize("name", ["fb0", "/dev/video0", "sdl:", "HDMI-A-1", "/dev/fb0/..", ""])
def test_names_that_are_no_display(name):
    with pytest.raises(SlmUnsuitable, match="is no display"):
        open_display(name)


def test_names_that_are(tmp_path):
    if not Path("/dev/fb77").exists():
        with pytest.raises(SlmUnsuitable, match="/dev/fb77 cannot be opened"):
            open_display("/dev/fb77@HDMI-A-2", tmp_path)


SDL = """
import numpy as np, sys
from host.mask.display import open_display
from host.mask.errors import SlmOff
from host.mask.slm import Slm
display = open_display("sdl:0")
slm = Slm(display, settle_s=0)
phase = np.linspace(0, 6, display.rows * display.columns).reshape(slm.shape)
slm.write(slm.levels_of(phase))
assert np.array_equal(display.shown(), slm.levels_of(phase))
try:
    open_display("sdl:7")
except SlmOff as error:
    print("off:", error)
slm.close()
"""


def test_sdl_without_a_screen():
    """In a process of its own: SDL is global, and its dummy driver shows nothing."""
    pytest.importorskip("pygame", reason="pygame is not installed: `pip install pygame-ce` to test screens through SDL")
    done = subprocess.run(
        [sys.executable, "-c", SDL], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "SDL_VIDEODRIVER": "dummy"}, cwd=Path(__file__).resolve().parents[3],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "off: SDL sees 1 screens" in done.stdout
