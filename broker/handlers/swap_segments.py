"""SwapSegments (private, key 10012), version 0: put a cleaned segment in the place of closed ones, if the broker agrees.

Whoever asks worked on files it read a while ago. The broker believes nothing: it reads the cleaned file itself, batch by
batch, in a worker thread; then it judges the request against its live state and swaps without a pause in between. The
topic must be the same one and still compacted, the process must not have been restarted nor the log truncated since,
and the segments to be replaced must be there, closed, decided, and of the very sizes that were read.

A refusal changes nothing. Asking twice is harmless: the second request finds other segments.
"""

from __future__ import annotations

import asyncio
import logging
import time

from broker.errors import ErrorCode, KafkaError
from broker.handlers.compaction_inventory import cleaner_settings, decided_offset
from broker.handlers.context import Request, Services
from broker.partition.driver import Partition
from broker.protocol.api import ApiKey
from broker.protocol.private import SwapSegmentsRequest, SwapSegmentsResponse
from broker.storage.cleaned_segment import CleanedFacts, check_cleaned, is_token
from broker.storage.log import Log
from broker.storage.log_dir import LogDir
from broker.storage.log_state import LastCompaction
from broker.storage.segment_scan import DamageFound

logger = logging.getLogger(__name__)

API = ApiKey.SWAP_SEGMENTS

PAUSE_SECONDS = 0.001


async def handle_private(request: Request, message: SwapSegmentsRequest, services: Services) -> SwapSegmentsResponse:
    try:
        return await _swap(message, services)
    except KafkaError as error:
        logger.info("no swap in %s-%d: %s", message.topic, message.partition, error.message)
        return SwapSegmentsResponse(error_code=error.code, error_message=error.message)


async def _swap(message: SwapSegmentsRequest, services: Services) -> SwapSegmentsResponse:
    log_dir = services.partitions.log_dir
    log = _judge(message, services).log
    if log.first_dirty_offset is None:
        # From the first swap on offsets may be missing. A start has to know that, whatever the policy is by then.
        log.first_dirty_offset = log.log_start_offset
        await _save_progress(log_dir)
        _judge(message, services)
    if message.replaced:
        found = await _check(message, log, services)
        partition = _judge(message, services)
        log.replace_segments(message.replaced, found, message.token, decided_offset(partition))
        await _settle(log, services)
    if message.first_dirty_offset >= 0:
        # Judged again above or by the caller's first line; a truncation since then has lowered it durably.
        partition = _judge(message, services)
        log.first_dirty_offset = min(message.first_dirty_offset, decided_offset(partition))
        log.last_compaction = LastCompaction(
            at_ms=services.clock.wall_ms(), bytes_before=message.bytes_before, bytes_after=message.bytes_after
        )
        await _save_progress(log_dir)
    return SwapSegmentsResponse(log_bytes=log.size_bytes)


def _judge(message: SwapSegmentsRequest, services: Services) -> Partition:
    """Raises ``KafkaError`` unless this is still the log that was read."""
    if message.incarnation != services.incarnation:
        raise _refusal("the broker was restarted since the segments were read")
    if not cleaner_settings(services.cluster.config).enabled:
        raise _refusal("log.cleaner.enable is false or log.cleaner.threads is 0 on this broker")
    partition = services.partitions.find(message.topic, message.partition)
    if partition is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    if partition.topic_id != message.topic_id:
        raise KafkaError(ErrorCode.INCONSISTENT_TOPIC_ID)
    if "compact" not in partition.log.config.cleanup_policy:
        raise _refusal("the topic's cleanup.policy does not include compact any more")
    if partition.log.truncations != message.truncations:
        raise _refusal("the log was truncated since the segments were read")
    if message.replaced:
        if not is_token(message.token):
            raise KafkaError(ErrorCode.INVALID_REQUEST, "The token is no token.")
        partition.log.refuse_replacement(message.replaced, decided_offset(partition))
    return partition


async def _check(message: SwapSegmentsRequest, log: Log, services: Services) -> CleanedFacts:
    """What the cleaned file holds, as this broker reads it. Raises ``KafkaError``."""
    filesystem = services.partitions.log_dir.filesystem
    base = message.replaced[0].base_offset
    loop = asyncio.get_running_loop()
    try:
        found = await loop.run_in_executor(
            None, check_cleaned, filesystem, log.directory, base, message.token, _let_the_loop_run
        )
    except (DamageFound, OSError) as error:
        raise _refusal(f"the cleaned segment cannot be used: {error}") from error
    if (found.size_bytes, found.digest) != (message.size_bytes, message.digest):
        raise _refusal("the cleaned segment is not the one that was written")
    return found


def _let_the_loop_run() -> None:
    """A thread that only computes gives the interpreter away every five milliseconds; clients would feel that."""
    time.sleep(PAUSE_SECONDS)


async def _settle(log: Log, services: Services) -> None:
    """The names of the swapped files reach the disk before anybody builds on them."""
    log_dir = services.partitions.log_dir
    try:
        await asyncio.get_running_loop().run_in_executor(None, log_dir.filesystem.sync_directory, log.directory)
    except OSError as error:
        log_dir.failed_reason = f"fsync of {log.directory} failed: {error}"
        raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"The log dir has failed: {error}") from error


async def _save_progress(log_dir: LogDir) -> None:
    ticket = log_dir.cleaner_ticket()
    await asyncio.get_running_loop().run_in_executor(None, ticket.run)
    log_dir.checkpointed(ticket)
    if ticket.error is not None:
        raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"The cleaner's checkpoint cannot be written: {ticket.error}")


def _refusal(reason: str) -> KafkaError:
    return KafkaError(ErrorCode.OPERATION_NOT_ATTEMPTED, f"Nothing was swapped: {reason}.")
