"""Every calibration by its name: its procedure, and a session on real devices or on a twin with hidden parameters."""

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibration.outcome import Kind
from host.calibrate.procedure import Procedure
from host.calibrate.run import Session
from host.config import Config
from optics.bundle import Bundle

# As configured where nobody says another (host.config.Exposure).
MAINS_HZ = 50
# What a calibration needs a camera for runs inside the boundary process; a board gives no frames.
WITH_CAMERA: frozenset[Kind] = frozenset({"psf", "sensor", "slm", "range"})


@dataclass(frozen=True)
class Opened:
    """A session, and on a twin the hidden parameters (they are known once its parts exist). simulated: whether the
    device says that it is a twin; one may well be served behind a real port. missing: what this computer does not
    enforce of the locked process that holds the frames, a sentence each."""

    session: Session
    truth: Mapping[str, Any] | None
    simulated: bool
    missing: tuple[str, ...] = ()


class CannotCalibrate(ValueError):  # noqa: N818 - reads as what happened
    """This calibration cannot be done with what was asked for. The message says what is missing."""


def procedure_of(kind: Kind, bundle: Bundle, quick: bool, mains_hz: int = MAINS_HZ) -> Procedure:
    """The steps of a calibration for a bundle. mains_hz: of the lamps where the range is found. Raises ValueError where
    the bundle does not suit it."""
    options = {"mains_hz": mains_hz} if kind == "range" else {}
    made: Procedure = importlib.import_module(f"host.calibrate.{kind}").make_procedure(bundle, quick=quick, **options)
    return made


@contextmanager
def on_twin(procedure: Procedure, bundle: Bundle, bundle_path: Path, seed: int, fault: str | None) -> Iterator[Opened]:
    """A session on a twin; bundle_path: the bundle's file.

    Raises BenchError for a fault that it does not know, SessionError where it cannot start.
    """
    if procedure.kind in WITH_CAMERA:
        from host.boundary.client import BoundarySession
        from host.twin.bench import make_bench

        truth = make_bench(procedure.kind, seed, fault, bundle, procedure.options.get("mains_hz")).truth
        twin = {"seed": seed, "fault": fault, "bundle": str(bundle_path)}
        with BoundarySession(procedure.kind, {"acquire": procedure.acquire, "twin": twin}) as session:
            yield Opened(session, truth, True, session.missing)
    else:
        from host.calibrate.acquire_board import twin_board_rig
        from host.calibrate.sessions import RigSession

        with twin_board_rig(bundle, seed, fault) as (rig, truth):
            yield Opened(RigSession(procedure, rig, f"twin {seed} {fault or ''}".strip()), truth, True)


@contextmanager
def on_devices(procedure: Procedure, bundle: Bundle, config: Config) -> Iterator[Opened]:
    """A session on what the configuration names. Raises CannotCalibrate, or SessionError where it cannot start."""
    if procedure.kind in WITH_CAMERA:
        if procedure.kind == "psf" and (config.gpio.source_pin is None or config.gpio.device == "none"):
            raise CannotCalibrate(
                "the point source has to hang on a pin of this computer, since it is switched for every other frame: "
                "wire it as the guide `deploy on a Pi` shows, and set gpio.source_pin in the configuration"
            )
        from host.boundary.client import BoundarySession

        spec = {
            "acquire": procedure.acquire,
            "camera": config.camera.model_dump(mode="json"),
            "gpio": config.gpio.model_dump(mode="json"),
            "mask": config.mask.model_dump(mode="json"),
            "rows_px": bundle.rows_px,
            "columns_px": bundle.columns_px,
        }
        with BoundarySession(procedure.kind, spec) as session:
            yield Opened(session, None, session.simulated, session.missing)
        return
    if config.capture.port is None:
        raise CannotCalibrate(
            "no board: name its port with --board /dev/serial/by-id/..., or rehearse with --path twin "
            "(`canopic doctor` lists the ports)"
        )
    from host.board.errors import BoardError
    from host.board.protocol import Hardware
    from host.calibrate.acquire_board import open_board_rig
    from host.calibrate.run import SessionError
    from host.calibrate.sessions import RigSession

    try:
        rig_context = open_board_rig(config.capture.port, bundle)
        with rig_context as rig:
            hello = rig.client.identity
            simulated = hello.hardware != Hardware.ANALOG
            yield Opened(RigSession(procedure, rig, f"board {hello.board_serial}"), None, simulated)
    except BoardError as error:
        raise SessionError(str(error), "no_board") from error
