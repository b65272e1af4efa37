"""The embedded store: one SQLite file shared by the brokers of one machine.

What is in the file and how it is written is ``sqlite_tables.py``; here is who does it and who waits for whom. How the
promises of the port are kept:

- *Atomic and ordered:* every write is one ``BEGIN IMMEDIATE`` transaction; WAL with ``synchronous=FULL`` makes it
  durable before ``commit`` returns.
- *The loop never blocks:* one thread owns the connection (``worker.py``).
- *Watching is nearly free:* own commits wake the watchers at once; those of other processes are announced through a pipe
  (``wake_pipes.py``) and, should that fail, noticed by ``PRAGMA data_version``, which reads a few bytes of shared memory
  every ``poll_interval`` in that thread.
- *Dead or late:* a session's holder keeps a lock (``session_locks.py``) for as long as its process lives, so a killed
  broker is recognised at once; a hung one by its deadline on the monotonic clock. Deadlines of another boot are void, and after a
  time in which the file could not be written nobody is late.
- *Gone:* a file that was removed or replaced is not written any more, for what goes there would be lost with the last broker. Reading goes
  on, and renewing sessions.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import TypeVar

from broker.clock import Clock, SystemClock, boot_id
from broker.metadata import sqlite_tables
from broker.metadata.acknowledgements import Acknowledgements
from broker.metadata.session_locks import SessionLocks
from broker.metadata.store import (
    Commit,
    Entry,
    PreconditionFailed,
    SessionExpired,
    SessionNameTaken,
    Snapshot,
    StoreUnavailable,
    Transaction,
)
from broker.metadata.wake_pipes import ACKNOWLEDGED, NEWS, WakePipes
from broker.metadata.worker import Worker, WorkerClosed

T = TypeVar("T")

POLL_INTERVAL_SECONDS = 0.25
STALL_SECONDS = 1.0
"""A write that waits longer for its turn than this says more about the file than about its users."""


class SqliteStore:
    """``MetadataStore`` on one file. Every method but ``watch`` is one job in the store's thread."""

    def __init__(
        self, path: Path | str, *, clock: Clock | None = None, poll_interval: float = POLL_INTERVAL_SECONDS
    ) -> None:
        self._path = Path(path)
        self._clock = clock or SystemClock()
        self._boot = boot_id()
        self._worker = Worker("metadata-store", self._poll, poll_interval)
        self._database: sqlite3.Connection | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: set[asyncio.Event] = set()
        """One per watcher, set when there may be something new. Touched on the loop only."""
        self._acknowledgements = Acknowledgements(
            lambda revision: self._run(lambda: self._is_acknowledged(revision)), look_seconds=POLL_INTERVAL_SECONDS
        )
        self._closing = False
        self._data_version = -1
        self._file: tuple[int, int] = (0, 0)
        """Device and inode of what was opened."""
        self._stalled_at_ms: float = float("-inf")
        """When a write last had to wait for so long that those of others may have had to as well."""
        self._pipes = WakePipes(self._path)
        self._locks = SessionLocks(self._path)
        """Touched in the thread only."""

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._worker.start()
        await self._run(self._open)
        if self._pipes.descriptor is not None:
            self._loop.add_reader(self._pipes.descriptor, self._on_woken)

    async def close(self) -> None:
        """Sessions end as if closed; a process that dies instead loses them to the next ``expire_sessions``."""
        if self._closing:
            return
        self._closing = True
        if self._loop is not None and self._pipes.descriptor is not None:
            self._loop.remove_reader(self._pipes.descriptor)
        self._wake_watchers()
        await self._worker.close(self._shut)

    async def get(self, key: str) -> Entry | None:
        return await self._run(lambda: self._get(key))

    async def range(self, prefix: str = "") -> Snapshot:
        return await self._run(lambda: self._range(prefix))

    async def commit(self, transaction: Transaction) -> int:
        revision = await self._run(lambda: self._commit(transaction))
        self._wake_watchers()
        return revision

    async def open_session(self, name: str, timeout_ms: int) -> str:
        session = await self._run(lambda: self._open_session(name, timeout_ms))
        self._wake_watchers()
        return session

    async def renew_session(self, session: str) -> None:
        await self._run(lambda: self._renew_session(session))

    async def close_session(self, session: str) -> None:
        await self._run(lambda: self._close_session(session))
        self._wake_watchers()

    async def expire_sessions(self) -> int:
        expired = await self._run(self._expire_sessions)
        if expired:
            self._wake_watchers()
        return expired

    async def acknowledge(self, session: str, revision: int) -> None:
        await self._run(lambda: self._acknowledge(session, revision))

    async def wait_acknowledged(self, revision: int, timeout_seconds: float) -> bool:
        return await self._acknowledgements.wait(revision, timeout_seconds)

    async def watch(self, after_revision: int) -> AsyncGenerator[Commit, None]:
        changed = asyncio.Event()
        self._changed.add(changed)
        try:
            while not self._closing:
                # Cleared before the read: a change during the read sets it again and is read next time round.
                changed.clear()
                try:
                    commits = await self._run(lambda last=after_revision: self._changes(last))  # type: ignore[misc]
                except StoreUnavailable:
                    if self._closing:
                        return
                    raise
                for commit in commits:
                    yield commit
                    after_revision = commit.revision
                if not commits:
                    await changed.wait()
        finally:
            self._changed.discard(changed)

    # On the loop -------------------------------------------------------------------------------------

    async def _run(self, job: Callable[[], T]) -> T:
        try:
            return await self._worker.run(job)
        except WorkerClosed as error:
            raise StoreUnavailable("the metadata store is closed") from error
        except (sqlite3.OperationalError, sqlite3.DatabaseError, OSError) as error:
            raise StoreUnavailable(f"{self._path}: {error}") from error

    def _wake_watchers(self) -> None:
        for changed in self._changed:
            changed.set()

    def _on_woken(self) -> None:
        messages = self._pipes.read()
        if NEWS in messages:
            self._wake_watchers()
        if ACKNOWLEDGED in messages:
            self._acknowledgements.news()

    # In the thread -----------------------------------------------------------------------------------

    def _open(self) -> None:
        self._database = sqlite_tables.open_database(self._path)
        self._file = _file_at(self._path)
        self._data_version = self._read_data_version()
        self._pipes.open()

    def _shut(self) -> None:
        if self._database is None:
            return
        try:
            for session in self._locks.held():
                self._close_session(session)
        finally:
            self._locks.release_all()
            self._pipes.close()
            self._database.close()
            self._database = None

    def _poll(self) -> None:
        if self._database is None or self._closing:
            return
        with contextlib.suppress(sqlite3.Error):  # a broken file shows in the next job, with someone to tell
            version = self._read_data_version()
            if version != self._data_version:
                self._data_version = version
                self._wake_watchers_from_thread()

    def _wake_watchers_from_thread(self) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is watching any more
            self._loop.call_soon_threadsafe(self._wake_watchers)

    def _read_data_version(self) -> int:
        (version,) = self._db.execute("PRAGMA main.data_version").fetchone()
        return int(version)

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._database is not None, "start() comes first"
        return self._database

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """The write lock of both files, committed at the end, rolled back on any exception."""
        database = self._db
        if _file_at(self._path) != self._file:
            # SQLite would go on writing into the file that nobody can open again.
            raise StoreUnavailable(f"{self._path} was removed or replaced: put it back, or restart all brokers")
        began = time.monotonic()
        try:
            database.execute("BEGIN IMMEDIATE")
        finally:
            if time.monotonic() - began > STALL_SECONDS:
                self._stalled_at_ms = self._now_ms()
        try:
            yield database
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        self._pipes.wake_others(NEWS)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view over several SELECTs."""
        database = self._db
        database.execute("BEGIN")
        try:
            yield database
        finally:
            database.execute("COMMIT")

    def _get(self, key: str) -> Entry | None:
        row = self._db.execute("SELECT key, value, version FROM entry WHERE key = ?", (key,)).fetchone()
        return None if row is None else Entry(key=row[0], value=row[1], version=row[2])

    def _range(self, prefix: str) -> Snapshot:
        # Keys are ASCII paths, so prefix ≤ key < prefix + the highest code point is exactly "starts with".
        with self._reading() as database:
            rows = database.execute(
                "SELECT key, value, version FROM entry WHERE key >= ? AND key < ? ORDER BY key",
                (prefix, prefix + "\U0010ffff"),
            ).fetchall()
            revision = sqlite_tables.revision_of(database)
        entries = tuple(Entry(key=key, value=value, version=version) for key, value, version in rows)
        return Snapshot(revision=revision, entries=entries)

    def _changes(self, after_revision: int) -> list[Commit]:
        with self._reading() as database:
            return sqlite_tables.changes_after(database, after_revision)

    def _commit(self, transaction: Transaction) -> int:
        assert not transaction.ephemeral_puts or transaction.session is not None
        with self._writing() as database:
            revision = sqlite_tables.revision_of(database)
            for precondition in transaction.preconditions:
                if not sqlite_tables.holds(database, precondition):
                    raise PreconditionFailed(precondition, revision)
            if transaction.session is not None:
                self._require_session(database, transaction.session)
            deletes = [key for key in transaction.deletes if sqlite_tables.version_of(database, key) is not None]
            puts: list[tuple[str, bytes, str | None]] = [(key, value, None) for key, value in transaction.puts.items()]
            puts += [(key, value, transaction.session) for key, value in transaction.ephemeral_puts.items()]
            return sqlite_tables.write(database, puts, deletes) if puts or deletes else revision

    def _open_session(self, name: str, timeout_ms: int) -> str:
        session = f"{name}-{secrets.token_hex(8)}"
        if not self._locks.acquire(session, name):
            raise SessionNameTaken(f"a living process holds the session {name!r}")
        try:
            with self._writing() as database:
                # We hold the lock of this name, so whoever had these sessions is dead.
                dead = [row[0] for row in database.execute("SELECT id FROM session WHERE name = ?", (name,))]
                sqlite_tables.end_sessions(database, dead)
                database.execute("INSERT INTO session VALUES (?, ?, ?, ?)", (session, name, timeout_ms, self._boot))
                self._set_deadline(database, session, timeout_ms)
        except BaseException:
            self._locks.release(session)
            raise
        return session

    def _renew_session(self, session: str) -> None:
        # No lock on the main file: only an expiry, which takes both, could interfere, and it deletes this row.
        row = self._db.execute("SELECT timeout_ms FROM session WHERE id = ?", (session,)).fetchone()
        if row is None:
            raise SessionExpired(session)
        updated = self._db.execute(
            "UPDATE liveness.deadline SET deadline_ms = ? WHERE session = ?", (self._now_ms() + row[0], session)
        )
        if updated.rowcount == 0:
            raise SessionExpired(session)

    def _close_session(self, session: str) -> None:
        with self._writing() as database:
            sqlite_tables.end_sessions(database, [session])
        self._locks.release(session)

    def _expire_sessions(self) -> int:
        if not self._overdue(self._db):
            return 0
        with self._writing() as database:
            # Asked again under the write lock: a session renewed since is not overdue.
            overdue = self._overdue(database)
            sqlite_tables.end_sessions(database, overdue)
        return len(overdue)

    def _acknowledge(self, session: str, revision: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO liveness.acknowledged VALUES (?, ?)", (session, revision))
        self._pipes.wake_others(ACKNOWLEDGED)

    def _is_acknowledged(self, revision: int) -> bool:
        behind = self._db.execute(
            "SELECT 1 FROM main.session LEFT JOIN liveness.acknowledged ON session = id WHERE ifnull(revision, 0) < ?",
            (revision,),
        )
        return behind.fetchone() is None

    def _overdue(self, database: sqlite3.Connection) -> list[str]:
        rows = database.execute(
            "SELECT id, name, timeout_ms, boot, deadline_ms FROM main.session LEFT JOIN liveness.deadline ON session = id"
        ).fetchall()
        now_ms = self._now_ms()
        overdue = []
        for session, name, timeout_ms, boot, deadline_ms in rows:
            void = deadline_ms is None or boot != self._boot or deadline_ms > now_ms + timeout_ms
            # Whoever could not get at the file cannot tell who hangs from who could not either: all get their time anew.
            late = not void and max(deadline_ms, self._stalled_at_ms + timeout_ms) < now_ms
            if void or late or (session not in self._locks.held() and self._locks.is_free(name)):
                overdue.append(session)
        return overdue

    def _require_session(self, database: sqlite3.Connection, session: str) -> None:
        if database.execute("SELECT 1 FROM session WHERE id = ?", (session,)).fetchone() is None:
            raise SessionExpired(session)

    def _set_deadline(self, database: sqlite3.Connection, session: str, timeout_ms: int) -> None:
        database.execute(
            "INSERT OR REPLACE INTO liveness.deadline VALUES (?, ?)", (session, self._now_ms() + timeout_ms)
        )

    def _now_ms(self) -> int:
        return int(self._clock.monotonic() * 1000)


def _file_at(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return status.st_dev, status.st_ino
