"""Telling those who wait for a coordinator how it ended.

Owns: completing the futures of parked replies, and what a failed append means for a client. Whoever gave up waiting has
cancelled its future; nobody is told twice.
"""

from __future__ import annotations

import asyncio

from broker.errors import ErrorCode, KafkaError


def deliver(replies: list[tuple[asyncio.Future, object]]) -> None:
    for future, answer in replies:
        if not future.done():
            future.set_result(answer)


def refuse(future: asyncio.Future, error: KafkaError) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # Whoever waits still gets it; if nobody does any more, that is no fault.


def told_to_clients(error: KafkaError) -> KafkaError:
    """What an append failure means for a client of the coordinator."""
    if error.code in (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH, ErrorCode.KAFKA_STORAGE_ERROR):
        return KafkaError(ErrorCode.NOT_COORDINATOR)
    return KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE)
