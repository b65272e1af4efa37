"""Browsing a partition's records from any offset, outside every consumer group."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from broker import limits
from broker.client.errors import error_code, raise_for_code
from broker.client.results import DamagedBatch, FetchedRecords, Record
from broker.client.router import MISROUTED, Router
from broker.errors import ErrorCode, KafkaError
from broker.protocol import batch as batches
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.records import iter_records

FETCH_GRACE_SECONDS = 5.0
"""Beyond the wait the broker was asked for, before the answer counts as lost."""


class ReaderClient:
    def __init__(self, router: Router) -> None:
        self._router = router

    async def fetch(
        self,
        topic: str,
        partition: int,
        offset: int,
        max_bytes: int = limits.MIB,
        max_wait_ms: int = 500,
        *,
        read_committed: bool = False,
        records_max: int | None = None,
        skip_damaged: bool = False,
    ) -> FetchedRecords:
        """Records from ``offset`` on. Waits up to ``max_wait_ms`` at the end of the log; may return none.

        ``records_max`` ends the decoding early: ``next_offset`` then points at the first record left out. With
        ``skip_damaged`` a batch that cannot be opened is reported and passed over instead of raised.
        """
        request = _request(topic, {partition: offset}, max_bytes, max_wait_ms, read_committed)

        async def attempt() -> FetchedRecords:
            (leader,) = await self._router.leaders(topic, [partition])
            response = await self._send(leader, request)
            answer = _partition_answer(response, topic, partition)
            return _read(answer, topic, partition, offset, records_max, skip_damaged)

        return await self._router.until_routed(attempt, topic=topic)

    async def fetch_many(
        self,
        topic: str,
        offsets: Mapping[int, int],
        max_bytes: int = limits.MIB,
        max_wait_ms: int = 500,
        *,
        read_committed: bool = False,
        records_max: int | None = None,
        skip_damaged: bool = False,
    ) -> dict[int, FetchedRecords | KafkaError]:
        """Several partitions in one long poll per leader; each partition has a result or its own error.

        Raises what concerns all of them: no leader is known, a broker cannot be reached.
        """
        leaders = await self._router.leaders(topic, offsets)
        requests = {
            leader: _request(topic, {one: offsets[one] for one in partitions}, max_bytes, max_wait_ms, read_committed)
            for leader, partitions in leaders.items()
        }
        responses = await asyncio.gather(*(self._send(leader, request) for leader, request in requests.items()))
        found: dict[int, FetchedRecords | KafkaError] = {}
        for partitions, response in zip(leaders.values(), responses, strict=True):
            for partition in partitions:
                try:
                    answer = _partition_answer(response, topic, partition)
                    found[partition] = _read(answer, topic, partition, offsets[partition], records_max, skip_damaged)
                except KafkaError as error:
                    found[partition] = error
        if any(isinstance(result, KafkaError) and result.code in MISROUTED for result in found.values()):
            self._router.forget_topic(topic)
        return found

    async def _send(self, leader: int, request: Any) -> Any:
        timeout_seconds = request.max_wait / 1000 + FETCH_GRACE_SECONDS
        return await self._router.call_broker(
            leader, ApiKey.FETCH, request, repeatable=True, timeout_seconds=timeout_seconds
        )


def _request(
    topic: str, offsets: Mapping[int, int], max_bytes: int, max_wait_ms: int, read_committed: bool = False
) -> Any:
    partitions = [
        m.FetchRequest.FetchPartition(
            partition=partition,
            current_leader_epoch=-1,
            fetch_offset=offset,
            last_fetched_epoch=-1,
            log_start_offset=-1,
            partition_max_bytes=max_bytes,
        )
        for partition, offset in offsets.items()
    ]
    return m.FetchRequest(
        replica_id=-1,
        max_wait=max(0, min(max_wait_ms, limits.FETCH_WAIT_MS_MAX)),
        min_bytes=1,
        max_bytes=max_bytes,
        isolation_level=int(read_committed),
        session_id=0,
        session_epoch=-1,
        topics=[m.FetchRequest.FetchTopic(topic=topic, partitions=partitions)],
        forgotten_topics_data=[],
        rack_id="",
    )


def _partition_answer(response: Any, topic: str, partition: int) -> Any:
    raise_for_code(response.error_code)
    for answered in response.responses:
        for result in answered.partitions:
            if answered.topic == topic and result.partition_index == partition:
                code = result.error_code
                raise_for_code(code, f"{topic}-{partition}: {error_code(code).message}")
                return result
    raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, f"the broker's answer does not mention {topic}-{partition}")


def _read(
    answer: Any, topic: str, partition: int, offset: int, records_max: int | None, skip_damaged: bool = False
) -> FetchedRecords:
    """Whole batches only: a fetch may end inside one, and may begin before ``offset`` inside the first."""
    data = memoryview(answer.records or b"")
    data = data[: batches.whole_batches_size(data)]
    aborted = _AbortedTransactions(answer.aborted_transactions or ())
    records: list[Record] = []
    damaged: list[DamagedBatch] = []
    next_offset = offset
    for position, head in batches.scan_batches(data):
        if head.last_offset < offset:
            continue
        if not head.is_control and not aborted.contain(head):
            try:
                opened = _read_batch(data[position : position + head.size], head, topic, partition)
            except KafkaError as error:
                if not skip_damaged:
                    raise
                damaged.append(_damage(head, error))
                # Where it ends is its own claim; never past what the broker says exists.
                beyond = max(head.base_offset + 1, min(head.next_offset, answer.high_watermark))
                next_offset = max(next_offset, beyond)
                continue
            for record in opened:
                if record.offset < offset:
                    continue
                if records_max is not None and len(records) >= records_max:
                    return _answered(answer, records, record.offset, damaged)
                records.append(record)
        if head.is_control:
            aborted.end(head)
        next_offset = max(next_offset, head.next_offset)
    return _answered(answer, records, next_offset, damaged)


def _damage(head: batches.BatchHeader, error: KafkaError) -> DamagedBatch:
    return DamagedBatch(base_offset=head.base_offset, last_offset=head.last_offset, reason=error.message)


class _AbortedTransactions:
    """Which batches a read_committed reader must not see: a producer's, from the first offset of its aborted
    transaction up to the marker that ends it. The same producer's next transaction may be committed."""

    def __init__(self, entries: Iterable[Any]) -> None:
        self._to_come = sorted(((entry.first_offset, entry.producer_id) for entry in entries), reverse=True)
        self._producers: set[int] = set()

    def contain(self, head: batches.BatchHeader) -> bool:
        self._advance(head)
        return head.is_transactional and head.producer_id in self._producers

    def end(self, head: batches.BatchHeader) -> None:
        self._advance(head)
        self._producers.discard(head.producer_id)

    def _advance(self, head: batches.BatchHeader) -> None:
        while self._to_come and self._to_come[-1][0] <= head.last_offset:
            self._producers.add(self._to_come.pop()[1])


def _read_batch(batch: memoryview, head: batches.BatchHeader, topic: str, partition: int) -> list[Record]:
    timestamp_type = "LogAppendTime" if head.is_log_append_time else "CreateTime"
    compression = (
        batches.COMPRESSION_NAMES[head.compression] if head.compression < len(batches.COMPRESSION_NAMES) else "unknown"
    )
    return [
        Record(
            topic=topic,
            partition=partition,
            offset=record.offset,
            timestamp_ms=record.timestamp,
            timestamp_type=timestamp_type,
            key=record.key,
            value=record.value,
            headers=tuple(record.headers),
            compression=compression,
            batch_base_offset=head.base_offset,
            producer_id=head.producer_id,
            size_bytes=_size(record.key, record.value, record.headers),
        )
        for record in iter_records(batch)
    ]


def _size(key: bytes | None, value: bytes | None, headers: Any) -> int:
    total = len(key or b"") + len(value or b"")
    return total + sum(len(name) + len(content or b"") for name, content in headers)


def _answered(answer: Any, records: list[Record], next_offset: int, damaged: Iterable[DamagedBatch]) -> FetchedRecords:
    return FetchedRecords(
        records=tuple(records),
        next_offset=next_offset,
        high_watermark=answer.high_watermark,
        last_stable_offset=answer.last_stable_offset,
        log_start_offset=answer.log_start_offset,
        damaged=tuple(damaged),
    )
