"""What every metadata store must do: subclass ``StoreContract`` per adapter and give it an ``open_store`` fixture.

``open_store()`` returns a started store; further ones see the same data, as another broker would. ``clock`` is theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from broker.clock import ManualClock
from broker.metadata.store import (
    Absent,
    Commit,
    Entry,
    Exists,
    MetadataStore,
    PreconditionFailed,
    SessionExpired,
    SessionNameTaken,
    StoreUnavailable,
    Transaction,
    VersionIs,
)

OpenStore = Callable[[], Awaitable[MetadataStore]]
TIMEOUT_MS = 1_000


def put(**values: bytes) -> Transaction:
    return Transaction(puts=values)


class StoreContract:
    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    # Commits ---------------------------------------------------------------------------------------

    async def test_a_key_that_was_put_is_there_with_the_revision_of_its_commit(self, open_store: OpenStore) -> None:
        store = await open_store()
        assert await store.get("a") is None
        revision = await store.commit(put(a=b"1"))
        assert await store.get("a") == Entry(key="a", value=b"1", version=revision)

    async def test_revisions_grow_and_a_commit_without_effect_makes_none(self, open_store: OpenStore) -> None:
        store = await open_store()
        first = await store.commit(put(a=b"1"))
        second = await store.commit(put(b=b"2"))
        assert second > first
        assert await store.commit(Transaction(deletes=("not there",))) == second
        assert await store.commit(Transaction()) == second

    async def test_a_range_is_what_starts_with_its_prefix_and_nothing_else(self, open_store: OpenStore) -> None:
        store = await open_store()
        keys = ["topic", "topics", "topics/", "topics/a", "topics/b/c", "topics0", "u"]
        revision = await store.commit(Transaction(puts=dict.fromkeys(keys, b"x")))
        snapshot = await store.range("topics/")
        assert [entry.key for entry in snapshot.entries] == ["topics/", "topics/a", "topics/b/c"]
        assert snapshot.revision == revision
        assert [entry.key for entry in (await store.range()).entries] == sorted(keys)

    async def test_all_keys_of_a_commit_change_together(self, open_store: OpenStore) -> None:
        store = await open_store()
        await store.commit(put(gone=b"0", kept=b"0"))
        revision = await store.commit(Transaction(puts={"a": b"1", "b": b"2"}, deletes=("gone",)))
        entries = {entry.key: entry for entry in (await store.range()).entries}
        assert entries.keys() == {"a", "b", "kept"}
        assert entries["a"].version == entries["b"].version == revision

    @pytest.mark.parametrize(
        "broken", [Absent("there"), Exists("missing"), VersionIs("missing", 1), VersionIs("there", 0)]
    )
    async def test_a_precondition_that_does_not_hold_leaves_no_trace(
        self, open_store: OpenStore, broken: Absent | Exists | VersionIs
    ) -> None:
        store = await open_store()
        revision = await store.commit(put(there=b"1"))
        with pytest.raises(PreconditionFailed) as caught:
            await store.commit(
                Transaction(preconditions=(Exists("there"), broken), puts={"a": b"1"}, deletes=("there",))
            )
        assert caught.value.precondition == broken
        assert caught.value.revision == revision
        assert [entry.key for entry in (await store.range()).entries] == ["there"]

    async def test_preconditions_that_hold_let_the_commit_through(self, open_store: OpenStore) -> None:
        store = await open_store()
        version = await store.commit(put(there=b"1"))
        await store.commit(
            Transaction(
                preconditions=(VersionIs("there", version), Absent("a"), Exists("there")),
                puts={"there": b"2", "a": b"1"},
            )
        )
        entry = await store.get("there")
        assert entry is not None
        assert entry.value == b"2"
        assert entry.version > version

    async def test_a_key_made_again_never_has_an_old_version(self, open_store: OpenStore) -> None:
        store = await open_store()
        version = await store.commit(put(a=b"1"))
        await store.commit(Transaction(deletes=("a",)))
        await store.commit(put(a=b"1"))
        with pytest.raises(PreconditionFailed):
            await store.commit(Transaction(preconditions=(VersionIs("a", version),), puts={"a": b"2"}))

    async def test_of_concurrent_increments_none_is_lost(self, open_store: OpenStore) -> None:
        stores = [await open_store(), await open_store()]
        await stores[0].commit(put(n=b"0"))

        async def increment(store: MetadataStore) -> None:
            while True:
                entry = await store.get("n")
                assert entry is not None
                try:
                    await store.commit(
                        Transaction(
                            preconditions=(VersionIs("n", entry.version),),
                            puts={"n": str(int(entry.value) + 1).encode()},
                        )
                    )
                except PreconditionFailed:
                    continue
                return

        await asyncio.gather(*(increment(stores[i % 2]) for i in range(20)))
        entry = await stores[1].get("n")
        assert entry is not None
        assert entry.value == b"20"

    # Watching --------------------------------------------------------------------------------------

    async def test_a_watch_yields_every_commit_in_order_from_where_it_was_told(self, open_store: OpenStore) -> None:
        store = await open_store()
        first = await store.commit(put(a=b"1"))
        second = await store.commit(Transaction(puts={"b": b"2"}, deletes=("a",)))
        seen = await take(store, first - 1, 2)
        assert seen == [
            Commit(revision=first, puts=(Entry(key="a", value=b"1", version=first),)),
            Commit(revision=second, puts=(Entry(key="b", value=b"2", version=second),), deletes=("a",)),
        ]
        assert [commit.revision for commit in await take(store, first, 1)] == [second]

    async def test_a_watch_waits_for_what_is_not_there_yet(self, open_store: OpenStore) -> None:
        store = await open_store()
        revision = await store.commit(put(a=b"1"))
        waiting = asyncio.create_task(take(store, revision, 1))
        await asyncio.sleep(0)
        assert not waiting.done()
        await store.commit(put(a=b"2"))
        assert (await waiting)[0].puts[0].value == b"2"

    async def test_a_watch_sees_what_other_stores_commit(self, open_store: OpenStore) -> None:
        here, there = await open_store(), await open_store()
        revision = await here.commit(put(a=b"1"))
        waiting = asyncio.create_task(take(here, revision, 1))
        await there.commit(put(b=b"2"))
        assert (await waiting)[0].puts[0].key == "b"

    async def test_no_change_is_skipped_while_several_stores_write_at_once(self, open_store: OpenStore) -> None:
        stores = [await open_store() for _ in range(3)]
        start = await stores[0].commit(put(a=b""))
        watching = asyncio.create_task(take(stores[0], start, 60))

        async def write(number: int) -> None:
            for round_ in range(20):
                await stores[number].commit(Transaction(puts={f"k{number}": str(round_).encode()}))

        await asyncio.gather(*(write(number) for number in range(3)))
        seen = await watching
        assert [commit.revision for commit in seen] == list(range(start + 1, start + 61))
        for number in range(3):
            values = [int(e.value) for commit in seen for e in commit.puts if e.key == f"k{number}"]
            assert values == list(range(20))

    async def test_a_snapshot_and_the_watch_after_it_make_the_present(self, open_store: OpenStore) -> None:
        writer, reader = await open_store(), await open_store()

        async def write() -> None:
            for number in range(40):
                await writer.commit(
                    Transaction(puts={f"k{number % 7}": str(number).encode()}, deletes=(f"k{number % 5}x",))
                )

        writing = asyncio.create_task(write())
        snapshot = await reader.range()
        await writing
        present = await writer.range()
        state = {entry.key: entry for entry in snapshot.entries}
        for commit in await take(reader, snapshot.revision, present.revision - snapshot.revision):
            state.update({entry.key: entry for entry in commit.puts})
            for key in commit.deletes:
                state.pop(key, None)
        assert state == {entry.key: entry for entry in present.entries}

    async def test_closing_the_store_ends_its_watches(self, open_store: OpenStore) -> None:
        store = await open_store()
        revision = await store.commit(put(a=b"1"))
        waiting = asyncio.create_task(take(store, revision, 1))
        await asyncio.sleep(0)
        await store.close()
        assert await waiting == []
        with pytest.raises(StoreUnavailable):
            await store.get("a")

    # Sessions --------------------------------------------------------------------------------------

    async def test_ephemeral_keys_go_with_their_session_in_one_commit(self, open_store: OpenStore) -> None:
        store = await open_store()
        session = await store.open_session("broker-1", TIMEOUT_MS)
        revision = await store.commit(
            Transaction(puts={"lasting": b"0"}, ephemeral_puts={"a": b"1", "b": b"2"}, session=session)
        )
        await store.close_session(session)
        assert [entry.key for entry in (await store.range()).entries] == ["lasting"]
        (commit,) = await take(store, revision, 1)
        assert set(commit.deletes) == {"a", "b"}
        await store.close_session(session)

    async def test_a_session_that_is_not_renewed_runs_out(self, open_store: OpenStore, clock: ManualClock) -> None:
        holder, other = await open_store(), await open_store()
        session = await holder.open_session("broker-1", TIMEOUT_MS)
        await holder.commit(Transaction(ephemeral_puts={"a": b"1"}, session=session))
        for _ in range(3):
            clock.advance(TIMEOUT_MS - 1)
            await holder.renew_session(session)
            assert await other.expire_sessions() == 0
        clock.advance(TIMEOUT_MS + 1)
        async with asyncio.timeout(20):
            while await other.get("a") is not None:
                await other.expire_sessions()
        with pytest.raises(SessionExpired):
            await holder.renew_session(session)
        with pytest.raises(SessionExpired):
            await holder.commit(Transaction(ephemeral_puts={"a": b"1"}, session=session))
        assert await holder.get("a") is None

    async def test_a_jump_of_the_wall_clock_ends_no_session(self, open_store: OpenStore, clock: ManualClock) -> None:
        store = await open_store()
        session = await store.open_session("broker-1", TIMEOUT_MS)
        clock.set_wall(clock.wall_ms() + 10**9)
        assert await store.expire_sessions() == 0
        clock.set_wall(0)
        assert await store.expire_sessions() == 0
        await store.renew_session(session)

    async def test_a_name_has_one_living_session(self, open_store: OpenStore) -> None:
        first, second = await open_store(), await open_store()
        session = await first.open_session("broker-1", TIMEOUT_MS)
        await first.commit(Transaction(ephemeral_puts={"a": b"1"}, session=session))
        with pytest.raises(SessionNameTaken):
            await second.open_session("broker-1", TIMEOUT_MS)
        await second.open_session("broker-2", TIMEOUT_MS)
        assert await second.get("a") is not None
        await first.close()
        await second.open_session("broker-1", TIMEOUT_MS)

    async def test_closing_a_store_ends_its_sessions_at_once(self, open_store: OpenStore) -> None:
        holder, other = await open_store(), await open_store()
        session = await holder.open_session("broker-1", TIMEOUT_MS)
        await holder.commit(Transaction(ephemeral_puts={"a": b"1"}, session=session))
        await holder.close()
        assert await other.get("a") is None

    async def test_a_key_taken_over_for_good_outlives_the_session_that_had_it(self, open_store: OpenStore) -> None:
        store = await open_store()
        session = await store.open_session("broker-1", TIMEOUT_MS)
        await store.commit(Transaction(ephemeral_puts={"a": b"1"}, session=session))
        await store.commit(put(a=b"2"))
        await store.close_session(session)
        entry = await store.get("a")
        assert entry is not None
        assert entry.value == b"2"

    # Acknowledging ---------------------------------------------------------------------------------

    async def test_waiting_ends_when_the_last_session_acknowledges(self, open_store: OpenStore) -> None:
        stores = [await open_store() for _ in range(3)]
        sessions = [await store.open_session(f"broker-{i}", TIMEOUT_MS) for i, store in enumerate(stores)]
        revision = await stores[0].commit(put(a=b"1"))
        waiting = asyncio.create_task(stores[0].wait_acknowledged(revision, 20))
        await stores[0].acknowledge(sessions[0], revision)
        await stores[1].acknowledge(sessions[1], revision + 1)
        await stores[2].acknowledge(sessions[2], revision - 1)
        assert not await stores[0].wait_acknowledged(revision, 0.05)
        assert not waiting.done()
        await stores[2].acknowledge(sessions[2], revision)
        assert await waiting

    async def test_a_session_that_ended_is_not_waited_for(self, open_store: OpenStore) -> None:
        here, there = await open_store(), await open_store()
        revision = await here.commit(put(a=b"1"))
        assert await here.wait_acknowledged(revision, 1)
        session = await there.open_session("broker-1", TIMEOUT_MS)
        waiting = asyncio.create_task(here.wait_acknowledged(revision, 20))
        assert not await here.wait_acknowledged(revision, 0.01)
        await there.close_session(session)
        assert await waiting


async def take(store: MetadataStore, after_revision: int, count: int) -> list[Commit]:
    """The next ``count`` commits, or fewer if the store closes."""
    seen: list[Commit] = []
    if count == 0:
        return seen
    async with asyncio.timeout(20):
        commits = store.watch(after_revision)
        try:
            async for commit in commits:
                seen.append(commit)
                if len(seen) == count:
                    break
        finally:
            await commits.aclose()
    return seen
