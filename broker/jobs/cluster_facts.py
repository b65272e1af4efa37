"""What a plan is made from, asked of the cluster itself: background work does not depend on the collector."""

from __future__ import annotations

from broker.client.blocking import Client
from broker.client.results import ClusterMetadata, PartitionMetadata
from broker.rebalancing.moves import BrokerFacts, PartitionFacts
from broker.types import TopicPartition


def read_facts(client: Client) -> tuple[list[PartitionFacts], list[BrokerFacts]]:
    """All partitions, and the live brokers. Raises what the client raises."""
    metadata = client.metadata()
    moving = client.reassignments()
    unwilling = _brokers_that_take_nothing(client, metadata.cluster.controller_id)
    sizes: dict[TopicPartition, int] = {}
    for broker in metadata.cluster.brokers:
        # The largest copy: one that catches up has only a part of it.
        for key, size in client.log_sizes(broker.id).items():
            sizes[key] = max(size, sizes.get(key, 0))
    facts = [
        PartitionFacts(
            topic=key.topic,
            partition=key.partition,
            replicas=one.replicas,
            isr=one.isr,
            leader=one.leader,
            size_bytes=sizes.get(key),
            min_isr=None,
            moving=key in moving,
        )
        for key, one in placed(metadata).items()
    ]
    brokers = [
        BrokerFacts(id=one.id, rack=one.rack or "", accepts=one.id not in unwilling) for one in metadata.cluster.brokers
    ]
    return facts, brokers


def placed(metadata: ClusterMetadata) -> dict[TopicPartition, PartitionMetadata]:
    return {TopicPartition(topic.name, one.partition): one for topic in metadata.topics for one in topic.partitions}


def out_of_sync(metadata: ClusterMetadata) -> list[TopicPartition]:
    """Partitions without a leader, or with a replica that is not in sync."""
    return [key for key, one in placed(metadata).items() if one.leader < 0 or set(one.isr) != set(one.replicas)]


def elect_preferred(client: Client) -> None:
    """Give every partition its preferred leader back, where that one is in sync."""
    wanted = [
        key
        for key, one in placed(client.metadata()).items()
        if one.replicas and one.leader not in (-1, one.replicas[0]) and one.replicas[0] in one.isr
    ]
    if wanted:
        client.elect_leaders(wanted)


def _brokers_that_take_nothing(client: Client, controller: int) -> set[int]:
    samples = client.telemetry(wait_ms=0, broker_id=controller).samples
    control = samples[-1].control if samples else None
    return set() if control is None else {one.id for one in control.brokers if one.state}
