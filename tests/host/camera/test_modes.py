"""Which raw mode is chosen, on the modes that picamera2 lists for Raspberry Pi's cameras."""

from typing import Any

import pytest

from host.camera.about import CameraWanted
from host.camera.errors import CameraUnsuitable
from host.camera.modes import choose_mode, read_modes


def _mode(size: tuple[int, int], bits: int, crop: tuple[int, ...], fps: float, order: str = "RGGB") -> dict[str, Any]:
    return {
        "format": f"S{order}{bits}_CSI2P", "unpacked": f"S{order}{bits}", "bit_depth": bits, "size": size, "fps": fps,
        "crop_limits": crop, "exposure_limits": (31, 667_234_896),
    }  # fmt: skip


WHOLE_219, WHOLE_477, WHOLE_708 = (0, 0, 3280, 2464), (0, 0, 4056, 3040), (0, 0, 4608, 2592)
IMX219 = [
    _mode(size, bits, crop, fps)
    for bits in (8, 10)
    for size, crop, fps in (
        ((640, 480), (1000, 752, 1280, 960), 206.65),
        ((1640, 1232), WHOLE_219, 41.85),
        ((1920, 1080), (680, 692, 1920, 1080), 47.57),
        ((3280, 2464), WHOLE_219, 21.19),
    )
]
IMX477 = [
    _mode((1332, 990), 10, (696, 528, 2664, 1980), 120.05),
    _mode((2028, 1080), 12, (0, 440, 4056, 2160), 50.03),
    _mode((2028, 1520), 12, WHOLE_477, 40.01),
    _mode((4056, 3040), 12, WHOLE_477, 10.0),
]
IMX708 = [
    _mode((1536, 864), 10, (768, 432, 3072, 1728), 120.13, "BGGR"),
    _mode((2304, 1296), 10, WHOLE_708, 56.03, "BGGR"),
    _mode((4608, 2592), 10, WHOLE_708, 14.35, "BGGR"),
]


@pytest.mark.parametrize(
    ("modes", "rows", "columns", "size", "bits"),
    [
        (IMX219, 240, 320, (640, 480), 10), (IMX219, 241, 320, (1640, 1232), 10), (IMX219, 480, 640, (1640, 1232), 10),
        (IMX219, 540, 960, (1920, 1080), 10), (IMX219, 616, 821, (3280, 2464), 10), (IMX477, 480, 640, (1332, 990), 10),
        (IMX477, 500, 700, (2028, 1080), 12), (IMX708, 432, 768, (1536, 864), 10), (IMX708, 480, 640, (2304, 1296), 10),
    ],
)  # fmt: skip
def test_the_smallest_mode_that_covers_with_the_most_bits(
    modes: list[dict[str, Any]], rows: int, columns: int, size: tuple[int, int], bits: int
) -> None:
    mode = choose_mode(modes, CameraWanted(rows, columns))
    assert (mode.size_px, mode.bits) == (size, bits)
    assert mode.asked_format.endswith(f"{bits}"), "the unpacked format is asked for"


def test_what_was_insisted_on_is_what_is_chosen() -> None:
    assert choose_mode(IMX219, CameraWanted(240, 320, raw_size_px=(1640, 1232))).size_px == (1640, 1232)
    assert choose_mode(IMX219, CameraWanted(240, 320, bits=8)).bits == 8
    assert choose_mode(IMX477, CameraWanted(480, 640, bits=12)).size_px == (2028, 1080)


def test_of_two_modes_alike_the_one_that_sees_more_is_chosen() -> None:
    cropped, whole = _mode((1640, 1232), 10, (820, 616, 1640, 1232), 40), _mode((1640, 1232), 10, WHOLE_219, 40)
    assert choose_mode([cropped, whole], CameraWanted(480, 640)).crop_px == WHOLE_219
    assert choose_mode([whole, cropped], CameraWanted(480, 640)).crop_px == WHOLE_219


@pytest.mark.parametrize(
    "wanted",
    [
        CameraWanted(1300, 1700), CameraWanted(240, 320, bits=12), CameraWanted(240, 320, raw_size_px=(1280, 960)),
        CameraWanted(240, 320, raw_size_px=(1640, 1232), bits=12),
    ],
)  # fmt: skip
def test_no_other_mode_is_taken_instead(wanted: CameraWanted) -> None:
    with pytest.raises(CameraUnsuitable, match="no raw mode") as caught:
        choose_mode(IMX219, wanted)
    for mode in IMX219:
        assert f"{mode['size'][0]} x {mode['size'][1]} at {mode['bit_depth']} bit" in f"{caught.value}"


def test_a_size_that_is_too_small_is_said_to_be() -> None:
    with pytest.raises(CameraUnsuitable, match=r"raw_size_px 640 x 480 is too small.* need 1280 x 960"):
        choose_mode(IMX219, CameraWanted(480, 640, raw_size_px=(640, 480)))


def test_a_camera_without_bayer_modes_is_unsuitable() -> None:
    mono = {"format": "R10_CSI2P", "unpacked": "R10", "bit_depth": 10, "size": (1456, 1088), "crop_limits": None}
    for modes in ([mono], [{"format": "MJPEG"}, {"format": "YUYV"}], []):
        with pytest.raises(CameraUnsuitable, match="no raw Bayer mode"):
            choose_mode(modes, CameraWanted(240, 320))


def test_binning_is_the_crop_over_the_size() -> None:
    modes = {mode.size_px: mode.binning for mode in read_modes(IMX219)}
    assert modes == {(640, 480): 2.0, (1640, 1232): 2.0, (1920, 1080): 1.0, (3280, 2464): 1.0}
    bare = {key: value for key, value in IMX219[0].items() if key not in ("crop_limits", "fps")}
    (mode,) = read_modes([bare])
    assert (mode.binning, mode.crop_px, mode.fps) == (1.0, None, None)
