"""Which replicas a broker is thought to have in sync, or eligible to lead, and does not have. Pure.

Whoever is missing something says so: with its registration when it starts, and when it finds out later
(``cluster/loss_reports.py``).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from broker.types import BrokerId, TopicId, TopicPartition

if TYPE_CHECKING:
    from broker.cluster.image import ClusterImage
    from broker.storage.log_dir import LogDir


def unusable(log_dir: LogDir) -> frozenset[TopicPartition]:
    """Replicas that are damaged, or are being copied anew because they were."""
    copied = (topic_partition for topic_partition, log in log_dir.logs.items() if log.incomplete_reason)
    return frozenset((*log_dir.offline, *copied))


def in_sync_again(
    image: ClusterImage, node_id: BrokerId, lost: Collection[TopicPartition]
) -> frozenset[TopicPartition]:
    """Those of ``lost`` that have what is committed, or that others have decided to go on with. To be asked only when the
    controller has taken note of the present registration: before, the image is that of a former life."""
    return frozenset(
        topic_partition
        for topic_partition in lost
        if (partition := image.partition(*topic_partition)) is not None and node_id in partition.isr
    )


def relied_on(
    image: ClusterImage, node_id: BrokerId, missing: Collection[TopicPartition]
) -> frozenset[tuple[TopicId, int]]:
    """Those of ``missing`` whose replica here somebody might make a leader."""
    found = set()
    for name, index in missing:
        topic = image.topics_by_name.get(name)
        if topic is None or index >= len(topic.partitions):
            continue
        partition = topic.partitions[index]
        if node_id in partition.isr or node_id in partition.elr or node_id == partition.last_known_leader:
            found.add((topic.topic_id, index))
    return frozenset(found)
