"""WriteTxnMarkers v1–2: end transactions in the partitions led here.

Versions: v1 flexible, v2 transaction version of the marker (KIP-1228): with 2 its epoch must be above the data's.
Sent by transaction coordinators, and by operators to abort a hanging transaction (KIP-664), hence served on both
listeners. In ``__consumer_offsets`` the group coordinator writes the marker, in order with its own records.

Deviation: none is written into ``__transaction_state``, which no transaction is ever about (INVALID_TOPIC_EXCEPTION).

All markers are appended before anything is waited for; the answer comes when they are committed (and on disk where
``ack.durability`` is ``flush``). Each partition succeeds or fails on its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.types import OFFSETS_TOPIC, TRANSACTIONS_TOPIC

API = ApiKey.WRITE_TXN_MARKERS

_COORDINATOR_ERRORS = frozenset(
    (ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.NOT_COORDINATOR)
)
"""Of the group coordinator; who asked knows only partitions, and tries again."""


async def handle(request: Request, message: Any, services: Services) -> Any:
    response = m.WriteTxnMarkersResponse()
    waiting: list[tuple[Any, asyncio.Future[None]]] = []
    for marker in message.markers:
        topics = []
        for topic in marker.topics:
            results = []
            for index in topic.partition_indexes:
                result = m.WriteTxnMarkersResponse.WritableTxnMarkerPartitionResult(partition_index=index)
                results.append(result)
                try:
                    writing = asyncio.ensure_future(_append(marker, topic.name, index, services))
                    # Looked at below, unless this request has been given up by then, which is no fault.
                    writing.add_done_callback(lambda done: done.cancelled() or done.exception())
                    waiting.append((result, writing))
                except KafkaError as error:
                    result.error_code = int(error.code)
            topics.append(m.WriteTxnMarkersResponse.WritableTxnMarkerTopicResult(name=topic.name, partitions=results))
        response.markers.append(
            m.WriteTxnMarkersResponse.WritableTxnMarkerResult(producer_id=marker.producer_id, topics=topics)
        )
    if waiting:
        await asyncio.wait([committed for _, committed in waiting], timeout=services.config.request_timeout_ms / 1_000)
    for result, committed in waiting:
        result.error_code = int(_outcome(committed))
    return response


def _append(marker: Any, topic: str, index: int, services: Services) -> Awaitable[None]:
    """Write the marker; what is returned is done when it is committed. Raises ``KafkaError``."""
    if topic == TRANSACTIONS_TOPIC:
        raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION)
    if marker.producer_id < 0 or marker.producer_epoch < 0:
        raise KafkaError(ErrorCode.INVALID_RECORD)
    if topic == OFFSETS_TOPIC:
        return services.groups.complete_transaction(
            index,
            producer_id=marker.producer_id,
            producer_epoch=marker.producer_epoch,
            coordinator_epoch=marker.coordinator_epoch,
            commit=marker.transaction_result,
            transaction_version=marker.transaction_version,
        )
    partition = services.partitions.get(topic, index)
    appended = partition.append_transaction_marker(
        producer_id=marker.producer_id,
        producer_epoch=marker.producer_epoch,
        coordinator_epoch=marker.coordinator_epoch,
        commit=marker.transaction_result,
        now_ms=services.clock.wall_ms(),
        transaction_version=marker.transaction_version,
    )
    return partition.wait_committed(appended.last_offset)


def _outcome(committed: asyncio.Future[None]) -> ErrorCode:
    if not committed.done():
        committed.cancel()
        return ErrorCode.REQUEST_TIMED_OUT
    error = committed.exception()
    if error is None:
        return ErrorCode.NONE
    if not isinstance(error, KafkaError):
        raise error
    return ErrorCode.NOT_LEADER_OR_FOLLOWER if error.code in _COORDINATOR_ERRORS else error.code
