"""The topic of a coordinator: made when the first of its clients asks where its coordinator is.

Owns: the one creation under way, shared by everybody who waits for it. The topic's shape (partitions, replicas,
compaction) is the cluster driver's, as for every internal topic.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broker.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from broker.cluster.driver import ClusterDriver
    from broker.cluster.image import TopicImage


class InternalTopic:
    def __init__(self, name: str, cluster: ClusterDriver) -> None:
        self._name = name
        self._cluster = cluster
        self._creation: asyncio.Task[TopicImage] | None = None

    def image(self) -> TopicImage | None:
        return self._cluster.image.topics_by_name.get(self._name)

    async def wait_exists(self) -> TopicImage:
        """The topic, created if need be. Raises COORDINATOR_NOT_AVAILABLE when that fails."""
        topic = self.image()
        if topic is not None:
            return topic
        if self._creation is None or self._creation.done():
            creation = self._cluster.create_topic_automatically(self._name)
            self._creation = asyncio.get_running_loop().create_task(creation, name=f"create {self._name}")
        try:
            # Shielded: one client that hangs up must not cancel it for the others.
            return await asyncio.shield(self._creation)
        except KafkaError as error:
            why = f"{self._name} cannot be created: {error.message}"
            raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, why) from error

    async def stop(self) -> None:
        if self._creation is not None:
            self._creation.cancel()
            await asyncio.gather(self._creation, return_exceptions=True)
