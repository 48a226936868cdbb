"""The board behind the daemon: what it runs on, and not what it is called, decides what may be claimed."""

from host.capture import Capture
from host.twin.board_process import BoardProcess
from optics.bundle import default_bundle_path, read_bundle


def test_a_simulated_board_with_any_serial_is_a_twin() -> None:
    with BoardProcess(serial="CANOPIC-0042") as board:
        capture = Capture(str(board.pty), read_bundle(default_bundle_path()))
        try:
            identity = capture.verify(exposure_us=10_000, gain=1.0)
        finally:
            capture.release()
    assert identity.board_serial == "CANOPIC-0042"
    assert identity.capture_path == "twin"
