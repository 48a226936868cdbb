"""What keeps a sealed sensor blind: each part that is not the sealed one, as a cause with a reason and what to do.

Plain functions over plain values: what was found (`Facts`) against what is sealed. The daemon asks `SealInterlock` each
time that it verifies and with every measurement, and measures only while that has nothing to say. Every cause is
latched but a wrong clock, which mends by itself.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from host.capture import Identity
from host.causes import Cause
from host.mask.printed import printed_cause
from host.measurement import CapturePath
from host.seal.sealing import broken_seal, seal_of
from host.seal.verification import FILE_NAME, Verification, VerificationError, read_verification
from optics.archive import BundleError
from optics.bundle import Bundle

DAY_S = 86_400.0
# A board verifies itself every week, a camera needs somebody's hands for it: a visit every three months.
VERIFIED_WITHIN_DAYS = 90.0
# A Pi has no clock of its own: one that is this far before the seal was never set.
CLOCK_SLACK_S = DAY_S
WITH_BOARD: frozenset[CapturePath] = frozenset({"board", "loop", "twin"})
WITH_CAMERA: frozenset[CapturePath] = frozenset({"camera", "loop"})


@dataclass(frozen=True, slots=True)
class Facts:
    """What the daemon found.

    capture_path: of the verified capture. simulated: whether any of its parts is a twin. board_serial,
    thresholds_digest: of the board, as it reads its thresholds back (trims included); None where there is none. camera:
    `CameraIdentity.name`, None where there is none. mask_id: what the configuration says is written on the mask (first
    digits), None where it does not say. verification: the last record, None where there is none. now_s: Unix time.
    """

    capture_path: CapturePath
    simulated: bool
    board_serial: str | None = None
    thresholds_digest: str | None = None
    camera: str | None = None
    mask_id: str | None = None
    verification: Verification | None = None
    now_s: float = 0.0


def bundle_mismatch(bundle: Bundle) -> Cause | None:
    """What is wrong with a bundle by itself: a seal that is broken, unreadable or forced. None where nothing is, or
    where it was never sealed."""
    again = "take the sealed file from where it was kept, or seal the right parts again (`canopic seal`)"
    try:
        broken, named = broken_seal(bundle), seal_of(bundle)
    except BundleError as error:
        return _blind("seal unreadable", str(error), again)
    if broken is not None:
        return _blind("seal broken", f"the bundle is not what was sealed: {broken}", again)
    if named is not None and named["forced"]:
        forced = ", ".join(str(kind) for kind in named["forced"])
        return _blind(
            "seal forced",
            f"the bundle was sealed by force, although this had not passed: {forced}",
            "mend what `canopic seal` says without --force, calibrate again, seal again without --force",
        )
    return None


def mismatch(bundle: Bundle, facts: Facts) -> Cause | None:
    """Why these parts may not measure with this bundle, or None. A bundle without a seal binds nothing."""
    if (cause := bundle_mismatch(bundle)) is not None:
        return cause
    named = seal_of(bundle)
    if named is None:
        return None
    return (
        _other_world(named, facts)
        or _other_parts(named, facts)
        or printed_cause(facts.mask_id, bundle)
        or _not_verified(named, bundle.id, facts)
    )


class SealInterlock:
    """Holds a sealed bundle against what the daemon finds (host.causes.Interlock); quick enough for every measurement.

    Without an identity (before a verification) it says what is wrong with the bundle and with its verification's
    record, which is read again whenever its file has changed; with one, also which part is not the sealed one.
    """

    def __init__(
        self, bundle: Bundle, mask_id: str | None, directory: Path, now_s: Callable[[], float] = time.time
    ) -> None:
        """mask_id: as `Facts.mask_id`. directory: of the sensor's state, where the record lies."""
        self._wrong = bundle_mismatch(bundle)
        self._named = None if self._wrong is not None else seal_of(bundle)
        self._bundle_id = bundle.id if self._named is not None else ""
        self._other_mask = printed_cause(mask_id, bundle)
        self._directory, self._now_s = directory, now_s
        self._seen: tuple[int, int, int] | None = None
        self._record: Verification | Cause | None = None

    def __call__(self, identity: Identity | None) -> Cause | None:
        """Why the sensor has to be blind, None where nothing speaks against measuring."""
        named = self._named
        if self._wrong is not None or self._other_mask is not None:
            return self._wrong or self._other_mask
        if named is None:
            return None
        record = self._read()
        if isinstance(record, Cause):
            return record
        if identity is None:
            facts = Facts("twin", bool(named["simulated"]), verification=record, now_s=self._now_s())
            return _not_verified(named, self._bundle_id, facts)
        path: CapturePath = identity.rehearsed_path or identity.capture_path
        with_board = path in WITH_BOARD
        facts = Facts(
            path,
            identity.capture_path == "twin",
            identity.board_serial if with_board else None,
            identity.thresholds_digest if with_board else None,
            identity.camera,
            verification=record,
            now_s=self._now_s(),
        )
        return _other_world(named, facts) or _other_parts(named, facts) or _not_verified(named, self._bundle_id, facts)

    def _read(self) -> Verification | Cause | None:
        """The record as it is on the disk now; a cause where it cannot be read."""
        try:
            found = (self._directory / FILE_NAME).stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        except OSError:
            seen = None
        if seen is None or seen != self._seen:
            self._seen = seen
            try:
                self._record = read_verification(self._directory)
            except VerificationError as error:
                self._record = _blind("verification unreadable", str(error), "run `canopic calibrate verify`")
        return self._record


def _other_world(named: dict[str, Any], facts: Facts) -> Cause | None:
    """A twin's seal on real parts says nothing about them; nor does a real seal about a twin."""
    if named["simulated"] and not facts.simulated:
        return _blind(
            "sealed on a twin",
            "the bundle was sealed on a twin, and says nothing about these parts",
            "calibrate them and seal the result (docs/guide-deploy-on-a-pi.md)",
        )
    if facts.simulated and not named["simulated"]:
        return _blind(
            "sealed on real parts",
            "the bundle was sealed on real parts, and this is a twin",
            "give the twin a bundle without a seal, or one that was sealed with calibrations of a twin",
        )
    return None


def _other_parts(named: dict[str, Any], facts: Facts) -> Cause | None:
    board, camera = named["board"], named["camera"]
    if board is None and facts.capture_path in ("board", "loop"):
        return _not_calibrated("board", facts)
    # A twin's path goes through a board, too, but has no camera: its sensor is simulated with the optics.
    # The PSF is what shows which mask stands there; other calibrations name the camera, too.
    if (camera is None or named["psf_digest"] is None) and facts.capture_path in WITH_CAMERA:
        return _not_calibrated("psf", facts)
    if board is not None and facts.capture_path in WITH_BOARD:
        if facts.board_serial != board["serial"]:
            return _blind(
                "wrong board",
                f"board {board['serial']} is sealed, this is {facts.board_serial or 'none'}",
                f"connect board {board['serial']}; to change the board, calibrate the new one and seal again",
            )
        if facts.thresholds_digest != board["thresholds_digest"]:
            return _blind(
                "wrong thresholds",
                f"the board reads back thresholds {facts.thresholds_digest}, sealed are {board['thresholds_digest']}",
                "restart the sensor; if it comes back, run `canopic calibrate board` and seal again",
            )
    if camera is not None and facts.capture_path in WITH_CAMERA and facts.camera != camera:
        return _blind(
            "wrong camera",
            f"camera {camera} is sealed, this is {facts.camera or 'none'}",
            "connect the sealed camera at its place; to change it, run `canopic calibrate psf` and seal again",
        )
    return None


def _not_verified(named: dict[str, Any], bundle_id: str, facts: Facts) -> Cause | None:
    sealed_s = datetime.fromisoformat(named["sealed_at"]).timestamp()
    if facts.now_s < sealed_s - CLOCK_SLACK_S:
        return Cause(
            "clock",
            f"the clock says {_date(facts.now_s)}, before the bundle was sealed ({_date(sealed_s)})",
            latched=False,
            advice="set the clock (`timedatectl`); the sensor goes on by itself",
        )
    record = facts.verification
    if record is not None and record.bundle_id != bundle_id:
        record = None  # of what was sealed before
    if record is not None and record.at_s > facts.now_s + CLOCK_SLACK_S:
        # In doubt about the time nothing can be said about how old a record is.
        return Cause(
            "clock",
            f"the clock says {_date(facts.now_s)}, before the last verification ({record.at})",
            latched=False,
            advice="set the clock (`timedatectl`); where it is right, run `canopic calibrate verify` for a new record",
        )
    run = "run `canopic calibrate verify`, mend what it names, then restart the sensor"
    if record is not None and not record.passed:
        return _blind("verification failed", f"the last verification ({record.at}) failed: {record.reason}", run)
    last_s = sealed_s if record is None else max(sealed_s, record.at_s)
    if facts.now_s - last_s > VERIFIED_WITHIN_DAYS * DAY_S:
        days = (facts.now_s - last_s) / DAY_S
        what = "sealed and never verified since" if record is None else "last verified"
        return _blind(
            "verification due", f"{what} {days:.0f} days ago; at most {VERIFIED_WITHIN_DAYS:.0f} are allowed", run
        )
    return None


def _not_calibrated(kind: str, facts: Facts) -> Cause:
    return _blind(
        "not sealed for this path",
        f"the bundle was sealed without a calibration {kind!r}, which path {facts.capture_path} needs",
        f"run `canopic calibrate {kind}`, then seal again",
    )


def _blind(kind: str, reason: str, advice: str) -> Cause:
    return Cause(kind, reason, True, advice)


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
