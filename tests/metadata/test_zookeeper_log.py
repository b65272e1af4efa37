"""What the log does beyond the contract: large commits, trimming that may crash anywhere, contents that are not followed."""

from __future__ import annotations

import asyncio
import secrets
from random import Random
from typing import Any

import pytest

from broker.metadata import replica as replica_module
from broker.metadata import zookeeper, zookeeper_blobs, zookeeper_snapshots
from broker.metadata import zookeeper_layout as layout
from broker.metadata.store import RevisionCompacted, StoreUnavailable, Transaction
from broker.metadata.zookeeper import ZookeeperStore
from broker.metadata.zookeeper_connection import ZookeeperConnection
from tests.metadata.contract import put, take
from tests.support.wait import eventually
from tests.support.zookeeper import ZookeeperProcess


@pytest.fixture
def chroot() -> str:
    return f"/test-{secrets.token_hex(6)}"


async def opened(server: ZookeeperProcess, chroot: str) -> ZookeeperStore:
    store = ZookeeperStore([server.address], chroot, session_timeout_ms=10_000)
    await store.start()
    return store


async def children(store: ZookeeperStore, path: str) -> list[str]:
    return sorted(await store._connection.children_now(path))


async def set_node(store: ZookeeperStore, path: str, value: bytes) -> None:
    await store._connection.change(("set", path, value, -1))


# Large commits ---------------------------------------------------------------------------------------


async def test_a_commit_larger_than_a_packet_is_one_commit(zookeeper: ZookeeperProcess, chroot: str) -> None:
    """As the creation of a topic with 10,000 partitions, whose records would not compress, is."""
    here, there = await opened(zookeeper, chroot), await opened(zookeeper, chroot)
    random = Random(0)
    puts = {f"partitions/x/{index}": random.randbytes(300) for index in range(10_000)}
    revision = await here.commit(Transaction(puts=puts))
    assert {entry.key: entry.value for entry in (await there.range()).entries} == puts
    (commit,) = await take(there, revision - 1, 1)
    assert len(commit.puts) == 10_000
    assert len(await children(here, layout.BLOBS)) == 1
    later = await opened(zookeeper, chroot)
    assert await later.range() == await here.range()
    for store in (here, there, later):
        await store.close()


async def test_a_single_value_may_be_larger_than_a_packet(zookeeper: ZookeeperProcess, chroot: str) -> None:
    store, value = await opened(zookeeper, chroot), Random(0).randbytes(3_000_000)
    await store.commit(put(a=value))
    other = await opened(zookeeper, chroot)
    entry = await other.get("a")
    assert entry is not None
    assert entry.value == value
    await store.close()
    await other.close()


async def test_a_blob_that_was_taken_for_abandoned_is_written_again(
    zookeeper: ZookeeperProcess, chroot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer was so slow that others cleared its pieces away before it could commit."""
    store = await opened(zookeeper, chroot)
    await store.commit(put(a=b"1"))
    write, cleared = zookeeper_blobs.write, []

    async def slow(connection: ZookeeperConnection, frame: bytes, revision: int) -> layout.BlobReference:
        reference = await write(connection, frame, revision)
        if not cleared:
            cleared.append(reference.id)
            await zookeeper_blobs.clear(connection, revision + 1, spare="")
        return reference

    monkeypatch.setattr(zookeeper_blobs, "write", slow)
    value = Random(0).randbytes(600_000)
    revision = await store.commit(put(b=value))
    assert revision == 2
    (blob,) = await children(store, layout.BLOBS)
    assert blob not in cleared
    other = await opened(zookeeper, chroot)
    assert [entry.value for entry in (await other.range()).entries] == [b"1", value]
    await store.close()
    await other.close()


# Snapshots and trimming ------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that happens after a thousand commits happens after ten."""
    monkeypatch.setattr(zookeeper_snapshots, "SNAPSHOT_EVERY", 10)
    monkeypatch.setattr(zookeeper_snapshots, "ENTRIES_KEPT", 3)
    monkeypatch.setattr(layout, "INLINE_BYTES_MAX", 500)
    monkeypatch.setattr(layout, "PIECE_BYTES", 1_500)
    # Snapshots are made by the tests.
    monkeypatch.setattr(zookeeper, "LOOK_SECONDS", 3_600.0)


async def fill(store: ZookeeperStore, count: int) -> int:
    """Small and large values in turn, so that there are blobs of both kinds."""
    revision = 0
    for number in range(count):
        value = Random(number).randbytes(2_000 if number % 7 == 0 else 10)
        revision = await store.commit(Transaction(puts={f"k{number % 7}": value}, deletes=(f"k{(number + 3) % 7}",)))
    return revision


@pytest.mark.usefixtures("small")
async def test_the_log_is_trimmed_and_a_new_broker_begins_with_the_snapshot(
    zookeeper: ZookeeperProcess, chroot: str
) -> None:
    store = await opened(zookeeper, chroot)
    session = await store.open_session("broker-1", 10_000)
    await store.commit(Transaction(ephemeral_puts={"mine": b"1"}, session=session))
    revision = await fill(store, 24)
    assert await store._snapshots.make()
    assert [int(name) for name in await children(store, layout.LOG)] == [revision - 2, revision - 1, revision]
    revision = await fill(store, 3)
    other = await opened(zookeeper, chroot)
    assert await other.range() == await store.range()
    await store.close_session(session)
    assert await other.get("mine") is None, "whose the key is was kept too"
    await store.close()
    await other.close()


@pytest.mark.usefixtures("small")
async def test_a_snapshot_is_made_once_for_all(zookeeper: ZookeeperProcess, chroot: str) -> None:
    stores = [await opened(zookeeper, chroot) for _ in range(3)]
    await fill(stores[0], 12)
    for store in stores:
        await store.range()
    assert sorted(await asyncio.gather(*(store._snapshots.make() for store in stores))) == [False, False, True]
    assert await children(stores[0], layout.SNAPSHOTTING) == []
    assert not any(store._snapshots.is_due() for store in stores if store._snapshots._last is not None)
    for store in stores:
        await store.close()


@pytest.mark.usefixtures("small")
async def test_a_crash_at_any_step_of_a_snapshot_loses_nothing_and_leaves_nothing(
    zookeeper: ZookeeperProcess, chroot: str
) -> None:
    survivor = await opened(zookeeper, chroot)
    await fill(survivor, 14)
    await survivor._snapshots.make()
    steps = 0
    finished = False
    while not finished:
        await fill(survivor, 11)
        expected = await survivor.range()
        crashing = await opened(zookeeper, chroot)
        finished = await _crash_after(crashing, steps)
        steps += 1
        reader = await opened(zookeeper, chroot)
        assert await reader.range() == expected, f"after a crash at change {steps}"
        await reader.close()
    assert steps > 10
    await fill(survivor, 11)
    assert await survivor._snapshots.make()
    found = await survivor._connection.get(layout.SNAPSHOT)
    assert found is not None
    pointer = layout.decode(found[0], layout.SnapshotPointer, "it")
    assert len(await children(survivor, layout.LOG)) == 3
    live = [await survivor._connection.get(f"{layout.LOG}/{name}") for name in await children(survivor, layout.LOG)]
    referred = {reference.id for node in live if node and (reference := layout.blob_of(node[0]))}
    assert set(await children(survivor, layout.BLOBS)) == referred | {pointer.blob.id}
    await survivor.close()


class Crash(Exception):
    pass


async def _crash_after(store: ZookeeperStore, changes: int) -> bool:
    """Have ``store`` make a snapshot and die after so many changes. True if it finished before."""
    change, left = store._connection.change, [changes]

    async def counted(*operations: Any) -> Any:
        if left[0] == 0:
            raise Crash
        left[0] -= 1
        return await change(*operations)

    store._connection.change = counted  # type: ignore[method-assign]
    try:
        return await store._snapshots.make()
    except Crash:
        return False
    finally:
        left[0] = 10**9
        await store.close()


@pytest.mark.usefixtures("small")
async def test_who_is_overtaken_by_the_trimming_goes_on_with_the_snapshot(
    zookeeper: ZookeeperProcess, chroot: str
) -> None:
    store, late = await opened(zookeeper, chroot), await opened(zookeeper, chroot)
    start = await store.commit(put(a=b"0"))
    await late.range()
    async with late._log._turn:  # it cannot read for a while
        await fill(store, 25)
        await store._snapshots.make()
    assert await late.range() == await store.range()
    with pytest.raises(RevisionCompacted):
        await take(late, start, 1)
    revision = await store.commit(put(a=b"1"))
    assert [commit.revision for commit in await take(late, revision - 1, 1)] == [revision]
    await store.close()
    await late.close()


async def test_a_watcher_that_is_too_far_behind_is_told_so(
    zookeeper: ZookeeperProcess, chroot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_module, "HISTORY_COMMITS_MAX", 4)
    store = await opened(zookeeper, chroot)
    start = await store.commit(put(a=b"0"))
    for number in range(6):
        revision = await store.commit(put(a=str(number).encode()))
    with pytest.raises(RevisionCompacted):
        await take(store, start, 1)
    assert [commit.revision for commit in await take(store, revision - 4, 4)] == list(range(revision - 3, revision + 1))
    await store.close()


# What is not followed --------------------------------------------------------------------------------


async def test_contents_that_were_replaced_are_not_followed(zookeeper: ZookeeperProcess, chroot: str) -> None:
    store = await opened(zookeeper, chroot)
    revision = await store.commit(put(a=b"1"))
    watching = asyncio.create_task(take(store, revision, 1))
    await set_node(store, layout.HEAD, layout.head_value(revision + 1, "another"))
    with pytest.raises(StoreUnavailable, match="replaced"):
        await store.range()
    with pytest.raises(StoreUnavailable, match="replaced"):
        await store.commit(put(a=b"2"))
    assert not watching.done()
    await store.close()
    assert await watching == []


async def test_contents_that_went_back_in_time_are_not_followed(zookeeper: ZookeeperProcess, chroot: str) -> None:
    store = await opened(zookeeper, chroot)
    await store.commit(put(a=b"1"))
    await store.commit(put(a=b"2"))
    await set_node(store, layout.HEAD, layout.head_value(1, store._log._store_id))
    with pytest.raises(StoreUnavailable, match="replaced"):
        await store.get("a")
    await store.close()


@pytest.mark.parametrize(
    ("value", "told"),
    [(f"{layout.FORMAT_VERSION + 1} x".encode(), "newer version"), (b"something", "something else")],
)
async def test_what_is_not_ours_is_left_alone(
    zookeeper: ZookeeperProcess, chroot: str, value: bytes, told: str
) -> None:
    store = await opened(zookeeper, chroot)
    await set_node(store, layout.FORMAT, value)
    other = ZookeeperStore([zookeeper.address], chroot, session_timeout_ms=10_000)
    with pytest.raises(StoreUnavailable, match=told):
        await other.start()
    await other.close()
    await store.close()


async def test_damage_is_reported_and_not_guessed_at(zookeeper: ZookeeperProcess, chroot: str) -> None:
    store = await opened(zookeeper, chroot)
    await store.commit(put(a=b"1"))
    for frame in (b"\x01\xff", b"\x02\xff", b"\x07", b""):
        await set_node(store, layout.log_path(1), frame)
        other = ZookeeperStore([zookeeper.address], chroot, session_timeout_ms=10_000)
        with pytest.raises(StoreUnavailable, match="revision 1"):
            await other.start()
        await other.close()
    await store.close()


async def test_a_server_that_does_not_answer_is_named(chroot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zookeeper, "START_SECONDS_MAX", 0.3)
    store = ZookeeperStore([("127.0.0.1", 1)], chroot, session_timeout_ms=10_000)
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:1{chroot}"):
        await store.start()
    await store.close()


async def test_the_servers_hear_of_news_within_a_moment(zookeeper: ZookeeperProcess, chroot: str) -> None:
    """Without looking by itself: the watch tells."""
    store = await opened(zookeeper, chroot)
    other = await opened(zookeeper, chroot)
    revision = await store.commit(put(a=b"1"))
    await eventually(lambda: other._log.replica.revision == revision, seconds=4)
    await store.close()
    await other.close()
