"""ApplyRetention (private, key 10003), version 0: delete old segments, if the broker agrees.

Whoever asks worked from a plan that may be old. Each action is judged anew by the same pure rules on the live
partition: the topic is still there and led here, its config demands the deletion *now*, nothing at or past the high
watermark goes. A request that asks for more than that gets less, or nothing, and is told why. Asking twice is
harmless.

An expired active segment is closed first, so that only closed segments are ever deleted.
"""

from __future__ import annotations

import asyncio

from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.handlers.segment_inventory import inventory_of
from broker.partition.driver import Partition
from broker.protocol.api import ApiKey
from broker.protocol.private import (
    ApplyRetentionRequest,
    ApplyRetentionResponse,
    RetentionAction,
    RetentionOutcome,
)
from broker.retention.plan import allowed_log_start

API = ApiKey.APPLY_RETENTION

ACTIONS_MAX = 1_000
"""Per request; a larger plan comes in several."""


async def handle_private(
    request: Request, message: ApplyRetentionRequest, services: Services
) -> ApplyRetentionResponse:
    if len(message.actions) > ACTIONS_MAX:
        return ApplyRetentionResponse(
            error_code=ErrorCode.INVALID_REQUEST, error_message=f"more than {ACTIONS_MAX} actions in one request"
        )
    outcomes: list[RetentionOutcome] = []
    for action in message.actions:
        outcomes.append(_apply(action, services))
        await asyncio.sleep(0)
    return ApplyRetentionResponse(outcomes=outcomes)


def _apply(action: RetentionAction, services: Services) -> RetentionOutcome:
    try:
        partition = services.partitions.get(action.topic, action.partition)
        if not partition.state.is_leader:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        return _delete(action, partition, services.clock.wall_ms())
    except KafkaError as error:
        return RetentionOutcome(
            topic=action.topic,
            partition=action.partition,
            error_code=error.code,
            error_message=error.message,
        )


def _delete(action: RetentionAction, partition: Partition, now_ms: int) -> RetentionOutcome:
    """Judge and delete without a pause in between: nothing can change under the judgement."""
    log = partition.log
    inventory = inventory_of(partition)
    allowed = allowed_log_start(inventory, now_ms)
    target = min(action.new_log_start_offset, allowed)
    message = ""
    if target < action.new_log_start_offset:
        message = (
            f"the plan is out of date: the topic's configuration and log now allow deletion up to offset {allowed}, "
            f"not {action.new_log_start_offset}"
        )
    segments = freed = 0
    if any(segment.end_offset <= target and segment.size_bytes for segment in inventory.segments):
        segments, freed = log.delete_segments_below(target)
        partition.wake_fetch_waiters()
    return RetentionOutcome(
        topic=action.topic,
        partition=action.partition,
        error_message=message,
        deleted_segments=segments,
        deleted_bytes=freed,
        log_start_offset=log.log_start_offset,
    )
