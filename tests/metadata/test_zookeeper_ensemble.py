"""An ensemble of three: its leader dies in the middle of commits, and is followed by another."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

from broker.metadata.store import Commit, PreconditionFailed, StoreUnavailable, Transaction, VersionIs
from broker.metadata.zookeeper import ZookeeperStore
from tests.metadata.contract import put, take
from tests.support.wait import eventually
from tests.support.zookeeper import ZookeeperEnsemble

INCREMENTS = 300
SESSION_MS = 30_000


class Writer:
    def __init__(self, store: ZookeeperStore) -> None:
        self.store = store
        self.acknowledged: list[int] = []

    async def increment(self, until: int) -> None:
        """Count ``n`` up, together with the other writers."""
        while True:
            try:
                entry = await self.store.get("n")
                assert entry is not None
                if int(entry.value) >= until:
                    return
                self.acknowledged.append(
                    await self.store.commit(
                        Transaction(
                            preconditions=(VersionIs("n", entry.version),),
                            puts={"n": str(int(entry.value) + 1).encode()},
                        )
                    )
                )
            except (PreconditionFailed, StoreUnavailable):
                continue


async def test_nothing_is_skipped_and_nothing_doubled_when_the_leader_dies(tmp_path: Path) -> None:
    with ZookeeperEnsemble(tmp_path) as ensemble:
        servers, chroot = [server.address for server in ensemble.servers], f"/test-{secrets.token_hex(6)}"
        stores = [ZookeeperStore(servers, chroot, session_timeout_ms=SESSION_MS) for _ in range(4)]
        for store in stores:
            await store.start()
        watcher, holder = stores[0], stores[1]
        session = await holder.open_session("broker-1", SESSION_MS)
        await holder.commit(Transaction(ephemeral_puts={"mine": b"1"}, session=session))
        start = await watcher.commit(put(n=b"0"))
        watching = asyncio.create_task(_take_all(watcher, start))
        writers = [Writer(store) for store in stores[1:]]
        writing = [asyncio.create_task(writer.increment(INCREMENTS)) for writer in writers]
        for number in (1, 2):
            await eventually(
                lambda reached=number * INCREMENTS // 4: watcher._log.replica.revision >= start + reached, seconds=100
            )
            leader = await asyncio.to_thread(ensemble.leader)
            leader.kill()
            await asyncio.to_thread(ensemble.leader)
            leader.start()
            await asyncio.to_thread(leader.wait_serving)
        await asyncio.gather(*writing)
        seen = await watching
        await holder.renew_session(session)
        assert await watcher.get("mine") is not None
        for store in stores:
            await store.close()
    assert [commit.revision for commit in seen] == list(range(start + 1, start + INCREMENTS + 1))
    assert [int(commit.puts[0].value) for commit in seen] == list(range(1, INCREMENTS + 1))
    acknowledged = [revision for writer in writers for revision in writer.acknowledged]
    assert len(acknowledged) == len(set(acknowledged))
    assert set(acknowledged) <= {commit.revision for commit in seen}


async def _take_all(store: ZookeeperStore, start: int) -> list[Commit]:
    seen: list[Commit] = []
    while len(seen) < INCREMENTS:
        seen += await take(store, start + len(seen), 1)
    return seen
