"""The one thread that touches a camera, so that nothing a camera does can hold up whoever waits for it.

libcamera and picamera2 can block in any call: a capture whose frame never comes, a stop that waits for it. A blocked
thread cannot be ended in Python, but it can be left behind: `call` returns or raises by its deadline in any case.
"""

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from host.board.deadline import Deadline

T = TypeVar("T")


class Stuck(Exception):  # noqa: N818 - it reads as what happened
    """A call did not come back by its deadline, or an earlier one has not: the thread is lost to it."""


class _Task(Generic[T]):
    """One call; `settle` decides who has it: the caller that still waits, or nobody any more."""

    __slots__ = ("_lock", "abandoned", "done", "error", "late", "result", "work")

    def __init__(self, work: Callable[[], T], late: Callable[[], None]) -> None:
        self.work, self.late = work, late
        self.result: T | None = None
        self.error: BaseException | None = None
        self.done = threading.Event()
        self.abandoned = False
        self._lock = threading.Lock()

    def run(self, is_back: Callable[[], None]) -> None:
        try:
            self.result = self.work()
        except BaseException as error:  # noqa: BLE001 - it is raised again, in the thread that asked
            self.error = error
        with self._lock:
            self.done.set()
            late = self.abandoned
        if late:
            # In this order: a call that is refused as long as the thread is stuck may rely on `late` to be run.
            is_back()
            with contextlib.suppress(Exception):
                self.late()

    def abandon(self) -> bool:
        """Stop waiting for it; False: it has just come back after all."""
        with self._lock:
            self.abandoned = not self.done.is_set()
            return self.abandoned


class Attendant:
    """Runs calls one after the other in a thread of its own, which ends with the process at the latest."""

    def __init__(self, name: str) -> None:
        self._tasks: queue.SimpleQueue[_Task[Any] | None] = queue.SimpleQueue()
        self._stuck = ""
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    @property
    def stuck(self) -> str:
        """What the call that never came back was doing; "" while all have."""
        return self._stuck

    def call(self, work: Callable[[], T], deadline: Deadline, late: Callable[[], None] = lambda: None) -> T:
        """What `work` returns or raises, if it does so in time; otherwise raises Stuck.

        late: run in the attendant's thread should `work` come back after that, to put away what it got.
        """
        if self._stuck:
            raise Stuck(f"the camera is still {self._stuck}")
        task = _Task(work, late)
        self._tasks.put(task)
        if not task.done.wait(deadline.remaining_s()) and task.abandon():
            self._stuck = deadline.operation
            raise Stuck(f"{deadline.operation} did not come back within {deadline.seconds:g} s")
        if task.error is not None:
            raise task.error
        return task.result  # type: ignore[return-value]  # set, since there was no error

    def dismiss(self) -> None:
        """Let the thread end once it has nothing left to do. Does not wait."""
        self._tasks.put(None)

    def _serve(self) -> None:
        while (task := self._tasks.get()) is not None:
            task.run(self._is_back)
            del task

    def _is_back(self) -> None:
        self._stuck = ""
