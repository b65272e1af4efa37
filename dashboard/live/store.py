"""Where the collector leaves the live state and pages find it: one hash, some lists and a set in Redis.

Owns: the keys and their layout.

- ``ottla:live:snapshot`` hash: ``seq`` (of the newest write), ``pulse``, and per scope its ``ScopeState``. The
  collector writes it *before* it publishes the frame, so a page that subscribes first and reads then has
  missed nothing.
- ``ottla:live:history:<series>`` list: the newest points last, cut to ``HISTORY_SECONDS``.
- ``ottla:live:watch`` sorted set: scope → second until which somebody watches it. Watchers renew; the collector
  publishes nothing else.

Losing all of it loses no data: the collector writes everything again when Redis is back.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import redis
import redis.asyncio
from django.conf import settings

from dashboard.live import state
from dashboard.live.state import Pulse, ScopeState

SNAPSHOT_KEY = "ottla:live:snapshot"
HISTORY_PREFIX = "ottla:live:history:"
WATCH_KEY = "ottla:live:watch"

HISTORY_SECONDS = 900
CLUSTER_STEP_SECONDS = 2
DETAIL_STEP_SECONDS = 5
"""Between the points of one topic or group; the cluster's are finer."""
HISTORY_EXPIRE_SECONDS = 2 * HISTORY_SECONDS
WATCH_SECONDS = 30
"""How long a watch lasts unless it is renewed; longer than two renewals."""
CONNECT_SECONDS_MAX = 2

Point = list[float | None]
"""``[wall clock in ms, value, value, …]``; ``None`` is a gap."""


def points_max(series: str) -> int:
    """How many points of a series make up ``HISTORY_SECONDS``."""
    return HISTORY_SECONDS // (CLUSTER_STEP_SECONDS if series == "cluster" else DETAIL_STEP_SECONDS)


class StoreError(Exception):
    """The live store cannot be reached; the message says so in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What one read returned: all of it as of the same moment."""

    pulse: Pulse | None = None
    """``None`` when no collector has ever written."""
    scopes: Mapping[str, ScopeState] = field(default_factory=dict)
    """Only the scopes that exist."""

    def rows(self, scope: str) -> state.Rows:
        found = self.scopes.get(scope)
        return found.rows if found is not None else {}


class ReadableStore(Protocol):
    """What a page needs: blocking, for Django's sync views."""

    def read(self, scopes: Sequence[str]) -> Snapshot: ...
    def history(self, series: str) -> list[Point]: ...


class LiveStore(Protocol):
    """What the collector and the live consumers need."""

    async def read(self, scopes: Sequence[str]) -> Snapshot: ...
    async def history(self, series: str) -> list[Point]: ...
    async def last_seq(self) -> int: ...
    async def write(self, write: Write) -> int:
        """Returns the ``seq`` found before: another than was last written means the store lost or gained something."""
        ...

    async def watch(self, scopes: Iterable[str], now_s: float) -> None: ...
    async def watched(self, now_s: float) -> set[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One atomic change of the snapshot."""

    seq: int
    pulse: Pulse
    scopes: Mapping[str, ScopeState] = field(default_factory=dict)
    gone: Sequence[str] = ()
    points: Mapping[str, Point] = field(default_factory=dict)
    clear: bool = False
    """Drop every scope that is not written here: what an earlier collector left behind."""


def _snapshot(scopes: Sequence[str], values: Sequence[bytes | None]) -> Snapshot:
    pulse, *states = values
    return Snapshot(
        pulse=state.decode_pulse(pulse) if pulse else None,
        scopes={scope: state.decode_scope(raw) for scope, raw in zip(scopes, states, strict=True) if raw},
    )


class RedisReadableStore:
    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(
            url, socket_timeout=CONNECT_SECONDS_MAX, socket_connect_timeout=CONNECT_SECONDS_MAX
        )

    def read(self, scopes: Sequence[str]) -> Snapshot:
        try:
            values: Any = self._redis.hmget(SNAPSHOT_KEY, ["pulse", *scopes])
        except (redis.RedisError, OSError) as error:
            raise StoreError(f"The live store does not answer: {error}") from error
        return _snapshot(scopes, values)

    def history(self, series: str) -> list[Point]:
        try:
            raw: Any = self._redis.lrange(HISTORY_PREFIX + series, 0, -1)
        except (redis.RedisError, OSError) as error:
            raise StoreError(f"The live store does not answer: {error}") from error
        return [state.decode_point(point) for point in raw]


class RedisLiveStore:
    def __init__(self, url: str) -> None:
        self._redis = redis.asyncio.Redis.from_url(
            url, socket_timeout=CONNECT_SECONDS_MAX * 2, socket_connect_timeout=CONNECT_SECONDS_MAX
        )

    async def read(self, scopes: Sequence[str]) -> Snapshot:
        try:
            values: Any = await self._redis.hmget(SNAPSHOT_KEY, ["pulse", *scopes])
        except (redis.RedisError, OSError) as error:
            raise StoreError(f"The live store does not answer: {error}") from error
        return _snapshot(scopes, values)

    async def history(self, series: str) -> list[Point]:
        try:
            raw: Any = await self._redis.lrange(HISTORY_PREFIX + series, 0, -1)
        except (redis.RedisError, OSError) as error:
            raise StoreError(f"The live store does not answer: {error}") from error
        return [state.decode_point(point) for point in raw]

    async def last_seq(self) -> int:
        try:
            raw: Any = await self._redis.hget(SNAPSHOT_KEY, "seq")
        except (redis.RedisError, OSError) as error:
            raise StoreError(f"The live store does not answer: {error}") from error
        return int(raw or 0)

    async def write(self, write: Write) -> int:
        values: dict[str, bytes | int] = {"seq": write.seq, "pulse": state.encode(write.pulse)}
        values |= {scope: state.encode(scope_state) for scope, scope_state in write.scopes.items()}
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.hget(SNAPSHOT_KEY, "seq")
        if write.clear:
            pipeline.delete(SNAPSHOT_KEY)
        pipeline.hset(SNAPSHOT_KEY, mapping=values)  # type: ignore[arg-type]
        if write.gone:
            pipeline.hdel(SNAPSHOT_KEY, *write.gone)
        for series, point in write.points.items():
            key = HISTORY_PREFIX + series
            pipeline.rpush(key, state.encode(point))
            pipeline.ltrim(key, -points_max(series), -1)
            pipeline.expire(key, HISTORY_EXPIRE_SECONDS)
        try:
            found, *_ = await pipeline.execute()
        except (redis.RedisError, OSError) as error:
            raise StoreError(f"The live store does not answer: {error}") from error
        return int(found or 0)

    async def watch(self, scopes: Iterable[str], now_s: float) -> None:
        until = dict.fromkeys(scopes, now_s + WATCH_SECONDS)
        if not until:
            return
        try:
            await self._redis.zadd(WATCH_KEY, until, gt=True)
        except (redis.RedisError, OSError) as error:
            raise StoreError(f"The live store does not answer: {error}") from error

    async def watched(self, now_s: float) -> set[str]:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.zremrangebyscore(WATCH_KEY, "-inf", now_s)
        pipeline.zrange(WATCH_KEY, 0, -1)
        try:
            _, scopes = await pipeline.execute()
        except (redis.RedisError, OSError) as error:
            raise StoreError(f"The live store does not answer: {error}") from error
        return {scope.decode() for scope in scopes}


class MemoryStore:
    """The same in one process, for tests and for a page rendered without Redis. Not shared, not bounded in time."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.seq = 0
        self.points: dict[str, list[Point]] = {}
        self.watches: dict[str, float] = {}

    def read(self, scopes: Sequence[str]) -> Snapshot:
        return _snapshot(scopes, [self.values.get(name) for name in ("pulse", *scopes)])

    def history(self, series: str) -> list[Point]:
        return list(self.points.get(series, ()))

    def write(self, write: Write) -> int:
        found, self.seq = self.seq, write.seq
        if write.clear:
            self.values.clear()
        self.values["pulse"] = state.encode(write.pulse)
        for scope, scope_state in write.scopes.items():
            self.values[scope] = state.encode(scope_state)
        for scope in write.gone:
            self.values.pop(scope, None)
        for series, point in write.points.items():
            self.points.setdefault(series, []).append(point)
            del self.points[series][: -points_max(series)]
        return found


class MemoryLiveStore:
    """``MemoryStore`` behind the async interface."""

    def __init__(self, memory: MemoryStore) -> None:
        self.memory = memory

    async def read(self, scopes: Sequence[str]) -> Snapshot:
        return self.memory.read(scopes)

    async def history(self, series: str) -> list[Point]:
        return self.memory.history(series)

    async def last_seq(self) -> int:
        return self.memory.seq

    async def write(self, write: Write) -> int:
        return self.memory.write(write)

    async def watch(self, scopes: Iterable[str], now_s: float) -> None:
        self.memory.watches |= dict.fromkeys(scopes, now_s + WATCH_SECONDS)

    async def watched(self, now_s: float) -> set[str]:
        self.memory.watches = {scope: until for scope, until in self.memory.watches.items() if until > now_s}
        return set(self.memory.watches)


@lru_cache(maxsize=1)
def memory_store() -> MemoryStore:
    """The process's one in-memory store (``OTTLA_LIVE_STORE = "memory"`` in the settings)."""
    return MemoryStore()


@lru_cache(maxsize=1)
def _redis_readable_store(url: str) -> RedisReadableStore:
    return RedisReadableStore(url)


_live_stores: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LiveStore] = weakref.WeakKeyDictionary()


def _in_memory() -> bool:
    return getattr(settings, "OTTLA_LIVE_STORE", "redis") == "memory"


def readable_store() -> ReadableStore:
    """The store of this process's pages."""
    return memory_store() if _in_memory() else _redis_readable_store(settings.REDIS_URL)


def live_store() -> LiveStore:
    """The store of the running event loop: async connections belong to the loop they were made on."""
    if _in_memory():
        return MemoryLiveStore(memory_store())
    loop = asyncio.get_running_loop()
    store = _live_stores.get(loop)
    if store is None:
        store = _live_stores[loop] = RedisLiveStore(settings.REDIS_URL)
    return store
