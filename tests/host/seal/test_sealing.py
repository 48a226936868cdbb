"""Sealing: what it binds, what it refuses, and that a changed bundle no longer is what was sealed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from calibration.outcome import Kind
from host.calibrate.results import Kept
from host.seal.sealed_optics import kernel_correlation
from host.seal.sealing import (
    SealError,
    broken_seal,
    mask_attachment,
    seal,
    seal_of,
    sealed_exposure,
    sealed_gains,
    sealed_psf,
    sealed_trims,
)
from models.detector.gaussian_encoding import SIGMA_PX
from optics.archive import BundleError
from optics.bundle import (
    Attachment,
    Bundle,
    bundle_from_bytes,
    bundle_to_bytes,
    default_bundle_path,
    read_bundle,
)
from optics.description import describe
from optics.encoding import Encoding
from optics.mask import Mask
from optics.metrics import moved
from tests.host.seal import parts


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(default_bundle_path())


@pytest.fixture(scope="module")
def mask() -> Mask:
    return Mask(np.random.default_rng(0).uniform(0, 1e-6, (9, 9)), 2e-6)


def sealed(bundle: Bundle, calibrations: dict[Kind, Kept] | None = None, **options: Any) -> Bundle:
    given = parts.all_parts(bundle) if calibrations is None else calibrations
    return seal(bundle, given, sealed_at=parts.SEALED_AT, by=parts.BY, **options)


def named(bundle: Bundle) -> dict[str, Any]:
    found = seal_of(bundle)
    assert found is not None
    return found


def test_a_seal_names_every_part_and_survives_the_file(bundle: Bundle, mask: Mask) -> None:
    made = bundle_from_bytes(bundle_to_bytes(sealed(bundle, mask=mask)))
    about = named(made)
    assert about["encoding_id"] == bundle.encoding.id
    assert about["board"] == {"serial": parts.BOARD, "thresholds_digest": parts.DIGEST}
    assert (about["camera"], about["mask"]["id"]) == (parts.CAMERA, mask.id)
    assert set(about["models"]) == set(bundle.models)
    assert (about["sealed_at"], about["by"], about["simulated"]) == (parts.SEALED_AT, parts.BY, False)
    assert about["calibrations"]["psf"] == {"passed": True, "made_at": parts.MADE_AT}
    assert broken_seal(made) is None
    assert made.id != bundle.id
    assert describe(made)["calibration"]["seal"]["board"]["serial"] == parts.BOARD


def test_readers_give_what_was_calibrated(bundle: Bundle) -> None:
    made = sealed(bundle)
    trims, psf = sealed_trims(made), sealed_psf(made)
    assert trims is not None
    assert psf is not None
    assert trims.dtype == np.int16
    assert trims.tolist() == list(range(-7, 8))
    assert np.array_equal(psf[0], parts.psf_arrays()["psf"])
    assert sealed_gains(made) == (1.0, 1.125, 1.25)
    assert sealed_exposure(made) == (8000, 2.0)


def test_an_unsealed_bundle_has_none_of_it(bundle: Bundle) -> None:
    assert seal_of(bundle) is None
    assert broken_seal(bundle) is None
    assert (sealed_trims(bundle), sealed_gains(bundle), sealed_exposure(bundle), sealed_psf(bundle)) == (None,) * 4


def test_a_stock_camera_needs_no_board(bundle: Bundle) -> None:
    made = sealed(bundle, {"psf": parts.psf(), "range": parts.light_range()})
    assert named(made)["board"] is None
    assert sealed_trims(made) is None


REFUSED: dict[str, tuple[dict[Kind, Kept], str]] = {
    "none": ({}, "no calibration to seal"),
    "failed": (
        {"psf": parts.kept("psf", {"camera": "x"}, parts.psf_arrays(), passed=False, reason="too dim")},
        "'psf' did not pass .too dim.: mend",
    ),
    "two cameras": ({"psf": parts.psf(), "range": parts.light_range(camera="imx708")}, "different cameras"),
    "a mixture": ({"psf": parts.psf(twin=True), "sensor": parts.sensor()}, "say nothing about each other"),
    "nameless camera": ({"psf": parts.psf(camera="")}, "does not name its camera"),
    "no PSF": ({"psf": parts.kept("psf", {"camera": "x", "gains": [1, 1, 1]})}, "holds no PSF"),
    "no gains": ({"psf": parts.psf(gains=[1.0, 0.0, 1.0])}, "gain above 0"),
    "no exposure": ({"range": parts.light_range(exposure_us=None)}, "has exposure_us None"),
    "no trims": ({"board": parts.kept("board", {"board_serial": "B"})}, "no 15 trims"),
}


@pytest.mark.parametrize(("given", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_sealed_is_named(bundle: Bundle, given: dict[Kind, Kept], says: str) -> None:
    with pytest.raises(SealError, match=says):
        sealed(bundle, given)
    assert broken_seal(sealed(bundle)) is None  # the right parts are sealed all the same


def test_a_board_calibrated_for_another_encoding_is_refused(bundle: Bundle) -> None:
    with pytest.raises(SealError, match="calibrated for encoding deadbeef"):
        sealed(bundle, {"board": parts.board(bundle, encoding_id="deadbeef" * 8)})


def test_trims_that_are_not_those_of_the_digest_are_refused(bundle: Bundle) -> None:
    with pytest.raises(SealError, match="names thresholds 12345678, its trims give"):
        sealed(bundle, {"board": parts.board(bundle, digest="12345678")})


def test_another_mask_than_the_bundles_is_refused(bundle: Bundle, mask: Mask) -> None:
    made = sealed(bundle, mask=mask)
    other = Mask(np.array(mask.height_m) + 1e-9, mask.pitch_m)
    with pytest.raises(SealError, match="the bundle was made for mask"):
        seal(made, parts.all_parts(bundle), sealed_at=parts.SEALED_AT, by=parts.BY, mask=other)
    again = seal(made, parts.all_parts(bundle), sealed_at=parts.SEALED_AT, by=parts.BY, mask=mask)
    assert again.id == made.id


def test_a_twins_seal_says_so(bundle: Bundle) -> None:
    assert named(sealed(bundle, parts.all_parts(bundle, twin=True)))["simulated"] is True
    assert named(sealed(bundle))["simulated"] is False


def test_a_forced_seal_is_marked(bundle: Bundle) -> None:
    failed = parts.kept("psf", {"camera": "x", "gains": [1, 1, 1]}, parts.psf_arrays(), passed=False)
    assert named(sealed(bundle, {"psf": failed}, force=True))["forced"] == ["psf"]


def gaussian(sigma_px: float) -> NDArray[np.float64]:
    y, x = np.mgrid[:63, :63] - 31
    return np.asarray(np.exp(-(x**2 + y**2) / (2 * sigma_px**2)))


def letter() -> NDArray[np.float64]:
    """A blurred L, which no kernel of the default bundle is."""
    made = np.zeros((63, 63))
    made[16:46, 20] = made[45, 20:40] = 1
    return np.asarray(gaussian_filter(made, 1.0))


UNLIKE = {
    "a letter": letter(),
    "no mask, a sharp picture": gaussian(0.3),
    "even": np.ones((63, 63)),
    "half": gaussian(SIGMA_PX / 2),
}


@pytest.mark.parametrize("kernel", UNLIKE.values(), ids=UNLIKE.keys())
def test_a_mask_that_is_not_the_encodings_is_refused(bundle: Bundle, kernel: NDArray[np.float64]) -> None:
    """Whatever its own calibration says of it: it was compared with itself."""
    with pytest.raises(SealError, match=r"not the encoding's kernel: correlation 0\.\d\d, .* at least 0\.85"):
        sealed(bundle, {"psf": parts.psf(kernel=kernel)})
    forced = named(sealed(bundle, {"psf": parts.psf(kernel=kernel)}, force=True))
    assert forced["forced"] == ["kernel"]
    assert max(forced["kernel_correlation"]) < 0.85
    right = named(sealed(bundle, {"psf": parts.psf()}))
    assert right["forced"] == []
    assert min(right["kernel_correlation"]) > 0.999
    assert named(sealed(bundle, {"board": parts.board(bundle)}))["kernel_correlation"] is None


def test_likeness_is_that_of_two_gaussians_whereever_the_source_stood() -> None:
    """Of widths a and b in two dimensions, zero mean aside: 2 a b / (a^2 + b^2)."""
    wider = kernel_correlation(np.stack([moved(gaussian(5.0), (2.3, -1.4))] * 3), gaussian(4.0))
    assert wider == pytest.approx([2 * 5 * 4 / (25 + 16)] * 3, abs=0.01)
    smaller_window = kernel_correlation(np.stack([gaussian(4.0)[8:55, 8:55]] * 3), gaussian(4.0))
    assert min(smaller_window) > 0.999
    assert kernel_correlation(np.zeros((3, 9, 9)), gaussian(4.0)) == [0.0] * 3


@pytest.mark.parametrize(("plane_um", "fits"), [(6.0, True), (6.29, True), (4.48, False), (12.0, False), (None, True)])
def test_a_mask_for_other_pixels_is_refused_with_both_pitches(
    bundle: Bundle, mask: Mask, plane_um: float | None, fits: bool
) -> None:
    given: dict[Kind, Kept] = {"psf": parts.psf(plane_pixel_um=plane_um)}
    if fits:
        assert named(sealed(bundle, given, mask=mask))["forced"] == []
        return
    with pytest.raises(SealError, match=f"designed for pixels of 6 um, .* of {plane_um:.4g} um"):
        sealed(bundle, given, mask=mask)
    assert named(sealed(bundle, given, mask=mask, force=True))["forced"] == ["pitch"]
    assert named(sealed(bundle, given))["forced"] == []  # without the mask's file nobody knows for which pixels it is
    twins: dict[Kind, Kept] = {"psf": parts.psf(twin=True, plane_pixel_um=plane_um)}
    assert named(sealed(bundle, twins, mask=mask))["forced"] == []


@pytest.mark.parametrize("at", ["today", "2026-05-01T10:00:00"])
def test_a_seal_without_a_date_is_refused(bundle: Bundle, at: str) -> None:
    with pytest.raises(SealError, match="time zone"):
        seal(bundle, parts.all_parts(bundle), sealed_at=at, by=parts.BY)


def test_a_mask_with_its_source_at_infinity_can_be_stored(mask: Mask) -> None:
    about = mask_attachment(mask)
    assert about.document["geometry"]["source_distance_m"] is None
    assert np.array_equal(about.arrays["height_m"], mask.height_m)


@pytest.mark.parametrize("nonsense", [None, "x", [], [1.0, 2.0], [1.0, 2.0, "x"], {"a": 1}, -1.0, 1e999])
def test_readers_give_nothing_for_what_no_calibration_gives(bundle: Bundle, nonsense: Any) -> None:
    """Somebody may have changed the bundle: the daemon must live to say so."""
    for document in (
        {"psf": nonsense, "range": nonsense},
        {"psf": {"gains": nonsense}, "range": {"exposure_us": nonsense, "gain": 1.0}},
        {"range": {"exposure_us": 100.0, "gain": nonsense}},
    ):
        arrays: dict[str, Any] = {
            "board.trims": np.zeros(3),
            "psf.psf": np.zeros((3, 0, 0)),
            "psf.psf_sigma": np.ones(1),
        }
        each = replace(bundle, calibration=Attachment(document, arrays))
        found = (sealed_trims(each), sealed_gains(each), sealed_exposure(each), sealed_psf(each))
        assert found == (None,) * 4


def changed(bundle: Bundle, **fields: Any) -> Bundle:
    """A bundle in which somebody replaced a part; its manifest is consistent again."""
    return bundle_from_bytes(bundle_to_bytes(replace(bundle, **fields)))


def test_every_replaced_part_breaks_the_seal(bundle: Bundle, mask: Mask) -> None:
    made = sealed(bundle, mask=mask)
    assert made.calibration is not None
    name = next(iter(made.models))
    calibration, document = made.calibration, made.calibration.document
    thresholds = np.array(made.encoding.thresholds)
    thresholds[3] = np.nextafter(thresholds[3], np.float32(0))
    encoding = Encoding(made.encoding.kernels, thresholds, made.encoding.pool)
    metadata = {each: {**about, "encoding_id": encoding.id} for each, about in made.metadata.items()}
    arrays = calibration.arrays | {"board.trims": np.zeros(15, np.int16)}
    numbers = {**document, "psf": {**document["psf"], "gains": [1, 1, 1]}}
    broken = {
        f"model {name} is another one": changed(made, models={**made.models, name: made.models[name] + b"\0"}),
        "model other was added": changed(
            made, models={**made.models, "other": b"1"}, metadata={**made.metadata, "other": made.metadata[name]}
        ),
        f"model {name} was taken out": changed(made, models={}, metadata={}),
        "another one": changed(
            made, metadata={**made.metadata, name: {**made.metadata[name], "score_threshold": 0.999}}
        ),
        "the seal is for encoding": changed(made, encoding=encoding, metadata=metadata),
        "the sensor plane is": changed(made, rows_px=made.rows_px // 2),
        "the mask in the bundle": changed(made, mask=mask_attachment(Mask(np.array(mask.height_m) + 1e-9, 2e-6))),
        "an array of the calibration": changed(made, calibration=Attachment(document, arrays)),
        "a number of the calibration": changed(made, calibration=Attachment(numbers, calibration.arrays)),
    }
    for says, each in broken.items():
        assert says in str(broken_seal(each))
        assert each.id != made.id  # which is what somebody who kept the id sees
    assert broken_seal(made) is None


@pytest.mark.parametrize("field", ["sealed_at", "models", "board", "forced", "format", "sensor_px", "simulated"])
def test_an_unusable_seal_is_a_bundle_error(bundle: Bundle, field: str) -> None:
    made = sealed(bundle)
    assert made.calibration is not None
    for wrong in ("", [1], {"serial": 1}, None, 99):
        document = {**made.calibration.document, "seal": {**named(made), field: wrong}}
        each = replace(made, calibration=Attachment(document, made.calibration.arrays))
        if wrong is None and field == "board":
            assert named(each)["board"] is None
            continue
        if isinstance(wrong, type(named(made)[field])) and field not in ("sealed_at", "board", "format"):
            continue  # readable, though broken: another test
        with pytest.raises(BundleError, match="seal"):
            seal_of(each)
