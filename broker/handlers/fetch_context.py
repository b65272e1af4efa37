"""What one Fetch request is about: all it lists (full), or what changed in its session (incremental).

Made by ``fetch.py``, which decides when to answer. ``collect`` looks, as often as it takes; ``answer`` is called once
and only then anything is noted as told. In between the request may be parked with the partitions it waits for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.handlers.fetch_reading import Reading
from broker.handlers.leader_hints import HINTS_IN_FETCH_FROM, node_endpoints
from broker.handlers.replica_reading import ReplicaReading
from broker.handlers.throttling import fetch_throttle_ms
from broker.partition.driver import Partition
from broker.partition.fetch_session import FetchSession, SessionPartition, SuspendedFetch, next_epoch
from broker.protocol.fetch import TOPIC_IDS_FROM, FetchPartitionResult, FetchRequest, encode_fetch_response
from broker.types import Buffer

Pieces = Sequence[Buffer]

FULL_EPOCH = 0
"""A full fetch that asks for a session."""
FINAL_EPOCH = -1
"""A full fetch without one; with a session id it closes that session."""
_UNKNOWN_TOPIC_ID = int(ErrorCode.UNKNOWN_TOPIC_ID)


class FetchContext(Protocol):
    @property
    def size(self) -> int:
        """Partitions it holds in memory after a look."""

    begins: bool
    """Whether there is no session yet: a follower's should not wait to have one."""

    @property
    def has_news(self) -> bool:
        """Whether the last look found a high watermark or log start that a follower has not been told of: worth an answer
        soon."""

    def collect(self) -> int:
        """Look at what the request is about; how many bytes are missing to an answer (≤ 0: answer now)."""

    def answer(self) -> Pieces:
        """The answer from the last look. The session is as the client will know it from now on."""

    def park(self, waiting: SuspendedFetch) -> None:
        """Have ``waiting`` told of every change from now on."""

    def unpark(self, waiting: SuspendedFetch) -> None: ...


def encode(request: Request, services: Services, topics: Sequence[Any], session_id: int) -> Pieces:
    version = request.api_version
    leaders: set[int] = set()
    if version >= HINTS_IN_FETCH_FROM:
        leaders = {
            result.current_leader[0]
            for _, _, results in topics
            for result in results
            if result.current_leader is not None
        }
    hints = node_endpoints(request, services, leaders) if leaders else ()
    return encode_fetch_response(version, request.correlation_id, 0, 0, session_id, topics, hints)


def encode_throttled(request: Request, session_id: int, wait_ms: int) -> Pieces:
    """Nothing but the time to wait: its client asks again afterwards, in the same session (KIP-219)."""
    return encode_fetch_response(request.api_version, request.correlation_id, wait_ms, 0, session_id, ())


def encode_error(request: Request, code: ErrorCode) -> Pieces:
    return encode_fetch_response(request.api_version, request.correlation_id, 0, int(code), 0, ())


def is_replica(request: Request, fetch: FetchRequest) -> bool:
    """A follower: only the internal listener, which knows the cluster secret, believes a replica id."""
    return fetch.replica_id >= 0 and request.connection.listener == "internal"


def _reading(request: Request, fetch: FetchRequest, services: Services, first: bool) -> Reading | ReplicaReading:
    if is_replica(request, fetch):
        return ReplicaReading(fetch, services, first=first)
    return Reading(fetch, request.api_version, services)


class FullFetch:
    """All partitions of the request. Begins a session if it asks for one and the cache has room."""

    begins = True
    __slots__ = ("_fetch", "_partitions", "_reading", "_request", "_services", "_topics")

    def __init__(self, request: Request, fetch: FetchRequest, services: Services) -> None:
        self._request = request
        self._fetch = fetch
        self._services = services
        self._topics: list[tuple[str | None, bytes | None, list[FetchPartitionResult]]] = []
        self._partitions: list[Partition | None] = []
        """In the order of the request."""
        self._reading: Reading | ReplicaReading | None = None

    @property
    def has_news(self) -> bool:
        """A follower that begins a session gets it soon: from then on it is told what changes."""
        return is_replica(self._request, self._fetch)

    def collect(self) -> int:
        self._reading = reading = _reading(self._request, self._fetch, self._services, self._reading is None)
        look = reading.look
        self._topics = topics = []
        self._partitions = partitions = []
        for name, topic_id, entries in self._fetch.topics:
            results: list[FetchPartitionResult] = []
            topics.append((name, topic_id, results))
            for entry in entries:
                result, partition = look(name, topic_id, entry)
                results.append(result)
                partitions.append(partition)
        return reading.missing_bytes if partitions else 0

    def answer(self) -> Pieces:
        reading = self._reading
        assert reading is not None, "an answer comes from a look"
        if self._services.quotas.active and (
            wait_ms := fetch_throttle_ms(self._request, self._services, reading.found_bytes)
        ):
            return encode_throttled(self._request, 0, wait_ms)
        at = 0
        for _, _, results in self._topics:
            for result in results:
                _count_out(reading, self._partitions[at], result)
                at += 1
        session_id = 0
        if self._fetch.session_epoch == FULL_EPOCH and self._partitions:
            session_id = self._begin_session()
        return encode(self._request, self._services, self._topics, session_id)

    @property
    def size(self) -> int:
        return len(self._partitions)

    def park(self, waiting: SuspendedFetch) -> None:
        replica = is_replica(self._request, self._fetch)
        for partition in self._partitions:
            if partition is None:
                continue
            if replica:
                partition.add_replica_waiter(waiting)
            else:
                partition.add_fetch_waiter(waiting, self._fetch.isolation_level)

    def unpark(self, waiting: SuspendedFetch) -> None:
        for partition in self._partitions:
            if partition is not None:
                partition.remove_fetch_waiter(waiting)
                partition.remove_replica_waiter(waiting)

    def _begin_session(self) -> int:
        """The id of the new session; 0 if there is no room for one."""
        fetch, sessions = self._fetch, self._services.fetch_sessions
        now_ms = int(self._services.clock.monotonic() * 1_000)
        session = sessions.create(
            len(self._partitions),
            privileged=is_replica(self._request, fetch),
            uses_topic_ids=self._request.api_version >= TOPIC_IDS_FROM,
            now_ms=now_ms,
        )
        if session is None:
            return 0
        session.isolation_level = fetch.isolation_level
        told: list[tuple[SessionPartition, FetchPartitionResult]] = []
        for (name, topic_id, entries), (_, _, results) in zip(fetch.topics, self._topics, strict=True):
            for entry, result in zip(entries, results, strict=True):
                known = session.add(name, topic_id, entry)
                known.bind(self._partitions[len(told)])
                told.append((known, result))
        for known, result in told:
            known.tell(result, fetch.isolation_level)
            known.settle(result, fetch.isolation_level)
        sessions.touch(session, now_ms)
        return session.id


class IncrementalFetch:
    """What is new in a session whose epoch was found right and which this request has moved on."""

    begins = False
    __slots__ = ("_epoch", "_fetch", "_looked", "_reading", "_request", "_services", "_session")

    def __init__(self, request: Request, fetch: FetchRequest, session: FetchSession, services: Services) -> None:
        self._request = request
        self._fetch = fetch
        self._session = session
        self._services = services
        self._epoch = next_epoch(fetch.session_epoch)
        self._looked: list[tuple[SessionPartition, FetchPartitionResult, Partition | None]] = []
        self._reading: Reading | ReplicaReading | None = None

    @property
    def has_news(self) -> bool:
        return self._session.privileged and any(
            result.high_watermark != known.high_watermark or result.log_start_offset != known.log_start_offset
            for known, result, _ in self._looked
        )

    def collect(self) -> int:
        self._reading = reading = _reading(self._request, self._fetch, self._services, self._reading is None)
        self._looked = looked = []
        for known in tuple(self._session.dirty):
            result, partition = reading.look(known.name, known.topic_id, known.entry)
            if result.error_code == _UNKNOWN_TOPIC_ID and known.name is not None:
                result = result._replace(error_code=self._why_unknown(known.name))
            looked.append((known, result, partition))
        return reading.missing_bytes

    def answer(self) -> Pieces:
        session, isolation_level, reading = self._session, self._fetch.isolation_level, self._reading
        assert reading is not None, "an answer comes from a look"
        if session.epoch != self._epoch:
            return encode_error(self._request, ErrorCode.INVALID_FETCH_SESSION_EPOCH)
        if self._services.quotas.active and (
            wait_ms := fetch_throttle_ms(self._request, self._services, reading.found_bytes)
        ):
            return encode_throttled(self._request, session.id, wait_ms)
        topics: dict[str | bytes | None, tuple[str | None, bytes | None, list[FetchPartitionResult]]] = {}
        for known, result, partition in self._looked:
            known.bind(partition)
            _count_out(reading, partition, result)
            if known.tell(result, isolation_level):
                key = known.topic_id if session.uses_topic_ids else known.name
                topic = topics.get(key)
                if topic is None:
                    topic = topics[key] = known.name, known.topic_id, []
                topic[2].append(result)
            known.settle(result, isolation_level)
        return encode(self._request, self._services, tuple(topics.values()), session.id)

    @property
    def size(self) -> int:
        return len(self._looked)

    def park(self, waiting: SuspendedFetch) -> None:
        for known, _, partition in self._looked:
            known.bind(partition)
        self._session.park(waiting)

    def unpark(self, waiting: SuspendedFetch) -> None:
        if self._session.parked is waiting:
            self._session.parked = None

    def _why_unknown(self, name: str) -> int:
        """An id that the session knew is gone: its topic was deleted, or is another one of the same name now."""
        recreated = name in self._services.cluster.image.topics_by_name
        return int(ErrorCode.INCONSISTENT_TOPIC_ID if recreated else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)


def context_of(request: Request, fetch: FetchRequest, services: Services) -> FetchContext | ErrorCode:
    """What the request is about; the error that its session deserves. A right request moves its session on."""
    sessions = services.fetch_sessions
    session = sessions.get(fetch.session_id)
    if fetch.session_epoch in (FULL_EPOCH, FINAL_EPOCH):
        if session is not None:
            sessions.remove(session)
        return FullFetch(request, fetch, services)
    if session is None or session.privileged != is_replica(request, fetch):
        return ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    if session.epoch != fetch.session_epoch:
        return ErrorCode.INVALID_FETCH_SESSION_EPOCH
    if session.uses_topic_ids != (request.api_version >= TOPIC_IDS_FROM):
        return ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR
    return _continue(request, fetch, session, services)


def _continue(
    request: Request, fetch: FetchRequest, session: FetchSession, services: Services
) -> FetchContext | ErrorCode:
    if session.parked is not None:
        session.parked.supersede()
    size_before = len(session)
    for name, topic_id, entries in fetch.topics:
        for entry in entries:
            session.add(name, topic_id, entry)
    for name, topic_id, indexes in fetch.forgotten:
        session.forget(topic_id if session.uses_topic_ids else name, indexes)
    if not services.fetch_sessions.touch(session, int(services.clock.monotonic() * 1_000), size_before=size_before):
        return ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    if not session.partitions:
        services.fetch_sessions.remove(session)
        return FullFetch(request, fetch._replace(session_epoch=FINAL_EPOCH), services)
    session.epoch = next_epoch(session.epoch)
    session.read_as(fetch.isolation_level)
    return IncrementalFetch(request, fetch, session, services)


def _count_out(reading: Reading | ReplicaReading, partition: Partition | None, result: FetchPartitionResult) -> None:
    if result.records:
        assert partition is not None, "records come from a partition"
        reading.count_out(partition, result)
