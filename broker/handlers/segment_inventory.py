"""SegmentInventory (private, key 10002), version 0: the segments of the partitions this broker leads.

What a retention plan is computed from. Only numbers that the log holds in memory are read, unless details are asked
for; the loop is given back regularly, for a broker may hold many thousands of segments. A partition whose log cannot be
asked is left out: retention must not touch it.
"""

from __future__ import annotations

import asyncio
import logging

from broker.errors import KafkaError
from broker.handlers.context import Request, Services
from broker.partition.driver import Partition
from broker.protocol.api import ApiKey
from broker.protocol.private import PartitionInventory, SegmentInventoryRequest, SegmentInventoryResponse

logger = logging.getLogger(__name__)

API = ApiKey.SEGMENT_INVENTORY

PARTITIONS_PER_TURN = 100


async def handle_private(
    request: Request, message: SegmentInventoryRequest, services: Services
) -> SegmentInventoryResponse:
    wanted, wanted_partitions = set(message.topics), set(message.partitions)
    sampled_at_ms = services.clock.wall_ms()
    inventories: list[PartitionInventory] = []
    for turn, partition in enumerate(list(services.partitions.partitions()), start=1):
        if turn % PARTITIONS_PER_TURN == 0:
            await asyncio.sleep(0)
        if not partition.state.is_leader or (wanted and partition.topic_partition.topic not in wanted):
            continue
        if wanted_partitions and partition.topic_partition.partition not in wanted_partitions:
            continue
        try:
            inventories.append(inventory_of(partition, details=message.details))
        except KafkaError as error:
            logger.warning("no inventory of %s: %s", partition.topic_partition, error)
    return SegmentInventoryResponse(broker_id=services.node_id, sampled_at_ms=sampled_at_ms, partitions=inventories)


def inventory_of(partition: Partition, *, details: bool = False) -> PartitionInventory:
    """A partition as retention sees it, now; with ``details`` also what only a page shows."""
    log = partition.log
    return PartitionInventory(
        topic=partition.topic_partition.topic,
        partition=partition.topic_partition.partition,
        log_start_offset=log.log_start_offset,
        high_watermark=partition.high_watermark,
        log_end_offset=log.log_end_offset,
        retention_ms=log.config.retention_ms,
        retention_bytes=log.config.retention_bytes,
        cleanup_policy=",".join(sorted(log.config.cleanup_policy)),
        segments=log.segments(first_timestamps=details),
        last_stable_offset=partition.last_stable_offset if details else -1,
        segment_bytes=log.config.segment_bytes if details else -1,
        segment_ms=log.config.segment_ms if details else -1,
    )
