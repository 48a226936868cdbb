"""The boundary's own process, started by host.children: the only one that ever holds a frame.

Records (host/boundary/wire.py) come in on standard input, the first of them says what to do, and go out on standard
output: measurements, facts, results of calibrations. Nothing else leaves: standard error and whatever libraries print
go to /dev/null, and of an error that is none of ours only its type and place are told, since a message could quote
values. The end of standard input means that the daemon is gone.
"""

import ctypes
import json
import os
import signal
import struct
import sys

from host.boundary.sandbox import before_devices

_PR_SET_PDEATHSIG = 1
_FAILURE = 4  # Kind.FAILURE of host/boundary/wire.py, which may be what cannot be imported


def main() -> int:
    """Run as a child process; see the top of this file. Returns the exit status."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        return 1  # it died in between
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the daemon's, which then ends this process
    incoming, outgoing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    # First of all, while there is one thread: what is imported below may start others.
    held = before_devices()
    try:
        from host.boundary.work import serve
    except Exception as error:  # noqa: BLE001 - whatever is wrong with this installation; there is no frame yet
        held.close_pipes()
        os.write(outgoing, _cannot_load(error))
        return 1
    return serve(incoming, outgoing, held)


def _cannot_load(error: Exception) -> bytes:
    """The record of a failure, made without what could not be imported."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        place = trace.tb_frame.f_code.co_filename
        trace = trace.tb_next
    said = {
        "kind": "boundary_broken",
        "reason": f"the boundary process cannot be loaded: {type(error).__name__}: {error} ({place})"[:900],
        "latched": True,
        "advice": "install canopic again in a fresh environment (make clean, then make run)",
    }
    content = json.dumps(said).encode()
    return struct.pack("<B3xI", _FAILURE, len(content)) + content


if __name__ == "__main__":
    sys.exit(main())
