"""The partitions of this broker as last sampled, and which of them changed since.

The controller also tells of partitions without a leader that it does not keep: the brokers that have them may be gone.

A partition is compared by a handful of numbers that move whenever anything visible does; only a changed one is
sampled anew. 1,000 idle partitions cost 1,000 small tuples a second, no matter how large they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from broker.telemetry.sample import PartitionSample
from broker.types import NO_LEADER, BrokerId, TopicPartition

if TYPE_CHECKING:
    from broker.cluster.image import ClusterImage, PartitionImage
    from broker.partition.driver import Partition


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionChanges:
    changed: list[PartitionSample] = field(default_factory=list)
    removed: list[TopicPartition] = field(default_factory=list)


@dataclass(slots=True)
class _Entry:
    signature: tuple[Any, ...]
    image: PartitionImage | None
    sample: PartitionSample


class PartitionTable:
    """``bytes_in_total`` and its siblings count for the whole broker and outlive deleted partitions; ``under_replicated``
    and ``under_min_isr`` are of the moment, among the partitions that ``node_id`` leads."""

    def __init__(self, node_id: BrokerId, wall_ms_of: Callable[[int], int]) -> None:
        """``wall_ms_of`` turns a millisecond of the monotonic clock into one of the wall clock."""
        self.bytes_in_total = 0
        self.bytes_out_total = 0
        self.replica_bytes_out_total = 0
        self.records_in_total = 0
        self.isr_changes_total = 0
        self._node_id = node_id
        self._wall_ms_of = wall_ms_of
        self._under_replicated: set[TopicPartition] = set()
        self._under_min_isr: set[TopicPartition] = set()
        self._entries: dict[TopicPartition, _Entry] = {}
        self._offline_samples: dict[TopicPartition, PartitionSample] = {}
        self._leaderless: dict[TopicPartition, PartitionSample] = {}
        """Of the whole cluster, while this broker is controller."""
        self._image: ClusterImage | None = None

    @property
    def under_replicated(self) -> int:
        return len(self._under_replicated)

    @property
    def under_min_isr(self) -> int:
        return len(self._under_min_isr)

    def samples(self) -> list[PartitionSample]:
        return [entry.sample for entry in self._entries.values()] + list(self._offline_samples.values())

    def update(
        self, partitions: Iterable[Partition], offline: Mapping[TopicPartition, str], image: ClusterImage
    ) -> PartitionChanges:
        changes = PartitionChanges()
        known_before = set(self._entries) | set(self._offline_samples)
        present: set[TopicPartition] = set()
        image_moved = image is not self._image
        self._image = image
        for partition in partitions:
            present.add(partition.topic_partition)
            sample = self._sample_if_changed(partition, image, image_moved)
            if sample is not None:
                changes.changed.append(sample)
        for topic_partition in self._entries.keys() - present:
            del self._entries[topic_partition]
            self._under_replicated.discard(topic_partition)
            self._under_min_isr.discard(topic_partition)
        if image_moved:
            self._leaderless = _leaderless(image) if image.controller_id == self._node_id else {}
        changes.changed.extend(self._update_offline(offline, present, image))
        changes.removed.extend(sorted(known_before - present - set(self._offline_samples)))
        return changes

    def _sample_if_changed(
        self, partition: Partition, image: ClusterImage, image_moved: bool
    ) -> PartitionSample | None:
        signature = _signature(partition)
        entry = self._entries.get(partition.topic_partition)
        if entry is not None and entry.signature == signature and not image_moved:
            return None
        placed = entry.image if entry and not image_moved else _placement(image, partition.topic_partition)
        if entry is not None and entry.signature == signature and entry.image is placed:
            return None
        sample = _sample(partition, placed, self._wall_ms_of)
        self._count(sample, entry.sample if entry else None)
        self._judge(partition, sample, entry.sample if entry else None)
        if entry is not None and entry.sample == sample:
            entry.signature, entry.image = signature, placed
            return None
        self._entries[partition.topic_partition] = _Entry(signature, placed, sample)
        return sample

    def _update_offline(
        self,
        offline: Mapping[TopicPartition, str],
        present: set[TopicPartition],
        image: ClusterImage,
    ) -> list[PartitionSample]:
        """Normally there are none. One that is both offline and here again counts as here."""
        before = self._offline_samples
        self._offline_samples = {
            key: sample for key, sample in self._leaderless.items() if key not in present and key not in offline
        } | {
            topic_partition: _placed_sample(topic_partition, _placement(image, topic_partition), reason)
            for topic_partition, reason in offline.items()
            if topic_partition not in present
        }
        return [sample for key, sample in self._offline_samples.items() if before.get(key) != sample]

    def _judge(self, partition: Partition, sample: PartitionSample, before: PartitionSample | None) -> None:
        key, leads = partition.topic_partition, sample.leader == self._node_id
        _put(self._under_replicated, key, leads and len(sample.isr) < len(sample.replicas))
        needed = min(partition.state.min_insync_replicas, len(sample.replicas))
        _put(self._under_min_isr, key, leads and len(sample.isr) < needed)
        if leads and before is not None and before.leader == sample.leader and set(before.isr) != set(sample.isr):
            self.isr_changes_total += 1

    def _count(self, sample: PartitionSample, before: PartitionSample | None) -> None:
        """A partition that was made anew under the same name starts its own counters at zero."""
        restarted = before is None or sample.bytes_in_total < before.bytes_in_total
        self.bytes_in_total += sample.bytes_in_total - (0 if restarted or before is None else before.bytes_in_total)
        self.records_in_total += sample.records_in_total - (
            0 if restarted or before is None else before.records_in_total
        )
        out_restarted = restarted or before is None or sample.bytes_out_total < before.bytes_out_total
        self.bytes_out_total += sample.bytes_out_total - (
            0 if out_restarted or before is None else before.bytes_out_total
        )
        copied_before = 0 if before is None else before.replica_bytes_out_total
        copied = sample.replica_bytes_out_total
        self.replica_bytes_out_total += copied if copied < copied_before else copied - copied_before


def _put(members: set[TopicPartition], key: TopicPartition, belongs: bool) -> None:
    if belongs:
        members.add(key)
    else:
        members.discard(key)


def _signature(partition: Partition) -> tuple[Any, ...]:
    log, state = partition.log, partition.state
    return (
        log.log_end_offset,
        state.high_watermark,
        partition.last_stable_offset,
        log.log_start_offset,
        log.flushed_offset,
        log.segment_count,
        log.size_bytes,
        partition.records_in_total,
        partition.bytes_out_total,
        partition.replica_bytes_out_total,
        partition.lag,
        log.incomplete_reason,
        state.min_insync_replicas,
        partition.topic_id,
        _positions(partition) if state.followers else None,
    )


def _placement(image: ClusterImage, topic_partition: TopicPartition) -> PartitionImage | None:
    return image.partition(topic_partition.topic, topic_partition.partition)


def _leaderless(image: ClusterImage) -> dict[TopicPartition, PartitionSample]:
    return {
        TopicPartition(topic.name, index): _placed_sample(TopicPartition(topic.name, index), placed)
        for topic in image.topics_by_name.values()
        for index, placed in enumerate(topic.partitions)
        if placed.leader == NO_LEADER
    }


def _placed_sample(
    topic_partition: TopicPartition, placed: PartitionImage | None, offline_reason: str = ""
) -> PartitionSample:
    """Where it is meant to be, without a log to tell of."""
    return PartitionSample(
        topic=topic_partition.topic,
        partition=topic_partition.partition,
        offline_reason=offline_reason,
        **_placement_fields(placed),
    )


def _placement_fields(placed: PartitionImage | None) -> dict[str, Any]:
    if placed is None:
        return {}
    return {
        "leader": placed.leader,
        "leader_epoch": placed.leader_epoch,
        "replicas": list(placed.replicas),
        "isr": list(placed.isr),
        "partition_epoch": placed.partition_epoch,
        "elr": list(placed.elr),
        "last_known_leader": placed.last_known_leader,
        "adding": list(placed.adding),
        "removing": list(placed.removing),
        "cause": placed.cause,
        "changed_at_ms": placed.changed_at_ms or -1,
        "unclean_epoch": placed.unclean_epoch,
        "unclean_at_ms": placed.unclean_at_ms or -1,
    }


def _positions(partition: Partition) -> list[tuple[int, int, int]]:
    """(follower, log end, when it last had everything on the monotonic clock; 0: it has, -1: it never had)."""
    end = partition.log.log_end_offset
    return [
        (replica, follower.log_end_offset, 0 if follower.log_end_offset >= end else follower.caught_up_ms or -1)
        for replica, follower in partition.state.followers.items()
    ]


def _sample(partition: Partition, placed: PartitionImage | None, wall_ms_of: Callable[[int], int]) -> PartitionSample:
    log = partition.log
    return PartitionSample(
        topic=partition.topic_partition.topic,
        partition=partition.topic_partition.partition,
        log_start_offset=log.log_start_offset,
        high_watermark=partition.high_watermark,
        last_stable_offset=partition.last_stable_offset,
        log_end_offset=log.log_end_offset,
        flushed_offset=log.flushed_offset,
        size_bytes=log.size_bytes,
        segment_count=log.segment_count,
        bytes_in_total=partition.bytes_in_total,
        records_in_total=partition.records_in_total,
        bytes_out_total=partition.bytes_out_total,
        replica_bytes_out_total=partition.replica_bytes_out_total,
        lag=partition.lag,
        offline_reason=log.incomplete_reason,
        followers=[
            (replica, log_end, wall_ms_of(caught_up_ms) if caught_up_ms > 0 else caught_up_ms)
            for replica, log_end, caught_up_ms in sorted(_positions(partition))
        ],
        last_record_ms=log.last_record_ms,
        last_append_ms=partition.last_append_ms,
        producers=len(log.producer_state),
        **_placement_fields(placed),
    )
