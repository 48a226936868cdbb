"""Storage: one transaction for events and state; kill -9, damage, a full or read-only disk lose and invent nothing."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.storage import FILE_NAME, SCHEMA_VERSION, Storage, StorageError, StoredEvent, open_storage


def event(number: int, wall_time_s: float = 1e9) -> StoredEvent:
    return StoredEvent(f"k{number}", "arrived", float(number), wall_time_s, {"count": number})


def keys(storage: Storage) -> list[str]:
    return [stored.key for stored in storage.events(limit=100_000)]


def test_events_and_state_come_back(tmp_path):
    with open_storage(tmp_path, wall_clock=lambda: 1e9) as storage:
        assert storage.commit([event(1), event(2)], {"occupancy": b"\x00\x01"})
    with open_storage(tmp_path, wall_clock=lambda: 1e9) as storage:
        assert [(e.id, e.kind, e.time_s, e.detail) for e in storage.events()] == [
            (1, "arrived", 1.0, {"count": 1}),
            (2, "arrived", 2.0, {"count": 2}),
        ]
        assert storage.load_state() == {"occupancy": b"\x00\x01"}
        assert storage.problem is None
        assert storage.notices == []


def test_the_same_event_again_is_not_a_second_event(tmp_path):
    with open_storage(tmp_path, wall_clock=lambda: 1e9) as storage:
        storage.commit([event(1)])
        storage.commit([event(1), event(2)])
        assert keys(storage) == ["k1", "k2"]


@settings(max_examples=25, deadline=None)
@given(
    batches=st.lists(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 5)), max_size=20), min_size=1, max_size=5)
)
def test_minutes_add_up_however_they_are_committed(tmp_path_factory, batches):
    with open_storage(tmp_path_factory.mktemp("state"), wall_clock=lambda: 1e9) as storage:
        for batch in batches:
            for second, count in batch:
                storage.tally(1, float(second), count, count > 0)
            storage.commit()
        rows = sqlite3.connect(storage.path).execute("SELECT * FROM minutes ORDER BY minute").fetchall()
    everything = [item for batch in batches for item in batch]
    for _, minute, _, measurements, occupied, count_sum, count_max in rows:
        counts = [count for second, count in everything if second // 60 == minute]
        assert (measurements, count_sum, count_max) == (len(counts), sum(counts), max(counts))
        assert occupied == sum(count > 0 for count in counts)
    assert sum(row[3] for row in rows) == len(everything)


WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from host.storage import StoredEvent, open_storage
    storage = open_storage(Path(sys.argv[1]))
    number = int(storage.load_state().get("number", b"-1"))
    print("resumed", number, flush=True)
    while True:
        number += 1
        storage.tally(0, number / 10, 1, True)
        # Two events and a state a transaction: all three or none.
        events = [StoredEvent(f"{number}{part}", "count_changed", number, 2e9, {}) for part in "ab"]
        storage.commit(events, {"number": str(number).encode(), "filler": bytes(number % 5000)})
        print(number, flush=True)
""")


def test_kill_9_loses_no_committed_event_and_invents_none(tmp_path):
    rng = np.random.default_rng(5)
    last_printed = -1
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
        )
        assert writer.stdout is not None
        resumed = int(writer.stdout.readline().split()[1])
        assert resumed >= last_printed
        time.sleep(float(rng.uniform(0.01, 0.25)))
        os.kill(writer.pid, signal.SIGKILL)
        printed = [int(line) for line in writer.stdout.read().split("\n") if line.strip()]
        writer.wait()
        last_printed = max([last_printed, *printed[:-1]])  # the last line may be cut
        with open_storage(tmp_path) as storage:
            assert storage.notices == []
            number = int(storage.load_state().get("number", b"-1"))
            assert number >= last_printed
            assert keys(storage) == [f"{n}{part}" for n in range(number + 1) for part in "ab"]
            rows = sqlite3.connect(storage.path).execute("SELECT sum(measurements) FROM minutes").fetchone()
            assert (rows[0] or 0) == number + 1
    assert last_printed > 10


@pytest.mark.parametrize("damage", ["header", "middle", "not a database", "truncated"])
def test_a_damaged_file_is_moved_aside_and_said(tmp_path, damage):
    with open_storage(tmp_path) as storage:
        storage.commit([event(n, 2e9) for n in range(500)], {"a": bytes(20_000)})
    path = tmp_path / FILE_NAME
    content = bytearray(path.read_bytes())
    if damage == "header":
        content[:100] = b"\xff" * 100
    elif damage == "middle":
        content[4096:] = b"\xa5" * (len(content) - 4096)
    elif damage == "truncated":
        content = content[: len(content) // 2 + 100]
    else:
        content = bytearray(b"these are not the rows that you are looking for" * 100)
    path.write_bytes(content)
    with open_storage(tmp_path) as storage:
        assert storage.commit([event(1)], {"x": b"1"})
        (notice,) = storage.notices
        assert "was damaged" in notice
        aside = [p for p in tmp_path.iterdir() if ".corrupt-" in p.name and not p.name.endswith(("-wal", "-shm"))]
        assert len(aside) == 1
        assert aside[0].read_bytes() == content
        assert aside[0].name in notice


def test_damage_while_open_is_moved_aside_and_what_waits_is_written(tmp_path):
    with open_storage(tmp_path) as storage:
        storage.commit([event(n, 2e9) for n in range(500)])
        storage._retry_at = 0.0  # as if the file had been open for longer than the pause between two tries
        storage._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        path = tmp_path / FILE_NAME
        path.write_bytes(path.read_bytes()[:4096] + b"\xa5" * (path.stat().st_size - 4096))
        storage._database.execute("PRAGMA cache_size = 0")
        storage._database.execute("PRAGMA shrink_memory")
        for _ in range(3):
            storage.commit([event(1000, 2e9)], {"x": b"1"})
        assert "k1000" in keys(storage)
        assert any("was damaged" in notice for notice in storage.notices)


def test_full_disk_keeps_events_until_there_is_room(tmp_path):
    with open_storage(tmp_path, wall_clock=lambda: 1e9) as storage:
        assert storage.commit([event(1)])
        storage._database.execute("PRAGMA max_page_count = 1")  # SQLite's own way to say that the disk is full
        assert not storage.commit([event(2)], {"big": bytes(100_000)})
        assert "full" in storage.problem
        assert not storage.commit([event(3)])
        assert len(storage.notices) == 1
        storage._database.execute("PRAGMA max_page_count = 1000000")
        assert storage.commit([event(4)])
        assert storage.problem is None
        assert keys(storage) == ["k1", "k2", "k3", "k4"]
        assert len(storage.load_state()["big"]) == 100_000


def test_what_waits_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("host.storage.MAX_WAITING_EVENTS", 5)
    with open_storage(tmp_path, wall_clock=lambda: 1e9) as storage:
        storage._database.execute("PRAGMA query_only = 1")
        for number in range(8):
            assert not storage.commit([event(number)])
        assert "readonly" in storage.problem
        storage._database.execute("PRAGMA query_only = 0")
        assert storage.commit()
        assert keys(storage) == [f"k{n}" for n in range(3, 8)]
        assert "3 older events did not fit" in storage.notices[-1]


def test_a_directory_that_cannot_be_made_is_a_problem_not_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr("host.storage.RETRY_SECONDS", 0.0)
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with open_storage(blocked / "state", wall_clock=lambda: 1e9) as storage:
        assert "cannot use" in storage.problem
        assert not storage.commit([event(1)], {"a": b"1"})
        assert storage.load_state() == {"a": b"1"}
        blocked.unlink()
        assert storage.commit()
        assert keys(storage) == ["k1"]


def test_one_process_a_directory(tmp_path):
    with (
        open_storage(tmp_path),
        pytest.raises(StorageError, match=rf"in use by another canopic \(process {os.getpid()}\)"),
    ):
        open_storage(tmp_path)
    open_storage(tmp_path).close()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path):
    open_storage(tmp_path).close()
    database = sqlite3.connect(tmp_path / FILE_NAME)
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    database.close()
    with pytest.raises(StorageError, match="update canopic"):
        open_storage(tmp_path)
    assert not [p for p in tmp_path.iterdir() if "corrupt" in p.name]


def test_another_programs_database_is_left_alone(tmp_path):
    database = sqlite3.connect(tmp_path / FILE_NAME)
    database.execute("CREATE TABLE theirs (a)")
    database.close()
    with pytest.raises(StorageError, match="another program's database"):
        open_storage(tmp_path)


def test_retention(tmp_path):
    now = [100 * 86_400.0]
    with open_storage(tmp_path, retention_days=7, wall_clock=lambda: now[0]) as storage:
        storage.tally(0, 0.0, 1, True)
        storage.commit([event(1, now[0])])
        now[0] += 6 * 86_400
        storage.commit([event(2, now[0])])
        assert keys(storage) == ["k1", "k2"]
        now[0] += 2 * 86_400
        storage.commit([event(3, now[0])])
        assert keys(storage) == ["k2", "k3"]
        assert [e.id for e in storage.events()] == [2, 3]
