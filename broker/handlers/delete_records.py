"""DeleteRecords v0–2: move the log start forward, so that earlier records are gone for every reader.

Versions: v2 flexible. Offset -1 means the high watermark. Whole segments below the new start are given up at once.
The answer comes when the new log start is on disk here and every live follower has taken it over: whoever leads next has it.
A follower that does not in time makes it REQUEST_TIMED_OUT; the records are gone here, and there as soon as it fetches.
Deviations: none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.partition.driver import Partition
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.types import INTERNAL_TOPICS, Offset

API = ApiKey.DELETE_RECORDS

HIGH_WATERMARK = -1
LOOK_SECONDS_MAX = 0.5
"""A follower that dies is waited for no longer than this once it is known to be gone."""


@dataclass(slots=True)
class _Deletion:
    """One partition of the request, and what is to be answered for it."""

    index: int
    partition: Partition | None = None
    """While its followers are waited for."""
    offset: Offset = 0
    code: ErrorCode = ErrorCode.NONE


def handle(request: Request, message: Any, services: Services) -> Any:
    topics = [
        (topic.name, [_delete(topic.name, entry.partition_index, entry.offset, services) for entry in topic.partitions])
        for topic in message.topics
    ]
    waiting = [deletion for _, deletions in topics for deletion in deletions if not _is_everywhere(deletion, services)]
    if not waiting:
        return _answer(topics)
    return _answer_later(topics, waiting, services, message.timeout / 1_000)


def _delete(topic: str, index: int, offset: int, services: Services) -> _Deletion:
    try:
        partition = _delete_before(topic, index, offset, services)
    except KafkaError as error:
        return _Deletion(index, code=error.code)
    return _Deletion(index, partition, partition.log.log_start_offset)


def _delete_before(topic: str, index: int, offset: int, services: Services) -> Partition:
    if topic in INTERNAL_TOPICS:
        raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"Cannot delete records of internal topic {topic}")
    partition = services.partitions.get(topic, index)
    if "delete" not in partition.log.config.cleanup_policy:
        raise KafkaError(ErrorCode.POLICY_VIOLATION, "The topic's cleanup.policy does not include delete.")
    before = partition.high_watermark if offset == HIGH_WATERMARK else offset
    if before < 0 or before > partition.high_watermark:
        raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
    if before > partition.log.log_start_offset:
        partition.log.advance_log_start(before)
        partition.wake_fetch_waiters()
    return partition


def _is_everywhere(deletion: _Deletion, services: Services) -> bool:
    """Settled: every live replica begins at the offset or later, or it cannot be waited for any more."""
    partition = deletion.partition
    if partition is None:
        return True
    if not partition.state.is_leader:
        deletion.partition, deletion.code = None, ErrorCode.NOT_LEADER_OR_FOLLOWER
        return True
    live = services.cluster.image.brokers
    return all(
        follower.log_start_offset >= deletion.offset
        for replica, follower in partition.state.followers.items()
        if replica in live
    )


async def _answer_later(
    topics: list[tuple[str, list[_Deletion]]], waiting: list[_Deletion], services: Services, seconds: float
) -> Any:
    deadline = services.clock.monotonic() + seconds
    for deletion in waiting:
        while not _is_everywhere(deletion, services):
            left = deadline - services.clock.monotonic()
            if left <= 0:
                deletion.code = ErrorCode.REQUEST_TIMED_OUT
                break
            assert deletion.partition is not None
            await _within(min(left, LOOK_SECONDS_MAX), deletion.partition.wait_log_start_told())
    return _answer(topics)


async def _within(seconds: float, event: Awaitable[object]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event
    except TimeoutError:
        return


def _answer(topics: list[tuple[str, list[_Deletion]]]) -> Any:
    result = m.DeleteRecordsResponse.DeleteRecordsPartitionResult
    return m.DeleteRecordsResponse(
        topics=[
            m.DeleteRecordsResponse.DeleteRecordsTopicResult(
                name=name,
                partitions=[
                    result(
                        partition_index=deletion.index,
                        low_watermark=deletion.offset if deletion.code is ErrorCode.NONE else -1,
                        error_code=int(deletion.code),
                    )
                    for deletion in deletions
                ],
            )
            for name, deletions in topics
        ]
    )
