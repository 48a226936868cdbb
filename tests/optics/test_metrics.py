"""PSF figures against what is known on paper: Gaussians, Airy's pattern, a disc, shifts that were put in."""

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import structural_similarity

from optics.metrics import (
    MetricError,
    aligned_correlation,
    correlation,
    encircled_energy,
    energy_radius,
    moved,
    mtf,
    per_colour_correlation,
    share_on,
    similarity,
    throughput,
)

PITCH_M = 6e-6


def gaussian(sigma_px: float, at: tuple[float, float] = (0, 0), side: int = 63) -> np.ndarray:
    """Integrated over pixels, sums to one over the whole plane."""
    edges = np.arange(side + 1) - side // 2 - 0.5
    along = [np.diff(scipy.special.erf((edges - each) / (sigma_px * np.sqrt(2))) / 2) for each in at]
    return np.outer(along[0], along[1])


def three(psf: np.ndarray) -> np.ndarray:
    return np.stack([psf, 0.5 * psf.T, 0.25 * psf[::-1]])


PSFS = arrays(np.float64, (7, 9), elements=st.floats(0, 1, width=32)).filter(lambda a: np.ptp(a) > 1e-3)


@given(psf=PSFS, other=PSFS, scale=st.floats(1e-4, 1e4), offset=st.floats(-10, 10))
@settings(max_examples=60, deadline=None)
def test_correlation_is_bounded_symmetric_and_blind_to_scale_and_offset(
    psf: np.ndarray, other: np.ndarray, scale: float, offset: float
) -> None:
    value = correlation(psf, other)
    assert -1 <= value <= 1
    assert correlation(other, psf) == pytest.approx(value, abs=1e-12)
    # The offset is ten times the signal at most 1e-3 of whose digits are lost: 1e-8 is far above rounding.
    assert correlation(scale * (psf + offset), other) == pytest.approx(value, abs=1e-8)
    assert correlation(psf, psf) == pytest.approx(1, abs=1e-12)
    assert correlation(psf, -psf) == pytest.approx(-1, abs=1e-12)


def test_correlation_equals_numpys_and_is_the_mean_of_the_colours() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.random((3, 11, 8)), rng.random((3, 11, 8))
    each = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(per_colour_correlation(first, second), each, atol=1e-12)
    assert correlation(first, second) == pytest.approx(np.mean(each), abs=1e-12)
    one_for_all = [np.corrcoef(a.ravel(), second[0].ravel())[0, 1] for a in first]
    np.testing.assert_allclose(per_colour_correlation(first, second[0]), one_for_all, atol=1e-12)
    np.testing.assert_allclose(per_colour_correlation(second[0], first), one_for_all, atol=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        (np.eye(3), np.eye(4), "use one window"),
        (np.eye(3), np.ones((3, 3)), "second array is constant"),
        (np.full((3, 3), np.nan), np.eye(3), "first array holds NaN"),
        (np.ones(5), np.eye(3), r"\(rows, columns\)"),
        (np.zeros((2, 3, 3)), np.zeros((3, 3, 3)), "use one window"),
    ],
)
def test_correlation_refuses_with_a_reason(first: np.ndarray, second: np.ndarray, says: str) -> None:
    with pytest.raises(MetricError, match=says):
        correlation(first, second)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.36, -0.82), (-4.5, 7.24), (10.0, -3.0)])
def test_the_shift_that_was_put_in_is_found(shift: tuple[float, float]) -> None:
    # A Gaussian of 2 pixels integrated over pixels is band-limited to 1e-8: only the 1/50 pixel steps remain.
    still = gaussian(2) + 0.5 * gaussian(2.5, (6, -9))
    shifted = gaussian(2, shift) + 0.5 * gaussian(2.5, (6 + shift[0], -9 + shift[1]))
    value, found = aligned_correlation(three(still)[0], 3.7 * shifted)
    assert found == pytest.approx(shift, abs=0.011)
    assert value > 1 - 1e-4
    assert value >= correlation(still, shifted)


def test_alignment_never_makes_it_worse_and_shares_one_shift() -> None:
    rng = np.random.default_rng(2)
    for _ in range(5):
        first, second = rng.random((3, 21, 21)), rng.random((3, 21, 21))
        assert aligned_correlation(first, second)[0] >= correlation(first, second)
    psf = np.stack([gaussian(2), gaussian(3), gaussian(4)])
    value, shift = aligned_correlation(psf, moved(psf, (3, -2)))
    assert shift == pytest.approx((3, -2), abs=0.011)
    assert value > 1 - 1e-6


def test_a_shift_beyond_the_reach_is_not_taken() -> None:
    psf = gaussian(2)
    _, shift = aligned_correlation(psf, moved(psf, (9, 0)), reach_px=4)
    assert abs(shift[0]) <= 5


def test_moving_whole_pixels_is_exact_and_keeps_light() -> None:
    psf = gaussian(2.5)
    np.testing.assert_allclose(moved(psf, (3, -5))[3:, :-5], psf[:-3, 5:], atol=1e-15)
    assert moved(three(psf), (0.3, 0.4)).sum() == pytest.approx(three(psf).sum(), rel=1e-9)


def test_energy_shares() -> None:
    psf = three(gaussian(3))
    np.testing.assert_allclose(throughput(psf), psf.sum(axis=(1, 2)))
    target = np.zeros((63, 63))
    target[31, 20:43] = 1
    np.testing.assert_allclose(share_on(psf, target), psf[:, 31, 20:43].sum(axis=1))
    assert share_on(psf[0], target).shape == (1,)
    # All of the window is wanted: the share is the throughput.
    np.testing.assert_allclose(share_on(psf, np.ones((63, 63))), psf.sum(axis=(1, 2)))
    with pytest.raises(MetricError, match="target"):
        share_on(psf, np.eye(63) - 2)


def test_encircled_energy_and_radius_of_a_gaussian() -> None:
    sigma_px = 6.0
    radius, share = encircled_energy(gaussian(sigma_px, side=101), PITCH_M)
    # Pixels add a variance of 1/12 to each direction; cutting them into 5 x 5 parts costs up to 0.2 % of the light.
    variance = (sigma_px**2 + 1 / 12) * PITCH_M**2
    np.testing.assert_allclose(share, 1 - np.exp(-(radius**2) / (2 * variance)), atol=2e-3)
    expected = np.sqrt(-2 * np.log(1 - 0.8) * variance)
    assert share[0] == 0
    assert energy_radius(gaussian(sigma_px, side=101), PITCH_M, 0.8)[0] == pytest.approx(expected, rel=2e-3)


def test_encircled_energy_of_airys_pattern() -> None:
    """Rayleigh's result, 1 - J0^2 - J1^2 (Born and Wolf, Principles of Optics, 8.5.2)."""
    parts, side, scale = 4, 161, 0.35
    x = (np.arange(side * parts) - side * parts // 2 + 0.5) / parts
    v = scale * np.hypot(x[:, np.newaxis], x) + 1e-12
    fine = (2 * scipy.special.j1(v) / v) ** 2 * scale**2 / (4 * np.pi) / parts**2
    # Parts centred on the pixels' axis: an even number of parts puts the axis on a corner, so pad by half a pixel.
    fine = np.pad(fine, ((parts // 2, 0), (parts // 2, 0)))[: side * parts, : side * parts]
    airy = fine.reshape(side, parts, side, parts).sum(axis=(1, 3))
    radius, share = encircled_energy(airy, 1.0, centre="centroid")
    inside = radius < 75
    v = scale * radius[inside]
    expected = 1 - scipy.special.j0(v) ** 2 - scipy.special.j1(v) ** 2
    # Spreading the light over pixels costs up to 2 % on the steep flank (v of a pixel: 0.35).
    np.testing.assert_allclose(share[inside], expected, atol=0.01)


def test_encircled_energy_ends_at_the_throughput_and_follows_the_centroid() -> None:
    psf = three(gaussian(2, (5, -7)))
    for centre in ("axis", "centroid"):
        _, share = encircled_energy(psf, PITCH_M, centre)  # type: ignore[arg-type]
        np.testing.assert_allclose(share[:, -1], throughput(psf), rtol=1e-12)
        assert (np.diff(share) >= 0).all()
    assert energy_radius(psf, PITCH_M)[0] == pytest.approx(np.sqrt(2 * np.log(2) * (4 + 1 / 12)) * PITCH_M, rel=0.02)
    assert energy_radius(psf, PITCH_M, centre="axis")[0] > 7 * PITCH_M


@pytest.mark.parametrize("direction", ["radial", "x", "y"])
def test_mtf_of_a_gaussian(direction: str) -> None:
    sigma_px = 2.0
    frequency, contrast = mtf(three(gaussian(sigma_px)), PITCH_M, direction)  # type: ignore[arg-type]
    assert frequency[0] == 0
    assert frequency[-1] == pytest.approx(0.5 / PITCH_M)
    np.testing.assert_allclose(contrast[:, 0], 1, atol=1e-12)
    cycles = frequency * PITCH_M
    expected = np.exp(-2 * (np.pi * cycles * sigma_px) ** 2)
    if direction != "radial":
        expected = expected * np.sinc(cycles)
        np.testing.assert_allclose(contrast[0], expected, atol=1e-6)
    else:
        # Between sinc(f) along an axis and its square root's product on the diagonal.
        assert (contrast[0] <= expected * np.sinc(cycles / np.sqrt(2)) ** 2 + 1e-6).all()
        assert (contrast[0] >= expected * np.sinc(cycles) - 1e-6).all()


def test_mtf_of_a_circular_aperture() -> None:
    """The autocorrelation of a disc: 2/pi (acos s - s sqrt(1 - s^2)), s over the cut-off (Goodman, 6.32)."""
    side, cut_off = 512, 0.35
    # Exactly the transform of that autocorrelation, sampled finely enough not to alias: Airy's pattern.
    v = np.pi * cut_off * np.hypot(*np.meshgrid(np.arange(side) - side // 2, np.arange(side) - side // 2)) + 1e-12
    airy = (2 * scipy.special.j1(v) / v) ** 2
    frequency, contrast = mtf(airy, 1.0)
    s = np.minimum(frequency / cut_off, 1)
    expected = 2 / np.pi * (np.arccos(s) - s * np.sqrt(1 - s**2))
    # A window of 90 Airy radii loses 0.7 % of the light, which is missing at frequency zero.
    np.testing.assert_allclose(contrast, expected, atol=0.01)


def test_mtf_tells_x_from_y() -> None:
    streak = np.zeros((31, 31))
    streak[15, 10:21] = 1  # along x
    _, along_x = mtf(streak, PITCH_M, "x")
    _, along_y = mtf(streak, PITCH_M, "y")
    np.testing.assert_allclose(along_y, 1, atol=1e-12)
    cycles = np.linspace(0, 0.5, 16)
    np.testing.assert_allclose(along_x, np.abs(np.sinc(11 * cycles) / np.sinc(cycles)), atol=1e-12)
    _, radial = mtf(streak, PITCH_M)
    across = np.outer(cycles, np.cos(np.linspace(0, np.pi, 720, endpoint=False)))
    np.testing.assert_allclose(radial, np.abs(np.sinc(11 * across) / np.sinc(across)).mean(axis=1), atol=0.02)


def test_what_has_no_light_has_no_figure() -> None:
    dark = np.zeros((3, 9, 9))
    for figure in (mtf, energy_radius):
        with pytest.raises(MetricError, match="no light"):
            figure(dark, PITCH_M)
    with pytest.raises(MetricError, match="pitch_m"):
        mtf(np.eye(5), 0.0)
    with pytest.raises(MetricError, match="share"):
        energy_radius(np.eye(5), PITCH_M, 1.0)


def test_similarity_by_wangs_settings_and_by_scikit_images() -> None:
    rng = np.random.default_rng(3)
    picture = rng.random((40, 50, 3))
    other = np.clip(picture + rng.normal(0, 0.2, picture.shape), 0, 1)
    assert similarity(picture, picture) == pytest.approx(1)
    plain = structural_similarity(picture, other, data_range=1.0, channel_axis=2)
    assert similarity(picture, other, gaussian=False) == pytest.approx(plain)
    assert similarity(picture, other) != pytest.approx(plain, abs=1e-4)
    assert similarity(picture[..., 0], other[..., 0]) < 1
    with pytest.raises(MetricError, match="one shape"):
        similarity(picture, picture[:-1])
