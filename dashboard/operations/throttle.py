"""The limit on what moves may copy a second: Kafka's own configs, set before a move and lifted when it is done.

The rate is a config of each broker that sends or receives; which replicas it holds is a config of each topic. Both outlive the move:
nothing but ``lift`` takes them away, here or in Kafka's own tools.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from broker.rebalancing.moves import MovePlan
from dashboard.gateway import gateway

LEADER_RATE = "leader.replication.throttled.rate"
FOLLOWER_RATE = "follower.replication.throttled.rate"
LEADER_REPLICAS = "leader.replication.throttled.replicas"
FOLLOWER_REPLICAS = "follower.replication.throttled.replicas"
OWN_BROKER_VALUE = "DYNAMIC_BROKER_CONFIG"
OWN_TOPIC_VALUE = "DYNAMIC_TOPIC_CONFIG"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetThrottle:
    """What is in force now."""

    rates: Mapping[int, int]
    """Broker → bytes a second."""
    topics: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.rates or self.topics)


def check(plan: MovePlan) -> None:
    """Have the cluster judge the throttle without setting it. Raises ``GatewayError``."""
    for broker, changes in _broker_changes(plan).items():
        for name, value in changes.items():
            gateway().alter_broker_config(broker, name, value, validate_only=True)


def apply(plan: MovePlan) -> None:
    """Raises ``GatewayError``; what was set before that stays, and ``lift`` takes it away."""
    for broker, changes in _broker_changes(plan).items():
        for name, value in changes.items():
            gateway().alter_broker_config(broker, name, value)
    for topic, replicas in _throttled_replicas(plan).items():
        gateway().alter_topic_configs(topic, replicas)


def lift(found: SetThrottle) -> None:
    """Raises ``GatewayError``."""
    for broker in found.rates:
        for name in (LEADER_RATE, FOLLOWER_RATE):
            gateway().alter_broker_config(broker, name, None)
    for topic in found.topics:
        gateway().alter_topic_configs(topic, {LEADER_REPLICAS: None, FOLLOWER_REPLICAS: None})


def read(brokers: Iterable[int], topics: Iterable[str]) -> SetThrottle:
    """What is set on these. Raises ``GatewayError``."""
    rates = {}
    for broker in brokers:
        values = {one.name: one for one in gateway().broker_configs(broker)}
        entry = values.get(FOLLOWER_RATE)
        if entry is not None and entry.source == OWN_BROKER_VALUE and (entry.value or "").isdecimal():
            rates[broker] = int(entry.value or "0")
    held = []
    for topic in topics:
        entries = {one.name: one for one in gateway().topic_configs(topic)}
        if any(
            name in entries and entries[name].source == OWN_TOPIC_VALUE for name in (LEADER_REPLICAS, FOLLOWER_REPLICAS)
        ):
            held.append(topic)
    return SetThrottle(rates=rates, topics=tuple(held))


def _broker_changes(plan: MovePlan) -> dict[int, dict[str, str]]:
    if not plan.throttle:
        return {}
    rate = str(plan.throttle)
    return {broker: {LEADER_RATE: rate, FOLLOWER_RATE: rate} for broker in plan.brokers}


def _throttled_replicas(plan: MovePlan) -> dict[str, dict[str, str]]:
    """Topic → which replicas count: the old ones where they lead, the new ones where they follow."""
    if not plan.throttle:
        return {}
    leading: dict[str, list[str]] = {}
    following: dict[str, list[str]] = {}
    for move in plan.changed:
        topic, partition = move.key
        leading.setdefault(topic, []).extend(f"{partition}:{broker}" for broker in move.facts.replicas)
        following.setdefault(topic, []).extend(f"{partition}:{broker}" for broker in move.adding)
    return {
        topic: {LEADER_REPLICAS: ",".join(leading[topic]), FOLLOWER_REPLICAS: ",".join(following[topic])}
        for topic in leading
        if following[topic]
    }
