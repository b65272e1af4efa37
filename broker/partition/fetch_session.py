"""One fetch session (KIP-227): what a client wants to read, what it was told last, and what has changed since.

A session lives between the requests of one consumer, so that neither side repeats what did not change: the client
sends only what it adds, moves or forgets, the broker answers only what is new. Owned by ``fetch_session_cache.py``,
used by the Fetch handler, on the event loop.

Theory of operation
    A partition is *dirty* when looking at it could put something into the next answer. Everything begins dirty. A look
    that finds nothing to tell makes it clean, and then the partition itself is asked to tell of its next change; a
    request that moves the reader makes it dirty again. A poll therefore looks at the dirty ones only: a reader of a
    thousand quiet partitions and a busy one pays for the busy one.

    Dirty partitions are served in the order of the dirty set, and one that gave records goes to its end. So everybody
    gets a turn, however much the first one has to offer (what Kafka does by rotating its partitions).

Invariants
    a partition that is not dirty is watched: it will become dirty when its log, leader or existence changes
    a partition that is not dirty has nothing to read below what its reader may see, and its reader knows that
    what is told (high watermark, log start, last stable offset) changes only when an answer leaves
    a dirty partition is watched only while somebody waits: sessions that nobody uses cost an append nothing
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from broker.partition.driver import Partition
from broker.partition.fetch_waiters import READ_COMMITTED, FetchWaiter, ReplicaWaiter
from broker.protocol.fetch import FetchPartition, FetchPartitionResult

EPOCH_MAX = 2**31 - 1
UNTOLD = -1
"""No high watermark: whatever is found next is news."""

PartitionKey = tuple[str | bytes | None, int]
"""(topic name or topic id, partition): as the session's requests name it"""


class SuspendedFetch(FetchWaiter, ReplicaWaiter, Protocol):
    """The parked request of a session."""

    def supersede(self) -> None:
        """Another request of the session came, or the session is gone: answer with an error, now."""


def next_epoch(epoch: int) -> int:
    """0 and -1 mean something else, so the count begins anew at 1."""
    return 1 if epoch >= EPOCH_MAX else epoch + 1


class SessionPartition:
    """A partition as one reader sees it. Registered as the waiter of its ``Partition``."""

    __slots__ = (
        "dirty",
        "entry",
        "high_watermark",
        "last_stable_offset",
        "log_start_offset",
        "name",
        "partition",
        "session",
        "topic_id",
        "watching",
    )

    def __init__(self, session: FetchSession, name: str | None, topic_id: bytes | None, entry: FetchPartition) -> None:
        self.session = session
        self.name = name
        """Of a session by topic ids: learnt when the id is first found, ``None`` until then."""
        self.topic_id = topic_id
        self.entry = entry
        self.high_watermark = self.log_start_offset = self.last_stable_offset = UNTOLD
        self.partition: Partition | None = None
        self.watching = False
        self.dirty = False

    def on_data(self, byte_count: int) -> None:
        """The partition changed. Told once; again only while a request waits, which counts the bytes."""
        session = self.session
        if not self.dirty:
            self.dirty = True
            session.dirty[self] = None
        if session.parked is not None:
            session.parked.on_data(byte_count)
        else:
            self.unwatch()

    def on_high_watermark(self) -> None:
        """Only a follower's: what it has is committed now. Told of it soon, but it is nothing to read."""
        session = self.session
        if not self.dirty:
            self.dirty = True
            session.dirty[self] = None
        if session.parked is not None:
            session.parked.on_high_watermark()
        else:
            self.unwatch()

    def bind(self, partition: Partition | None) -> None:
        """What the name or id means now."""
        if partition is not self.partition:
            self.unwatch()
            self.partition = partition
            if partition is not None:
                self.name = partition.topic_partition.topic

    def watch(self) -> None:
        if not self.watching and self.partition is not None:
            self.watching = True
            if self.session.privileged:
                self.partition.add_replica_waiter(self)
            else:
                self.partition.add_fetch_waiter(self, self.session.isolation_level)

    def unwatch(self) -> None:
        if self.watching:
            self.watching = False
            assert self.partition is not None
            if self.session.privileged:
                self.partition.remove_replica_waiter(self)
            else:
                self.partition.remove_fetch_waiter(self)

    def tell(self, result: FetchPartitionResult, isolation_level: int) -> bool:
        """Note what ``result`` tells the reader; whether it has to be told at all."""
        news = (
            bool(result.records)
            or result.error_code != 0
            or result.high_watermark != self.high_watermark
            or result.log_start_offset != self.log_start_offset
            or (isolation_level == READ_COMMITTED and result.last_stable_offset != self.last_stable_offset)
            or result.preferred_read_replica >= 0
            or result.diverging_epoch is not None
        )
        # After an error or a divergence the reader is told of its partition again, even if nothing moved meanwhile.
        failed = result.error_code != 0 or result.diverging_epoch is not None
        self.high_watermark = UNTOLD if failed else result.high_watermark
        self.log_start_offset = result.log_start_offset
        self.last_stable_offset = result.last_stable_offset
        return news

    def settle(self, result: FetchPartitionResult, isolation_level: int) -> None:
        """After an answer: clean if a further look would find nothing; behind the others if it has had its turn."""
        dirty, partition = self.session.dirty, self.partition
        if self.session.privileged:
            readable = UNTOLD if partition is None else partition.log.log_end_offset
        else:
            readable = result.last_stable_offset if isolation_level == READ_COMMITTED else result.high_watermark
        self.dirty = partition is None or self.high_watermark == UNTOLD or self.entry.fetch_offset < readable
        if not self.dirty:
            dirty.pop(self, None)
            self.watch()
        elif result.records:
            dirty.pop(self, None)
            dirty[self] = None


class FetchSession:
    __slots__ = (
        "created_ms",
        "dirty",
        "epoch",
        "id",
        "isolation_level",
        "listed",
        "parked",
        "partitions",
        "privileged",
        "used_ms",
        "uses_topic_ids",
    )

    def __init__(self, session_id: int, *, privileged: bool, uses_topic_ids: bool, now_ms: int) -> None:
        self.id = session_id
        self.privileged = privileged
        """A follower's. Consumers do not displace it from the cache."""
        self.uses_topic_ids = uses_topic_ids
        self.created_ms = self.used_ms = now_ms
        self.listed = (-1, False)
        """Owned by the cache: the size, and whether it had aged, when it was last listed as worth displacing."""
        self.epoch = 1
        """Of the next request."""
        self.isolation_level = 0
        self.partitions: dict[PartitionKey, SessionPartition] = {}
        self.dirty: dict[SessionPartition, None] = {}
        self.parked: SuspendedFetch | None = None

    def __len__(self) -> int:
        return len(self.partitions)

    def add(self, name: str | None, topic_id: bytes | None, entry: FetchPartition) -> SessionPartition:
        """Take a partition into the session, or change what is asked of it."""
        key = (topic_id if self.uses_topic_ids else name, entry.partition)
        known = self.partitions.get(key)
        if known is None:
            known = self.partitions[key] = SessionPartition(self, name, topic_id, entry)
        else:
            known.entry = entry
        if not known.dirty:
            known.dirty = True
            self.dirty[known] = None
        return known

    def forget(self, topic: str | bytes | None, partitions: Iterable[int]) -> None:
        for index in partitions:
            known = self.partitions.pop((topic, index), None)
            if known is not None:
                self.dirty.pop(known, None)
                known.unwatch()

    def read_as(self, isolation_level: int) -> None:
        """The isolation level of the request at hand. A reader that changes it is looked after from scratch."""
        if isolation_level != self.isolation_level:
            self.isolation_level = isolation_level
            for known in self.partitions.values():
                known.unwatch()
                known.dirty = True
                self.dirty[known] = None

    def park(self, waiting: SuspendedFetch) -> None:
        """From now on every change is passed on to ``waiting``."""
        self.parked = waiting
        for known in self.dirty:
            known.watch()

    def close(self) -> None:
        """The session is gone from the cache: nobody tells it anything any more."""
        for known in self.partitions.values():
            known.unwatch()
        if self.parked is not None:
            self.parked.supersede()
