"""Why ``min.insync.replicas`` does not change alone. Pure.

Replicas are eligible (KIP-966) because the high watermark stands still while fewer than that many are in sync. With a lower
number it moves on without them, so they cease to be eligible in the very commit that lowers it.
"""

from __future__ import annotations

from broker.cluster.decision import Batch, put_partition
from broker.cluster.image import TopicImage
from broker.cluster.partition_changes import Ask, Rules, change_partition

MIN_IN_SYNC = "min.insync.replicas"


def rejudge_eligible(batch: Batch, topic: TopicImage, min_insync_replicas: int, now_ms: int) -> None:
    """Add what becomes of the partitions that have eligible replicas outside their in-sync sets."""
    for index, before in enumerate(topic.partitions):
        if not before.elr or len(before.isr) < min(min_insync_replicas, len(before.replicas)):
            continue
        # Who leads goes on leading and who is in sync stays so: only the eligible set is judged anew.
        rules = Rules(min_insync_replicas=min_insync_replicas, unclean=False, alive=before.isr, now_ms=now_ms)
        record = change_partition(before, Ask(cause="config_changed"), rules)
        if record is not None:
            put_partition(batch, topic, index, record)
