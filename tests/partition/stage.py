"""A partition manager on a disk in memory, following images made by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from broker.clock import ManualClock
from broker.cluster.image import EMPTY_IMAGE, BrokerImage, ClusterImage, ImageDelta, PartitionImage, TopicImage
from broker.config.broker import BrokerConfig
from broker.config.topic import TopicConfig
from broker.partition.driver import Partition
from broker.partition.manager import PartitionManager
from broker.storage.log_dir import LogDir
from broker.storage.memory_filesystem import MemoryFileSystem
from broker.types import TopicPartition
from tests.support.topics import batch

NODE = 1


def partition_image(
    *, leader: int = NODE, epoch: int = 0, replicas=(NODE,), isr=None, version: int = 0
) -> PartitionImage:
    return PartitionImage(
        leader=leader,
        leader_epoch=epoch,
        isr=tuple(replicas if isr is None else isr),
        replicas=tuple(replicas),
        partition_epoch=version,
    )


def topic_image(name: str, *partitions: PartitionImage, number: int = 1, **configs: str) -> TopicImage:
    return TopicImage(
        name=name,
        topic_id=bytes([number]) * 16,
        partitions=partitions or (partition_image(),),
        configs={key.replace("_", "."): value for key, value in configs.items()},
    )


def image_of(*topics: TopicImage, settled: bool = True) -> ClusterImage:
    broker = BrokerImage(id=NODE, host="h", port=1, internal_host="h", internal_port=2, rack=None, incarnation="now")
    return replace(
        EMPTY_IMAGE,
        brokers={NODE: broker},
        incarnations={NODE: "now" if settled else "before"},
        topics_by_name={topic.name: topic for topic in topics},
        topics_by_id={topic.topic_id: topic for topic in topics},
    )


class Stage:
    def __init__(self, filesystem: MemoryFileSystem | None = None, **environment: str) -> None:
        self.filesystem = filesystem or MemoryFileSystem()
        self.clock = ManualClock()
        self.config = BrokerConfig.from_environment(environment)
        self.image = EMPTY_IMAGE
        self.log_dir = LogDir.open(
            "/data",
            filesystem=self.filesystem,
            clock_wall_ms=self.clock.wall_ms,
            node_id=NODE,
            cluster_id="cluster",
            configs=lambda _: TopicConfig(),
            known={},
        )
        self.manager = PartitionManager(
            node_id=NODE,
            log_dir=self.log_dir,
            config=lambda: self.config,
            clock=self.clock,
            loop=asyncio.get_running_loop(),
        )

    def show(self, image: ClusterImage) -> None:
        delta = ImageDelta(old=self.image, new=image)
        self.image = image
        self.manager.apply(delta)

    def partition(self, topic: str = "orders", index: int = 0) -> Partition:
        return self.manager.get(topic, index)

    def append(self, *values: bytes, topic: str = "orders", index: int = 0, acks: int = -1):
        records = memoryview(bytearray(batch(*values, timestamp=self.clock.wall_ms())))
        return self.partition(topic, index).append(records, acks=acks, now_ms=self.clock.wall_ms())

    def files(self) -> Mapping[TopicPartition, object]:
        return self.log_dir.logs

    async def close(self) -> None:
        await self.manager.stop()
