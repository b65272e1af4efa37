"""Which partitions this broker leads and which it follows, as the cluster image has it, and who is told of a change.

Owns: the change of role of one partition and the order of its steps. Used by ``manager.py`` when an image was applied.

What must stay true:
- replication has let go of a partition before it is led, and coordinators have before it is followed: nobody writes to a
  log whose role is no longer his;
- what waited for commit under a leadership that ended is told NOT_LEADER_OR_FOLLOWER, never success;
- a log that is being copied anew is not led, whoever elected this broker: what it lacks is on other replicas, and leading
  would have them cut it off. Its partition has no leader until another one is elected;
- a role once given by an epoch is only changed by a newer one. Losing it needs nothing more, but a broker leads only with
  epochs that were given to its present registration (``ClusterImage.is_settled``): those of its former life may be stale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from broker import faultpoints
from broker.errors import ErrorCode
from broker.partition.driver import Partition
from broker.partition.ports import LeadershipListener, ReplicationListener
from broker.types import NO_LEADER, BrokerId, TopicPartition

if TYPE_CHECKING:
    from broker.cluster.image import PartitionImage


class Roles:
    def __init__(self, node_id: BrokerId, now_ms: Callable[[], int]) -> None:
        """``now_ms``: of the monotonic clock."""
        self._node_id = node_id
        self._now_ms = now_ms
        self._listeners: dict[str, LeadershipListener] = {}
        self._replication: ReplicationListener | None = None
        self.followed: dict[TopicPartition, Partition] = {}
        """Those copied from a leader."""
        self.replicated: dict[TopicPartition, Partition] = {}
        """Those led here that others follow."""

    def listen(self, topic: str, listener: LeadershipListener, partitions: Iterable[Partition]) -> None:
        self._listeners[topic] = listener
        for partition in tuple(partitions):
            if partition.topic_partition.topic == topic and partition.state.is_leader:
                listener.on_became_leader(partition)

    def listen_replication(self, listener: ReplicationListener) -> None:
        self._replication = listener
        for partition in tuple(self.followed.values()):
            listener.on_follow(partition, partition.state.leader, partition.state.leader_epoch)

    def apply(self, partition: Partition, image: PartitionImage, *, settled: bool) -> None:
        state = partition.state
        if image.leader_epoch == state.leader_epoch and image.leader == state.leader:
            partition.perform(
                state.on_isr_decided(frozenset(image.isr), image.partition_epoch, replicas=tuple(image.replicas))
            )
            self._note_followers(partition)
        elif image.leader != self._node_id:
            self._follow(partition, image)
        elif partition.log.incomplete_reason:
            self._follow(partition, replace(image, leader=NO_LEADER))
        elif settled:
            self._lead(partition, image)

    def forget(self, partition: Partition) -> None:
        """The partition is deleted, or moved away from here."""
        topic_partition = partition.topic_partition
        partition.state.is_leader = False
        self.replicated.pop(topic_partition, None)
        partition.fail_waiters(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        self._tell_resigned(topic_partition)
        self._stop_following(topic_partition)

    def _lead(self, partition: Partition, image: PartitionImage) -> None:
        state, log = partition.state, partition.log
        self._stop_following(partition.topic_partition)
        log.begin_epoch(image.leader_epoch)
        if faultpoints.DROP_PRODUCER_STATE:
            log.producer_state.clear()
        effects = state.become_leader(
            leader_epoch=image.leader_epoch,
            partition_epoch=image.partition_epoch,
            replicas=tuple(image.replicas),
            isr=frozenset(image.isr),
            log_end_offset=log.log_end_offset,
            high_watermark=max(state.high_watermark, log.high_watermark, log.log_start_offset),
            now_ms=self._now_ms(),
        )
        self._note_followers(partition)
        partition.perform(effects)
        partition.wake_fetch_waiters()
        listener = self._listeners.get(partition.topic_partition.topic)
        if listener is not None:
            listener.on_became_leader(partition)

    def _follow(self, partition: Partition, image: PartitionImage) -> None:
        state, topic_partition = partition.state, partition.topic_partition
        was_leader = state.is_leader
        state.become_follower(
            leader=image.leader,
            leader_epoch=image.leader_epoch,
            partition_epoch=image.partition_epoch,
            replicas=tuple(image.replicas),
            isr=frozenset(image.isr),
        )
        self.replicated.pop(topic_partition, None)
        if was_leader:
            partition.fail_waiters(ErrorCode.NOT_LEADER_OR_FOLLOWER)
            self._tell_resigned(topic_partition)
        else:
            partition.wake_fetch_waiters()
        if image.leader == NO_LEADER:
            self._stop_following(topic_partition)
            return
        self.followed[topic_partition] = partition
        if self._replication is not None:
            self._replication.on_follow(partition, image.leader, image.leader_epoch)

    def _note_followers(self, partition: Partition) -> None:
        if partition.state.followers:
            self.replicated[partition.topic_partition] = partition
        else:
            self.replicated.pop(partition.topic_partition, None)

    def _tell_resigned(self, topic_partition: TopicPartition) -> None:
        listener = self._listeners.get(topic_partition.topic)
        if listener is not None:
            listener.on_resigned(topic_partition)

    def _stop_following(self, topic_partition: TopicPartition) -> None:
        if self.followed.pop(topic_partition, None) is not None and self._replication is not None:
            self._replication.on_stop_following(topic_partition)
