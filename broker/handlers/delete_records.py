"""DeleteRecords v0–2: move the log start forward, so that earlier records are gone for every reader.

Versions: v2 flexible. Offset -1 means the high watermark. Whole segments below the new start are given up at once.
The answer comes when the new log start is on disk.
Deviations: none.
"""

from __future__ import annotations

from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.types import INTERNAL_TOPICS

API = ApiKey.DELETE_RECORDS

HIGH_WATERMARK = -1


def handle(request: Request, message: Any, services: Services) -> Any:
    return m.DeleteRecordsResponse(
        topics=[
            m.DeleteRecordsResponse.DeleteRecordsTopicResult(
                name=topic.name, partitions=[_partition(topic.name, entry, services) for entry in topic.partitions]
            )
            for topic in message.topics
        ]
    )


def _partition(topic: str, entry: Any, services: Services) -> Any:
    try:
        low_watermark = _delete_before(topic, entry.partition_index, entry.offset, services)
        code = ErrorCode.NONE
    except KafkaError as error:
        low_watermark, code = -1, error.code
    return m.DeleteRecordsResponse.DeleteRecordsPartitionResult(
        partition_index=entry.partition_index, low_watermark=low_watermark, error_code=int(code)
    )


def _delete_before(topic: str, index: int, offset: int, services: Services) -> int:
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
    return partition.log.log_start_offset
