"""Who may do what in the cluster right now: the part of a decision that is the same for every partition. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from broker.cluster import records
from broker.cluster.image import BrokerImage, ClusterImage, TopicImage
from broker.cluster.partition_changes import Rules
from broker.config.broker import BrokerConfig
from broker.config.topic import TopicConfig
from broker.types import BrokerId, format_topic_id

DRAINING = "draining"
ACTIVE = "active"
DECOMMISSIONED = "decommissioned"
UNWANTED_STATES = frozenset({DRAINING, DECOMMISSIONED})
"""Brokers in them get no new replicas, and lead only where nobody else can."""


@dataclass(slots=True)
class Standing:
    """Made for one decision on one image."""

    image: ClusterImage
    config: BrokerConfig
    now_ms: int
    reluctant: frozenset[BrokerId] = field(init=False)
    """Live brokers that should not lead."""
    _with_losses: tuple[BrokerImage, ...] = field(init=False)
    _topics: dict[bytes, tuple[int, bool]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        image = self.image
        self.reluctant = image.stopping | unwanted_brokers(image)
        self._with_losses = tuple(broker for broker in image.brokers.values() if broker.lost)

    def rules(self, topic: TopicImage, index: int) -> Rules:
        if topic.topic_id not in self._topics:
            resolved = TopicConfig.resolve(topic.configs, self.config)
            self._topics[topic.topic_id] = (resolved.min_insync_replicas, resolved.unclean_leader_election_enable)
        minimum, unclean = self._topics[topic.topic_id]
        return Rules(
            min_insync_replicas=minimum,
            unclean=unclean,
            alive=self.image.brokers,
            reluctant=self.reluctant,
            empty_handed=[b.id for b in self._with_losses if lost_replica(b, topic, index)],
            now_ms=self.now_ms,
        )


def is_registered(image: ClusterImage, broker_id: BrokerId) -> bool:
    """Alive, or away and expected back: who may be given replicas."""
    state = image.brokers_state.get(broker_id)
    if state is not None and state.state == DECOMMISSIONED:
        return False
    return broker_id in image.brokers or state is not None


def unwanted_brokers(image: ClusterImage) -> frozenset[BrokerId]:
    return frozenset(broker_id for broker_id, state in image.brokers_state.items() if state.state in UNWANTED_STATES)


def lost_replica(broker: BrokerImage, topic: TopicImage, index: int) -> bool:
    """Whether the broker said at its registration that its replica is gone or damaged."""
    if not broker.lost:
        return False
    return (
        records.EVERY_REPLICA in broker.lost
        or records.replica_name(format_topic_id(topic.topic_id), index) in broker.lost
    )


def count_relievable(image: ClusterImage, broker_id: BrokerId) -> int:
    """Partitions in whose in-sync set this broker still is beside others that stay."""
    staying = image.brokers.keys() - image.stopping - {broker_id}
    return sum(
        broker_id in partition.isr and not staying.isdisjoint(partition.isr)
        for topic in image.topics_by_id.values()
        for partition in topic.partitions
    )
