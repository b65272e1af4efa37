"""One look at partitions on behalf of one Fetch answer: what each of them has for the reader, within the limits of all.

Used by ``fetch_context.py`` for full and incremental fetches alike. Changes nothing: a look that finds too little is
repeated later, and only an answer that leaves counts.
"""

from __future__ import annotations

from collections.abc import Sequence

from broker import faultpoints
from broker.config.broker_schema import RACK_AWARE_SELECTOR
from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Services
from broker.handlers.leader_hints import HINTS_IN_FETCH_FROM, current_leader
from broker.partition.driver import Partition
from broker.partition.fetch_waiters import READ_COMMITTED
from broker.partition.replica_selection import preferred_read_replica
from broker.protocol.fetch import FetchPartition, FetchPartitionResult, FetchRequest
from broker.types import Buffer

_NONE = int(ErrorCode.NONE)
ZSTD_FROM = 10
"""Older clients are refused a topic that is configured to be zstd (KIP-110)."""
FOLLOWERS_FROM = 11
"""A consumer that can name its rack may read from a follower; older ones know leaders only (KIP-392)."""
_NO_RECORDS: tuple[Buffer, ...] = ()


class Reading:
    """``found_bytes`` ≤ the request's, the broker's and the moment's byte limit, but for one whole first batch."""

    __slots__ = (
        "_budget",
        "_isolation_level",
        "_min_bytes",
        "_rack",
        "_replica_id",
        "_services",
        "_version",
        "found_bytes",
        "urgent",
    )

    def __init__(self, fetch: FetchRequest, version: int, services: Services) -> None:
        self._services = services
        self._version = version
        self._replica_id = fetch.replica_id
        self._rack = fetch.rack_id if services.cluster.config.replica_selector_class == RACK_AWARE_SELECTOR else ""
        self._isolation_level = fetch.isolation_level
        self._budget = min(fetch.max_bytes, services.config.fetch_max_bytes, services.partitions.fetch_answer_bytes_max)
        self._min_bytes = min(fetch.min_bytes, fetch.max_bytes, services.config.fetch_max_bytes)
        self.found_bytes = 0
        self.urgent = False
        """An error or a diverging epoch is worth an answer at once."""

    @property
    def missing_bytes(self) -> int:
        """≤ 0: answer now."""
        return 0 if self.urgent else self._min_bytes - self.found_bytes

    def look(
        self, name: str | None, topic_id: bytes | None, entry: FetchPartition
    ) -> tuple[FetchPartitionResult, Partition | None]:
        """What the partition has for the reader; the partition itself unless it cannot be read here."""
        partition: Partition | None = None
        try:
            if self._replica_id >= 0:
                raise KafkaError(ErrorCode.TOPIC_AUTHORIZATION_FAILED)
            partitions = self._services.partitions
            if self._version >= FOLLOWERS_FROM:
                partition = partitions.resolve_replica(name, topic_id, entry.partition)
            else:
                partition = partitions.resolve(name, topic_id, entry.partition)
            if self._version < ZSTD_FROM and partition.log.config.compression_type == "zstd":
                raise KafkaError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)
            diverging = check_epochs(partition, entry)
            if self._rack and diverging is None:
                preferred = preferred_read_replica(
                    partition.state, self._services.cluster.image.brokers, self._rack, entry.fetch_offset
                )
                if preferred >= 0:
                    self.urgent = True
                    result = success(partition, entry, _NO_RECORDS, None, None)
                    return result._replace(preferred_read_replica=preferred), partition
            records: Sequence[Buffer] = _NO_RECORDS
            aborted: Sequence[tuple[int, int]] | None = () if self._isolation_level == READ_COMMITTED else None
            if diverging is not None:
                self.urgent = True
            else:
                records = partition.read(
                    entry.fetch_offset,
                    min(entry.max_bytes, self._budget),
                    isolation_level=self._isolation_level,
                    at_least_one=self.found_bytes == 0,
                )
                if aborted is not None and records:
                    aborted = partition.log.aborted_transactions(entry.fetch_offset, records)
        except KafkaError as error:
            self.urgent = True
            return self._failure(name, topic_id, entry.partition, error), partition
        if records:
            size = sum(map(len, records))
            self.found_bytes += size
            self._budget -= size
        return success(partition, entry, records, diverging, aborted), partition

    def count_out(self, partition: Partition, result: FetchPartitionResult) -> None:
        """An answer with records of ``partition`` leaves."""
        partition.bytes_out_total += sum(map(len, result.records))

    def _failure(
        self, name: str | None, topic_id: bytes | None, partition: int, error: KafkaError
    ) -> FetchPartitionResult:
        result = FetchPartitionResult(partition, int(error.code), -1, -1, -1, None, _NO_RECORDS)
        if self._version >= HINTS_IN_FETCH_FROM:
            hint = current_leader(self._services, name, topic_id, partition, error.code)
            if hint is not None:
                return result._replace(current_leader=hint)
        return result


def check_epochs(partition: Partition, entry: FetchPartition) -> tuple[int, int] | None:
    """Where the reader's log left ours, as (epoch, end offset); ``None`` when it did not (KIP-320, KIP-595)."""
    if faultpoints.IGNORE_LEADER_EPOCH:
        return None
    if entry.current_leader_epoch >= 0:
        refusal = partition.state.epoch_refusal(entry.current_leader_epoch)
        if refusal is not None:
            raise KafkaError(refusal)
    if entry.last_fetched_epoch < 0:
        return None
    if not partition.state.is_leader and entry.fetch_offset > partition.log.log_end_offset:
        raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE, "This follower is not there yet.")
    epoch, end_offset = partition.log.end_offset_for_epoch(entry.last_fetched_epoch)
    if epoch < 0 or end_offset < 0:
        raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
    if epoch < entry.last_fetched_epoch or end_offset < entry.fetch_offset:
        return epoch, end_offset
    return None


def success(
    partition: Partition,
    entry: FetchPartition,
    records: Sequence[Buffer],
    diverging: tuple[int, int] | None,
    aborted: Sequence[tuple[int, int]] | None,
) -> FetchPartitionResult:
    """What a reader is told that is not refused."""
    return FetchPartitionResult(
        entry.partition,
        _NONE,
        partition.state.high_watermark,
        partition.last_stable_offset,
        partition.log.log_start_offset,
        aborted,
        records,
        -1,
        diverging,
    )
