"""The cluster's topics as last sampled. An unchanged cluster image costs one comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker.telemetry.sample import TopicSample
from broker.types import format_topic_id

if TYPE_CHECKING:
    from broker.cluster.image import ClusterImage, TopicImage


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicChanges:
    changed: list[TopicSample] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


class TopicTable:
    def __init__(self) -> None:
        self._image: ClusterImage | None = None
        self._topics: dict[str, tuple[TopicImage, TopicSample]] = {}

    def samples(self) -> list[TopicSample]:
        return [sample for _, sample in self._topics.values()]

    def update(self, image: ClusterImage) -> TopicChanges:
        changes = TopicChanges()
        if image is self._image:
            return changes
        self._image = image
        for name, topic in image.topics_by_name.items():
            known = self._topics.get(name)
            if known is not None and known[0] is topic:
                continue
            sample = _sample(topic)
            self._topics[name] = (topic, sample)
            if known is None or known[1] != sample:
                changes.changed.append(sample)
        for name in self._topics.keys() - image.topics_by_name.keys():
            del self._topics[name]
            changes.removed.append(name)
        return changes


def _sample(topic: TopicImage) -> TopicSample:
    return TopicSample(
        name=topic.name,
        topic_id=format_topic_id(topic.topic_id),
        internal=topic.internal,
        partition_count=len(topic.partitions),
        replication_factor=topic.replication_factor,
        configs=dict(topic.configs),
    )
