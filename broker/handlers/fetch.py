"""Fetch v4–18: record batches from partitions led here, as they lie in the log.

Versions: v4 isolation level, v5 log start offset, v7 sessions, v9 leader epochs, v11 rack, v12 flexible and diverging
epoch (KIP-595), v13 topic ids, v15 replica state, v16–18 fields for other brokers.
Deviations: no incremental sessions yet: a full fetch is answered with session id 0 (which is legal, the client then
sends full fetches), and a session id we did not give out with FETCH_SESSION_ID_NOT_FOUND. Without transactions the
last stable offset is the high watermark and no transaction is aborted. One answer carries at most
8 MiB (beyond the first batch, which is always whole), and less while slow readers leave much of it lying in memory.

A fetch that finds less than ``min_bytes`` parks itself with the partitions it asks for. The append that makes enough
data visible wakes it; its timer and its wake-ups concern this one object only and die with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from broker import limits
from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.handlers.reply import Deferred, Reply
from broker.partition.driver import READ_COMMITTED, Partition
from broker.protocol.api import ApiKey
from broker.protocol.fetch import (
    FetchPartition,
    FetchPartitionResult,
    FetchRequest,
    decode_fetch,
    encode_fetch_response,
)
from broker.types import Buffer

API = ApiKey.FETCH

_NONE = int(ErrorCode.NONE)
_NO_RECORDS: tuple[Buffer, ...] = ()


class ParkedFetch(Deferred):
    """A long poll. Answered by data, by a change of a partition, or by its own timer; whichever is first."""

    __slots__ = ("_fetch", "_missing_bytes", "_queued", "_request", "_services", "_timer", "partitions")

    def __init__(self, request: Request, fetch: FetchRequest, services: Services, missing_bytes: int) -> None:
        super().__init__()
        self._request = request
        self._fetch = fetch
        self._services = services
        self._missing_bytes = missing_bytes
        self._queued = False
        self.partitions: Sequence[Partition] = ()
        self._timer: asyncio.TimerHandle | None = None

    def park(self, partitions: Sequence[Partition], loop: asyncio.AbstractEventLoop) -> None:
        self.partitions = partitions
        for partition in partitions:
            partition.add_fetch_waiter(self)
        wait_ms = min(self._fetch.max_wait_ms, limits.FETCH_WAIT_MS_MAX)
        self._timer = loop.call_later(wait_ms / 1_000, self.look_again, True)

    def on_data(self, byte_count: int) -> None:
        """New data in one of the partitions; ``-1`` when something else changed."""
        self._missing_bytes = self._missing_bytes - byte_count if byte_count >= 0 else 0
        if self._missing_bytes <= 0 and not self._queued:
            self._queued = True
            self._services.partitions.wake_later(self)

    def look_again(self, final: bool = False) -> None:
        """Answer if there is enough now; stay parked otherwise, unless this is the last chance."""
        self._queued = False
        if self.done:
            return
        topics, _, missing_bytes = _collect(self._fetch, self._request, self._services)
        if missing_bytes > 0 and not final and not self._services.partitions.stopping:
            self._missing_bytes = missing_bytes
            return
        self._unregister()
        self.resolve(_encode(self._request, topics))

    def abandon(self) -> None:
        super().abandon()
        self._unregister()

    def _unregister(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for partition in self.partitions:
            partition.remove_fetch_waiter(self)
        self.partitions = ()


def handle_raw(request: Request, services: Services) -> Reply:
    fetch = decode_fetch(request.api_version, request.body)
    if fetch.session_epoch > 0:
        return _encode(request, (), ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
    topics, partitions, missing_bytes = _collect(fetch, request, services)
    if missing_bytes <= 0 or fetch.max_wait_ms <= 0:
        return _encode(request, topics)
    parked = ParkedFetch(request, fetch, services, missing_bytes)
    parked.park(partitions, asyncio.get_running_loop())
    return parked


def _encode(request: Request, topics: Sequence[Any], code: int = _NONE) -> Sequence[Buffer]:
    return encode_fetch_response(request.api_version, request.correlation_id, 0, int(code), 0, topics)


def _collect(fetch: FetchRequest, request: Request, services: Services) -> tuple[list, list[Partition], int]:
    """Results per topic, the partitions asked for, and how many bytes are missing (≤ 0: answer now).

    Any error, and any diverging epoch, is worth an answer at once.
    """
    manager = services.partitions
    budget = min(fetch.max_bytes, services.config.fetch_max_bytes, manager.fetch_answer_bytes_max)
    isolation_level = fetch.isolation_level
    found_bytes = 0
    urgent = fetch.replica_id >= 0
    topics: list = []
    partitions: list[Partition] = []
    for name, topic_id, entries in fetch.topics:
        results: list = []
        topics.append((name, topic_id, results))
        for entry in entries:
            try:
                if fetch.replica_id >= 0:
                    raise KafkaError(ErrorCode.TOPIC_AUTHORIZATION_FAILED)
                index = entry.partition
                partition = manager.resolve(name, topic_id, index)
                diverging = _check_epochs(partition, entry)
                if diverging is not None:
                    urgent = True
                    records: Sequence[Buffer] = _NO_RECORDS
                else:
                    records = partition.read(
                        entry.fetch_offset,
                        min(entry.max_bytes, budget),
                        isolation_level=isolation_level,
                        at_least_one=found_bytes == 0,
                    )
            except KafkaError as error:
                urgent = True
                results.append(_failure(entry.partition, error))
                continue
            if records:
                size = sum(map(len, records))
                partition.bytes_out_total += size
                found_bytes += size
                budget -= size
            partitions.append(partition)
            results.append(_success(partition, entry, records, diverging, isolation_level))
    return topics, partitions, 0 if urgent or not partitions else fetch.min_bytes - found_bytes


def _check_epochs(partition: Partition, entry: FetchPartition) -> tuple[int, int] | None:
    """Where the reader's log left ours, as (epoch, end offset); ``None`` when it did not (KIP-320, KIP-595)."""
    if entry.current_leader_epoch >= 0:
        refusal = partition.state.epoch_refusal(entry.current_leader_epoch)
        if refusal is not None:
            raise KafkaError(refusal)
    if entry.last_fetched_epoch < 0:
        return None
    epoch, end_offset = partition.log.end_offset_for_epoch(entry.last_fetched_epoch)
    if epoch < 0 or end_offset < 0:
        raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
    if epoch < entry.last_fetched_epoch or end_offset < entry.fetch_offset:
        return epoch, end_offset
    return None


def _success(
    partition: Partition,
    entry: FetchPartition,
    records: Sequence[Buffer],
    diverging: tuple[int, int] | None,
    isolation_level: int,
) -> FetchPartitionResult:
    return FetchPartitionResult(
        entry.partition,
        _NONE,
        partition.state.high_watermark,
        partition.last_stable_offset,
        partition.log.log_start_offset,
        () if isolation_level == READ_COMMITTED else None,
        records,
        -1,
        diverging,
    )


def _failure(partition: int, error: KafkaError) -> FetchPartitionResult:
    return FetchPartitionResult(partition, int(error.code), -1, -1, -1, None, _NO_RECORDS)
