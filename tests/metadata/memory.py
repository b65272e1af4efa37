"""A metadata store in memory: a fake for tests, and the naive twin the SQLite adapter is compared with.

Several ``MemoryStore`` share one ``MemoryCluster``, as several brokers share one file. ``unavailable`` makes every call
fail, ``kill`` does to a store's sessions what the death of its process does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from broker.clock import Clock, SystemClock
from broker.metadata.store import (
    Absent,
    Commit,
    Entry,
    Exists,
    PreconditionFailed,
    RevisionCompacted,
    SessionExpired,
    SessionNameTaken,
    Snapshot,
    StoreUnavailable,
    Transaction,
)


@dataclass
class _Session:
    name: str
    timeout_ms: int
    deadline: float
    holder: MemoryStore | None


@dataclass
class MemoryCluster:
    clock: Clock = field(default_factory=SystemClock)
    revision: int = 0
    entries: dict[str, Entry] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    commits: list[Commit] = field(default_factory=list)
    compacted: int = 0
    sessions: dict[str, _Session] = field(default_factory=dict)
    names: dict[str, tuple[str, MemoryStore]] = field(default_factory=dict)
    """Session name → (session, holder), from opening to closing, whether or not the session ran out in between."""
    waiters: dict[asyncio.Event, None] = field(default_factory=dict)
    """In order: what happens must not depend on where an object lies in memory."""
    acknowledged: dict[str, int] = field(default_factory=dict)
    opened: int = 0
    """Sessions so far."""

    def write(self, puts: dict[str, bytes], deletes: list[str], owner: dict[str, str]) -> int:
        deletes = [key for key in deletes if key in self.entries]
        if not puts and not deletes:
            return self.revision
        self.revision += 1
        written = tuple(Entry(key=key, value=value, version=self.revision) for key, value in puts.items())
        for entry in written:
            self.entries[entry.key] = entry
            self.owners.pop(entry.key, None)
            if entry.key in owner:
                self.owners[entry.key] = owner[entry.key]
        for key in deletes:
            del self.entries[key]
            self.owners.pop(key, None)
        self.commits.append(Commit(revision=self.revision, puts=written, deletes=tuple(deletes)))
        for waiter in self.waiters:
            waiter.set()
        return self.revision

    def end(self, session: str) -> None:
        if self.sessions.pop(session, None) is not None:
            self.write({}, sorted(key for key, owner in self.owners.items() if owner == session), {})
            for waiter in self.waiters:
                waiter.set()

    def compact(self) -> None:
        """Forget the changes made so far."""
        self.compacted = self.revision
        self.commits.clear()


class MemoryStore:
    def __init__(self, cluster: MemoryCluster) -> None:
        self._cluster = cluster
        self._closed = False
        self.unavailable = False

    async def start(self) -> None:
        await self._turn()

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            for session in [s for s, held in self._cluster.sessions.items() if held.holder is self]:
                self._cluster.end(session)
            self._release_names()
            for waiter in self._cluster.waiters:
                waiter.set()

    def kill(self) -> None:
        for held in self._cluster.sessions.values():
            if held.holder is self:
                held.holder = None
        self._release_names()
        self._closed = True
        for waiter in self._cluster.waiters:
            waiter.set()

    async def get(self, key: str) -> Entry | None:
        await self._turn()
        return self._cluster.entries.get(key)

    async def range(self, prefix: str = "") -> Snapshot:
        await self._turn()
        entries = tuple(e for key, e in sorted(self._cluster.entries.items()) if key.startswith(prefix))
        return Snapshot(revision=self._cluster.revision, entries=entries)

    async def commit(self, transaction: Transaction) -> int:
        await self._turn()
        cluster = self._cluster
        for precondition in transaction.preconditions:
            entry = cluster.entries.get(precondition.key)
            match precondition:
                case Exists():
                    holds = entry is not None
                case Absent():
                    holds = entry is None
                case _:
                    holds = entry is not None and entry.version == precondition.version
            if not holds:
                raise PreconditionFailed(precondition, cluster.revision)
        if transaction.session is not None and transaction.session not in cluster.sessions:
            raise SessionExpired(transaction.session)
        owner = {key: transaction.session for key in transaction.ephemeral_puts if transaction.session is not None}
        return cluster.write({**transaction.puts, **transaction.ephemeral_puts}, list(transaction.deletes), owner)

    async def open_session(self, name: str, timeout_ms: int) -> str:
        await self._turn()
        cluster = self._cluster
        if name in cluster.names:
            raise SessionNameTaken(name)
        for session, held in list(cluster.sessions.items()):
            if held.name == name:
                cluster.end(session)
        cluster.opened += 1
        session = f"{name}-{cluster.opened}"
        cluster.names[name] = (session, self)
        cluster.sessions[session] = _Session(name, timeout_ms, cluster.clock.monotonic() + timeout_ms / 1000, self)
        return session

    async def renew_session(self, session: str) -> None:
        await self._turn()
        held = self._cluster.sessions.get(session)
        if held is None:
            raise SessionExpired(session)
        held.deadline = self._cluster.clock.monotonic() + held.timeout_ms / 1000

    async def close_session(self, session: str) -> None:
        await self._turn()
        self._cluster.end(session)
        for name, (held, holder) in list(self._cluster.names.items()):
            if held == session and holder is self:
                del self._cluster.names[name]

    async def expire_sessions(self) -> int:
        await self._turn()
        now = self._cluster.clock.monotonic()
        overdue = [s for s, held in self._cluster.sessions.items() if held.deadline < now or held.holder is None]
        for session in overdue:
            self._cluster.end(session)
        return len(overdue)

    async def acknowledge(self, session: str, revision: int) -> None:
        await self._turn()
        self._cluster.acknowledged[session] = revision
        for waiter in self._cluster.waiters:
            waiter.set()

    async def wait_acknowledged(self, revision: int, timeout_seconds: float) -> bool:
        cluster, waiter = self._cluster, asyncio.Event()
        cluster.waiters[waiter] = None
        try:
            async with asyncio.timeout(timeout_seconds):
                while any(cluster.acknowledged.get(session, 0) < revision for session in cluster.sessions):
                    await waiter.wait()
                    waiter.clear()
        except TimeoutError:
            return False
        finally:
            cluster.waiters.pop(waiter, None)
        return True

    async def watch(self, after_revision: int) -> AsyncGenerator[Commit, None]:
        waiter = asyncio.Event()
        self._cluster.waiters[waiter] = None
        try:
            while not self._closed:
                waiter.clear()
                try:
                    await self._turn()
                except StoreUnavailable:
                    if self._closed:
                        return
                    raise
                if after_revision < self._cluster.compacted or after_revision > self._cluster.revision:
                    raise RevisionCompacted(str(after_revision))
                commits = [c for c in self._cluster.commits if c.revision > after_revision]
                for commit in commits:
                    yield commit
                    after_revision = commit.revision
                if not commits:
                    await waiter.wait()
        finally:
            self._cluster.waiters.pop(waiter, None)

    def _release_names(self) -> None:
        for name, (_, holder) in list(self._cluster.names.items()):
            if holder is self:
                del self._cluster.names[name]

    async def _turn(self) -> None:
        """A real store answers later; what must not depend on that is shown by giving way here."""
        await asyncio.sleep(0)
        if self._closed or self.unavailable:
            raise StoreUnavailable("closed" if self._closed else "made unavailable by the test")
