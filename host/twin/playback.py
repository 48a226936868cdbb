"""Playing a scene into the board: one frame at a time, again when the board was lost, and word of it to the parent."""

import json
import os
import resource
import select
import threading
import time
from collections import deque
from typing import Any

from host.board.errors import BoardProgramError
from host.twin.board_process import BoardProcess
from host.twin.feed import BoardFeed, Cells, ExposureSet, Finished, Report
from host.twin.frame import SceneError
from host.twin.pipeline import Pipeline, SceneClock

PROGRESS_PERIOD_S = 0.5
RECONNECT_PERIOD_S = 0.02
# A frame that the board refused (it is armed for another geometry) is offered again after this time.
REFUSED_PAUSE_S = 0.05
# How long the board may take to let go of a frame that another one takes the place of.
LET_GO_S = 1.0
# At the realtime end of a scene its last frame has this long to be measured.
LAST_FRAME_S = 1.0
# Measured frames kept (57 kB each at 80 x 60 x 3): a board that dies takes those in its slots with it.
KEPT_FRAMES = 32


class Commands:
    """Whole lines from a file descriptor; `ended` is true once the other side has closed it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.ended = False
        self._pending = b""

    def first(self) -> str:
        """Wait for one line; what came after it is left for `lines`."""
        while b"\n" not in self._pending and not self.ended:
            self._read()
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode()

    def lines(self) -> list[str]:
        """Lines that have arrived; call it when select says that there is something to read."""
        self._read()
        *lines, self._pending = self._pending.split(b"\n")
        return [line.decode() for line in lines]

    def _read(self) -> None:
        data = os.read(self.descriptor, 65536)
        self.ended = not data
        self._pending += data


class Status:
    """Writes one JSON object a line, from any thread; silently nowhere once the parent is gone."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def send(self, event: str, **values: Any) -> None:
        """One line."""
        line = json.dumps({"event": event, **values}).encode() + b"\n"
        with self._lock:
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except BrokenPipeError:
                return


class Playback:
    """Gives the pipeline's cells to the board, one at a time, and tells the parent how it goes."""

    def __init__(
        self,
        pipeline: Pipeline,
        board: BoardProcess,
        clock: SceneClock,
        replaces: bool,
        commands: Commands,
        status: Status,
    ) -> None:
        self._pipeline, self._board, self._clock = pipeline, board, clock
        self._replaces, self._commands, self._status = replaces, commands, status
        self._feed = BoardFeed(board.frames_socket)
        self._current: Cells | None = None
        self._sent_s: float | None = None  # when the current frame was handed over; None: it has to be
        self._offer_s = 0.0  # not before this time
        self._again: deque[Cells] = deque()
        self._kept: deque[Cells] = deque(maxlen=KEPT_FRAMES)
        self._last_number = -1
        self._measured = self._replaced = self._resent = 0
        self._over = self._stopping = False
        self._taken_s = 0.0
        self._began_s: float | None = None
        self._finished_s = 0.0
        self._reported_s = 0.0

    def play(self, wake: int) -> None:
        """Until told to stop. `wake` becomes readable when the pipeline has something or a signal arrived."""
        while not self._stopping:
            if self._feed.descriptor is None and self._feed.connect():
                self._sent_s = None
            self._advance()
            self._report()
            board = self._feed.descriptor
            readable = [self._commands.descriptor, wake, *([] if board is None else [board])]
            ready = select.select(readable, [], [], self._patience_s())[0]
            if wake in ready:
                os.read(wake, 4096)
            if self._commands.descriptor in ready:
                self._obey()
            if board in ready:
                self._listen()
        self._feed.disconnect()

    def stop(self, *_: object) -> None:
        """End `play`; a signal handler."""
        self._stopping = True

    def _advance(self) -> None:
        """Take the next frame where there is room for one, and hand over what has not been."""
        if self._current is None or (self._replaces and self._clock.running):
            following = self._again.popleft() if self._again and self._current is None else self._pipeline.cells.poll()
            if following is not None:
                if self._current is not None:  # late, and so is whatever was to be offered again
                    self._replaced += self._current.number > self._last_kept()
                    self._again.clear()
                self._current, self._sent_s = following, None
                self._taken_s, self._offer_s = time.monotonic(), 0.0
                self._last_number = max(self._last_number, following.number)
        now_s = time.monotonic()
        if self._current is not None and self._sent_s is None and now_s >= self._offer_s:
            with self._pipeline.stopwatch.stage("send"):
                if self._feed.send(self._current):
                    self._sent_s = now_s
        waited_long = self._clock.running and now_s - self._taken_s > LAST_FRAME_S
        if self._replaces and self._current is not None and waited_long and self._pipeline.cells.ended:
            self._current = None
            self._replaced += 1

    def _listen(self) -> None:
        for report in self._feed.reports():
            self._note(report)
        if self._feed.descriptor is None and self._current is not None and self._sent_s is not None:
            self._sent_s = None
            self._resent += 1

    def _note(self, report: Report) -> None:
        if isinstance(report, ExposureSet):
            self._pipeline.exposure.command(self._last_number, report.exposure_us, report.gain)
        elif self._current is None or self._sent_s is None or report.index != self._current.index & 0xFFFFFFFF:
            if report.measured and self._replaces:  # the next frame was on its way already
                self._measured, self._replaced = self._measured + 1, self._replaced - 1
        elif report.measured:
            self._finish(self._current, self._sent_s)
        else:
            self._sent_s, self._offer_s = None, time.monotonic() + REFUSED_PAUSE_S
            self._resent += 1

    def _finish(self, cells: Cells, sent_s: float) -> None:
        now_s = time.monotonic()
        self._pipeline.stopwatch.add("board", now_s - sent_s)
        self._clock.start(cells.time_s)
        self._began_s = self._began_s or now_s
        self._finished_s = now_s
        if cells.number > self._last_kept():
            self._kept.append(cells)
            self._measured += 1
        self._current = None

    def _last_kept(self) -> int:
        """Number of the newest frame that was measured, -1 before the first."""
        return self._kept[-1].number if self._kept else -1

    def _rewind(self, index: int) -> int:
        """Offer measured frames from `index` on once more, as they were, then go on; how many there are."""
        # The host may know sooner that its board is gone than this process has read that board's last report: a frame
        # reported there as measured has to be among those that are offered again.
        self._listen()
        self._over = False
        again = [cells for cells in self._kept if cells.index >= index]
        if again:
            waiting = self._current if self._sent_s is not None else None
            self._resent += len(again)
            behind = [cells for cells in (*self._again, self._current) if cells is not None]
            behind = [cells for cells in behind if cells.number > again[-1].number]
            self._again = deque(sorted([*again, *behind], key=lambda cells: cells.number))
            self._current = None
            if waiting is not None:
                self._advance()
                self._let_go(waiting.index & 0xFFFFFFFF)
        return len(again)

    def _let_go(self, index: int) -> None:
        """Wait until the board has let go of the frame `index` that it was given before, in favour of an earlier one.

        A board that was just started is given frames before the host winds the scene back. Armed with a later frame in
        hand it would measure that one first, and the host would take the earlier ones for frames that it has seen.
        """
        until_s = time.monotonic() + LET_GO_S
        while self._feed.descriptor is not None and (left_s := until_s - time.monotonic()) > 0:
            if not select.select([self._feed.descriptor], [], [], left_s)[0]:
                return
            let_go = False
            for report in self._feed.reports():
                let_go |= isinstance(report, Finished) and report.index == index
                self._note(report)
            if let_go:
                return

    def _obey(self) -> None:
        for line in self._commands.lines():
            command = json.loads(line)
            if "control" in command:
                threading.Thread(target=self._control, args=(command["control"], command["id"]), daemon=True).start()
            else:
                offered = self._rewind(command["rewind"])
                self._status.send("answer", id=command["id"], answer=str(offered), failed=False, rewound=True)
        self._stopping |= self._commands.ended

    def _control(self, line: str, number: int) -> None:
        try:
            self._status.send("answer", id=number, answer=self._board.control(line), failed=False)
        except BoardProgramError as error:
            self._status.send("answer", id=number, answer=str(error), failed=True)

    def _patience_s(self) -> float:
        """How long nothing but the descriptors can change anything."""
        if self._feed.descriptor is None:
            return RECONNECT_PERIOD_S
        if self._current is not None and self._sent_s is None:
            return max(0.0, self._offer_s - time.monotonic())
        return PROGRESS_PERIOD_S

    def _report(self) -> None:
        now_s = time.monotonic()
        failure = self._pipeline.failure()
        over = self._pipeline.cells.ended and self._current is None and not self._again
        if over and not self._over:
            self._over = True
            self._status.send("progress", **self._progress())
            if failure is None:
                self._status.send("end", frames=self._measured + self._dropped())
            elif isinstance(failure, SceneError):
                self._status.send("error", message=str(failure))
            else:
                raise failure
        elif now_s - self._reported_s >= PROGRESS_PERIOD_S:
            self._reported_s = now_s
            self._status.send("progress", **self._progress())
        self._over &= over

    def _dropped(self) -> int:
        return self._replaced + self._clock.skipped

    def _progress(self) -> dict[str, Any]:
        running_s = self._finished_s - self._began_s if self._began_s is not None else 0.0
        return {
            "measured": self._measured,
            "dropped": self._dropped(),
            "resent": self._resent,
            "board_pid": self._board.pid,
            "board_restarts": self._board.restarts,
            "frames_per_second": (self._measured - 1) / running_s if running_s > 0 else None,
            "stages_ms": self._pipeline.stopwatch.medians_ms(),
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
