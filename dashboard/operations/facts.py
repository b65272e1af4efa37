"""What the wizards plan from: partitions by the cluster's word, sizes and brokers' states from the live store.

A cluster of another make has no telemetry here: sizes are then unknown, and the plan says so.
"""

from __future__ import annotations

from collections.abc import Iterable

from broker.client.results import TopicMetadata
from broker.rebalancing.moves import BrokerFacts, PartitionFacts
from dashboard.gateway import gateway
from dashboard.live.replication_rows import PartitionRow
from dashboard.live.state import CLUSTER, BrokerRow, Rows, topic_scope
from dashboard.live.store import StoreError, readable_store


def read_topics() -> tuple[TopicMetadata, ...]:
    """All of the cluster's, by name. Raises ``GatewayError``."""
    return tuple(sorted((topic for topic in gateway().topics() if not topic.error), key=lambda topic: topic.name))


def read_brokers() -> dict[int, BrokerFacts]:
    """Every broker the cluster names, and what telemetry adds. Raises ``GatewayError``."""
    rows = {row.id: row for row in _rows(CLUSTER).values() if isinstance(row, BrokerRow)}
    facts = {}
    for endpoint in gateway().describe_cluster().brokers:
        row = rows.get(endpoint.id)
        facts[endpoint.id] = BrokerFacts(
            id=endpoint.id,
            rack=endpoint.rack or "",
            online=row.online if row is not None else True,
            accepts=row is None or row.state == "",
        )
    return dict(sorted(facts.items()))


def read_partitions(topics: Iterable[TopicMetadata], chosen: dict[str, set[int] | None]) -> list[PartitionFacts]:
    """``chosen``: topic → its partitions, ``None`` for all of them. Raises ``GatewayError``."""
    moving = gateway().reassignments()
    facts = []
    for topic in topics:
        if topic.name not in chosen:
            continue
        wanted = chosen[topic.name]
        rows = {row.partition: row for row in _rows(topic_scope(topic.name)).values() if isinstance(row, PartitionRow)}
        for one in topic.partitions:
            if wanted is not None and one.partition not in wanted:
                continue
            row = rows.get(one.partition)
            facts.append(
                PartitionFacts(
                    topic=topic.name,
                    partition=one.partition,
                    replicas=one.replicas,
                    isr=one.isr,
                    leader=one.leader,
                    size_bytes=row.size_bytes if row is not None else None,
                    min_isr=row.min_isr if row is not None else None,
                    moving=(topic.name, one.partition) in moving,
                )
            )
    return sorted(facts, key=lambda one: (one.topic, one.partition))


def broker_rows() -> dict[int, BrokerRow]:
    """As telemetry has them; empty when nothing was collected."""
    return {row.id: row for row in _rows(CLUSTER).values() if isinstance(row, BrokerRow)}


def live_partition(topic: str, partition: int) -> PartitionRow | None:
    found = _rows(topic_scope(topic)).get(f"partition:{partition:06d}")
    return found if isinstance(found, PartitionRow) else None


def _rows(scope: str) -> Rows:
    try:
        return readable_store().read([scope]).rows(scope)
    except StoreError:
        return {}
