"""CompactionInventory (private, key 10010), version 0: what a compaction of this broker's logs is planned from.

Only partitions whose ``cleanup.policy`` includes ``compact``, whether led here or followed: compaction is every replica's
own affair. The answer also says where the log directory is and how it can be recognised, for the worker reads the files
itself. A partition that is offline, or whose log cannot be asked, is left out.
"""

from __future__ import annotations

import asyncio
import logging

from broker.config.broker import BrokerConfig
from broker.errors import KafkaError
from broker.handlers.context import Request, Services
from broker.partition.driver import Partition
from broker.protocol.api import ApiKey
from broker.protocol.private import (
    CleanerSettings,
    CompactionInventoryRequest,
    CompactionInventoryResponse,
    CompactionPartition,
)

logger = logging.getLogger(__name__)

API = ApiKey.COMPACTION_INVENTORY

PARTITIONS_PER_TURN = 20


async def handle_private(
    request: Request, message: CompactionInventoryRequest, services: Services
) -> CompactionInventoryResponse:
    topics, numbers = set(message.topics), set(message.partitions)
    sampled_at_ms = services.clock.wall_ms()
    found: list[CompactionPartition] = []
    for turn, partition in enumerate(list(services.partitions.partitions()), start=1):
        if turn % PARTITIONS_PER_TURN == 0:
            await asyncio.sleep(0)
        topic, number = partition.topic_partition
        wanted = (not topics or topic in topics) and (not numbers or number in numbers)
        log = partition.log
        if wanted and "compact" in log.config.cleanup_policy and log.offline_reason is None:
            try:
                found.append(describe(partition))
            except KafkaError as error:
                logger.warning("no compaction inventory of %s: %s", partition.topic_partition, error)
    log_dir = services.partitions.log_dir
    return CompactionInventoryResponse(
        broker_id=services.node_id,
        incarnation=services.incarnation,
        sampled_at_ms=sampled_at_ms,
        directory=log_dir.path,
        directory_id=log_dir.meta.directory_id,
        settings=cleaner_settings(services.cluster.config),
        partitions=found,
    )


def describe(partition: Partition) -> CompactionPartition:
    """A partition as compaction sees it, now. Raises ``KafkaError``."""
    log, config = partition.log, partition.log.config
    last = log.last_compaction
    return CompactionPartition(
        topic=partition.topic_partition.topic,
        partition=partition.topic_partition.partition,
        topic_id=partition.topic_id,
        directory=log.directory,
        truncations=log.truncations,
        log_start_offset=log.log_start_offset,
        first_dirty_offset=log.first_dirty_offset or 0,
        decided_offset=decided_offset(partition),
        min_cleanable_dirty_ratio=config.min_cleanable_dirty_ratio,
        min_compaction_lag_ms=config.min_compaction_lag_ms,
        max_compaction_lag_ms=config.max_compaction_lag_ms,
        delete_retention_ms=config.delete_retention_ms,
        segment_bytes=config.segment_bytes,
        segment_index_bytes=config.segment_index_bytes,
        index_interval_bytes=config.index_interval_bytes,
        segments=log.segments(first_timestamps=True),
        last_compacted_ms=last.at_ms,
        last_bytes_before=last.bytes_before,
        last_bytes_after=last.bytes_after,
    )


def decided_offset(partition: Partition) -> int:
    """Compaction reads up to here at most: closed, durable, committed, and no transaction open below."""
    return min(partition.log.decided_offset, partition.high_watermark, partition.last_stable_offset)


def cleaner_settings(config: BrokerConfig) -> CleanerSettings:
    return CleanerSettings(
        enabled=config.log_cleaner_enable and config.log_cleaner_threads > 0,
        threads=config.log_cleaner_threads,
        dedupe_buffer_bytes=config.log_cleaner_dedupe_buffer_size,
        load_factor=config.log_cleaner_io_buffer_load_factor,
        io_buffer_bytes=config.log_cleaner_io_buffer_size,
        io_bytes_per_second_max=config.log_cleaner_io_max_bytes_per_second,
        backoff_ms=config.log_cleaner_backoff_ms,
    )
