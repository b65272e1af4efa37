"""Both stores behave alike; the Redis one against a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dashboard.live.state import GroupRow, Pulse, ScopeState
from dashboard.live.store import (
    LiveStore,
    MemoryLiveStore,
    MemoryStore,
    ReadableStore,
    RedisLiveStore,
    RedisReadableStore,
    StoreError,
    Write,
    points_max,
)
from tests.support.redis_process import RedisProcess


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """A server on a socket of its own."""
    with RedisProcess() as server:
        yield server.url


@pytest.fixture(params=["memory", "redis"])
async def stores(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[tuple[LiveStore, ReadableStore]]:
    if request.param == "memory":
        memory = MemoryStore()
        yield MemoryLiveStore(memory), memory
        return
    live, readable = RedisLiveStore(redis_url), RedisReadableStore(redis_url)
    await live._redis.flushdb()
    yield live, readable
    await live._redis.aclose()
    readable._redis.close()


def state(seq: int, *names: str) -> ScopeState:
    return ScopeState(seq=seq, rows={f"group:{name}": GroupRow(group_id=name) for name in names})


Stores = tuple[LiveStore, ReadableStore]


async def test_an_empty_store_has_no_pulse(stores: Stores) -> None:
    live, readable = stores
    for snapshot in (await live.read(["groups"]), readable.read(["groups"])):
        assert snapshot.pulse is None
        assert snapshot.rows("groups") == {}
    assert await live.last_seq() == 0


async def test_what_was_written_is_read_by_pages_and_consumers_alike(stores: Stores) -> None:
    live, readable = stores
    pulse = Pulse(made_at_ms=5, sampled={1: 4}, offline=[2])
    await live.write(Write(seq=9, pulse=pulse, scopes={"groups": state(9, "a", "b")}))
    for snapshot in (await live.read(["groups", "topics"]), readable.read(["groups", "topics"])):
        assert snapshot.pulse == pulse
        assert dict(snapshot.scopes) == {"groups": state(9, "a", "b")}
    assert await live.last_seq() == 9


async def test_a_write_removes_what_is_gone_and_a_clearing_one_the_rest(stores: Stores) -> None:
    live, readable = stores
    await live.write(Write(seq=1, pulse=Pulse(), scopes={"a": state(1), "b": state(1), "c": state(1)}))
    await live.write(Write(seq=2, pulse=Pulse(), gone=["a"]))
    assert set(readable.read(["a", "b", "c"]).scopes) == {"b", "c"}
    await live.write(Write(seq=3, pulse=Pulse(), scopes={"c": state(3)}, clear=True))
    assert set(readable.read(["a", "b", "c"]).scopes) == {"c"}


async def test_history_is_bounded(stores: Stores) -> None:
    live, readable = stores
    for number in range(points_max("group:a") + 20):
        await live.write(Write(seq=number, pulse=Pulse(), points={"group:a": [float(number), None]}))
    points = readable.history("group:a")
    assert len(points) == points_max("group:a")
    assert points[-1] == [points_max("group:a") + 19, None]
    assert await live.history("group:a") == points


async def test_a_watch_ends_unless_it_is_renewed(stores: Stores) -> None:
    live, _ = stores
    await live.watch(["topics", "topic:a"], now_s=1000)
    await live.watch(["topics"], now_s=1020)
    assert await live.watched(1025) == {"topics", "topic:a"}
    assert await live.watched(1035) == {"topics"}
    assert await live.watched(2000) == set()


async def test_a_store_that_is_not_there_is_an_error_in_words(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/nothing.sock"
    live = RedisLiveStore(url)
    for call in (
        live.read([]),
        live.history("x"),
        live.last_seq(),
        live.write(Write(seq=1, pulse=Pulse())),
        live.watched(0),
    ):
        with pytest.raises(StoreError, match="does not answer"):
            await call
    with pytest.raises(StoreError, match="does not answer"):
        RedisReadableStore(url).read(["cluster"])
    await live._redis.aclose()
