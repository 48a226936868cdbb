"""Another kernel for the twin: which files hold one, which do not and why, and what is said about it."""

from pathlib import Path

import numpy as np
import pytest

from host.twin.kernel import KernelError, kernel_use, load_kernel
from host.twin.sensor import IDEAL
from host.twin.simulation import behind_mask, make_camera
from optics.encoding import Encoding
from optics.mask import Geometry, Mask, write_mask
from optics.psf import psf


def _kernels(filters: int) -> np.ndarray:
    taps = np.random.default_rng(0).random((filters, 9, 7)).astype(np.float32)
    return taps / taps.sum(axis=(1, 2), keepdims=True)


@pytest.fixture(scope="module")
def mask() -> Mask:
    """Small, and different towards every side."""
    height_m = np.outer(np.linspace(0, 1, 31), np.linspace(0, 1, 31) ** 2) * 0.8e-6
    return Mask(height_m, 4e-6, geometry=Geometry(sensor_distance_m=1e-3, psf_px=(15, 15)))


def test_kernels_that_act_alike_on_all_colours(tmp_path: Path) -> None:
    kernels = _kernels(2)
    np.save(tmp_path / "k.npy", kernels)
    loaded = load_kernel(tmp_path / "k.npy", 2)
    np.testing.assert_array_equal(loaded.taps, np.repeat(kernels[:, np.newaxis], 3, axis=1))
    for name in ("kernels", "kernel", "psf"):
        np.savez(tmp_path / "k.npz", **{name: kernels[0].astype(np.float64)})
        loaded = load_kernel(tmp_path / "k.npz", 1)
        assert loaded.taps.dtype == np.float32
        np.testing.assert_array_equal(loaded.taps, np.broadcast_to(kernels[0], (1, 3, 9, 7)))


def test_a_psf_per_colour_and_the_mask_that_it_belongs_to_are_the_same_kernel(tmp_path: Path, mask: Mask) -> None:
    write_mask(mask, tmp_path / "mask.npz")
    np.savez(tmp_path / "psf.npz", psf=psf(mask))
    of_mask, of_psf = (load_kernel(tmp_path / name, 1) for name in ("mask.npz", "psf.npz"))
    np.testing.assert_array_equal(of_psf.taps[0], psf(mask))
    np.testing.assert_array_equal(of_mask.taps, of_psf.taps)
    assert of_mask.digest == of_psf.digest
    assert of_mask.file == "mask.npz"
    np.savez(tmp_path / "darker.npz", psf=psf(mask) / 2)
    assert load_kernel(tmp_path / "darker.npz", 1).digest != of_psf.digest


def test_a_point_becomes_the_masks_psf_unflipped_in_each_colour(tmp_path: Path, mask: Mask) -> None:
    write_mask(mask, tmp_path / "mask.npz")
    kernel = load_kernel(tmp_path / "mask.npz", 1)
    encoding = Encoding(np.full((1, 3, 3), 1 / 9, np.float32), np.linspace(0.05, 0.95, 15, dtype=np.float32))
    camera = make_camera(encoding, 64, 80, IDEAL, np.random.default_rng(0), kernel.taps)
    scene = np.zeros((64, 80, 3), np.float32)
    scene[30, 41] = 1
    planes = behind_mask(camera, scene)
    wanted = psf(mask)
    np.testing.assert_allclose(planes[:, 30 - 7 : 30 + 8, 41 - 7 : 41 + 8], wanted, atol=1e-5)
    # The mask is lopsided, so that a flip would show.
    assert np.abs(wanted - wanted[:, ::-1]).max() > 1e-3
    assert np.abs(wanted - wanted[:, :, ::-1]).max() > 1e-3


def test_what_is_said_about_a_kernel(tmp_path: Path) -> None:
    kernel = _kernels(1)
    np.save(tmp_path / "half.npy", kernel[0] / 2)
    use = kernel_use(load_kernel(tmp_path / "half.npy", 1), kernel)
    assert use.correlation == pytest.approx(1, abs=1e-4)
    assert use.light == pytest.approx((0.5, 0.5, 0.5), abs=1e-5)
    # A larger window around the same taps is the same kernel; a tap beside the axis is another.
    np.save(tmp_path / "padded.npy", np.pad(kernel[0], 6))
    assert kernel_use(load_kernel(tmp_path / "padded.npy", 1), kernel).correlation == pytest.approx(1, abs=1e-4)
    np.save(tmp_path / "shifted.npy", np.roll(np.pad(kernel[0], 6), 5, axis=0))
    assert kernel_use(load_kernel(tmp_path / "shifted.npy", 1), kernel).correlation < 0.6
    np.save(tmp_path / "flat.npy", np.ones((9, 7)))
    assert kernel_use(load_kernel(tmp_path / "flat.npy", 1), kernel).correlation == 0


def test_a_psf_per_colour_needs_a_bundle_of_one_filter(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", _kernels(3))
    np.testing.assert_array_equal(load_kernel(tmp_path / "k.npy", 1).taps[0], _kernels(3))
    np.testing.assert_array_equal(load_kernel(tmp_path / "k.npy", 3).taps[:, 0], _kernels(3))
    with pytest.raises(KernelError, match=r"shape \(3, 9, 7\); this bundle's encoding needs \(4, height, width\)"):
        load_kernel(tmp_path / "k.npy", 4)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (_kernels(2), r"shape \(2, 9, 7\); this bundle's encoding needs \(1, height, width\)"),
        (np.zeros((1, 1, 3, 3)), r"shape \(1, 1, 3, 3\)"),
        (np.zeros((0, 3)), r"shape \(0, 3\)"),
        (np.full((1, 3, 3), np.nan), "NaN or infinity"),
        (np.full((1, 3, 3), 1j), "real numbers"),
        ({"other": _kernels(1)}, r"none of the arrays psf, kernels, kernel, only \['other'\]"),
        ({"psf": _kernels(3) - 0.1}, "cannot be negative"),
        ({"psf": _kernels(3) * 1.5}, "sums to 1.5: divide it by its sum"),
        ({"height_m": np.zeros((3, 3))}, "is not a mask"),
        (np.zeros((9, 9)), "the kernel has no tap above 0, so it gives no light"),
        (_kernels(3) * np.reshape([1, 0, 1], (3, 1, 1)), r"kernel 1 \(counted from 0\) has no tap above 0"),
        (-_kernels(1), "the kernel has no tap above 0, so it gives no light"),
        (np.ones((4001, 4001), np.float32), "4001 x 4001 taps; at most 960 x 1280 act on this bundle's 480 x 640"),
        (np.full((9, 9), 1e5), r"sum to 8.1e\+06; the twin takes at most 1e\+06"),
    ],
)
def test_unusable_files_are_named(tmp_path: Path, array: object, says: str) -> None:
    path = tmp_path / "k.npz"
    if isinstance(array, dict):
        np.savez(path, **array)
    else:
        path = path.with_suffix(".npy")
        np.save(path, array)
    with pytest.raises(KernelError, match=says) as raised:
        load_kernel(path, 1)
    assert str(path) in str(raised.value)


def test_a_file_that_is_no_array(tmp_path: Path) -> None:
    path = tmp_path / "k.npy"
    with pytest.raises(KernelError, match=r"k\.npy is not a readable .* \(No such file"):
        load_kernel(path, 1)
    path.write_bytes(b"nonsense")
    with pytest.raises(KernelError, match="not in NumPy's format"):
        load_kernel(path, 1)


def test_rounding_below_zero_is_no_sign(tmp_path: Path) -> None:
    blurred = np.fft.ifft2(np.fft.fft2(np.pad(_kernels(1)[0].astype(np.float64), 12))).real
    assert -1e-15 < blurred.min() < 0
    for name in ("psf", "kernel"):
        np.savez(tmp_path / "k.npz", **{name: blurred})
        assert load_kernel(tmp_path / "k.npz", 1).taps.min() == 0
    np.save(tmp_path / "signed.npy", blurred - 1e-5)
    assert load_kernel(tmp_path / "signed.npy", 1).taps.min() < 0


def test_a_kernel_may_be_twice_as_large_as_its_sensor(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.full((20, 28), 1 / 560))
    assert load_kernel(tmp_path / "k.npy", 1, (10, 14)).taps.shape == (1, 3, 20, 28)
    with pytest.raises(KernelError, match="at most 18 x 28"):
        load_kernel(tmp_path / "k.npy", 1, (9, 14))
