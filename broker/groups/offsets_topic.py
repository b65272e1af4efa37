"""``__consumer_offsets``: made when the first group asks for its coordinator.

Owns: the topic's shape and the one creation under way. Kafka's shape: as many partitions and replicas as configured
(never more replicas than there are brokers), compacted, small segments, producer's compression.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broker.cluster.controller import NewTopic
from broker.errors import ErrorCode, KafkaError
from broker.types import OFFSETS_TOPIC

if TYPE_CHECKING:
    from broker.cluster.driver import ClusterDriver
    from broker.cluster.image import TopicImage
    from broker.config.broker import BrokerConfig


class OffsetsTopic:
    def __init__(self, config: BrokerConfig, cluster: ClusterDriver) -> None:
        self._partition_count = config.offsets_topic_num_partitions
        self._replication_factor = config.offsets_topic_replication_factor
        self._segment_bytes = config.offsets_topic_segment_bytes
        self._cluster = cluster
        self._creation: asyncio.Task[None] | None = None

    def image(self) -> TopicImage | None:
        return self._cluster.image.topics_by_name.get(OFFSETS_TOPIC)

    async def wait_exists(self) -> TopicImage:
        """The topic, created if need be. Raises COORDINATOR_NOT_AVAILABLE when that fails."""
        topic = self.image()
        if topic is None:
            if self._creation is None or self._creation.done():
                self._creation = asyncio.get_running_loop().create_task(self._create(), name=f"create {OFFSETS_TOPIC}")
            # Shielded: one client that hangs up must not cancel it for the others.
            await asyncio.shield(self._creation)
            topic = self.image()
        if topic is None:
            raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, f"{OFFSETS_TOPIC} is being created")
        return topic

    async def _create(self) -> None:
        topic = NewTopic(
            name=OFFSETS_TOPIC,
            partition_count=self._partition_count,
            replication_factor=max(min(self._replication_factor, len(self._cluster.image.brokers)), 1),
            configs={
                "cleanup.policy": "compact",
                "compression.type": "producer",
                "segment.bytes": str(self._segment_bytes),
            },
        )
        (result,) = await self._cluster.create_topics([topic])
        if result.error is not None and result.error.code is not ErrorCode.TOPIC_ALREADY_EXISTS:
            raise KafkaError(
                ErrorCode.COORDINATOR_NOT_AVAILABLE, f"{OFFSETS_TOPIC} cannot be created: {result.error.message}"
            )
