"""The store for many machines: a log of commits in ZooKeeper, and its fold in the memory of every broker.

Here is what the port promises and who does it when; how is in ``zookeeper_log.py`` (order, lost answers), ``zookeeper_snapshots.py``
(trimming), ``zookeeper_sessions.py`` (who lives), ``zookeeper_connection.py`` (kazoo, threads). What they keep is in ``zookeeper_layout.py``.

- *The loop never blocks:* kazoo has three threads, the sessions' guard one.
- *Every call ends:* the servers have ``STORE_SECONDS_MAX`` to come back, for instance to elect a new leader among themselves; then
  ``StoreUnavailable``, and what was asked for may or may not have happened.
- *Reading is current:* ``get`` and ``range`` first catch up with everything that was committed before.
- *Watching* follows the log in a task of its own, woken by the servers and looking by itself now and then. While the servers are away
  it waits: a watch goes on where it was when they are back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Sequence
from typing import TypeVar

from broker.clock import Clock, SystemClock
from broker.metadata import zookeeper_layout as layout
from broker.metadata.store import Commit, Entry, Snapshot, StoreUnavailable, Transaction
from broker.metadata.zookeeper_connection import ZookeeperConnection
from broker.metadata.zookeeper_log import ZookeeperLog
from broker.metadata.zookeeper_sessions import ZookeeperSessions
from broker.metadata.zookeeper_snapshots import ZookeeperSnapshots

log = logging.getLogger(__name__)
T = TypeVar("T")

STORE_SECONDS_MAX = 10.0
START_SECONDS_MAX = 20.0
STOP_SECONDS_MAX = 2.0
LOOK_SECONDS = 5.0
"""How often to look for news without being told."""
RETRY_SECONDS = 0.5


class ZookeeperStore:
    def __init__(
        self,
        servers: Sequence[tuple[str, int]],
        chroot: str,
        *,
        session_timeout_ms: int,
        clock: Clock | None = None,
    ) -> None:
        """``session_timeout_ms`` is what the servers are asked for; they have bounds of their own."""
        self._connection = ZookeeperConnection(
            servers, chroot, session_timeout_ms=session_timeout_ms, on_event=self._on_event
        )
        self._log = ZookeeperLog(self._connection, self._on_advance)
        self._sessions = ZookeeperSessions(self._connection, self._log, clock or SystemClock())
        self._snapshots = ZookeeperSnapshots(self._connection, self._log.replica)
        self._changed: set[asyncio.Event] = set()
        """One per watcher, set when there may be something new."""
        self._news = asyncio.Event()
        self._sessions_changed = True
        self._tasks: list[asyncio.Task[None]] = []
        self._started = False
        self._closing = False

    async def start(self) -> None:
        async with _within(START_SECONDS_MAX, self._connection):
            await self._connection.open(START_SECONDS_MAX)
            await self._log.open()
        self._sessions.start()
        self._started = True
        self._tasks = [
            asyncio.create_task(self._follow(), name="zookeeper-follow"),
            asyncio.create_task(self._keep_trimmed(), name="zookeeper-snapshots"),
        ]

    async def close(self) -> None:
        """Sessions end as if closed; a process that dies instead loses them when the servers notice."""
        if self._closing:
            return
        self._closing = True
        self._wake_watchers()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._started:
            try:
                async with _within(STOP_SECONDS_MAX, self._connection):
                    await self._sessions.close()
            except StoreUnavailable as error:
                log.warning("metadata: the sessions are left to run out: %s", error)
        await self._connection.close()

    async def get(self, key: str) -> Entry | None:
        await self._perform(self._log.catch_up())
        return self._log.replica.get(key)

    async def range(self, prefix: str = "") -> Snapshot:
        await self._perform(self._log.catch_up())
        return self._log.replica.range(prefix)

    async def commit(self, transaction: Transaction) -> int:
        assert not transaction.ephemeral_puts or transaction.session is not None
        return await self._perform(self._log.commit(transaction))

    async def open_session(self, name: str, timeout_ms: int) -> str:
        """A name whose holder may be on another machine is waited for as long as its session may take to run out."""
        return await self._perform(self._sessions.open_session(name, timeout_ms), timeout_ms / 1000)

    async def renew_session(self, session: str) -> None:
        await self._perform(self._sessions.renew_session(session))

    async def close_session(self, session: str) -> None:
        await self._perform(self._sessions.close_session(session))

    async def expire_sessions(self) -> int:
        """The servers expire sessions and tell; whoever follows the log first deletes what they leave."""
        return 0

    async def acknowledge(self, session: str, revision: int) -> None:
        await self._perform(self._sessions.acknowledge(session, revision))

    async def wait_acknowledged(self, revision: int, timeout_seconds: float) -> bool:
        return await self._perform(self._sessions.wait_acknowledged(revision, timeout_seconds), timeout_seconds)

    async def watch(self, after_revision: int) -> AsyncGenerator[Commit, None]:
        changed = asyncio.Event()
        self._changed.add(changed)
        try:
            while not self._closing:
                changed.clear()
                commits = self._log.replica.changes_after(after_revision)
                for commit in commits:
                    yield commit
                    after_revision = commit.revision
                if not commits:
                    await changed.wait()
        finally:
            self._changed.discard(changed)

    # Inside ------------------------------------------------------------------------------------------

    async def _perform(self, work: Awaitable[T], more_seconds: float = 0.0) -> T:
        async with _within(STORE_SECONDS_MAX + more_seconds, self._connection):
            return await work

    async def _follow(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                self._sessions_changed = True
            self._news.clear()
            sessions_changed, self._sessions_changed = self._sessions_changed, False
            try:
                if sessions_changed:
                    await self._sessions.reap()
                else:
                    await self._log.catch_up()
            except StoreUnavailable as error:
                self._sessions_changed = self._sessions_changed or sessions_changed
                self._news.set()
                log.warning("metadata: %s; the last known state stays in force", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _keep_trimmed(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._snapshots.is_due():
                try:
                    await self._snapshots.make()
                except StoreUnavailable as error:
                    log.warning("metadata: no snapshot was made, the next attempt follows: %s", error)

    def _on_event(self, path: str) -> None:
        """A path that changed, or "": anything may have, and nothing is watched any more."""
        if path == "" or path.startswith(layout.SESSIONS):
            self._sessions.on_event()
        if path in ("", layout.SESSIONS):
            self._sessions_changed = True
        if not path.startswith(f"{layout.SESSIONS}/"):
            self._news.set()

    def _on_advance(self) -> None:
        self._wake_watchers()

    def _wake_watchers(self) -> None:
        for changed in self._changed:
            changed.set()


@contextlib.asynccontextmanager
async def _within(seconds: float, connection: ZookeeperConnection) -> AsyncGenerator[None, None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise StoreUnavailable(f"ZooKeeper at {connection.description} did not answer in {seconds:.0f} s") from error
