"""The same field through prysm, poppy and torchoptics: where the method is the same, so is the result.

None of them cuts the band, and all of them transform whole padded arrays with the field in the middle; what they
share with us, with which sign and which factor, each test says. Tolerance 1e-6 is what was asked for; two independent
float64 implementations of one formula differ by rounding, some 1e-15, and by 1e-12 where one of them keeps the full
phase k z, as is seen here.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from optics.grid import Grid
from optics.propagation import apply_transfer, focal_plane, padded, propagate, transfer_function

WAVELENGTH_M = 550e-9
GRID = Grid(128, 128, 4e-6)
NEAR_M, FAR_M = 5e-3, 20e-3
HALF = 64
SAME = 1e-6


@pytest.fixture(scope="module")
def field() -> NDArray[np.complex128]:
    """Light without any symmetry, smooth, and dark at the edges of the window."""
    rng = np.random.default_rng(7)
    noise = rng.standard_normal(GRID.shape) + 1j * rng.standard_normal(GRID.shape)
    low = np.exp(-(GRID.fx_per_m**2 + GRID.fy_per_m**2) * (20e-6) ** 2)
    return np.asarray(
        np.fft.ifft2(np.fft.fft2(noise) * low)
        * np.exp(-((GRID.x_m - 20e-6) ** 2) / (90e-6) ** 2)
        * np.exp(-((GRID.y_m + 30e-6) ** 2) / (60e-6) ** 2)
    )


@pytest.fixture
def double_precision() -> Iterator[None]:
    """torchoptics keeps wavelengths and distances in torch's default precision, which is single."""
    torch = pytest.importorskip("torch", reason="pip install 'canopic[train]'")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def relative(result: NDArray[np.complexfloating], expected: NDArray[np.complexfloating]) -> float:
    return float(np.linalg.norm(result - expected) / np.linalg.norm(expected))


def centred(field: NDArray[np.complex128]) -> NDArray[np.complex128]:
    return np.pad(field, HALF)


def window(wide: NDArray[np.complex128]) -> NDArray[np.complex128]:
    return wide[HALF:-HALF, HALF:-HALF]


@pytest.mark.parametrize("distance_m", [NEAR_M, -NEAR_M])
def test_prysm(field: NDArray[np.complex128], distance_m: float) -> None:
    # Its "angular spectrum" is Fresnel's transfer function, without exp(ikz), units um and mm; phase sign as here.
    prysm = pytest.importorskip("prysm.propagation", reason="pip install prysm")
    transfer = prysm.angular_spectrum_transfer_function((256, 256), WAVELENGTH_M * 1e6, 4e-3, distance_m * 1e3)
    theirs = window(prysm.angular_spectrum(centred(field), None, None, None, tf=transfer))
    again = window(prysm.angular_spectrum(field, WAVELENGTH_M * 1e6, 4e-3, distance_m * 1e3, Q=2))
    ours = propagate(field, GRID, WAVELENGTH_M, distance_m, "fresnel_transfer")
    assert relative(theirs, ours) < SAME
    assert relative(again, ours) < SAME


def test_prysm_focus(field: NDArray[np.complex128]) -> None:
    # Its focus is a centred unitary transform; ours carries Goodman's factor and quadratic phase besides.
    prysm = pytest.importorskip("prysm.propagation", reason="pip install prysm")
    ours, far = focal_plane(field, GRID, WAVELENGTH_M, 0.1, padding=2)
    front = np.exp(1j * np.pi * (far.x_m**2 + far.y_m**2) / (WAVELENGTH_M * 0.1)) / (1j * WAVELENGTH_M * 0.1)
    theirs = prysm.focus(field, 2) * 256 * GRID.pitch_m**2 * front
    assert relative(theirs, ours) < SAME
    # And with samples chosen freely, by matrices: every second one of ours lies on a grid twice as coarse;
    # the scale is prysm's own, so it is fitted, and only its phase is tested.
    coarse = prysm.focus_fixed_sampling(field, 4e-3, 100, WAVELENGTH_M * 1e6, far.pitch_m * 2e6, 128)
    picked = (ours / front)[::2, ::2]
    scale = np.vdot(coarse, picked) / np.vdot(coarse, coarse)
    assert relative(coarse * scale, picked) < SAME
    assert abs(np.angle(scale)) < SAME


@pytest.mark.parametrize("distance_m", [NEAR_M, -NEAR_M])
def test_poppy(field: NDArray[np.complex128], distance_m: float) -> None:
    # Plane to plane it multiplies by Fresnel's transfer function, without exp(ikz); both signs and the scale as here.
    poppy = pytest.importorskip("poppy", reason="pip install poppy")
    units = pytest.importorskip("astropy.units", reason="pip install poppy (it brings astropy)")
    wave = poppy.FresnelWavefront(
        beam_radius=128 * 2e-6 * units.m, wavelength=WAVELENGTH_M * units.m, npix=128, oversample=2
    )
    wave.wavefront = centred(field)
    wave.propagate_fresnel(distance_m * units.m)
    ours = propagate(field, GRID, WAVELENGTH_M, distance_m, "fresnel_transfer")
    assert relative(window(wave.wavefront), ours) < SAME


def test_poppy_matrix_transform(field: NDArray[np.complex128]) -> None:
    # Its transform towards an image turns by +2 pi i: the picture is ours rotated by half a turn, so it is undone by
    # asking for the transform back. FFTSTYLE puts a sample on the axis as here; scale lambda / D = samples / padding.
    matrix = pytest.importorskip("poppy.matrixDFT", reason="pip install poppy")
    ours, far = focal_plane(field, GRID, WAVELENGTH_M, 0.1, padding=2)
    front = np.exp(1j * np.pi * (far.x_m**2 + far.y_m**2) / (WAVELENGTH_M * 0.1)) / (1j * WAVELENGTH_M * 0.1)
    theirs = matrix.matrix_dft(field, 32, 64, inverse=True, centering="FFTSTYLE")
    # 64 samples over 32 lambda / D: half of lambda / D each, which is the pitch with padding 2. The scale is fitted.
    picked = (ours / front)[128 - 32 : 128 + 32, 128 - 32 : 128 + 32]
    scale = np.vdot(theirs, picked) / np.vdot(theirs, theirs)
    assert relative(theirs * scale, picked) < SAME
    assert abs(np.angle(scale)) < SAME


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize(
    ("theirs", "ours", "distance_m"),
    [
        ("ASM", "angular_spectrum", NEAR_M),
        ("ASM", "angular_spectrum", -NEAR_M),
        ("ASM_FRESNEL", "fresnel_transfer", NEAR_M),
        ("DIM_FRESNEL", "fresnel_impulse", FAR_M),
    ],
)
def test_torchoptics(field: NDArray[np.complex128], theirs: str, ours: str, distance_m: float) -> None:
    # The exact transfer function, Fresnel's, and Fresnel's impulse response by convolution; all with exp(ikz).
    torch = pytest.importorskip("torch", reason="pip install 'canopic[train]'")
    torchoptics = pytest.importorskip("torchoptics", reason="pip install torchoptics")
    wave = torchoptics.Field(torch.from_numpy(field), wavelength=WAVELENGTH_M, spacing=GRID.pitch_m)
    there = wave.propagate_to_z(distance_m, propagation_method=theirs, asm_pad=(HALF, HALF)).data.numpy()
    carried = there * np.exp(-2j * np.pi / WAVELENGTH_M * distance_m)
    assert relative(carried, propagate(field, GRID, WAVELENGTH_M, distance_m, ours)) < SAME  # type: ignore[arg-type]


@pytest.mark.usefixtures("double_precision")
def test_torchoptics_shows_what_the_band_limit_does(field: NDArray[np.complex128]) -> None:
    # Far beyond what the grid samples, the same transfer function without its limit fills the window with light that
    # left it; with the limit off we give the same wrong answer, and torchoptics' direct integral agrees with ours.
    torch = pytest.importorskip("torch", reason="pip install 'canopic[train]'")
    torchoptics = pytest.importorskip("torchoptics", reason="pip install torchoptics")
    distance_m = 60e-3
    wave = torchoptics.Field(torch.from_numpy(field), wavelength=WAVELENGTH_M, spacing=GRID.pitch_m)
    carrier = np.exp(-2j * np.pi / WAVELENGTH_M * distance_m)
    aliased, direct = (
        wave.propagate_to_z(distance_m, propagation_method=method, asm_pad=(HALF, HALF)).data.numpy() * carrier
        for method in ("ASM", "DIM")
    )
    wide = padded(GRID, 2)
    unlimited = apply_transfer(field, transfer_function(wide, WAVELENGTH_M, distance_m, band_limited=False))
    assert relative(unlimited, aliased) < SAME
    assert relative(aliased, direct) > 0.1
    # Not the same method (Rayleigh and Sommerfeld's integral against Fresnel's): paraxial to 1e-4 here.
    assert relative(propagate(field, GRID, WAVELENGTH_M, distance_m), direct) < 1e-3
