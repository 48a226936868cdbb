"""The twin's own process, started by host.children: it plays a scene into a board that it starts and watches.

Its standard input carries one line of JSON with a TwinSpec, then one JSON command a line: {"control": TEXT, "id": N}
for the board's fault injection and {"rewind": FRAME, "id": N}; its end means that the parent is gone. Standard output
carries one JSON object a line: "started", "progress", "answer" (to a command), and "end" or "error" after the scene.
After the end the board stays, so that the host can fetch its last measurements, until the process is told to stop.
"""

import ctypes
import os
import signal
import sys
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np

from host.board.errors import BoardProgramError
from host.twin.board_process import BoardProcess
from host.twin.frame import SceneError
from host.twin.kernel import KernelError, kernel_use, load_kernel
from host.twin.pipeline import Pipeline, SceneClock
from host.twin.playback import Commands, Playback, Status
from host.twin.scene import open_scene
from host.twin.simulation import make_camera
from host.twin.spec import TwinSpec, spec_from_json
from optics.archive import BundleError
from optics.bundle import read_bundle, resolve_bundle

PR_SET_PDEATHSIG = 1
STOP_S = 5


def run(spec: TwinSpec, commands: Commands, status: Status) -> None:
    """Play `spec` until told to stop. Raises SceneError, BundleError, KernelError, BoardProgramError or ValueError."""
    bundle = read_bundle(resolve_bundle(spec.bundle))
    encoding = bundle.encoding
    kernel = None
    if spec.kernel is not None:
        kernel = load_kernel(spec.kernel, encoding.filters, (bundle.rows_px, bundle.columns_px))
    made_rng, noise_rng = (np.random.default_rng(seed) for seed in np.random.SeedSequence(spec.seed).spawn(2))
    taps = None if kernel is None else kernel.taps
    camera = make_camera(encoding, bundle.rows_px, bundle.columns_px, spec.sensor, made_rng, taps)
    made: dict[str, Any] = {
        "serial": spec.serial,
        "seed": spec.seed,
        "offset_volts": spec.offset_volts,
        "noise_volts": spec.noise_volts,
    }
    wake, waker = os.pipe()
    for end in (wake, waker):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)

    def notify() -> None:
        try:
            os.write(waker, b"\0")
        except BlockingIOError:
            return  # It is full, so it is readable already.

    with (
        open_scene(spec.parsed_scene(), bundle.rows_px, bundle.columns_px) as scene,
        BoardProcess(pty=spec.pty, **{**made, **spec.board}) as board,
    ):
        replaces = scene.live or spec.pace == "realtime"
        clock = SceneClock(replaces and not scene.live, 1 / scene.fps)
        pipeline = Pipeline(scene, camera, noise_rng, clock, notify)
        playback = Playback(pipeline, board, clock, replaces, commands, status)
        signal.signal(signal.SIGTERM, playback.stop)
        about = {"frame_count": scene.frame_count, "fps": scene.fps, "live": scene.live}
        used = None if kernel is None else asdict(kernel_use(kernel, encoding.kernels))
        status.send("started", pty=str(board.pty), board_pid=board.pid, kernel=used, **about)
        pipeline.start()
        try:
            playback.play(wake)
        finally:
            signal.alarm(STOP_S)  # ends this process if something below hangs, such as a camera that is gone
            pipeline.close()


def main() -> int:
    """Run as a child process; see the top of this file. Returns the exit status."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who then stops this process in order
    cv2.setNumThreads(1)
    # Only status may go to the parent's pipe; whatever a library prints goes to standard error.
    status = Status(os.dup(1))
    os.dup2(2, 1)
    commands = Commands(0)
    try:
        run(spec_from_json(commands.first()), commands, status)
    except (SceneError, BundleError, KernelError, BoardProgramError, ValueError) as error:
        status.send("error", message=str(error), kernel=isinstance(error, KernelError))
        return 1
    return 0


def _die_with_parent() -> None:
    """End this process when the thread that started it ends (Linux); elsewhere the end of standard input has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
