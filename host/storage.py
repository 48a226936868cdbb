"""Events, counts by the minute and the state in one SQLite file: survives kill -9, a full disk and damage."""

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

FILE_NAME = "canopic.sqlite3"
SCHEMA_VERSION = 1
APPLICATION_ID = (
    0x43414E4F  # "CANO": says whose file this is (https://www.sqlite.org/pragma.html#pragma_application_id)
)
RETRY_SECONDS = 10.0
PRUNE_SECONDS = 3600.0
MAX_WAITING_EVENTS = 10_000
MAX_WAITING_MINUTES = 10_000

_SCHEMA = (
    # `key` identifies what happened, so that frames seen again after a restart cannot write the same event twice.
    """CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
       time_s REAL NOT NULL, wall_time_s REAL NOT NULL, detail TEXT NOT NULL) STRICT""",
    "CREATE INDEX events_by_wall_time ON events (wall_time_s)",
    # Counts by the minute of the scene's clock; `stream` tells one recording (or one start of a camera) from the next.
    """CREATE TABLE minutes (stream INTEGER NOT NULL, minute INTEGER NOT NULL, wall_time_s REAL NOT NULL,
       measurements INTEGER NOT NULL, occupied INTEGER NOT NULL, count_sum INTEGER NOT NULL, count_max INTEGER NOT NULL,
       PRIMARY KEY (stream, minute)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX minutes_by_wall_time ON minutes (wall_time_s)",
    "CREATE TABLE state (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID",
)


class StorageError(RuntimeError):
    """The directory cannot be used at all (taken by another process, a newer schema): the message says what to do."""


@dataclass(frozen=True)
class StoredEvent:
    """What happened. `time_s` is on the scene's clock, `wall_time_s` Unix time; `detail` must be JSON."""

    key: str
    kind: str
    time_s: float
    wall_time_s: float
    detail: Mapping[str, Any]
    id: int = 0


@dataclass
class _Minute:
    wall_time_s: float
    measurements: int = 0
    occupied: int = 0
    count_sum: int = 0
    count_max: int = 0


@dataclass
class Storage:
    """One directory's database, held by one process. Create it with `open_storage`.

    What cannot be written now (disk full, read-only) waits in memory, bounded, and is written when it can be: `problem`
    says so meanwhile. `notices` collects what happened to the file, for the log.
    """

    directory: Path
    retention_days: int
    wall_clock: Callable[[], float] = time.time
    problem: str | None = None
    notices: list[str] = field(default_factory=list)
    dropped_events: int = 0
    _database: sqlite3.Connection | None = None
    _lock: int | None = None
    _events: list[StoredEvent] = field(default_factory=list)
    _state: dict[str, bytes] = field(default_factory=dict)
    _minutes: dict[tuple[int, int], _Minute] = field(default_factory=dict)
    _retry_at: float = 0.0
    _prune_at: float = 0.0

    @property
    def path(self) -> Path:
        return self.directory / FILE_NAME

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load_state(self) -> dict[str, bytes]:
        """What the last commit left, by name; empty for a new directory or an unreadable one."""
        if self._database is None:
            return dict(self._state)
        rows = self._database.execute("SELECT name, value FROM state").fetchall()
        return {str(name): bytes(value) for name, value in rows} | self._state

    def events(self, after_id: int = 0, limit: int = 1000) -> list[StoredEvent]:
        """Stored events with an id above `after_id`, oldest first, at most `limit`."""
        if self._database is None:
            return []
        rows = self._database.execute(
            "SELECT key, kind, time_s, wall_time_s, detail, id FROM events WHERE id > ? ORDER BY id LIMIT ?",
            (after_id, limit),
        )
        return [StoredEvent(row[0], row[1], row[2], row[3], json.loads(row[4]), row[5]) for row in rows]

    def tally(self, stream: int, time_s: float, count: int, occupied: bool) -> None:
        """Add one measurement to its minute. Written with the next commit."""
        key = (stream, int(time_s // 60))
        minute = self._minutes.get(key)
        if minute is None:
            if len(self._minutes) >= MAX_WAITING_MINUTES:
                del self._minutes[next(iter(self._minutes))]
            minute = self._minutes[key] = _Minute(self.wall_clock())
        minute.measurements += 1
        minute.occupied += occupied
        minute.count_sum += count
        minute.count_max = max(minute.count_max, count)

    def commit(self, events: Sequence[StoredEvent] = (), state: Mapping[str, bytes] | None = None) -> bool:
        """Write events, state and the tallied minutes in one transaction; True when all of it is in the file.

        A transaction with events is synced to the disk, one without is not: it survives the end of the process but may
        be lost with the power, which spares an SD card a sync every second. False: it waits in memory; see `problem`.
        """
        self._events.extend(events)
        self._state.update(state or {})
        if len(self._events) > MAX_WAITING_EVENTS:
            excess = len(self._events) - MAX_WAITING_EVENTS
            self.dropped_events += excess
            del self._events[:excess]
        if self._database is None and not self._reopen():
            return False
        try:
            self._write()
        except sqlite3.DatabaseError as error:
            self._failed(error)
            return False
        if self.problem is not None:
            lost = f"; {self.dropped_events} older events did not fit in memory" if self.dropped_events else ""
            self.notices.append(f"storage works again, what waited is written{lost}")
            self.problem, self.dropped_events = None, 0
        self._events.clear()
        self._state.clear()
        self._minutes.clear()
        return True

    def close(self) -> None:
        """Write what waits, close the file and let the directory go."""
        if self._events or self._state or self._minutes:
            self.commit()
        if self._database is not None:
            self._database.close()
            self._database = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _write(self) -> None:
        database, now = self._database, self.wall_clock()
        if database is None:
            return
        database.execute(f"PRAGMA synchronous = {'FULL' if self._events else 'NORMAL'}")
        database.execute("BEGIN IMMEDIATE")
        try:
            database.executemany(
                "INSERT INTO events (key, kind, time_s, wall_time_s, detail) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (key) DO NOTHING",
                [(e.key, e.kind, e.time_s, e.wall_time_s, json.dumps(dict(e.detail))) for e in self._events],
            )
            database.executemany(
                "INSERT INTO state (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                list(self._state.items()),
            )
            database.executemany(
                "INSERT INTO minutes VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (stream, minute) DO UPDATE SET"
                " measurements = measurements + excluded.measurements, occupied = occupied + excluded.occupied,"
                " count_sum = count_sum + excluded.count_sum, count_max = max(count_max, excluded.count_max)",
                [(*k, m.wall_time_s, m.measurements, m.occupied, m.count_sum, m.count_max)
                 for k, m in self._minutes.items()],
            )  # fmt: skip
            if now >= self._prune_at:
                self._prune_at = now + PRUNE_SECONDS
                oldest = now - self.retention_days * 86_400
                database.execute("DELETE FROM events WHERE wall_time_s < ?", (oldest,))
                database.execute("DELETE FROM minutes WHERE wall_time_s < ?", (oldest,))
            database.execute("COMMIT")
        except sqlite3.DatabaseError:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise

    def _failed(self, error: sqlite3.DatabaseError) -> None:
        if _is_damage(error):
            if self._database is not None:
                self._database.close()
                self._database = None
            self._set_aside(str(error))  # the next commit opens a new file, and writes what waits
            return
        self._complain(f"cannot write {self.path}: {error}")

    def _complain(self, text: str) -> None:
        if self.problem is None:
            self.notices.append(f"{text}; counting goes on, what cannot be written waits in memory")
        self.problem = text

    def _reopen(self) -> bool:
        if time.monotonic() < self._retry_at:
            return False
        self._retry_at = time.monotonic() + RETRY_SECONDS
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o750)
            if self._lock is None:
                self._lock = _take(self.directory)
            try:
                self._database = self._connect()
            except sqlite3.DatabaseError as error:
                if not _is_damage(error) or not self._set_aside(str(error)):
                    raise
                self._database = self._connect()
        except OSError as error:
            self._complain(f"cannot use {self.directory}: {error.strerror or error}")
        except sqlite3.DatabaseError as error:
            self._complain(f"cannot open {self.path}: {error}")
        return self._database is not None

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, isolation_level=None, timeout=2.0)
        try:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            (owner,) = database.execute("PRAGMA application_id").fetchone()
            (tables,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if tables and owner != APPLICATION_ID:
                raise StorageError(f"{self.path} is another program's database; set storage.directory to another place")
            if version > SCHEMA_VERSION:
                raise StorageError(
                    f"{self.path} has schema {version}, this canopic knows up to {SCHEMA_VERSION}; "
                    "update canopic, or set storage.directory to another place"
                )
            (verdict,) = database.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(f"malformed: {verdict}")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA journal_size_limit = 4000000")
            if not tables:
                database.execute("BEGIN IMMEDIATE")
                for statement in _SCHEMA:
                    database.execute(statement)
                database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                database.execute("COMMIT")
        except (sqlite3.DatabaseError, StorageError):
            database.close()
            raise
        return database

    def _set_aside(self, why: str) -> bool:
        """Rename a damaged file (and its journal), never delete it: `sqlite3 FILE .recover` may save its events."""
        stamp = datetime.fromtimestamp(self.wall_clock(), UTC).strftime("%Y%m%dT%H%M%SZ")
        target = self.directory / f"{FILE_NAME}.corrupt-{stamp}"
        number = 1
        while target.exists():
            number += 1
            target = self.directory / f"{FILE_NAME}.corrupt-{stamp}-{number}"
        try:
            for suffix in ("", "-wal", "-shm"):
                source = self.path.with_name(FILE_NAME + suffix)
                if source.exists():
                    source.rename(target.with_name(target.name + suffix))
        except OSError as error:
            self._complain(f"{self.path} is damaged ({why}) and cannot be moved aside: {error.strerror}")
            return False
        self.notices.append(f"{self.path} was damaged ({why}); moved to {target.name}, started a new one")
        return True


def open_storage(directory: Path, retention_days: int = 30, wall_clock: Callable[[], float] = time.time) -> Storage:
    """Open or create the database in `directory`.

    A damaged file is moved aside, with a notice. A directory that cannot be written leaves a working Storage with
    `problem` set, which retries. Raises StorageError when another process has the directory, or the file is newer than
    this program, or another program's.
    """
    storage = Storage(directory, retention_days, wall_clock)
    try:
        storage._reopen()
    except StorageError:
        storage.close()
        raise
    return storage


def _take(directory: Path) -> int:
    """A lock on the directory that ends with the process, however it ends (flock(2))."""
    descriptor = os.open(directory / "canopic.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise StorageError(
            f"{directory} is in use by another canopic (process {owner or 'unknown'}); "
            "stop it, or set storage.directory to another place"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "malformed" in str(error)
