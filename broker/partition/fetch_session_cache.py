"""The fetch sessions of this broker, as many as ``max.incremental.fetch.session.cache.slots`` and the bound on their
partitions allow.

A client that gets no session (id 0) sends full fetches and misses nothing but speed, so the cache may always say no.
What makes room is Kafka's rule (KIP-227): a session that nobody used for two minutes; else one that has lived for two
minutes and is worth less than the new one, where followers are worth more than consumers and many partitions more than
few. A follower's new session may displace a consumer's that is younger.

Costs: a look-up is a dict's; making room is logarithmic (heaps whose outdated entries are dropped when they surface).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from broker.limits import FETCH_SESSION_PARTITIONS_MAX
from broker.partition.fetch_session import FetchSession

EVICTION_MS = 120_000
ID_MAX = 2**31 - 1

Worth = tuple[bool, int, int]
"""(a follower's, partitions, id): the smallest goes first"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSessionStatistics:
    sessions: int
    partitions: int
    evictions_total: int


class FetchSessionCache:
    __slots__ = ("_by_all", "_by_privileged", "_evictions_total", "_new_id", "_partitions", "_sessions", "_slots")

    def __init__(self, *, slots: int, new_id: Callable[[], int]) -> None:
        """``new_id`` draws a random session id; ids that are in use are drawn again."""
        self._slots = slots
        self._new_id = new_id
        self._sessions: dict[int, FetchSession] = {}
        """Least recently used first."""
        self._by_all: list[Worth] = []
        """Heap of the sessions that any other may displace."""
        self._by_privileged: list[Worth] = []
        """Heap of those that a follower's may displace: the former, and every consumer's."""
        self._partitions = 0
        self._evictions_total = 0

    def get(self, session_id: int) -> FetchSession | None:
        return self._sessions.get(session_id)

    def create(self, size: int, *, privileged: bool, uses_topic_ids: bool, now_ms: int) -> FetchSession | None:
        """A new session for ``size`` partitions, which the caller adds and then calls ``touch``; ``None``: no room."""
        while len(self._sessions) >= self._slots or self._partitions + size > FETCH_SESSION_PARTITIONS_MAX:
            if not self._evict((privileged, size, 0), now_ms):
                return None
        session_id = self._new_id()
        while session_id in self._sessions or not 0 < session_id <= ID_MAX:
            session_id = self._new_id()
        session = FetchSession(session_id, privileged=privileged, uses_topic_ids=uses_topic_ids, now_ms=now_ms)
        self._sessions[session_id] = session
        return session

    def touch(self, session: FetchSession, now_ms: int, *, size_before: int = 0) -> bool:
        """A request used ``session``, which had ``size_before`` partitions. False: it outgrew the bound and is gone."""
        self._partitions += len(session) - size_before
        if self._partitions > FETCH_SESSION_PARTITIONS_MAX:
            self._drop(session)
            return False
        session.used_ms = now_ms
        self._sessions[session.id] = self._sessions.pop(session.id)
        aged = now_ms - session.created_ms > EVICTION_MS
        if session.listed != (len(session), aged):
            session.listed = (len(session), aged)
            worth = (session.privileged, len(session), session.id)
            if aged or not session.privileged:
                self._push(self._by_privileged, worth)
            if aged:
                self._push(self._by_all, worth)
        return True

    def remove(self, session: FetchSession) -> None:
        """The client closes its session, or begins another one."""
        if self._sessions.get(session.id) is session:
            self._drop(session)

    def statistics(self) -> FetchSessionStatistics:
        return FetchSessionStatistics(
            sessions=len(self._sessions), partitions=self._partitions, evictions_total=self._evictions_total
        )

    def _evict(self, candidate: Worth, now_ms: int) -> bool:
        """Make room for a session worth ``candidate``, if one is worth less or unused."""
        oldest = next(iter(self._sessions.values()), None)
        if oldest is None:
            return False
        if now_ms - oldest.used_ms > EVICTION_MS:
            victim = oldest
        else:
            heap = self._by_privileged if candidate[0] else self._by_all
            worth = self._cheapest(heap)
            if worth is None or worth[:2] >= candidate[:2]:
                return False
            victim = self._sessions[worth[2]]
        self._evictions_total += 1
        self._drop(victim)
        return True

    def _cheapest(self, heap: list[Worth]) -> Worth | None:
        while heap and not self._is_current(heap[0]):
            heapq.heappop(heap)
        return heap[0] if heap else None

    def _is_current(self, worth: Worth) -> bool:
        session = self._sessions.get(worth[2])
        return session is not None and len(session) == worth[1]

    def _push(self, heap: list[Worth], worth: Worth) -> None:
        if len(heap) >= 2 * len(self._sessions) + 16:
            heap[:] = sorted({entry for entry in heap if self._is_current(entry)})
        heapq.heappush(heap, worth)

    def _drop(self, session: FetchSession) -> None:
        del self._sessions[session.id]
        self._partitions -= len(session)
        session.close()
