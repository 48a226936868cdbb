"""Points on this machine: one process for each, so many at a time; one that dies takes no other with it."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from host.sweep.work import DEAD_WORKERS, LOG, ONE_THREAD, Ended, Job, attempt, worker_died

# Not fork: PyTorch's threads do not survive it.
_CONTEXT = multiprocessing.get_context("spawn")
JOIN_S = 5.0


@dataclass(slots=True)
class _Worker:
    job: Job
    process: SpawnProcess
    answer: Connection
    deaths: int


class LocalExecutor:
    """An `Executor` of `workers` processes, each of one thread."""

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"a sweep needs at least one worker, got {workers}")
        self.workers = workers
        self._waiting: deque[tuple[Job, int]] = deque()
        self._running: list[_Worker] = []

    @property
    def process_ids(self) -> list[int]:
        """Of the workers that there are now."""
        return [worker.process.pid for worker in self._running if worker.process.pid is not None]

    def submit(self, job: Job) -> None:
        self._waiting.append((job, 0))
        self._fill()

    def poll(self, seconds: float) -> list[Ended]:
        if self._running:
            ends = [worker.answer for worker in self._running] + [worker.process.sentinel for worker in self._running]
            wait(ends, timeout=seconds)
        ended = []
        for worker in list(self._running):
            document = _answer(worker)
            if document is None and worker.process.is_alive():
                continue
            # It may have answered and ended between the two looks.
            document = document or _answer(worker)
            self._running.remove(worker)
            worker.process.join(JOIN_S)
            worker.answer.close()
            if document is not None:
                ended.append(Ended(worker.job.point.digest, document))
            elif worker.deaths < DEAD_WORKERS:
                self._waiting.append((worker.job, worker.deaths + 1))
            else:
                ended.append(Ended(worker.job.point.digest, worker_died(worker.job, _how(worker.process.exitcode))))
        self._fill()
        return ended

    def close(self) -> None:
        self._waiting.clear()
        for worker in self._running:
            worker.process.terminate()
        for worker in self._running:
            worker.process.join(JOIN_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.answer.close()
        self._running.clear()

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self.workers:
            job, deaths = self._waiting.popleft()
            ours, theirs = _CONTEXT.Pipe(duplex=False)
            process = _CONTEXT.Process(target=_work, args=(theirs, job), daemon=True)
            with _environment(ONE_THREAD):
                process.start()
            theirs.close()
            self._running.append(_Worker(job, process, ours, deaths))


def _work(answer: Connection, job: Job) -> None:
    """In the worker: one job, then the end."""
    # Ctrl-C reaches every process of the terminal; the one that hands out the points decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    job.folder.mkdir(parents=True, exist_ok=True)
    log = os.open(job.folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    answer.send(attempt(job))


def _end_with_parent() -> None:
    """A worker whose sweep was killed must not go on: the next run would work on the same folder."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _answer(worker: _Worker) -> dict[str, Any] | None:
    try:
        if worker.answer.poll():
            document: dict[str, Any] = worker.answer.recv()
            return document
    except (EOFError, OSError):
        pass
    return None


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"signal {signal.Signals(-exit_code).name}"
    return f"status {exit_code}"


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """These variables for processes started inside: PyTorch reads them when it is imported."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
