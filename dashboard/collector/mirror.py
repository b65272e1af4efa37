"""One broker's samples folded into what that broker currently says, and what each of them touched.

The folding itself is ``broker.telemetry.reduce``; a delta that does not follow raises its ``SampleGap`` and the reader
asks for a full sample. Naming what changed is what keeps deriving as cheap as what moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from broker.telemetry.reduce import BrokerState, reduce
from broker.telemetry.sample import BrokerSample, ControlSample, GroupSample, PartitionSample, Sample, TopicSample

PartitionKey = tuple[str, int]


@dataclass(slots=True, kw_only=True)
class Touched:
    """What may differ from before."""

    topics: set[str] = field(default_factory=set)
    partitions: set[PartitionKey] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)

    def merge(self, other: Touched) -> None:
        self.topics |= other.topics
        self.partitions |= other.partitions
        self.groups |= other.groups


class BrokerMirror:
    """What broker ``broker_id`` said last."""

    def __init__(self, broker_id: int) -> None:
        self.broker_id = broker_id
        self._state: BrokerState | None = None
        self._silent = BrokerSample(id=broker_id)

    def fold(self, sample: Sample) -> Touched:
        """Raises ``SampleGap`` when a full sample is needed first."""
        was = self.everything() if sample.full else Touched()
        self._state = reduce(self._state, sample)
        if sample.full:
            was.merge(self.everything())
            return was
        return Touched(
            topics={topic.name for topic in sample.topics} | set(sample.removed_topics),
            partitions={(p.topic, p.partition) for p in sample.partitions} | set(sample.removed_partitions),
            groups={group.group_id for group in sample.groups} | set(sample.removed_groups),
        )

    def everything(self) -> Touched:
        return Touched(topics=set(self.topics), partitions=set(self.partitions), groups=set(self.groups))

    @property
    def incarnation(self) -> str:
        return self._state.incarnation if self._state is not None else ""

    @property
    def sampled_at_ms(self) -> int:
        """-1 before the first sample."""
        return self._state.sampled_at_ms if self._state is not None else -1

    @property
    def cluster_id(self) -> str:
        return self._state.cluster_id if self._state is not None else ""

    @property
    def revision(self) -> int:
        """Of the metadata behind the last sample; -1 when it does not tell."""
        return self._state.revision if self._state is not None else -1

    @property
    def control(self) -> ControlSample:
        return self._state.control if self._state is not None else ControlSample()

    @property
    def size_bytes(self) -> int:
        """Of all its logs."""
        return sum(entry.size_bytes for entry in self.partitions.values())

    def knows_topic(self, topic: TopicSample) -> bool:
        """Whether it speaks of this very topic, and not of one of that name that was there before."""
        own = self.topics.get(topic.name)
        return own is not None and own.topic_id == topic.topic_id

    @property
    def controller_id(self) -> int:
        return self._state.controller_id if self._state is not None else -1

    @property
    def broker(self) -> BrokerSample:
        return self._state.broker if self._state is not None else self._silent

    @property
    def topics(self) -> Mapping[str, TopicSample]:
        return self._state.topics if self._state is not None else {}

    @property
    def partitions(self) -> Mapping[PartitionKey, PartitionSample]:
        return self._state.partitions if self._state is not None else {}  # type: ignore[return-value]

    @property
    def groups(self) -> Mapping[str, GroupSample]:
        return self._state.groups if self._state is not None else {}
