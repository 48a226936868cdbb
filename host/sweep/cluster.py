"""Points on a Ray cluster: one task for each, tried again where a worker or a machine dies."""

import importlib
import logging
import os
import re
import shutil
import socket
import tempfile
from collections import deque
from pathlib import Path
from typing import Any

from host.sweep.work import DEAD_WORKERS, ONE_THREAD, PROGRESS, RESULT, Ended, Job, attempt, worker_died
from optics.whole_file import write_whole

HERE = "here"  # Ray started for this sweep on this machine
AUTO = "auto"
CLIENT = "ray://"
HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")  # a name, an IPv4 address, or an IPv6 one in brackets
CONNECT_S = 10.0
STARTS = 2  # Ray gives its own processes 30 s to start, which a busy machine may need twice
OBJECT_STORE_BYTES = 80_000_000  # the least that Ray takes is 75 MiB; what points return is far less
LOOPBACK = "127.0.0.1"
# Where it is 0, Ray listens on the loopback interface alone. The name is about other systems; there is no other switch.
ELSEWHERE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


class AddressError(ValueError):
    """No form of a cluster's address. The message says which there are."""


class ClusterError(RuntimeError):
    """No cluster to work on: Ray is not installed, or does not answer."""


def check_address(address: str) -> None:
    """Raises AddressError for what is neither `HERE`, "auto", HOST:PORT nor ray://HOST:PORT.

    Ray itself takes over a minute to find out.
    """
    if address in (HERE, AUTO):
        return
    host, colon, port = _parts(address)
    if not colon or not HOST.fullmatch(host) or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise AddressError(
            f"--cluster {address}: expected here (Ray on this machine), auto (the cluster it belongs to), HOST:PORT, "
            "or ray://HOST:PORT"
        )


def _parts(address: str) -> tuple[str, str, str]:
    return address.removeprefix(CLIENT).rpartition(":")


class ClusterExecutor:
    """An `Executor` on Ray. The folder of a job is written by its worker and, where that is another machine that does
    not share it, once more by this one; the data folder has to be at the same path everywhere.

    address: of a cluster that runs ("auto": the one that this machine belongs to), or `HERE`. workers: points at a time
    (None: as many as the cluster has CPUs).
    """

    def __init__(self, address: str, workers: int | None = None) -> None:
        # Both are read when ray is imported: no usage statistics go to its makers, and nothing here is for the network.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if address == HERE:
            os.environ.setdefault(ELSEWHERE, "0")
        try:
            # By name: it is an extra, and its types are incomplete.
            ray: Any = importlib.import_module("ray")
        except ImportError:
            raise ClusterError("a sweep on a cluster needs Ray: pip install 'canopic[train,cluster]'") from None
        self._ray = ray
        self._temporary: Path | None = None
        if ray.is_initialized():
            raise ClusterError("this process has a Ray cluster already; leave it (ray.shutdown()) first")
        try:
            if address == HERE:
                self._start_again(workers or os.cpu_count() or 1)
                if any(node["NodeManagerAddress"] != LOOPBACK for node in ray.nodes()):
                    raise RuntimeError(f"it listens to the network (was it imported earlier, or is {ELSEWHERE} set?)")
            else:
                if address != AUTO:
                    _knock(address)
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, runtime_env=_environment())
        except Exception as error:  # noqa: BLE001 - Ray raises a plain one where its own processes start too slowly
            self._end()
            raise ClusterError(f"the Ray cluster '{address}' does not answer: {error}") from None
        self.workers = workers or int(ray.cluster_resources().get("CPU", 1))
        # One CPU each is what limits how many run at once; Ray then gives each one thread as well.
        self._task = ray.remote(num_cpus=1, max_retries=DEAD_WORKERS)(_attempt_and_carry)
        self._waiting: deque[Job] = deque()
        self._running: dict[Any, Job] = {}

    def submit(self, job: Job) -> None:
        self._waiting.append(job)
        self._fill()

    def poll(self, seconds: float) -> list[Ended]:
        if not self._running:
            return []
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=seconds)
        ended = []
        for one in ready:
            job = self._running.pop(one)
            try:
                document, files = self._ray.get(one)
            except self._ray.exceptions.RayError as error:
                document, files = worker_died(job, f"{type(error).__name__}: {error}".splitlines()[0]), {}
            _keep(job.folder, files)
            ended.append(Ended(job.point.digest, document))
        self._fill()
        return ended

    def close(self) -> None:
        for one in self._running:
            self._ray.cancel(one, force=True)
        self._waiting.clear()
        self._running.clear()
        self._end()

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self.workers:
            job = self._waiting.popleft()
            self._running[self._task.remote(job)] = job

    def _start_again(self, workers: int) -> None:
        for _ in range(STARTS - 1):
            try:
                self._start_here(workers)
            except Exception:  # noqa: BLE001 - as above
                # What of it did start goes first.
                self._end()
            else:
                return
        self._start_here(workers)

    def _start_here(self, workers: int) -> None:
        # A folder of its own, so that nothing is left in the system's; short, for the names of sockets are limited.
        self._temporary = Path(tempfile.mkdtemp(prefix="canopic-ray-"))
        self._ray.init(
            address="local",
            num_cpus=workers,
            num_gpus=0,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": ONE_THREAD},
            _node_ip_address=LOOPBACK,
            _temp_dir=str(self._temporary),
        )

    def _end(self) -> None:
        self._ray.shutdown()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)


def _knock(address: str) -> None:
    """Raises OSError where nobody listens: Ray itself says so after more than a minute."""
    host, _, port = _parts(address)
    socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()


def _environment() -> dict[str, Any]:
    """What workers on other machines need: this very code (what it imports has to be installed there)."""
    root = Path(__file__).parents[2]
    packages = [str(root / name) for name in ("optics", "calibration", "models", "host")]
    return {"env_vars": ONE_THREAD, "py_modules": packages}


def _attempt_and_carry(job: Job) -> tuple[dict[str, Any], dict[str, bytes]]:
    """In the worker: the document, and the files of the folder but for those that only a resumption needs."""
    document = attempt(job)
    small = [path for path in sorted(job.folder.iterdir()) if path.is_file() and path.suffix in (".npz", ".json")]
    return document, {path.name: path.read_bytes() for path in small if path.name != PROGRESS}


def _keep(folder: Path, files: dict[str, bytes]) -> None:
    """Write what a worker elsewhere brought along; the result last, for it says that the rest is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(files, key=lambda name: name == RESULT):
        path = folder / name
        if not path.is_file() or path.read_bytes() != files[name]:
            write_whole(path, files[name])
