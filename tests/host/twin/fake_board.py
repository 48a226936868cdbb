"""A stand-in for the board's host build: the same command line and sockets, but every frame is measured at once.

Control lines besides the board's own: `hold` and `go` (frames stay pending), `refuse N` (the next N frames are reported
as not measured), `expose US GAIN_MILLI` (what a host's exposure command does), `frames` (JSON of what was measured:
[frame, capture_us, exposure_us, gain_milli, mean volts of every tenth, [rows, columns, channels]]), `pending`.
"""

import argparse
import json
import os
import selectors
import signal
import socket
import struct
import sys
from pathlib import Path

HEADER, REPORT = struct.Struct("<IIQIIHHHH"), struct.Struct("<B3xII")


class FakeBoard:
    def __init__(self, frames: str, control: str, pty: str) -> None:
        _, self.slave = os.openpty()
        Path(pty).unlink(missing_ok=True)
        Path(pty).symlink_to(os.ttyname(self.slave))
        self.selector = selectors.DefaultSelector()
        for path, accept in ((frames, self.accept_frames), (control, self.accept_control)):
            Path(path).unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(path)
            listener.listen(4)
            self.selector.register(listener, selectors.EVENT_READ, accept)
        self.feed: socket.socket | None = None
        self.data = bytearray()
        self.held = False
        self.refuse = 0
        self.pending: list | None = None
        self.measured: list[list] = []

    def accept_frames(self, listener: socket.socket) -> None:
        if self.feed is not None:
            self.selector.unregister(self.feed)
            self.feed.close()
        self.feed, _ = listener.accept()
        self.data.clear()
        self.selector.register(self.feed, selectors.EVENT_READ, self.read_frames)

    def read_frames(self, client: socket.socket) -> None:
        data = client.recv(1 << 20)
        if not data:
            self.selector.unregister(client)
            client.close()
            self.feed = self.pending = None
            return
        self.data += data
        while len(self.data) >= HEADER.size:
            _, frame, capture_us, exposure_us, gain_milli, *shape, _ = HEADER.unpack_from(self.data)
            size = shape[0] * shape[1] * shape[2] * 4
            if len(self.data) < HEADER.size + size:
                return
            volts = memoryview(self.data)[HEADER.size : HEADER.size + size].cast("f")
            mean = sum(volts) / len(volts) if frame % 10 == 0 else 0.0  # in Python this is the slowest part
            volts.release()
            del self.data[: HEADER.size + size]
            if self.pending is not None:
                self.report(1, self.pending[0], 0)
            self.pending = [frame, capture_us, exposure_us, gain_milli, mean, shape]
            self.settle()

    def settle(self) -> None:
        if self.pending is None or self.held:
            return
        done, self.pending = self.pending, None
        if self.refuse:
            self.refuse -= 1
            self.report(1, done[0], 0)
        else:
            self.measured.append(done)
            self.report(1, done[0], 1)

    def report(self, kind: int, a: int, b: int) -> None:
        if self.feed is not None:
            self.feed.sendall(REPORT.pack(kind, a, b))

    def accept_control(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        line = client.makefile("r").readline().split()
        answer = "ok"
        match line:
            case ["hold"]:
                self.held = True
            case ["go"]:
                self.held = False
                self.settle()
            case ["refuse", count]:
                self.refuse = int(count)
            case ["expose", exposure_us, gain_milli]:
                self.report(2, int(exposure_us), int(gain_milli))
            case ["frames"]:
                answer = json.dumps(self.measured)
            case ["pending"]:
                answer = "none" if self.pending is None else str(self.pending[0])
            case _:
                answer = f"error: unknown {line}"
        client.sendall(answer.encode() + b"\n")
        client.close()

    def run(self) -> None:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            for key, _ in self.selector.select():
                key.data(key.fileobj)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for option in ("pty", "frames", "control", "serial", "seed", "offset-volts", "noise-volts"):
        parser.add_argument(f"--{option}")
    options = parser.parse_known_args()[0]  # how well the board is made does not show in what it measures here
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    FakeBoard(options.frames, options.control, options.pty).run()
