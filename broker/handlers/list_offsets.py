"""ListOffsets v1–11: first, last or time-addressed offsets of partitions led here.

Versions: v2 isolation level, v4 leader epochs, v6 flexible, v7 max timestamp (-3), v8 earliest local (-4), v9 latest
tiered (-5), v11 earliest pending upload (-6). A special timestamp older than its version is UNSUPPORTED_VERSION.
As in Kafka without tiered storage, -4 is the earliest offset and -5/-6 answer "none". A time beyond the last record is
offset -1, timestamp -1 and no error. Right after an election, until the followers have confirmed what the leader's log
held then, the latest offset and times that are not found below it are OFFSET_NOT_AVAILABLE (LEADER_NOT_AVAILABLE before v5):
what a client was told never goes back (KIP-207). A replica on the internal listener sees up to the log end.
Deviations: none.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.partition.driver import Partition
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.types import NO_EPOCH, NO_OFFSET, NO_TIMESTAMP

API = ApiKey.LIST_OFFSETS

LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL, LATEST_TIERED, EARLIEST_PENDING_UPLOAD = -1, -2, -3, -4, -5, -6
_SINCE_VERSION = {
    LATEST: 1,
    EARLIEST: 1,
    MAX_TIMESTAMP: 7,
    EARLIEST_LOCAL: 8,
    LATEST_TIERED: 9,
    EARLIEST_PENDING_UPLOAD: 11,
}
_DEBUGGING_REPLICA_ID = -2
"""Kafka's tools ask as nobody in particular and see up to the log end."""

_NOT_SETTLED_FROM = 5
_NOT_SETTLED = ErrorCode.OFFSET_NOT_AVAILABLE
_NOT_SETTLED_BEFORE = ErrorCode.LEADER_NOT_AVAILABLE

Found = tuple[int, int, int]
"""offset, timestamp, leader epoch"""
_NOTHING: Found = (NO_OFFSET, NO_TIMESTAMP, NO_EPOCH)


def handle(request: Request, message: Any, services: Services) -> Any:
    asked = Counter((topic.name, entry.partition_index) for topic in message.topics for entry in topic.partitions)
    return m.ListOffsetsResponse(
        topics=[
            m.ListOffsetsResponse.ListOffsetsTopicResponse(
                name=topic.name,
                partitions=[
                    _partition(request, message, topic.name, entry, services, asked) for entry in topic.partitions
                ],
            )
            for topic in message.topics
        ]
    )


def _partition(
    request: Request, message: Any, topic: str, entry: Any, services: Services, asked: Counter[tuple[str, int]]
) -> Any:
    index = entry.partition_index
    try:
        if asked[topic, index] > 1:
            raise KafkaError(ErrorCode.INVALID_REQUEST)
        if request.api_version < _SINCE_VERSION.get(entry.timestamp, 1) or entry.timestamp < EARLIEST_PENDING_UPLOAD:
            raise KafkaError(ErrorCode.UNSUPPORTED_VERSION)
        partition = services.partitions.get(topic, index)
        refusal = partition.state.epoch_refusal(entry.current_leader_epoch)
        if refusal is not None:
            raise KafkaError(refusal)
        replica = message.replica_id >= 0 and request.connection.listener == "internal"
        if replica or message.replica_id == _DEBUGGING_REPLICA_ID:
            offset, timestamp, epoch = _find(partition, entry.timestamp, partition.log.log_end_offset)
        else:
            offset, timestamp, epoch = _find(
                partition, entry.timestamp, partition.readable_offset(message.isolation_level)
            )
            if not partition.state.offsets_are_settled and (entry.timestamp == LATEST or _is_search(entry, offset)):
                raise KafkaError(_NOT_SETTLED if request.api_version >= _NOT_SETTLED_FROM else _NOT_SETTLED_BEFORE)
    except KafkaError as error:
        return m.ListOffsetsResponse.ListOffsetsPartitionResponse(partition_index=index, error_code=int(error.code))
    return m.ListOffsetsResponse.ListOffsetsPartitionResponse(
        partition_index=index, offset=offset, timestamp=timestamp, leader_epoch=epoch
    )


def _is_search(entry: Any, offset: int) -> bool:
    """Whether a search by time found nothing that may be told yet."""
    return offset == NO_OFFSET and (entry.timestamp >= 0 or entry.timestamp == MAX_TIMESTAMP)


def _find(partition: Partition, timestamp: int, upto_offset: int) -> Found:
    """The offset that ``timestamp`` means, among the records below ``upto_offset``."""
    log = partition.log
    if timestamp == LATEST:
        return upto_offset, NO_TIMESTAMP, partition.leader_epoch
    if timestamp in (EARLIEST, EARLIEST_LOCAL):
        empty = log.log_start_offset == log.log_end_offset
        epoch = partition.leader_epoch if empty else log.epoch_at(log.log_start_offset)
        return log.log_start_offset, NO_TIMESTAMP, epoch
    if timestamp in (LATEST_TIERED, EARLIEST_PENDING_UPLOAD):
        return _NOTHING
    if timestamp == MAX_TIMESTAMP:
        found = log.max_timestamp()
    else:
        found = log.offset_for_timestamp(timestamp)
    if found is None or found[0] >= upto_offset:
        return _NOTHING
    return found
