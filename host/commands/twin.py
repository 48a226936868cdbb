"""canopic twin: a simulated camera behind a serial port, until told to stop."""

import signal
import threading
from pathlib import Path

from host.commands.common import DONE, WRONG_INPUT, expected, say
from host.commands.options import light_steps
from host.twin.frame import SceneError
from host.twin.measured_sensor import read_measured_sensor
from host.twin.player import Twin, TwinError, serve
from host.twin.sensor import SensorModel
from host.twin.spec import TwinSpec
from optics.archive import BundleError
from optics.bundle import resolve_bundle


def serve_twin(
    pty: Path,
    *,
    scene: str | None,
    pace: str | None,
    bundle: str | None,
    seed: int | None,
    light: str | None,
    sensor: Path | None,
    loop: bool,
) -> int:
    """Serve until SIGINT or SIGTERM."""
    stop = threading.Event()
    with expected(SceneError, BundleError, ValueError, status=WRONG_INPUT):
        spec = TwinSpec(
            scene=scene or "demo",
            bundle=str(resolve_bundle(bundle or "default")),
            pace=pace or "realtime",  # type: ignore[arg-type]  # TwinSpec checks it
            seed=seed or 0,
            light=tuple((at_s, factor) for at_s, factor in light_steps(light)),
            loop=loop,
            sensor=SensorModel() if sensor is None else read_measured_sensor(sensor).with_converter,
            pty=str(pty.absolute()),
        )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())

    def started(_twin: Twin) -> None:
        say(f"a twin that plays {spec.scene} is on {pty}; attach with: canopic run --board {pty}")

    with expected(TwinError):
        serve(spec, started, stop)
    return DONE
