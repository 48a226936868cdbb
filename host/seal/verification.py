"""The last verification of a deployed sensor: a record beside its state, which the daemon reads before it measures."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from optics.whole_file import write_whole

FILE_NAME = "verification.json"
LARGEST_BYTES = 1_000_000


class VerificationError(ValueError):
    """The record cannot be read. The message names the file and what makes a new one."""


@dataclass(frozen=True, slots=True)
class Check:
    """One part against its seal. value: what was found, in `unit`, None where it could not be measured; limit: the most
    that it may be; passed: the verdict; note: in words, why it failed and what to do, or what the numbers are."""

    name: str
    value: float | None
    limit: float
    unit: str
    passed: bool
    note: str


@dataclass(frozen=True, slots=True)
class Verification:
    """One run of `canopic calibrate verify`. bundle_id: the sealed bundle that it was about. at: ISO 8601, UTC."""

    bundle_id: str
    at: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether there were checks, and all of them passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def reason(self) -> str:
        """What failed, or that nothing did."""
        failed = [f"{check.name}: {check.note}" for check in self.checks if not check.passed]
        if failed:
            return "; ".join(failed)
        return f"{len(self.checks)} checks passed" if self.checks else "nothing was checked"

    @property
    def at_s(self) -> float:
        """When, in Unix time."""
        return datetime.fromisoformat(self.at).timestamp()

    def as_json(self) -> dict[str, Any]:
        """One object: verdict, reason and every check."""
        checks = [asdict(check) for check in self.checks]
        return {
            "kind": "verify", "passed": self.passed, "reason": self.reason, "bundle_id": self.bundle_id, "at": self.at,
            "checks": checks,
        }  # fmt: skip


def at_most(name: str, value: float, limit: float, unit: str, meaning: str, advice: str) -> Check:
    """A check that holds while `value` (in `unit`) is a number of at most `limit`."""
    holds = math.isfinite(value) and value <= limit
    said = f"{meaning} is {value:.4g}{' ' + unit if unit else ''}, at most {limit:.4g} is sealed"
    return Check(name, float(value) if math.isfinite(value) else None, limit, unit, holds,
                 said if holds else f"{said}: {advice}")  # fmt: skip


def failed_check(name: str, note: str) -> Check:
    """A check that could not be made; in doubt it counts as failed."""
    return Check(name, None, 0.0, "", False, note)


def verification(bundle_id: str, checks: Sequence[Check], now: datetime | None = None) -> Verification:
    """The record of these checks, made now."""
    return Verification(bundle_id, (now or datetime.now(UTC)).isoformat(timespec="seconds"), tuple(checks))


def write_verification(record: Verification, directory: Path) -> Path:
    """Write DIRECTORY/verification.json, whole or not at all; returns its path. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o750)
    target = directory / FILE_NAME
    write_whole(target, json.dumps(record.as_json(), allow_nan=False, indent=1) + "\n")
    return target


def read_verification(directory: Path) -> Verification | None:
    """The last record in a state directory, None where there is none. Raises VerificationError for a damaged one: a
    verdict that cannot be read is none that was passed."""
    path = directory / FILE_NAME
    again = "run `canopic calibrate verify` to make a new one"
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise VerificationError(f"{path} is larger than any record: {again}")
        document = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except VerificationError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise VerificationError(f"{path} cannot be read ({error}): {again}") from error
    try:
        checks = tuple(_check(each) for each in document["checks"])
        found = Verification(str(document["bundle_id"]), str(document["at"]), checks)
        dated, agrees = math.isfinite(found.at_s), found.passed is document["passed"]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        raise VerificationError(f"{path} is damaged ({type(error).__name__}): {again}") from error
    if not (dated and agrees):
        raise VerificationError(f"{path} contradicts itself: {again}")
    return found


def _check(value: Any) -> Check:
    found = Check(
        str(value["name"]),
        None if value["value"] is None else float(value["value"]),
        float(value["limit"]),
        str(value["unit"]),
        value["passed"],
        str(value["note"]),
    )
    if type(found.passed) is not bool:
        raise TypeError("passed must be true or false")
    return found
