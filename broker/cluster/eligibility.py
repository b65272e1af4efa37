"""Why ``min.insync.replicas`` does not change alone. Pure.

Replicas are eligible (KIP-966) because the high watermark stands still while fewer than that many are in sync. With a lower
number it moves on without them, so they cease to be eligible in the very commit that changes it. That commit depends on every
partition concerned: one whose in-sync set shrinks meanwhile would have eligible replicas that nobody looked at.
"""

from __future__ import annotations

from broker.cluster import records
from broker.cluster.decision import Batch, put_partition
from broker.cluster.image import ClusterImage, TopicImage
from broker.cluster.partition_changes import Ask, Rules, change_partition
from broker.metadata.store import VersionIs
from broker.types import format_topic_id

MIN_IN_SYNC = "min.insync.replicas"


def rejudge_eligible(
    batch: Batch, image: ClusterImage, topic: TopicImage, before: int, after: int, now_ms: int
) -> None:
    """Add what becomes of the topic's partitions when its minimum changes from ``before`` to ``after``.

    The smaller of the two decides: with it the high watermark moved before, or will.
    """
    minimum = min(before, after)
    for index, partition in enumerate(topic.partitions):
        # Who leads goes on leading and who is in sync stays so: only the eligible set is judged anew.
        rules = Rules(min_insync_replicas=minimum, unclean=False, alive=partition.isr, now_ms=now_ms)
        relic = partition.elr and len(partition.isr) >= min(minimum, len(partition.replicas))
        record = change_partition(partition, Ask(cause="config_changed"), rules) if relic else None
        if record is not None:
            put_partition(batch, image, topic, index, record)
        else:
            key = records.partition_key(format_topic_id(topic.topic_id), index)
            batch.require(VersionIs(key, partition.version))
