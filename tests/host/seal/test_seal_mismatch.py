"""Each part that is not the sealed one blinds, with a reason that names both; the right part again lets it measure."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.capture import Identity
from host.seal.mismatch import VERIFIED_WITHIN_DAYS, Facts, SealInterlock, bundle_mismatch, mismatch
from host.seal.sealing import seal, seal_of
from host.seal.verification import (
    Check,
    Verification,
    VerificationError,
    at_most,
    failed_check,
    read_verification,
    verification,
    write_verification,
)
from optics.bundle import Attachment, Bundle, default_bundle_path, read_bundle
from optics.mask import Mask
from tests.host.seal import parts

SEALED = datetime.fromisoformat(parts.SEALED_AT)
NOW_S = (SEALED + timedelta(days=3)).timestamp()
GOOD = Check("board", 0.1, 1.0, "mV", True, "fine")
BAD = Check("psf", 0.3, 0.1, "", False, "the PSF changed")


@pytest.fixture(scope="module")
def unsealed() -> Bundle:
    return read_bundle(default_bundle_path())


@pytest.fixture(scope="module")
def mask() -> Mask:
    return Mask(np.random.default_rng(0).uniform(0, 1e-6, (9, 9)), 2e-6)


@pytest.fixture(scope="module")
def bundle(unsealed: Bundle, mask: Mask) -> Bundle:
    return seal(unsealed, parts.all_parts(unsealed), sealed_at=parts.SEALED_AT, by=parts.BY, mask=mask)


@pytest.fixture
def right(bundle: Bundle, mask: Mask) -> Facts:
    """What the daemon finds where everything is the sealed part."""
    made = verification(bundle.id, [GOOD], SEALED + timedelta(days=2))
    return Facts("loop", False, parts.BOARD, parts.DIGEST, parts.CAMERA, mask.id[:8], made, NOW_S)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "wrong board": ({"board_serial": "BOARD-8"}, "board BOARD-7 is sealed, this is BOARD-8"),
    "no board": ({"board_serial": None}, "this is none"),
    "wrong thresholds": (
        {"thresholds_digest": "12345678"},
        f"reads back thresholds 12345678, sealed are {parts.DIGEST}",
    ),
    "wrong camera": ({"camera": "imx708 elsewhere"}, "is sealed, this is imx708 elsewhere"),
    "wrong mask": ({"mask_id": "ffffffff"}, "mask ffffffff stands in front of the sensor"),
    "a twin": ({"simulated": True}, "sealed on real parts, and this is a twin"),
    "clock": ({"now_s": 1e9}, "before the bundle was sealed"),
    "due": ({"now_s": NOW_S + 100 * 86_400}, "last verified 101 days ago"),
}


@pytest.mark.parametrize(("change", "says"), WRONG.values(), ids=WRONG.keys())
def test_each_mismatch_blinds_and_the_right_part_mends_it(
    bundle: Bundle, right: Facts, change: dict[str, Any], says: str
) -> None:
    assert mismatch(bundle, right) is None
    cause = mismatch(bundle, replace(right, **change))
    assert cause is not None
    assert says in cause.reason
    assert cause.advice
    assert cause.latched == ("now_s" not in change or change["now_s"] > NOW_S)
    assert mismatch(bundle, right) is None


@pytest.mark.parametrize("path", ["board", "loop", "twin"])
def test_a_board_is_compared_wherever_there_is_one(bundle: Bundle, right: Facts, path: Any) -> None:
    simulated = seal(
        read_bundle(default_bundle_path()), parts.all_parts(bundle, twin=True),
        sealed_at=parts.SEALED_AT, by=parts.BY,
    ) if path == "twin" else bundle  # fmt: skip
    found = replace(right, capture_path=path, simulated=path == "twin", verification=None, mask_id=None)
    assert mismatch(simulated, found) is None
    cause = mismatch(simulated, replace(found, board_serial="OTHER"))
    assert cause is not None
    assert cause.kind == "wrong board"


def test_on_the_camera_path_there_is_no_board_to_compare(bundle: Bundle, right: Facts) -> None:
    alone = replace(right, capture_path="camera", board_serial=None, thresholds_digest=None)
    assert mismatch(bundle, alone) is None
    assert mismatch(bundle, replace(alone, camera=None)) is not None


def test_a_path_without_its_calibration_is_refused(unsealed: Bundle, right: Facts) -> None:
    def made(kinds: set[str]) -> Bundle:
        some = {kind: each for kind, each in parts.all_parts(unsealed).items() if kind in kinds}
        return seal(unsealed, some, sealed_at=parts.SEALED_AT, by=parts.BY)

    plain = replace(right, mask_id=None, verification=None)
    for kinds, path in (({"board"}, "loop"), ({"board"}, "camera"), ({"psf"}, "board"), ({"psf"}, "loop")):
        cause = mismatch(made(kinds), replace(plain, capture_path=path))  # type: ignore[arg-type]
        assert cause is not None
        assert cause.kind == "not sealed for this path"
    # A range or a sensor names the camera; which mask stands there only the PSF shows.
    for path in ("camera", "loop"):
        cause = mismatch(made({"board", "sensor", "range"}), replace(plain, capture_path=path))  # type: ignore[arg-type]
        assert cause is not None
        assert "without a calibration 'psf'" in cause.reason
    assert mismatch(made({"board"}), replace(plain, capture_path="board", camera=None)) is None
    assert mismatch(made({"psf"}), replace(plain, capture_path="camera", board_serial=None)) is None


def test_a_twins_seal_is_for_twins(unsealed: Bundle, right: Facts) -> None:
    twins = seal(unsealed, parts.all_parts(unsealed, twin=True), sealed_at=parts.SEALED_AT, by=parts.BY)
    plain = replace(right, mask_id=None, verification=None)
    cause = mismatch(twins, plain)
    assert cause is not None
    assert "sealed on a twin" in cause.reason
    assert mismatch(twins, replace(plain, simulated=True)) is None


def test_a_mask_that_the_seal_does_not_know_is_refused(unsealed: Bundle, right: Facts) -> None:
    made = seal(unsealed, parts.all_parts(unsealed), sealed_at=parts.SEALED_AT, by=parts.BY)
    cause = mismatch(made, replace(right, verification=None))
    assert cause is not None
    assert "--mask" in cause.advice
    assert mismatch(made, replace(right, verification=None, mask_id=None)) is None


def test_a_failed_verification_blinds_until_one_passes(bundle: Bundle, right: Facts) -> None:
    cause = mismatch(bundle, replace(right, verification=verification(bundle.id, [GOOD, BAD], SEALED)))
    assert cause is not None
    assert "psf: the PSF changed" in cause.reason
    assert "canopic calibrate verify" in cause.advice
    assert mismatch(bundle, replace(right, verification=verification(bundle.id, [GOOD], SEALED))) is None
    assert mismatch(bundle, replace(right, verification=verification(bundle.id, [], SEALED))) is not None


def test_a_verification_of_another_bundle_says_nothing(bundle: Bundle, right: Facts) -> None:
    assert mismatch(bundle, replace(right, verification=verification("0" * 64, [BAD], SEALED))) is None
    late = replace(right, verification=verification("0" * 64, [GOOD]), now_s=NOW_S + 100 * 86_400)
    cause = mismatch(bundle, late)
    assert cause is not None
    assert "never verified" in cause.reason


@pytest.mark.parametrize("at", ["2999-01-01T00:00:00+00:00", "2026-05-06T11:00:00+00:00"])
def test_a_record_from_the_future_blinds_until_the_clock_or_the_record_is_right(
    bundle: Bundle, right: Facts, tmp_path: Path, at: str
) -> None:
    late = Verification(bundle.id, at, (GOOD,))
    cause = mismatch(bundle, replace(right, verification=late))
    assert cause is not None
    assert (cause.kind, cause.latched) == ("clock", False)
    assert at in cause.reason
    assert mismatch(bundle, replace(right, verification=late, now_s=late.at_s - 80_000)) is None  # within the slack
    now_s = NOW_S
    asked = SealInterlock(bundle, None, tmp_path, lambda: now_s)
    write_verification(late, tmp_path)
    for identity in (None, found()):
        cause = asked(identity)
        assert cause is not None
        assert cause.kind == "clock"
    write_verification(verification(bundle.id, [GOOD], SEALED), tmp_path)
    assert asked(found()) is None


@settings(deadline=None)
@given(days=st.floats(0, 400), since=st.floats(0, 400))
def test_a_verification_holds_for_its_time_and_no_longer(bundle: Bundle, days: float, since: float) -> None:
    at = SEALED + timedelta(days=since)
    now_s = at.timestamp() + days * 86_400
    facts = Facts(
        "loop", False, parts.BOARD, parts.DIGEST, parts.CAMERA, None, verification(bundle.id, [GOOD], at), now_s
    )
    cause = mismatch(bundle, facts)
    # The record has whole seconds.
    assert abs(days - VERIFIED_WITHIN_DAYS) < 1e-3 or (cause is None) == (days < VERIFIED_WITHIN_DAYS)


def test_a_bundle_without_a_seal_binds_nothing(unsealed: Bundle, right: Facts) -> None:
    assert mismatch(unsealed, right) is None
    assert mismatch(unsealed, Facts("twin", True)) is None


def test_a_replaced_model_a_forced_seal_and_nonsense_blind(bundle: Bundle, unsealed: Bundle, right: Facts) -> None:
    name = next(iter(bundle.models))
    cause = mismatch(replace(bundle, models={**bundle.models, name: b"another"}), right)
    assert cause is not None
    assert f"model {name} is another one" in cause.reason
    failed = {"board": parts.board(unsealed), "psf": parts.psf()}
    failed["psf"] = replace(failed["psf"], outcome=replace(failed["psf"].outcome, passed=False))
    forced = seal(unsealed, failed, sealed_at=parts.SEALED_AT, by=parts.BY, force=True)  # type: ignore[arg-type]
    cause = bundle_mismatch(forced)
    assert cause is not None
    assert "had not passed: psf" in cause.reason
    unlike = seal(
        unsealed, {"psf": parts.psf(kernel=np.eye(63))}, sealed_at=parts.SEALED_AT, by=parts.BY, force=True
    )  # fmt: skip
    cause = bundle_mismatch(unlike)
    assert cause is not None
    assert "had not passed: kernel" in cause.reason
    assert bundle.calibration is not None
    nonsense = replace(bundle, calibration=Attachment({"seal": 7}, {}))
    cause = mismatch(nonsense, right)
    assert cause is not None
    assert cause.kind == "seal unreadable"
    assert seal_of(bundle) is not None
    assert mismatch(bundle, right) is None


def test_a_record_is_kept_whole(tmp_path: Path) -> None:
    assert read_verification(tmp_path / "new") is None
    checks = [
        GOOD,
        BAD,
        failed_check("range", "no camera"),
        at_most("dark", float("nan"), 2.0, "e", "noise", "cool it"),
    ]
    made = verification("ab" * 32, checks, datetime(2026, 5, 3, 12, tzinfo=UTC))
    path = write_verification(made, tmp_path / "new")
    found = read_verification(path.parent)
    assert found == made
    assert (found.passed, found.at_s) == (False, 1777809600.0)
    assert "dark: noise is nan e" in found.reason


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"checks": [], "bundle_id": "x", "at": "never", "passed": false}',
     '{"checks": [], "bundle_id": "x", "at": "2026-05-03T12:00:00+00:00", "passed": true}',
     '{"checks": [{"name": "a", "value": 1, "limit": 2, "unit": "", "passed": "yes", "note": ""}], "bundle_id": "x",'
     ' "at": "2026-05-03T12:00:00+00:00", "passed": true}'],
)  # fmt: skip
def test_a_damaged_record_is_no_verdict(tmp_path: Path, text: str) -> None:
    (tmp_path / "verification.json").write_text(text)
    with pytest.raises(VerificationError, match=r"canopic calibrate verify"):
        read_verification(tmp_path)
    write_verification(Verification("x", "2026-05-03T12:00:00+00:00", (GOOD,)), tmp_path)
    found = read_verification(tmp_path)
    assert found is not None
    assert found.passed


def found(**changed: Any) -> Identity:
    """What the daemon has verified, on a real loop."""
    given = {"board_serial": parts.BOARD, "firmware": "0.1.0", "boot_id": 1, "thresholds_digest": parts.DIGEST,
             "capture_path": "loop", "camera": parts.CAMERA, **changed}  # fmt: skip
    return Identity(**given)


def test_the_interlock_follows_the_record_and_the_parts(bundle: Bundle, tmp_path: Path) -> None:
    now_s = NOW_S
    asked = SealInterlock(bundle, None, tmp_path, lambda: now_s)
    assert asked(None) is None
    assert asked(found()) is None
    cause = asked(found(board_serial="BOARD-8"))
    assert cause is not None
    assert cause.kind == "wrong board"
    assert asked(found()) is None
    write_verification(verification(bundle.id, [BAD], SEALED), tmp_path)
    for identity in (None, found()):
        cause = asked(identity)
        assert cause is not None
        assert cause.kind == "verification failed"
    (tmp_path / "verification.json").write_text("{")
    cause = asked(None)
    assert cause is not None
    assert cause.kind == "verification unreadable"
    write_verification(verification(bundle.id, [GOOD], SEALED), tmp_path)
    assert asked(None) is None
    now_s += 120 * 86_400
    cause = asked(found())
    assert cause is not None
    assert cause.kind == "verification due"


def test_the_interlock_knows_rehearsals_and_cameras_without_a_board(
    bundle: Bundle, unsealed: Bundle, tmp_path: Path
) -> None:
    twins = seal(unsealed, parts.all_parts(unsealed, twin=True), sealed_at=parts.SEALED_AT, by=parts.BY)
    rehearsed = found(capture_path="twin", rehearsed_path="camera", board_serial=parts.CAMERA, thresholds_digest="0")
    assert SealInterlock(twins, None, tmp_path, lambda: NOW_S)(rehearsed) is None
    cause = SealInterlock(bundle, None, tmp_path, lambda: NOW_S)(rehearsed)
    assert cause is not None
    assert cause.kind == "sealed on real parts"
    loop = found(capture_path="twin", rehearsed_path="loop", board_serial="OTHER")
    cause = SealInterlock(twins, None, tmp_path, lambda: NOW_S)(loop)
    assert cause is not None
    assert cause.kind == "wrong board"
    alone = found(capture_path="camera", board_serial=parts.CAMERA, thresholds_digest="0")
    assert SealInterlock(bundle, None, tmp_path, lambda: NOW_S)(alone) is None


def test_a_broken_bundle_stays_blind_and_an_unsealed_one_is_free(
    bundle: Bundle, unsealed: Bundle, tmp_path: Path
) -> None:
    name = next(iter(bundle.models))
    broken = SealInterlock(replace(bundle, models={**bundle.models, name: b"another"}), None, tmp_path)
    for identity in (None, found()):
        cause = broken(identity)
        assert cause is not None
        assert cause.kind == "seal broken"
    assert SealInterlock(unsealed, None, tmp_path)(found(capture_path="twin")) is None
    cause = SealInterlock(unsealed, "ffff", tmp_path)(None)
    assert cause is not None
    assert cause.kind == "mask_id"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_no_seal_however_strange_stops_the_daemon(bundle: Bundle, tmp_path_factory: Any, data: st.DataObject) -> None:
    """One entry of the seal, or of what is in one, replaced by any JSON: a cause or none, never an exception."""
    named = seal_of(bundle)
    assert named is not None
    assert bundle.calibration is not None
    key = data.draw(st.sampled_from(sorted(named)))
    value = data.draw(JSON)
    if isinstance(named[key], dict) and data.draw(st.booleans()):
        inner = data.draw(st.sampled_from(sorted(named[key])))
        value = {**named[key], inner: value}
    document = {**bundle.calibration.document, "seal": {**named, key: value}}
    changed = replace(bundle, calibration=Attachment(document, bundle.calibration.arrays))
    asked = SealInterlock(changed, None, tmp_path_factory.getbasetemp(), lambda: NOW_S)
    for identity in (None, found(), found(capture_path="twin", camera=None)):
        cause = asked(identity)
        assert cause is None or cause.reason
    if key in ("arrays_digest", "results_digest", "encoding_id", "models", "sensor_px") and value != named[key]:
        assert asked(found()) is not None
    assert SealInterlock(bundle, None, tmp_path_factory.getbasetemp(), lambda: NOW_S)(found()) is None
