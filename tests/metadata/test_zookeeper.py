from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.synchronize
import secrets
import subprocess
import sys
import threading
from collections.abc import AsyncIterator

import pytest

from broker.clock import ManualClock
from broker.metadata import process_identity, zookeeper_sessions
from broker.metadata.process_identity import Holder
from broker.metadata.store import SessionExpired, SessionNameTaken, Transaction
from broker.metadata.zookeeper import ZookeeperStore
from tests.metadata.contract import TIMEOUT_MS, OpenStore, StoreContract
from tests.support.wait import eventually
from tests.support.zookeeper import ZookeeperProcess


@pytest.fixture
def chroot() -> str:
    return f"/test-{secrets.token_hex(6)}"


class TestZookeeperStore(StoreContract):
    @pytest.fixture
    async def open_store(
        self, zookeeper: ZookeeperProcess, chroot: str, clock: ManualClock
    ) -> AsyncIterator[OpenStore]:
        opened: list[ZookeeperStore] = []

        async def open_() -> ZookeeperStore:
            store = ZookeeperStore([zookeeper.address], chroot, session_timeout_ms=10_000, clock=clock)
            opened.append(store)
            await store.start()
            return store

        yield open_
        for store in opened:
            await store.close()


async def opened(server: ZookeeperProcess, chroot: str, timeout_ms: int = 10_000) -> ZookeeperStore:
    store = ZookeeperStore([server.address], chroot, session_timeout_ms=timeout_ms)
    await store.start()
    return store


async def test_no_thread_outlives_its_store(zookeeper: ZookeeperProcess, chroot: str) -> None:
    before = set(threading.enumerate())
    store = await opened(zookeeper, chroot)
    assert len(set(threading.enumerate()) - before) <= 4
    await store.close()
    await store.close()
    await eventually(lambda: set(threading.enumerate()) <= before)


def test_a_broker_with_a_file_for_its_metadata_does_not_load_kazoo() -> None:
    check = "import sys, broker.app, broker.__main__; sys.exit('kazoo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


async def test_a_session_of_an_event_loop_that_hangs_ends_though_the_servers_hear_of_its_process(
    zookeeper: ZookeeperProcess, chroot: str
) -> None:
    store, seen = await opened(zookeeper, chroot), threading.Event()

    def hang() -> None:
        """On the event loop, until another thread has seen the key go."""

        async def look() -> None:
            other = await opened(zookeeper, chroot)
            while await other.get("a") is not None:
                pass
            seen.set()
            await other.close()

        watching = threading.Thread(target=asyncio.run, args=(look(),))
        watching.start()
        watching.join(60)

    session = await store.open_session("broker-1", 1_000)
    await store.commit(Transaction(ephemeral_puts={"a": b"1"}, session=session))
    hang()
    assert seen.is_set()
    with pytest.raises(SessionExpired):
        await store.renew_session(session)
    await store.close_session(session)
    await store.renew_session(await store.open_session("broker-1", 60_000))
    await store.close()


async def test_a_name_held_on_another_machine_is_waited_for(
    zookeeper: ZookeeperProcess, chroot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_identity, "identity_of_this_process", lambda: "elsewhere 17 4711")
    first, second = await opened(zookeeper, chroot), await opened(zookeeper, chroot)
    session = await first.open_session("broker-1", TIMEOUT_MS)
    looked: list[str] = []
    monkeypatch.setattr(process_identity, "holder_of", lambda identity: looked.append(identity) or Holder.UNKNOWN)
    waiting = asyncio.create_task(second.open_session("broker-1", TIMEOUT_MS))
    await eventually(lambda: looked)
    assert not waiting.done()
    await first.close_session(session)
    await waiting
    await first.close()
    await second.close()


async def test_a_name_held_by_the_living_on_another_machine_is_taken(
    zookeeper: ZookeeperProcess, chroot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_identity, "identity_of_this_process", lambda: "elsewhere 17 4711")
    monkeypatch.setattr(zookeeper_sessions, "NAME_MARGIN_SECONDS", 0.1)
    first, second = await opened(zookeeper, chroot), await opened(zookeeper, chroot)
    await first.open_session("broker-1", 300)
    with pytest.raises(SessionNameTaken):
        await second.open_session("broker-1", 300)
    await first.close()
    await second.close()


def _hold_a_session(address: tuple[str, int], chroot: str, ready: multiprocessing.synchronize.Event) -> None:
    async def hold() -> None:
        store = ZookeeperStore([address], chroot, session_timeout_ms=60_000)
        await store.start()
        session = await store.open_session("broker-1", 60_000)
        await store.commit(Transaction(ephemeral_puts={"a": b"1"}, session=session))
        ready.set()
        await asyncio.Event().wait()

    asyncio.run(hold())


async def test_a_broker_killed_and_started_again_does_not_wait_for_its_former_self(
    zookeeper: ZookeeperProcess, chroot: str
) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    process = spawn.Process(target=_hold_a_session, args=(zookeeper.address, chroot, ready), daemon=True)
    process.start()
    store = await opened(zookeeper, chroot)
    assert await asyncio.to_thread(ready.wait, 30)
    with pytest.raises(SessionNameTaken):
        await store.open_session("broker-1", TIMEOUT_MS)
    process.kill()
    async with asyncio.timeout(10):  # long before the servers would notice
        await asyncio.to_thread(process.join)
        await store.open_session("broker-1", 60_000)
    assert await store.get("a") is None
    assert await store.wait_acknowledged(0, 5)
    process.close()
    await store.close()
