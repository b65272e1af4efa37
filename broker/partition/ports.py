"""Who is told of leadership: coordinators by topic, and the driver of replication for every partition followed here; and
who is asked for another in-sync set.

Called by ``manager.py`` on the event loop, from within the change of the cluster image. Implementations must not await
and must not raise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from broker.types import BrokerId, LeaderEpoch, TopicPartition

if TYPE_CHECKING:
    from broker.partition.driver import Partition
    from broker.partition.state import ProposeIsr


class LeadershipListener(Protocol):
    """Coordinators: told when this broker starts or stops leading a partition of their topic."""

    def on_became_leader(self, partition: Partition) -> None: ...

    def on_resigned(self, topic_partition: TopicPartition) -> None: ...


class ReplicationListener(Protocol):
    """Whoever copies partitions from their leaders to this broker."""

    def on_follow(self, partition: Partition, leader_id: BrokerId, leader_epoch: LeaderEpoch) -> None:
        """Copy ``partition`` from this leader, under this epoch, and from nobody else from now on.

        Told again when the leader or the epoch changed. The partition's role is the follower's when this is called.
        """

    def on_stop_following(self, topic_partition: TopicPartition) -> None:
        """Nothing of this partition may be appended or truncated by replication after this returns: it is led here now,
        has no leader, or is deleted. Told only for a partition that is followed."""


class IsrProposer(Protocol):
    """Whoever takes proposed in-sync sets to the controller (``isr_proposals.py``)."""

    def propose(self, partition: Partition, proposal: ProposeIsr) -> None: ...
