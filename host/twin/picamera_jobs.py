"""The queue of jobs between whoever wants a frame and the camera twin's event loop, as picamera2 has it.

A frame feeds the first job alone; a job that is not done stops those behind it. So a capture that timed out and was
left in the queue swallows the next frame, and `stop`, which is a job too, waits behind it.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from numpy.typing import NDArray

from host.twin.picamera_hardware import TwinHardware
from host.twin.picamera_parts import CompletedRequest, Job

Steps = list[Callable[[], tuple[bool, Any]]]


class JobQueue:
    """The part of Picamera2 that waits for frames. `_turn` lets one come: True, or False where none does."""

    def __init__(self, hardware: TwinHardware) -> None:
        self._hardware = hardware
        self.lock = threading.RLock()
        self._jobs: list[Job] = []
        self.completed_requests: list[CompletedRequest] = []

    def _turn(self) -> bool:
        raise NotImplementedError

    def cancel_all_and_flush(self) -> None:
        """Take all jobs out of the queue; whoever waits for one gets CancelledError."""
        with self.lock:
            for job in self._jobs:
                job.cancel()
            self._jobs = []

    def dispatch_functions(
        self, functions: Steps, wait: Any, signal_function: Callable[[Job], None] | None = None, immediate: bool = False
    ) -> Any:
        """Queue steps for the event loop; wait: True without an end, False not at all, None True unless there is a
        signal_function, or a number of seconds."""
        if wait is None:
            wait = signal_function is None
        pump = self._pump if self._hardware.pace == "fast" else None
        job = Job(functions, signal_function, pump)
        with self.lock:
            self._jobs.append(job)
            if len(self._jobs) == 1 and (self.completed_requests or immediate):
                self._work_off()
        return job.get_result(timeout=None if wait is True else wait) if wait else job

    def wait(self, job: Job, timeout: float | None = None) -> Any:
        """The result of a job."""
        return job.get_result(timeout=timeout)

    def capture_request(
        self, wait: Any = None, signal_function: Callable[[Job], None] | None = None, flush: Any = None
    ) -> Any:
        """The next frame; flush: only one whose exposure began after this moment (nanoseconds; True: now)."""
        self._hardware.block_while("stuck")
        if flush is True:
            flush = self._hardware.clock_ns()
        steps: Steps = [partial(self._wait_for_timestamp, flush), self._pop]
        return self.dispatch_functions(steps, wait, signal_function)

    @contextlib.contextmanager
    def captured_request(self, wait: Any = None, flush: Any = None) -> Iterator[CompletedRequest]:
        """The next frame, released at the end of the context."""
        request = self.capture_request(wait=wait, flush=flush)
        try:
            yield request
        finally:
            request.release()

    def capture_metadata(self, wait: Any = None, signal_function: Callable[[Job], None] | None = None) -> Any:
        """Metadata of the next frame."""
        return self.dispatch_functions([partial(self._use, CompletedRequest.get_metadata)], wait, signal_function)

    def capture_buffer(self, name: str = "main", wait: Any = None, signal_function: Any = None) -> NDArray[Any]:
        """Bytes of a stream of the next frame, uint8 (n,)."""
        steps: Steps = [partial(self._use, lambda request: request.make_buffer(name))]
        got: NDArray[Any] = self.dispatch_functions(steps, wait, signal_function)
        return got

    def capture_array(self, name: str = "main", wait: Any = None, signal_function: Any = None) -> NDArray[Any]:
        """The same as rows, uint8 (rows, stride)."""
        steps: Steps = [partial(self._use, lambda request: request.make_array(name))]
        got: NDArray[Any] = self.dispatch_functions(steps, wait, signal_function)
        return got

    def drop_frames(self, num_frames: int, wait: Any = None, signal_function: Any = None) -> Any:
        """Let frames pass."""
        return self.dispatch_functions([partial(self._drop, [num_frames])], wait, signal_function, immediate=True)

    def _use(self, what: Callable[[CompletedRequest], Any]) -> tuple[bool, Any]:
        done, request = self._pop()
        if not done:
            return False, None
        try:
            return True, what(request)
        finally:
            request.release()

    def _pop(self) -> tuple[bool, Any]:
        return (True, self.completed_requests.pop(0)) if self.completed_requests else (False, None)

    def _drop(self, left: list[int]) -> tuple[bool, Any]:
        while self.completed_requests:
            if left[0] == 0:
                return True, None
            self.completed_requests.pop(0).release()
            left[0] -= 1
        return False, None

    def _wait_for_timestamp(self, begun_ns: int | None) -> tuple[bool, Any]:
        if not begun_ns:
            return True, None
        while self.completed_requests:
            metadata = self.completed_requests[0].get_metadata()
            if metadata["SensorTimestamp"] - 1000 * metadata["ExposureTime"] >= begun_ns:
                return True, None
            self.completed_requests.pop(0).release()
        return False, None

    def _pump(self, job: Job, timeout: float | None) -> None:
        """On the simulated clock: let frames come until the job is done, or its time is over."""
        end_ns = None if timeout is None else self._hardware.now_ns + int(timeout * 1e9)
        while not job.done:
            if end_ns is not None and self._hardware.now_ns >= end_ns:
                raise TimeoutError
            if not self._turn():
                if end_ns is None:
                    return  # and wait for what never comes, as long as nobody cancels it
                self._hardware.now_ns = end_ns

    def _work_off(self) -> None:
        """Try the jobs in turn; one that is not done stops those behind it."""
        while self._jobs and self._jobs[0].execute():
            self._jobs.pop(0).signal()
