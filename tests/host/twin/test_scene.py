"""Scenes: what a string names, the frames that it gives, and what is said about one that cannot be played."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from host.twin import media
from host.twin.frame import SceneError
from host.twin.radiance import linear_table
from host.twin.scene import light_factor, open_scene, parse_scene

SHARED = Path(os.environ.get("CANOPIC_SHARED", Path(__file__).resolve().parents[4] / "shared")) / "data"


def _recording(name: str) -> Path:
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"{name} is absent: put the shared data at {SHARED} or set CANOPIC_SHARED")
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """20 frames of 64 x 48 at 8 per second, each one grey that tells its number."""
    path = tmp_path / "ramp.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 8, (64, 48))
    for index in range(20):
        writer.write(np.full((48, 64, 3), 10 * index, np.uint8))
    writer.release()
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "pictures"
    path.mkdir()
    for number in (10, 2, 1):
        Image.new("RGB", (64, 48), (number, 0, 200)).save(path / f"shot{number}.png")
    (path / "notes.txt").write_text("not a picture")
    return path


def test_video_gives_every_frame_on_its_own_clock(video: Path) -> None:
    with open_scene(str(video), 48, 64) as scene:
        frames = list(scene)
    assert (scene.fps, scene.frame_count, scene.live) == (8, 20, False)
    assert [frame.index for frame in frames] == list(range(20))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(20) / 8)
    for frame in frames:
        assert frame.radiance.shape == (48, 64, 3)
        assert frame.radiance.dtype == np.float32
        np.testing.assert_allclose(frame.radiance.mean(), linear_table()[10 * frame.index], atol=0.02)


def test_the_shared_video_has_its_1394_frames() -> None:
    with open_scene(str(_recording("occupancy_room.mp4"))) as scene:
        assert (scene.fps, scene.frame_count) == (10, 1394)
        count = 0
        for frame in scene:
            assert frame.index == count
            assert frame.time_s == pytest.approx(count / 10)
            count += 1
    assert count == 1394
    # 768 x 432 on 640 x 480: 360 rows of picture, 60 black ones above and below.
    assert frame.radiance[:60].max() == 0 == frame.radiance[420:].max()
    assert frame.radiance[60].max() > 0


def test_the_shared_gif_has_its_35_frames_with_their_own_delays() -> None:
    with open_scene(str(_recording("corridor_two_people.gif"))) as scene:
        assert (scene.fps, scene.frame_count) == (12.5, 35)
        times_s = [frame.time_s for frame in scene]
    assert len(times_s) == 35
    assert set(np.round(np.diff(times_s), 3)) == {0.08, 0.09}


def test_gif_honours_delays_and_colours(tmp_path: Path) -> None:
    path = tmp_path / "three.gif"
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    first, *others = [Image.new("RGB", (64, 48), colour) for colour in colours]
    first.save(path, save_all=True, append_images=others, duration=[100, 300, 50], loop=0)
    with open_scene(str(path), 48, 64) as scene:
        frames = list(scene)
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.1, 0.4])
    assert [frame.radiance.mean(axis=(0, 1)).argmax() for frame in frames] == [0, 1, 2]
    with open_scene(parse_scene(str(path), fps=5), 48, 64) as scene:
        assert [frame.time_s for frame in scene] == pytest.approx([0, 0.2, 0.4])


def test_folder_plays_by_number_with_colours_in_rgb_order(folder: Path) -> None:
    with open_scene(parse_scene(str(folder), fps=4), 48, 64) as scene:
        frames = list(scene)
    assert scene.frame_count == 3
    assert [frame.time_s for frame in frames] == [0, 0.25, 0.5]
    for frame, red in zip(frames, (1, 2, 10), strict=True):
        np.testing.assert_allclose(frame.radiance[0, 0], linear_table()[[red, 0, 200]])


def test_one_image_is_a_scene_of_one_frame(folder: Path) -> None:
    with open_scene(str(folder / "shot2.png"), 48, 64) as scene:
        assert [frame.index for frame in scene] == [0]


def test_demo_is_a_scene() -> None:
    with open_scene("demo") as scene:
        assert (scene.fps, scene.frame_count, scene.live) == (10, 500, False)
        frame = next(iter(scene))
    assert frame.radiance.shape == (480, 640, 3)
    with open_scene("demo", 240, 320) as scene:
        assert next(iter(scene)).radiance.shape == (240, 320, 3)


def test_start_keeps_the_recordings_own_numbers_and_times(video: Path) -> None:
    with open_scene(parse_scene(str(video), start_s=2), 48, 64) as scene:
        frames = list(scene)
    assert scene.frame_count == 4
    assert [frame.index for frame in frames] == [16, 17, 18, 19]
    assert frames[0].time_s == 2
    with pytest.raises(SceneError, match=r"ramp.avi: starts at 3 s, but has only 20 frames"):
        open_scene(parse_scene(str(video), start_s=3), 48, 64)


def test_loop_goes_on_counting(video: Path) -> None:
    with open_scene(parse_scene(str(video), loop=True, start_s=2), 48, 64) as scene:
        assert scene.frame_count is None
        frames = [frame for frame, _ in zip(scene, range(30), strict=False)]
    assert [frame.index for frame in frames] == list(range(16, 46))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(16, 46) / 8)
    np.testing.assert_array_equal(frames[4].radiance[0, 0, 0], 0)


def test_unwanted_frames_are_passed_over(video: Path) -> None:
    with open_scene(str(video), 48, 64) as scene:
        assert [frame.index for frame in scene.frames(lambda index, _time_s: index % 5 == 0)] == [0, 5, 10, 15]


def test_light_schedule_scales_the_radiance(folder: Path) -> None:
    with open_scene(parse_scene(str(folder), fps=1, light=[(1, 0.5), (2, 3.0)]), 48, 64) as scene:
        blues = [float(frame.radiance[0, 0, 2]) for frame in scene]
    assert blues == pytest.approx(linear_table()[200] * np.array([1, 0.5, 3]))


def test_light_factor_is_a_staircase() -> None:
    light = [(1.0, 0.5), (2.0, 4.0)]
    assert [light_factor(light, at_s) for at_s in (0.0, 0.99, 1.0, 1.99, 2.0, 99.0)] == [1, 1, 0.5, 0.5, 4, 4]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "accepted are"),
        ("no/such/file.mp4", r'no scene "no/such/file.mp4": there is no such file.*accepted are "demo"'),
        ("camera:x", 'named by its number, as in "camera:0"'),
        ("camera:-1", 'named by its number, as in "camera:0"'),
    ],
)
def test_what_is_no_scene_is_named(text: str, says: str) -> None:
    with pytest.raises(SceneError, match=says):
        parse_scene(text)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"fps": 0}, "fps must be above 0"),
        ({"fps": float("nan")}, "fps must be above 0"),
        ({"start_s": -1}, "start must be 0 s or later"),
        ({"light": [(2, 1), (1, 1)]}, "ascending times"),
        ({"light": [(1, -1)]}, "factors of 0 or more"),
    ],
)
def test_impossible_options_are_refused(options: dict, says: str) -> None:
    with pytest.raises(SceneError, match=says):
        parse_scene("demo", **options)


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.png"])
def test_empty_and_corrupt_files_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.touch()
    with pytest.raises(SceneError, match=rf"{name} is empty; accepted are"):
        parse_scene(str(path))
    path.write_bytes(b"this is no picture at all" * 100)
    with pytest.raises(SceneError, match=name):
        open_scene(str(path))


def test_a_folder_without_images_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"holds no image .*\.png"):
        open_scene(str(tmp_path))


def test_an_image_that_vanishes_ends_the_scene_with_its_name(folder: Path) -> None:
    with open_scene(str(folder), 48, 64) as scene:
        frames = iter(scene)
        next(frames)
        (folder / "shot2.png").unlink()
        with pytest.raises(SceneError, match=r"shot2\.png is gone"):
            next(frames)


def test_a_video_that_was_cut_off_says_so(tmp_path: Path) -> None:
    path = tmp_path / "long.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    for shift in range(60):
        writer.write(np.roll(noise, shift, axis=1))
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    # FFmpeg refuses it at once, or plays what is there and then misses the rest.
    with pytest.raises(SceneError, match=r"long\.avi"), open_scene(str(path), 48, 64) as scene:
        list(scene)


def test_a_video_that_vanishes_before_the_loop_ends_says_so(video: Path) -> None:
    with open_scene(parse_scene(str(video), loop=True), 48, 64) as scene:
        frames = iter(scene)
        next(frames)
        video.unlink()
        with pytest.raises(SceneError, match=r"ramp\.avi is not a readable video any more: it is gone"):
            list(frames)


def test_no_camera_is_a_clear_error() -> None:
    if Path("/dev/video97").exists():
        pytest.skip("this machine has a camera 97")
    with pytest.raises(SceneError, match=r"no camera 97: /dev/video97 does not exist"):
        open_scene("camera:97")


def test_a_camera_has_neither_start_nor_loop() -> None:
    for options in ({"start_s": 1.0}, {"loop": True}):
        with pytest.raises(SceneError, match="a camera is live"):
            parse_scene("camera:0", **options)


class PluggedCamera:
    """What OpenCV gives for a webcam, which is pulled out after three pictures."""

    def __init__(self, *_: object) -> None:
        self.left = 4

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def grab(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.full((48, 64, 3), 128, np.uint8)

    def get(self, _: int) -> float:
        return 30.0

    def release(self) -> None:
        self.left = -1


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(media.cv2, "VideoCapture", PluggedCamera)
    monkeypatch.setattr(media.Path, "exists", lambda _: True)
    monkeypatch.setattr(media, "CAMERA_SILENCE_S", 0.1)
    return iter(())


@pytest.mark.usefixtures("camera")
def test_a_camera_is_live_until_it_is_unplugged() -> None:
    with open_scene("camera:0", 48, 64) as scene:
        assert scene.live
        assert scene.frame_count is None
        frames = iter(scene)
        times_s = [next(frames).time_s for _ in range(3)]
        assert times_s == sorted(times_s)
        with pytest.raises(SceneError, match=r"camera 0 gave no picture for .* was it unplugged"):
            next(frames)
