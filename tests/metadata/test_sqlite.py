from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import shutil
import signal
import sqlite3
import threading
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from broker.clock import ManualClock
from broker.metadata import sqlite, sqlite_tables
from broker.metadata.sqlite import SqliteStore
from broker.metadata.store import RevisionCompacted, SessionExpired, StoreUnavailable, Transaction
from tests.metadata.contract import TIMEOUT_MS, OpenStore, StoreContract, put, take


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metadata.sqlite3"


class TestSqliteStore(StoreContract):
    @pytest.fixture
    async def open_store(self, path: Path, clock: ManualClock) -> AsyncIterator[OpenStore]:
        opened: list[SqliteStore] = []

        async def open_() -> SqliteStore:
            # The interval is short here so that the suite is quick, not because a broker polls so often.
            store = SqliteStore(path, clock=clock, poll_interval=0.02)
            await store.start()
            opened.append(store)
            return store

        yield open_
        for store in opened:
            await store.close()


async def started(path: Path, clock: ManualClock | None = None) -> SqliteStore:
    store = SqliteStore(path, clock=clock, poll_interval=0.02)
    await store.start()
    return store


async def test_what_was_committed_is_there_after_a_restart(path: Path) -> None:
    store = await started(path)
    revision = await store.commit(put(a=b"1"))
    await store.close()
    store = await started(path)
    snapshot = await store.range()
    assert [(entry.key, entry.value) for entry in snapshot.entries] == [("a", b"1")]
    assert snapshot.revision == revision
    await store.close()


async def test_commits_are_synchronous_and_renewals_are_not(path: Path) -> None:
    store = await started(path)

    def pragmas() -> tuple[int, str, int]:
        assert store._database is not None
        read = store._database.execute
        return (
            read("PRAGMA main.synchronous").fetchone()[0],
            read("PRAGMA main.journal_mode").fetchone()[0],
            read("PRAGMA liveness.synchronous").fetchone()[0],
        )

    full, off = 2, 0
    assert await store._run(pragmas) == (full, "wal", off)
    await store.close()


async def test_renewing_a_session_is_no_change_to_anyone(path: Path) -> None:
    store = await started(path)
    session = await store.open_session("broker-1", TIMEOUT_MS)
    before = await store._run(store._read_data_version)
    other = await started(path)
    seen = await other._run(other._read_data_version)
    for _ in range(3):
        await store.renew_session(session)
    assert await store._run(store._read_data_version) == before
    assert await other._run(other._read_data_version) == seen
    await other.close()
    await store.close()


async def test_a_watcher_that_is_too_far_behind_is_told_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_tables, "CHANGES_KEPT", 4)
    monkeypatch.setattr(sqlite_tables, "TRIM_EVERY", 2)
    store = await started(path)
    start = await store.commit(put(a=b"0"))
    for number in range(10):
        await store.commit(put(a=str(number).encode()))
    with pytest.raises(RevisionCompacted):
        await take(store, start, 1)
    current = (await store.range()).revision
    assert [commit.revision for commit in await take(store, current - 3, 3)] == [current - 2, current - 1, current]
    await store.close()


async def test_a_watcher_of_a_store_that_was_replaced_by_an_older_one_is_told_so(path: Path) -> None:
    store = await started(path)
    revision = await store.commit(put(a=b"0"))
    with pytest.raises(RevisionCompacted):
        await take(store, revision + 5, 1)
    await store.close()


async def test_a_long_change_log_is_read_in_pieces_without_a_gap(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_tables, "WATCH_BATCH", 3)
    store = await started(path)
    start = await store.commit(put(a=b"0"))
    for number in range(11):
        await store.commit(put(a=str(number).encode()))
    assert [c.revision for c in await take(store, start, 11)] == list(range(start + 1, start + 12))
    await store.close()


async def test_the_event_loop_goes_on_while_another_process_holds_the_write_lock(path: Path) -> None:
    store = await started(path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(store.commit(put(a=b"1")))
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert not waiting.done()
    blocker.execute("COMMIT")
    blocker.close()
    await waiting
    await store.close()


@pytest.fixture
def no_database(path: Path) -> Path:
    path.write_bytes(b"this is not SQLite" * 1000)
    return path


async def test_a_file_that_is_no_database_is_reported_as_unavailable(no_database: Path) -> None:
    path = no_database
    store = SqliteStore(path)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await store.start()
    await store.close()


async def test_a_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {sqlite_tables.SCHEMA_VERSION + 1}")
    database.close()
    store = SqliteStore(path)
    with pytest.raises(StoreUnavailable, match="newer version"):
        await store.start()
    await store.close()


async def test_deadlines_of_another_boot_are_void(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    monkeypatch.setattr(sqlite, "boot_id", lambda: "first boot")
    store = await started(path, clock)
    session = await store.open_session("broker-1", TIMEOUT_MS)
    monkeypatch.setattr(sqlite, "boot_id", lambda: "second boot")
    other = await started(path, clock)
    assert await other.expire_sessions() == 1
    with pytest.raises(SessionExpired):
        await store.renew_session(session)
    await other.close()
    await store.close()


async def test_a_deadline_further_away_than_the_timeout_is_void(path: Path) -> None:
    """Without boot ids (not Linux) this is what a monotonic clock that began anew looks like."""
    later = ManualClock()
    later.advance(10**9)
    store = await started(path, later)
    await store.open_session("broker-1", TIMEOUT_MS)
    other = await started(path, ManualClock())
    assert await other.expire_sessions() == 1
    await other.close()
    await store.close()


async def test_several_stores_may_open_a_new_file_at_once(path: Path) -> None:
    stores = [SqliteStore(path) for _ in range(6)]
    await asyncio.gather(*(store.start() for store in stores))
    await asyncio.gather(*(store.commit(Transaction(puts={f"k{i}": b""})) for i, store in enumerate(stores)))
    assert len((await stores[0].range()).entries) == 6
    for store in stores:
        await store.close()


async def test_no_thread_outlives_its_store(path: Path) -> None:
    before = threading.active_count()
    store = await started(path)
    await store.close()
    await store.close()
    assert threading.active_count() <= before + 1  # asyncio's own executor thread that joined ours


def _hold_a_session(path: Path, ready: multiprocessing.synchronize.Event) -> None:
    async def hold() -> None:
        store = await started(path)
        session = await store.open_session("broker-1", 3_600_000)
        await store.commit(Transaction(ephemeral_puts={"a": b"1"}, session=session))
        ready.set()
        await asyncio.Event().wait()

    asyncio.run(hold())


async def test_the_session_of_a_killed_process_ends_long_before_its_timeout(path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    process = spawn.Process(target=_hold_a_session, args=(path, ready), daemon=True)
    process.start()
    try:
        assert await asyncio.to_thread(ready.wait, 30)
        store = await started(path)
        assert await store.expire_sessions() == 0
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        await asyncio.to_thread(process.join)
        assert await store.get("a") is not None
        assert await store.expire_sessions() == 1
        assert await store.get("a") is None
        await store.close()
    finally:
        process.kill()
        process.join()
        process.close()


def _commit_for_ever(path: Path, acknowledged: Connection) -> None:
    async def commit() -> None:
        store = await started(path)
        number = 0
        while True:
            await store.commit(Transaction(puts={f"k{number}": b"x" * 500, "last": str(number).encode()}))
            acknowledged.send(number)
            number += 1

    asyncio.run(commit())


async def test_what_was_acknowledged_survives_kill_9(path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_commit_for_ever, args=(path, there), daemon=True)
    process.start()
    last = -1
    while last < 40:
        last = await asyncio.to_thread(here.recv)
    process.kill()
    await asyncio.to_thread(process.join)
    there.close()
    with contextlib.suppress(EOFError):
        while True:
            last = here.recv()
    process.close()
    store = await started(path)
    keys = {entry.key for entry in (await store.range("k")).entries}
    assert keys >= {f"k{number}" for number in range(last + 1)}
    entry = await store.get("last")
    assert entry is not None
    assert len(keys) == int(entry.value) + 1, "a commit is there as a whole"
    await store.close()


async def test_another_stores_commit_is_seen_long_before_the_next_poll(path: Path) -> None:
    here, there = SqliteStore(path, poll_interval=3_600), SqliteStore(path, poll_interval=3_600)
    await here.start()
    await there.start()
    revision = await here.commit(put(a=b"1"))
    watching = asyncio.create_task(take(here, revision, 1))
    await there.commit(put(a=b"2"))
    assert (await watching)[0].puts[0].value == b"2"
    await here.close()
    await there.close()


async def test_without_pipes_polling_finds_the_commits_of_others(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite.WakePipes, "open", lambda self: None)
    here, there = await started(path), await started(path)
    revision = await here.commit(put(a=b"1"))
    watching = asyncio.create_task(take(here, revision, 1))
    await there.commit(put(a=b"2"))
    assert (await watching)[0].puts[0].value == b"2"
    await here.close()
    await there.close()


async def test_only_the_owner_can_read_the_metadata(path: Path) -> None:
    store = await started(path)
    await store.commit(put(a=b"1"))
    modes = {entry.name: entry.stat().st_mode & 0o077 for entry in os.scandir(path.parent)}
    assert len(modes) >= 4
    assert set(modes.values()) == {0}
    await store.close()


async def test_a_file_that_was_removed_takes_no_commit_and_is_good_again_when_it_is_back(path: Path) -> None:
    store, aside = await started(path), path.with_name("aside")
    revision = await store.commit(put(a=b"1"))
    session = await store.open_session("broker-1", TIMEOUT_MS)
    os.rename(path, aside)
    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        await store.commit(put(a=b"2"))
    shutil.copyfile(aside, path)
    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        await store.commit(put(a=b"2"))
    await store.renew_session(session)
    entry = await store.get("a")
    assert entry is not None
    assert entry.value == b"1"
    os.rename(aside, path)
    assert await store.commit(put(a=b"2")) == revision + 1
    await store.close()


async def test_nobody_is_late_after_a_time_in_which_the_file_could_not_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "STALL_SECONDS", 0.01)
    clock = ManualClock()
    holder, other = await started(path, clock), await started(path, clock)
    session = await holder.open_session("broker-1", TIMEOUT_MS)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    clock.advance(TIMEOUT_MS + 1)
    expiring = asyncio.create_task(other.expire_sessions())
    done, _ = await asyncio.wait({expiring}, timeout=0.2)
    assert not done
    blocker.execute("COMMIT")
    blocker.close()
    assert await expiring == 0
    clock.advance(TIMEOUT_MS)
    assert await other.expire_sessions() == 0
    await holder.renew_session(session)
    clock.advance(TIMEOUT_MS + 1)
    assert await other.expire_sessions() == 1
    await holder.close()
    await other.close()
