"""Browsing a partition's records from any offset, outside every consumer group."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from broker import limits
from broker.client.errors import error_code, raise_for_code
from broker.client.results import FetchedRecords, Record
from broker.client.router import Router
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
    ) -> FetchedRecords:
        """Records from ``offset`` on. Waits up to ``max_wait_ms`` at the end of the log; may return none.

        ``records_max`` ends the decoding early: ``next_offset`` then points at the first record left out.
        """
        request = m.FetchRequest(
            replica_id=-1,
            max_wait=max(0, min(max_wait_ms, limits.FETCH_WAIT_MS_MAX)),
            min_bytes=1,
            max_bytes=max_bytes,
            isolation_level=int(read_committed),
            session_id=0,
            session_epoch=-1,
            topics=[
                m.FetchRequest.FetchTopic(
                    topic=topic,
                    partitions=[
                        m.FetchRequest.FetchPartition(
                            partition=partition,
                            current_leader_epoch=-1,
                            fetch_offset=offset,
                            last_fetched_epoch=-1,
                            log_start_offset=-1,
                            partition_max_bytes=max_bytes,
                        )
                    ],
                )
            ],
            forgotten_topics_data=[],
            rack_id="",
        )
        timeout_seconds = request.max_wait / 1000 + FETCH_GRACE_SECONDS

        async def attempt() -> FetchedRecords:
            (leader,) = await self._router.leaders(topic, [partition])
            response = await self._router.call_broker(
                leader, ApiKey.FETCH, request, repeatable=True, timeout_seconds=timeout_seconds
            )
            answer = _partition_answer(response, topic, partition)
            return _read(answer, topic, partition, offset, records_max)

        return await self._router.until_routed(attempt, topic=topic)


def _partition_answer(response: Any, topic: str, partition: int) -> Any:
    raise_for_code(response.error_code)
    for answered in response.responses:
        for result in answered.partitions:
            if answered.topic == topic and result.partition_index == partition:
                code = result.error_code
                raise_for_code(code, f"{topic}-{partition}: {error_code(code).message}")
                return result
    raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, f"the broker's answer does not mention {topic}-{partition}")


def _read(answer: Any, topic: str, partition: int, offset: int, records_max: int | None) -> FetchedRecords:
    """Whole batches only: a fetch may end inside one, and may begin before ``offset`` inside the first."""
    data = memoryview(answer.records or b"")
    data = data[: batches.whole_batches_size(data)]
    aborted = _AbortedTransactions(answer.aborted_transactions or ())
    records: list[Record] = []
    next_offset = offset
    for position, head in batches.scan_batches(data):
        if head.last_offset < offset:
            continue
        if not head.is_control and not aborted.contain(head):
            for record in _read_batch(data[position : position + head.size], head, topic, partition):
                if record.offset < offset:
                    continue
                if records_max is not None and len(records) >= records_max:
                    return _answered(answer, records, record.offset)
                records.append(record)
        if head.is_control:
            aborted.end(head)
        next_offset = max(next_offset, head.next_offset)
    return _answered(answer, records, next_offset)


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


def _answered(answer: Any, records: list[Record], next_offset: int) -> FetchedRecords:
    return FetchedRecords(
        records=tuple(records),
        next_offset=next_offset,
        high_watermark=answer.high_watermark,
        last_stable_offset=answer.last_stable_offset,
        log_start_offset=answer.log_start_offset,
    )
