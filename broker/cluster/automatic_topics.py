"""What a topic looks like that is created because it was needed, not because someone described it. Pure."""

from __future__ import annotations

from broker.cluster.decision import NewTopic
from broker.config.broker import BrokerConfig
from broker.types import INTERNAL_TOPICS, OFFSETS_TOPIC


def automatic_topic(name: str, config: BrokerConfig, *, brokers: int) -> NewTopic:
    """The broker's defaults; internal topics are compacted and sized by configs of their own.

    Fewer ``brokers``, here or expected back, than an internal topic's replication factor must not keep a small cluster
    from having groups at all: then there are as many replicas as brokers.
    """
    if name not in INTERNAL_TOPICS:
        return NewTopic(name=name)
    places = max(brokers, 1)
    configs: dict[str, str | None] = {"cleanup.policy": "compact", "compression.type": "producer"}
    if name == OFFSETS_TOPIC:
        partitions, factor = config.offsets_topic_num_partitions, min(config.offsets_topic_replication_factor, places)
        configs["segment.bytes"] = str(config.offsets_topic_segment_bytes)
    else:
        partitions = config.transaction_state_log_num_partitions
        factor = min(config.transaction_state_log_replication_factor, places)
        configs["segment.bytes"] = str(config.transaction_state_log_segment_bytes)
        configs["min.insync.replicas"] = str(min(config.transaction_state_log_min_isr, factor))
    return NewTopic(name=name, partition_count=partitions, replication_factor=factor, configs=configs)
