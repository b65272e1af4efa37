"""The cluster's topics as last sampled. An unchanged cluster image and default cost two comparisons."""

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
        self._min_insync_replicas = -1
        self._topics: dict[str, tuple[TopicImage, TopicSample]] = {}

    def samples(self) -> list[TopicSample]:
        return [sample for _, sample in self._topics.values()]

    def update(self, image: ClusterImage, *, min_insync_replicas: int) -> TopicChanges:
        """``min_insync_replicas``: the broker's, in force where a topic has none of its own."""
        changes = TopicChanges()
        other_default = min_insync_replicas != self._min_insync_replicas
        if image is self._image and not other_default:
            return changes
        self._image, self._min_insync_replicas = image, min_insync_replicas
        for name, topic in image.topics_by_name.items():
            known = self._topics.get(name)
            if known is not None and known[0] is topic and not other_default:
                continue
            sample = _sample(topic, min_insync_replicas)
            self._topics[name] = (topic, sample)
            if known is None or known[1] != sample:
                changes.changed.append(sample)
        for name in self._topics.keys() - image.topics_by_name.keys():
            del self._topics[name]
            changes.removed.append(name)
        return changes


def _sample(topic: TopicImage, min_insync_replicas: int) -> TopicSample:
    return TopicSample(
        name=topic.name,
        topic_id=format_topic_id(topic.topic_id),
        internal=topic.internal,
        partition_count=len(topic.partitions),
        replication_factor=topic.replication_factor,
        configs=dict(topic.configs),
        min_insync_replicas=int(topic.configs.get("min.insync.replicas", min_insync_replicas)),
    )
