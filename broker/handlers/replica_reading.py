"""One look at partitions on behalf of a follower: records up to the log end, and what its position means for them.

Used by ``fetch_context.py`` in place of ``Reading`` for fetches with a replica id, which only the internal listener takes.
The first look of a request is also the follower's word that it has everything before the offsets it asks for: it moves
high watermarks and proposes in-sync sets. Later looks of a parked request only read.

What a follower is refused, and with what (Kafka's codes):
    a leader epoch that is not ours               FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH
    not one of the replicas, or an older registration of its broker than is known here     NOT_LEADER_OR_FOLLOWER;
                                                  UNKNOWN_LEADER_EPOCH where the same epoch was asked for: we are behind
    an offset before the log start or after the log end     OFFSET_OUT_OF_RANGE, with log start and high watermark
A log that left ours is told where (``diverging_epoch``), and its position counts for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Services
from broker.handlers.fetch_reading import check_epochs, success
from broker.handlers.leader_hints import current_leader
from broker.partition.driver import Partition
from broker.protocol.fetch import FetchPartition, FetchPartitionResult, FetchRequest
from broker.quotas.replication import is_throttled
from broker.types import Buffer

_NO_RECORDS: tuple[Buffer, ...] = ()
_NOT_REGISTERED = -2
"""No epoch of a registration, nor what a request has that does not tell one (-1)."""


class ReplicaReading:
    """``found_bytes`` ≤ the request's and the broker's byte limit, but for one whole first batch. Slow consumers do not
    make a follower's answers smaller, nor do quotas."""

    __slots__ = (
        "_budget",
        "_epoch",
        "_first",
        "_may_join",
        "_min_bytes",
        "_now_ms",
        "_replica",
        "_services",
        "_stale",
        "found_bytes",
        "urgent",
    )

    def __init__(self, fetch: FetchRequest, services: Services, *, first: bool) -> None:
        self._services = services
        self._replica = fetch.replica_id
        self._budget = min(fetch.max_bytes, services.config.fetch_max_bytes)
        self._min_bytes = min(fetch.min_bytes, self._budget)
        self._first = first
        self._now_ms = int(services.clock.monotonic() * 1_000)
        image = services.cluster.image
        registered = image.brokers.get(fetch.replica_id)
        known_epoch = _NOT_REGISTERED if registered is None else registered.epoch
        self._stale = 0 <= fetch.replica_epoch < known_epoch
        self._epoch = fetch.replica_epoch
        self._may_join = fetch.replica_epoch == known_epoch and fetch.replica_id not in image.stopping
        self.found_bytes = 0
        self.urgent = False

    @property
    def missing_bytes(self) -> int:
        """≤ 0: answer now."""
        return 0 if self.urgent else self._min_bytes - self.found_bytes

    def look(
        self, name: str | None, topic_id: bytes | None, entry: FetchPartition
    ) -> tuple[FetchPartitionResult, Partition | None]:
        partition: Partition | None = None
        records: Sequence[Buffer] = _NO_RECORDS
        try:
            partition = self._services.partitions.resolve(name, topic_id, entry.partition)
            diverging = check_epochs(partition, entry)
            self._admit(partition, entry)
            log = partition.log
            if diverging is not None:
                self.urgent = True
            elif not log.log_start_offset <= entry.fetch_offset <= log.log_end_offset:
                raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
            else:
                if self._first:
                    self._hear(partition, entry)
                if entry.fetch_offset < log.log_end_offset and not self._holds_back(partition):
                    records = partition.read_as_replica(
                        entry.fetch_offset,
                        min(entry.max_bytes, self._budget),
                        at_least_one=self.found_bytes == 0,
                    )
        except KafkaError as error:
            self.urgent = True
            return self._failure(name, topic_id, entry.partition, partition, error), partition
        if records:
            size = sum(map(len, records))
            self.found_bytes += size
            self._budget -= size
        return success(partition, entry, records, diverging, None), partition

    def count_out(self, partition: Partition, result: FetchPartitionResult) -> None:
        """An answer with records of ``partition`` leaves."""
        size = sum(map(len, result.records))
        partition.replica_bytes_out_total += size
        throttle = self._services.leader_throttle
        if throttle.active and self._is_throttled(partition):
            throttle.record(size, self._now_ms)

    def _admit(self, partition: Partition, entry: FetchPartition) -> None:
        if self._stale:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, "The broker has registered again since.")
        if self._replica not in partition.state.followers:
            raise KafkaError(
                ErrorCode.NOT_LEADER_OR_FOLLOWER if entry.current_leader_epoch < 0 else ErrorCode.UNKNOWN_LEADER_EPOCH
            )

    def _hear(self, partition: Partition, entry: FetchPartition) -> None:
        """The follower has everything before the offset it asks for."""
        effects = partition.state.on_follower_fetch(
            self._replica,
            entry.fetch_offset,
            now_ms=self._now_ms,
            broker_epoch=self._epoch,
            may_join=self._may_join,
            log_start_offset=entry.log_start_offset,
        )
        partition.hear_follower(effects)

    def _holds_back(self, partition: Partition) -> bool:
        throttle = self._services.leader_throttle
        return (
            throttle.active
            and self._replica not in partition.state.isr
            and self._is_throttled(partition)
            and throttle.is_exceeded(self._now_ms)
        )

    def _is_throttled(self, partition: Partition) -> bool:
        replicas = partition.log.config.leader_replication_throttled_replicas
        return bool(replicas) and is_throttled(replicas, partition.topic_partition.partition, self._services.node_id)

    def _failure(
        self,
        name: str | None,
        topic_id: bytes | None,
        index: int,
        partition: Partition | None,
        error: KafkaError,
    ) -> FetchPartitionResult:
        high_watermark = log_start_offset = -1
        if partition is not None and error.code is ErrorCode.OFFSET_OUT_OF_RANGE:
            high_watermark, log_start_offset = partition.high_watermark, partition.log.log_start_offset
        return FetchPartitionResult(
            index,
            int(error.code),
            high_watermark,
            -1,
            log_start_offset,
            None,
            _NO_RECORDS,
            current_leader=current_leader(self._services, name, topic_id, index, error.code),
        )
