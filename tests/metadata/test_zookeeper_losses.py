"""Connections that break in the middle of a change: nothing is lost, nothing is done twice, and every commit knows which."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from random import Random

import pytest
from kazoo.client import KazooClient

from broker.metadata.store import (
    Commit,
    PreconditionFailed,
    SessionExpired,
    StoreUnavailable,
    Transaction,
    VersionIs,
)
from broker.metadata.zookeeper import ZookeeperStore
from tests.metadata.contract import TIMEOUT_MS, put, take
from tests.support.wait import eventually
from tests.support.zookeeper import ZookeeperProcess
from tests.support.zookeeper_proxy import Loss, LossyZookeeperProxy

CHROOT_TIMEOUT_MS = 10_000


class Losing:
    """Loses what it is told to lose next, once."""

    def __init__(self) -> None:
        self.next: Loss = ""

    def __call__(self) -> Loss:
        loss, self.next = self.next, ""
        return loss


@pytest.fixture
def losing() -> Losing:
    return Losing()


@pytest.fixture
def proxy(zookeeper: ZookeeperProcess, losing: Losing) -> Iterator[LossyZookeeperProxy]:
    with LossyZookeeperProxy(zookeeper.address, losing) as running:
        yield running


@pytest.fixture
def chroot() -> str:
    return f"/test-{secrets.token_hex(6)}"


async def opened(address: tuple[str, int], chroot: str) -> ZookeeperStore:
    store = ZookeeperStore([address], chroot, session_timeout_ms=CHROOT_TIMEOUT_MS)
    await store.start()
    return store


@pytest.mark.parametrize("loss", ["request", "answer"])
async def test_a_commit_whose_connection_broke_happens_once(
    loss: Loss, losing: Losing, proxy: LossyZookeeperProxy, chroot: str
) -> None:
    store = await opened(proxy.address, chroot)
    first = await store.commit(put(a=b"1"))
    losing.next = loss
    second = await store.commit(Transaction(preconditions=(VersionIs("a", first),), puts={"a": b"2"}))
    assert proxy.lost == [loss]
    assert second == first + 1
    third = await store.commit(put(b=b"3"))
    assert [commit.revision for commit in await take(store, 0, third)] == [first, second, third]
    await store.close()


async def test_a_commit_that_was_lost_gives_way_to_who_came_in_between(
    losing: Losing, proxy: LossyZookeeperProxy, zookeeper: ZookeeperProcess, chroot: str
) -> None:
    store, other = await opened(proxy.address, chroot), await opened(zookeeper.address, chroot)
    first = await store.commit(put(a=b"1"))
    await other.range()
    losing.next = "request"
    committing = asyncio.create_task(
        store.commit(Transaction(preconditions=(VersionIs("a", first),), puts={"a": b"2"}))
    )
    await eventually(lambda: proxy.lost)
    between = await other.commit(put(a=b"3"))
    with pytest.raises(PreconditionFailed) as caught:
        await committing
    assert caught.value.revision == between
    assert [commit.puts[0].value for commit in await take(other, 0, 2)] == [b"1", b"3"]
    await store.close()
    await other.close()


@pytest.mark.parametrize("seed", range(3))
async def test_of_increments_over_breaking_connections_none_is_lost_or_doubled(
    seed: int, zookeeper: ZookeeperProcess, chroot: str
) -> None:
    random = Random(seed)

    def decide() -> Loss:
        return random.choice(("request", "answer", "", "", "", ""))

    done: list[int] = []

    async def increment(store: ZookeeperStore) -> None:
        while True:
            entry = await store.get("n")
            assert entry is not None
            change = Transaction(
                preconditions=(VersionIs("n", entry.version),), puts={"n": str(int(entry.value) + 1).encode()}
            )
            try:
                done.append(await store.commit(change))
            except PreconditionFailed:
                continue
            return

    with (
        LossyZookeeperProxy(zookeeper.address, decide) as first,
        LossyZookeeperProxy(zookeeper.address, decide) as last,
    ):
        watcher = await opened(zookeeper.address, chroot)
        start = await watcher.commit(put(n=b"0"))
        stores = [await opened(proxy.address, chroot) for proxy in (first, last)]
        await asyncio.gather(*(increment(stores[number % 2]) for number in range(30)))
        seen = await take(watcher, start, 30)
        for store in (*stores, watcher):
            await store.close()
        assert len(first.lost) + len(last.lost) >= 3
    assert sorted(done) == [commit.revision for commit in seen] == list(range(start + 1, start + 31))
    assert [int(commit.puts[0].value) for commit in seen] == list(range(1, 31))


async def test_a_session_survives_broken_connections(
    losing: Losing, proxy: LossyZookeeperProxy, zookeeper: ZookeeperProcess, chroot: str
) -> None:
    store, other = await opened(proxy.address, chroot), await opened(zookeeper.address, chroot)
    losing.next = "answer"
    session = await store.open_session("broker-1", TIMEOUT_MS)
    losing.next = "answer"
    await store.commit(Transaction(ephemeral_puts={"a": b"1"}, session=session))
    for _ in range(3):
        proxy.cut_all()
        await store.renew_session(session)
        assert await other.get("a") is not None
    losing.next = "answer"
    await store.close_session(session)
    assert await other.get("a") is None
    await other.open_session("broker-1", TIMEOUT_MS)
    await store.close()
    await other.close()


async def test_a_healthy_broker_whose_session_the_servers_ended_opens_another(
    zookeeper: ZookeeperProcess, chroot: str
) -> None:
    store, other = await opened(zookeeper.address, chroot), await opened(zookeeper.address, chroot)
    session = await store.open_session("broker-1", CHROOT_TIMEOUT_MS)
    start = await store.commit(Transaction(ephemeral_puts={"a": b"1", "b": b"1"}, session=session))
    watching = asyncio.create_task(take(store, start, 2))
    await asyncio.to_thread(_end_session_at_the_servers, store, zookeeper.address)
    async with asyncio.timeout(30):
        while await other.get("a") is not None:
            pass
    with pytest.raises(SessionExpired):
        await store.renew_session(session)
    with pytest.raises(SessionExpired):
        await store.commit(Transaction(ephemeral_puts={"a": b"2"}, session=session))
    await store.close_session(session)
    again = await store.open_session("broker-1", CHROOT_TIMEOUT_MS)
    assert again != session
    await store.commit(Transaction(ephemeral_puts={"a": b"3"}, session=again))
    ended, registered = await watching
    assert set(ended.deletes) == {"a", "b"}, "in one commit, and once"
    assert [entry.value for entry in registered.puts] == [b"3"]
    assert registered.revision == ended.revision + 1
    await store.renew_session(again)
    await store.close()
    await other.close()


def _end_session_at_the_servers(store: ZookeeperStore, address: tuple[str, int]) -> None:
    """As they do when they have not heard of it for its timeout: another connection takes the session over and closes it."""
    client = store._connection._client
    taker = KazooClient(hosts=f"{address[0]}:{address[1]}", timeout=10, client_id=client.client_id)
    taker.start(30)
    taker.stop()
    taker.close()


async def test_a_watch_goes_on_over_broken_connections_without_a_gap(
    proxy: LossyZookeeperProxy, zookeeper: ZookeeperProcess, chroot: str
) -> None:
    watcher, writer = await opened(proxy.address, chroot), await opened(zookeeper.address, chroot)
    start = await writer.commit(put(n=b"0"))
    await watcher.range()
    watching = asyncio.create_task(take(watcher, start, 60))
    for number in range(60):
        if number % 10 == 0:
            proxy.cut_all()
        await writer.commit(put(n=str(number).encode()))
    seen: list[Commit] = await watching
    assert [commit.revision for commit in seen] == list(range(start + 1, start + 61))
    assert [int(commit.puts[0].value) for commit in seen] == list(range(60))
    await watcher.close()
    await writer.close()


async def test_while_the_servers_are_away_a_commit_fails_and_nothing_of_it_comes_later(
    zookeeper: ZookeeperProcess, chroot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LossyZookeeperProxy(zookeeper.address, lambda: "") as proxy:
        store, other = await opened(proxy.address, chroot), await opened(zookeeper.address, chroot)
        await store.commit(put(a=b"1"))
    # The proxy is gone: nobody listens any more.
    monkeypatch.setattr("broker.metadata.zookeeper.STORE_SECONDS_MAX", 0.3)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await store.commit(put(a=b"2"))
    with LossyZookeeperProxy(zookeeper.address, lambda: "", port=proxy.address[1]):
        async with asyncio.timeout(30):
            while True:
                try:
                    revision = (await store.range()).revision
                    break
                except StoreUnavailable:
                    continue
        assert revision == 1
        assert [entry.value for entry in (await other.range()).entries] == [b"1"]
        await store.close()
    await other.close()
