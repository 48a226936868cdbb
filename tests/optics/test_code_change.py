"""Codes through two kernels compared: against counting by hand, and what must not change them does not."""

import socket
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from optics.code_change import (
    BUNDLED,
    KernelError,
    PhotographError,
    balanced,
    baselines,
    code_change,
    code_images,
    compare_codes,
    load_photographs,
    photographs,
)
from optics.encoding import Encoding, encode, pooled, quantize
from optics.exposure import steady_exposure

LEVELS = np.linspace(0.05, 0.9, 15, dtype=np.float32)
COLLAPSED = np.repeat(np.array([0.1, 0.4, 0.8], np.float32), 5)
POOL = 8


def gaussian(sigma_px: float, side: int = 15) -> np.ndarray:
    position = np.arange(side) - side // 2
    line = np.exp(-(position**2) / (2 * sigma_px**2))
    kernel = np.outer(line, line)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


@pytest.fixture(scope="module")
def few() -> list[tuple[str, np.ndarray]]:
    return photographs(96, 128)[:3]


def test_counts_are_those_of_a_loop(few: list[tuple[str, np.ndarray]]) -> None:
    first, second = gaussian(1.0), gaussian(2.0, 21)
    changed = more = steps = cells = 0
    for _, scene in few:
        codes = []
        for kernel in (first, second):
            encoding = Encoding(kernel[np.newaxis], LEVELS, POOL)
            factor = steady_exposure(pooled(scene, encoding), LEVELS)
            codes.append(encode((scene * np.float32(factor)).astype(np.float32), encoding).astype(int))
        difference = abs(codes[0] - codes[1])
        changed, more = changed + (difference > 0).sum(), more + (difference > 1).sum()
        steps, cells = steps + difference.sum(), cells + difference.size
    result = code_change(first, second, LEVELS, POOL, few)
    assert result.cells == cells == 3 * 12 * 16 * 3
    # Light scaled before or after the convolution rounds differently: a cell in a thousand may fall to the other side.
    assert result.share_changed == pytest.approx(changed / cells, abs=1e-3)
    assert result.share_changed_by_more_than_one == pytest.approx(more / cells, abs=1e-3)
    assert result.mean_absolute_change == pytest.approx(steps / cells, abs=1e-3)
    assert 0.05 < result.share_changed < 0.9
    assert result.interval_low <= result.share_changed <= result.interval_high
    assert result.as_json()["names"] == ["astronaut", "brick", "camera"]


@pytest.mark.parametrize("factor", [0.3, 1.0, 250.0])
def test_a_kernels_scale_changes_no_code(few: list[tuple[str, np.ndarray]], factor: float) -> None:
    result = code_change(gaussian(1.5), gaussian(1.5) * factor, LEVELS, POOL, few)
    assert result.share_changed < 1e-3


def test_a_signed_kernel_and_one_per_colour(few: list[tuple[str, np.ndarray]]) -> None:
    signed = 0.5 * gaussian(1.0) - 0.3 * gaussian(3.0)
    colours = np.stack([signed, signed, signed])
    assert code_change(signed, colours, LEVELS, POOL, few).share_changed == 0
    colours[2] = 0.3 * gaussian(1.0)
    for coded, (_, scene) in zip(code_images(colours, LEVELS, POOL, few), few, strict=True):
        # Each colour by the encoding that gives all of them one kernel, at the exposure that all of them share.
        own = [Encoding(one[np.newaxis].astype(np.float32), LEVELS, POOL) for one in colours]
        cells = np.stack([pooled(scene, each)[..., colour] for colour, each in enumerate(own)], axis=-1)
        assert coded.exposure == pytest.approx(steady_exposure(cells, LEVELS), rel=1e-5)
        differ = coded.codes != quantize(cells * np.float32(coded.exposure), LEVELS)
        assert np.count_nonzero(differ) <= 1  # rounding beside a threshold


def test_steps_are_counted_between_distinct_thresholds(few: list[tuple[str, np.ndarray]]) -> None:
    kernel = gaussian(1.0)
    result = code_change(kernel, np.ones((15, 15)) / 225, COLLAPSED, POOL, few)
    assert result.levels == 4
    # A code jumps by five at each of these thresholds, a step is one.
    assert result.share_changed <= result.mean_absolute_change < 3
    assert result.share_changed_by_more_than_one < result.share_changed
    assert np.isin(code_images(kernel, COLLAPSED, POOL, few)[0].codes, (0, 5, 10, 15)).all()


def test_baselines_have_the_order_that_makes_them_useful(few: list[tuple[str, np.ndarray]]) -> None:
    found = baselines(gaussian(3.0, 31), LEVELS, POOL, few)
    assert set(found) == {"noise", "half_a_pixel", "no_mask", "flat"}
    assert 0 < found["noise"].share_changed < found["no_mask"].share_changed
    assert 0 < found["half_a_pixel"].share_changed < found["flat"].share_changed
    # A kernel of one row and an even number of columns keeps its middle when it is moved.
    even = baselines(np.full((1, 4), 0.25), LEVELS, POOL, few)
    assert even["half_a_pixel"].share_changed < 0.3


def test_noise_of_a_flat_scene_is_shot_and_read_noise() -> None:
    grey = [("grey", np.full((64, 64, 3), 0.2, np.float32))]
    fine = np.concatenate([np.linspace(0.39, 0.41, 14), [0.4]]).astype(np.float32)
    fine.sort()
    codes = code_images(np.ones((1, 1)), fine, 1, grey, noise=np.random.default_rng(1))[0].codes
    # At exposure 0.41 / 0.2 the value is 0.41 with a noise of sqrt(0.41 / 10,000 + (3 / 10,000)^2) = 0.0064.
    below = np.mean(codes < 15)
    assert below == pytest.approx(0.5, abs=0.02)
    lowest = np.mean(codes == 0)  # below 0.39, 0.02 / 0.0064 = 3.12 deviations: 0.09 % of 12,288
    assert 0 < lowest < 0.003


def test_noise_of_a_pair_is_that_of_full_arms_with_gain_behind_them() -> None:
    grey = [("grey", np.full((128, 128, 3), 0.2, np.float32))]
    # The difference, 0.2 * 0.2, reads 0.9 at a factor of 22.5; the arms together, 0.8 * 0.2, are full at 5.6. So four
    # times the noise of a pixel that is 0.9 full: 4 * sqrt(0.9 / 10,000 + 2 (3 / 10,000)^2) = 0.038.
    levels = np.sort(np.concatenate([np.full(7, 0.9 - 0.038), np.full(8, 0.9)])).astype(np.float32)
    signed = np.array([[0.5, -0.3]])
    codes = code_images(signed, levels, 1, grey, noise=np.random.default_rng(1))[0].codes
    assert np.mean(codes >= 15) == pytest.approx(0.5, abs=0.02)
    assert np.mean(codes >= 7) == pytest.approx(0.841, abs=0.02)  # one deviation below the mean


def test_a_colour_cast_is_undone_by_a_gain_per_colour(few: list[tuple[str, np.ndarray]]) -> None:
    wanted = gaussian(2.0)
    cast = wanted * np.array([0.8, 1.0, 0.6]).reshape(3, 1, 1)
    assert code_change(wanted, cast, LEVELS, POOL, few).share_changed > 0.1
    repaired = balanced(cast, wanted)
    np.testing.assert_allclose(repaired, np.stack([wanted] * 3), rtol=1e-6)
    assert code_change(wanted, repaired, LEVELS, POOL, few).share_changed < 1e-3
    with pytest.raises(KernelError, match="positive sums"):
        balanced(cast * np.array([1, 1, 0]).reshape(3, 1, 1), wanted)


def test_the_same_input_gives_the_same_interval(few: list[tuple[str, np.ndarray]]) -> None:
    pair = (gaussian(1.0), gaussian(2.0))
    assert code_change(*pair, LEVELS, POOL, few) == code_change(*pair, LEVELS, POOL, few)
    other = code_change(*pair, LEVELS, POOL, few, np.random.default_rng(5))
    assert other.share_changed == code_change(*pair, LEVELS, POOL, few).share_changed
    alone = code_change(*pair, LEVELS, POOL, few[:1])
    assert (alone.interval_low, alone.interval_high) == (0, 1)


def test_bundled_photographs_need_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a download was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    found = photographs(60, 100)
    assert [name for name, _ in found] == [Path(name).stem for name in BUNDLED]
    for _, scene in found:
        assert scene.shape == (60, 100, 3)
        assert scene.dtype == np.float32
        assert scene.min() >= 0
        assert scene.max() <= 1
        assert scene.std() > 0.02


def picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (40, 80)) -> None:
    """A picture that is dark on the left; `colour` is (red, green, blue) on its right half."""
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[:, size[1] // 2 :] = colour[::-1]
    assert cv2.imwrite(str(path), pixels)


def test_own_pictures_are_linear_and_keep_their_colours(tmp_path: Path) -> None:
    picture(tmp_path / "b.png", (188, 128, 0))
    picture(tmp_path / "a.png", (10, 255, 255))
    found = load_photographs(tmp_path, rows_px=40, columns_px=40)
    assert [name for name, _ in found] == ["a.png", "b.png"]
    right = found[1][1][20, 30]
    # sRGB 188 is half of the light, 128 is 21.6 % of it (IEC 61966-2-1).
    np.testing.assert_allclose(right, [0.503, 0.216, 0], atol=1e-3)
    assert found[1][1][20, 10].max() == 0
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        for name in ("b.png", "a.png"):
            archive.add(tmp_path / name, name)
    packed = load_photographs(tmp_path / "all.tar", rows_px=40, columns_px=40)
    for (name, scene), (same_name, same_scene) in zip(found, packed, strict=True):
        assert name == same_name
        np.testing.assert_array_equal(scene, same_scene)
    assert len(load_photographs(tmp_path / "all.tar", limit=1)) == 1


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(PhotographError, match=r"nowhere does not exist: name a folder"):
        load_photographs(tmp_path / "nowhere")
    with pytest.raises(PhotographError, match=r"holds no picture: expected files that end in \.jpg"):
        load_photographs(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(PhotographError, match=r"broken\.jpg is not a picture"):
        load_photographs(tmp_path)
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(PhotographError, match=r"notes\.txt is neither a folder nor a \.tar"):
        load_photographs(tmp_path / "notes.txt")
    with pytest.raises(PhotographError, match="limit must be at least 1"):
        load_photographs(tmp_path, limit=0)


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (np.zeros((3, 3)), "passes no light"),
        (np.ones((2, 3, 3)), "one plane per colour"),
        (np.ones(5), "of shape"),
        (np.full((3, 3), np.nan), "finite"),
        (np.ones((3, 3), bool), "must be numbers"),
    ],
)
def test_what_is_no_kernel_is_refused(few: list[tuple[str, np.ndarray]], kernel: np.ndarray, said: str) -> None:
    with pytest.raises(KernelError, match=said):
        code_change(kernel, gaussian(1.0), LEVELS, POOL, few)


def test_no_photographs_or_different_ones_are_refused(few: list[tuple[str, np.ndarray]]) -> None:
    with pytest.raises(PhotographError, match="no photographs"):
        code_change(gaussian(1.0), gaussian(1.0), LEVELS, POOL, [])
    coded = code_images(gaussian(1.0), LEVELS, POOL, few)
    with pytest.raises(ValueError, match="shorter"):
        compare_codes(coded, coded[:2], LEVELS)
