"""The same random operations on a real store and on the naive twin must have the same results, errors and changes."""

from __future__ import annotations

import secrets
from pathlib import Path
from random import Random
from typing import Any

import pytest

from broker.clock import ManualClock
from broker.metadata.sqlite import SqliteStore
from broker.metadata.store import (
    Absent,
    Commit,
    Exists,
    MetadataStore,
    Precondition,
    PreconditionFailed,
    SessionExpired,
    SessionNameTaken,
    Transaction,
    VersionIs,
)
from broker.metadata.zookeeper import ZookeeperStore
from tests.metadata.contract import take
from tests.metadata.memory import MemoryCluster, MemoryStore
from tests.support.zookeeper import ZookeeperProcess

KEYS = ("a", "a/b", "b", "topics/x", "topics/y", "é")
STEPS = 80


class Pair:
    """Two stores of one kind on the same data, and the sessions opened on them by number."""

    def __init__(self, first: MetadataStore, second: MetadataStore) -> None:
        self.stores = (first, second)
        self.sessions: list[tuple[MetadataStore, str]] = []

    async def do(self, step: Random) -> Any:
        """One operation chosen by ``step``; its result as a value that can be compared."""
        store = step.choice(self.stores)
        kind = step.choice(("commit", "commit", "commit", "get", "range", "open", "renew", "close", "expire"))
        try:
            return kind, await self._perform(kind, store, step)
        except PreconditionFailed as error:
            return kind, error.precondition, error.revision
        except (SessionExpired, SessionNameTaken) as error:
            return kind, type(error)

    async def _perform(self, kind: str, store: MetadataStore, step: Random) -> Any:
        match kind:
            case "get":
                return await store.get(step.choice(KEYS))
            case "range":
                return await store.range(step.choice(("", "a", "topics/", "é")))
            case "open":
                session = await store.open_session(f"broker-{step.randrange(3)}", 1_000 * step.randrange(1, 4))
                self.sessions.append((store, session))
                return len(self.sessions)
            case "expire":
                return await store.expire_sessions()
            case "commit":
                return await store.commit(await self._transaction(store, step))
        holder, session = step.choice(self.sessions) if self.sessions else (store, "none")
        return await (holder.renew_session(session) if kind == "renew" else holder.close_session(session))

    async def _transaction(self, store: MetadataStore, step: Random) -> Transaction:
        keys = step.sample(KEYS, k=step.randrange(0, 4))
        puts = {key: step.randbytes(3) for key in keys[:2]}
        ephemeral = {key: step.randbytes(3) for key in keys[2:]}
        session = step.choice(self.sessions)[1] if self.sessions and step.random() < 0.3 else None
        if session is None:
            puts, ephemeral = {**puts, **ephemeral}, {}
        preconditions: list[Precondition] = []
        for key in step.sample(KEYS, k=step.choice((0, 0, 1, 2))):
            entry = await store.get(key)
            holds = Absent(key) if entry is None else step.choice((Exists(key), VersionIs(key, entry.version)))
            wrong = step.choice((Exists(key), Absent(key), VersionIs(key, 1)))
            preconditions.append(holds if step.random() < 0.8 else wrong)
        deletes = [key for key in step.sample(KEYS, k=step.randrange(0, 3)) if key not in keys]
        return Transaction(
            preconditions=preconditions, puts=puts, ephemeral_puts=ephemeral, deletes=deletes, session=session
        )


def normal(commits: list[Commit]) -> list[tuple[int, set[Any], set[str]]]:
    return [(commit.revision, set(commit.puts), set(commit.deletes)) for commit in commits]


async def compare(seed: int, clock: ManualClock, tested: Pair, *, time_passes: bool) -> None:
    cluster = MemoryCluster(clock=clock)
    memory = Pair(MemoryStore(cluster), MemoryStore(cluster))
    for pair in (memory, tested):
        for store in pair.stores:
            await store.start()
    for number in range(STEPS):
        step = f"{seed}/{number}"
        assert await tested.do(Random(step)) == await memory.do(Random(step)), step
        if time_passes:
            clock.advance(Random(step).randrange(300))
    revision = cluster.revision
    assert revision > STEPS / 8
    changes = [normal(await take(pair.stores[1], 0, revision)) for pair in (memory, tested)]
    assert changes[0] == changes[1]
    for pair in (memory, tested):
        for store in pair.stores:
            await store.close()


@pytest.mark.parametrize("seed", range(6))
async def test_sqlite_does_as_the_twin(seed: int, tmp_path: Path) -> None:
    clock, path = ManualClock(), tmp_path / "metadata.sqlite3"
    await compare(seed, clock, Pair(SqliteStore(path, clock=clock), SqliteStore(path, clock=clock)), time_passes=True)


@pytest.mark.parametrize("seed", range(6))
async def test_zookeeper_does_as_the_twin(seed: int, zookeeper: ZookeeperProcess) -> None:
    clock, chroot = ManualClock(), f"/test-{secrets.token_hex(6)}"
    pair = Pair(*(ZookeeperStore([zookeeper.address], chroot, session_timeout_ms=30_000, clock=clock) for _ in "ab"))
    # Its servers have a clock of their own, so that here sessions end only when they are closed.
    await compare(seed, clock, pair, time_passes=False)
