"""Writing to a pipe whose reader has left: say nothing more, not even when Python flushes it at exit."""

import contextlib
import os
from typing import TextIO


def abandon(stream: TextIO) -> None:
    """Lead what is still written to `stream` nowhere; a stream without a file descriptor is left as it is."""
    with contextlib.suppress(OSError):
        descriptor = stream.fileno()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)
