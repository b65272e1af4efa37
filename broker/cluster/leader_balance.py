"""Giving leadership back to preferred leaders, as Kafka does by itself (``auto.leader.rebalance.enable``). Pure.

After a failure or a restart the replicas that took over go on leading, and a broker that came back leads nothing. From time
to time the controller looks: of each broker that may lead, how many of the partitions that prefer it are led by another
one. Above ``leader.imbalance.per.broker.percentage`` it gets all of those back that it is in sync with. Who is draining or
stopping gets none.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from broker.cluster.decision import Batch, epoch_unchanged, put_partition
from broker.cluster.image import ClusterImage, TopicImage
from broker.cluster.partition_changes import Ask, Election, change_partition
from broker.cluster.standing import Standing
from broker.config.broker import BrokerConfig
from broker.metadata.store import Transaction
from broker.types import NO_LEADER, BrokerId

ELECTIONS_MAX = 1_000
"""In one transaction; the rest comes with the next one."""

CAUSE = "preferred"


@dataclass(slots=True)
class _Preference:
    """Of one broker: the partitions that prefer it as leader."""

    partitions: int = 0
    led_by_others: list[tuple[TopicImage, int]] = field(default_factory=list)

    def is_above(self, percentage: int) -> bool:
        return 100 * len(self.led_by_others) > percentage * self.partitions


def decide_balance(image: ClusterImage, *, config: BrokerConfig, now_ms: int) -> Transaction | None:
    """The next elections of preferred leaders; None when leadership is where it is meant to be, or as near as can be."""
    standing = Standing(image, config, now_ms)
    batch = Batch(preconditions=[epoch_unchanged(image)])
    for broker_id, preference in _preferences(image).items():
        if broker_id not in image.brokers or broker_id in standing.reluctant:
            continue
        if not preference.is_above(config.leader_imbalance_per_broker_percentage):
            continue
        for topic, index in preference.led_by_others:
            if len(batch.puts) >= ELECTIONS_MAX:
                return batch.transaction()
            before = topic.partitions[index]
            ask = Ask(cause=CAUSE, election=Election.PREFERRED)
            record = change_partition(before, ask, standing.rules(topic, index))
            if record is not None and record.leader == broker_id:
                put_partition(batch, image, topic, index, record)
    return batch.transaction()


def _preferences(image: ClusterImage) -> dict[BrokerId, _Preference]:
    """A partition that nobody leads needs more than this."""
    found: dict[BrokerId, _Preference] = {}
    for topic in image.topics_by_id.values():
        for index, partition in enumerate(topic.partitions):
            preferred = partition.replicas[0]
            preference = found.setdefault(preferred, _Preference())
            preference.partitions += 1
            if partition.leader not in (preferred, NO_LEADER):
                preference.led_by_others.append((topic, index))
    return found
