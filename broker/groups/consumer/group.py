"""One group of the new consumer protocol (KIP-848): its epochs, its members, who owns what.

Theory of operation
-------------------
The *group epoch* counts what changed: members, subscriptions, topics. When it is ahead of the *target epoch*, the next
heartbeat computes what each member is to have (its target). Every member walks to its target on its own, told by the
answers to its heartbeats: it first gives up what it must (UnrevokedPartitions), then is moved to the target epoch and
given what is free (UnreleasedPartitions while something it is to have is still owned by another), until it has
everything (Stable). No partition is given out before its owner has given it up or was fenced, so no round, no barrier
and no leader is needed.

    Empty ──join──▶ Assigning (epoch > target epoch) ──targets──▶ Reconciling ──all at target──▶ Stable
                        ▲                                             │                            │
                        └───────── join, leave, fence, subscription, topics ───────────────────────┘

Whatever outlives a restart comes in by ``replay`` and only so; each value there is the last record of its key. The
other attributes are indexes of that, kept beside it so that a heartbeat of one member never looks at all, and what is
true of a live group only (when somebody was last heard of).

Invariants
----------
- A partition has at most one owner, and it is the member whose current assignment holds it.
- epoch and target epoch never fall; target epoch ≤ epoch; a member's epoch ≤ target epoch.
- ``instances`` maps to members that say so themselves; counts are those over all members.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from broker.errors import ErrorCode, KafkaError
from broker.groups.consumer.records import (
    STABLE,
    ConsumerRecord,
    CurrentAssignment,
    CurrentRecord,
    GroupEpochRecord,
    MemberMetadata,
    MemberRecord,
    PartitionMetadataRecord,
    Partitions,
    RegexRecord,
    ResolvedRegex,
    TargetEpochRecord,
    TargetRecord,
)
from broker.groups.consumer.topics import NO_TOPICS, Topics
from broker.types import NO_EPOCH, NO_TIMESTAMP, TimestampMs, TopicId

_NOTHING: Partitions = {}


class ConsumerGroupState(StrEnum):
    EMPTY = "Empty"
    ASSIGNING = "Assigning"
    RECONCILING = "Reconciling"
    STABLE = "Stable"


@dataclass(slots=True, kw_only=True)
class ConsumerMember:
    member_id: str
    metadata: MemberMetadata = field(default_factory=MemberMetadata)
    current: CurrentAssignment = field(default_factory=CurrentAssignment)

    # Volatile.
    last_heartbeat_ms: TimestampMs = NO_TIMESTAMP
    revocation_epoch: int = NO_EPOCH
    """The epoch in which it was given a deadline for giving partitions up."""
    told_to_rejoin: bool = False
    """A classic member whose time to send JoinGroup is running."""

    @property
    def epoch(self) -> int:
        return self.current.epoch

    @property
    def is_classic(self) -> bool:
        return self.metadata.classic is not None


class ConsumerGroup:
    def __init__(self, group_id: str) -> None:
        self.group_id = group_id
        self.epoch = 0
        self.metadata_hash = 0
        self.target_epoch = NO_EPOCH
        self.target_made_ms: TimestampMs = 0
        self.members: dict[str, ConsumerMember] = {}
        self.targets: dict[str, Partitions] = {}
        self.regexes: dict[str, ResolvedRegex] = {}
        self.has_partition_metadata = False
        """A record of Kafka 4.0 that the hash has replaced, to be deleted with the next change."""

        # Indexes.
        self.instances: dict[str, str] = {}
        """Instance id → member id."""
        self.names: dict[str, int] = {}
        """Topics subscribed to by name → by how many members. The next three count alike."""
        self.patterns: dict[str, int] = {}
        self.assignors: dict[str, int] = {}
        self.classic_protocols: dict[str, int] = {}
        self.classic_count = 0
        self._owners: dict[TopicId, dict[int, str]] = {}
        self._reconciled_count = 0
        """Members that have reached the target epoch and everything in it."""

        # Volatile.
        self.topics_seen: Topics = NO_TOPICS
        """What ``metadata_hash`` was last compared with."""
        self.state_since_ms: TimestampMs = NO_TIMESTAMP
        self.rebalances_total = 0
        self.last_rebalance_reason = ""
        self.told_ms: TimestampMs = NO_TIMESTAMP
        """When telemetry was last told that this group changed."""

    # Questions ---------------------------------------------------------------------------------------

    @property
    def state(self) -> ConsumerGroupState:
        if not self.members:
            return ConsumerGroupState.EMPTY
        if self.epoch > self.target_epoch:
            return ConsumerGroupState.ASSIGNING
        if self._reconciled_count < len(self.members):
            return ConsumerGroupState.RECONCILING
        return ConsumerGroupState.STABLE

    @property
    def is_empty(self) -> bool:
        return not self.members

    def member(self, member_id: str) -> ConsumerMember:
        """Raises UNKNOWN_MEMBER_ID."""
        member = self.members.get(member_id)
        if member is None:
            raise KafkaError(
                ErrorCode.UNKNOWN_MEMBER_ID, f"Member {member_id} is not a member of group {self.group_id}."
            )
        return member

    def static_member(self, member_id: str, instance_id: str) -> ConsumerMember:
        """The member that speaks under this instance id. Raises UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID."""
        owner = self.instances.get(instance_id)
        if owner is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"Instance id {instance_id} is unknown.")
        if owner != member_id:
            raise KafkaError(
                ErrorCode.FENCED_INSTANCE_ID,
                f"Static member {member_id} with instance id {instance_id} was fenced by member {owner}.",
            )
        return self.members[owner]

    def target(self, member_id: str) -> Partitions:
        return self.targets.get(member_id, _NOTHING)

    def owner(self, topic_id: TopicId, partition: int) -> str | None:
        partitions = self._owners.get(topic_id)
        return None if partitions is None else partitions.get(partition)

    def is_reconciled(self, member: ConsumerMember) -> bool:
        return member.current.state == STABLE and member.current.epoch == self.target_epoch

    def subscribed_topics(self) -> set[str]:
        """Of all members, by name or by pattern; also such as do not exist."""
        topics = set(self.names)
        for resolved in self.regexes.values():
            topics |= resolved.topics
        return topics

    def topics_of(self, metadata: MemberMetadata) -> frozenset[str] | tuple[str, ...]:
        """What one member subscribes to."""
        resolved = self.regexes.get(metadata.regex) if metadata.regex else None
        if resolved is None:
            return metadata.topics
        return resolved.topics | frozenset(metadata.topics) if metadata.topics else resolved.topics

    def is_subscribed_to(self, topic: str) -> bool:
        return topic in self.names or any(topic in resolved.topics for resolved in self.regexes.values())

    def preferred_assignor(self, default: str) -> str:
        """That of most members who name one."""
        return max(self.assignors, key=lambda name: self.assignors[name]) if self.assignors else default

    def tombstones(self) -> list[ConsumerRecord]:
        """Records after which nothing of this group is left."""
        group_id = self.group_id
        member_ids = {**dict.fromkeys(self.members), **dict.fromkeys(self.targets)}
        records: list[ConsumerRecord] = []
        for member_id in member_ids:
            records += member_tombstones(group_id, member_id)
        records.append(TargetEpochRecord(group_id=group_id, value=None))
        records += [RegexRecord(group_id=group_id, regex=regex, value=None) for regex in self.regexes]
        if self.has_partition_metadata:
            records.append(PartitionMetadataRecord(group_id=group_id))
        records.append(GroupEpochRecord(group_id=group_id, value=None))
        return records

    # Replay ------------------------------------------------------------------------------------------

    def replay(self, record: ConsumerRecord) -> None:
        """Every record but the tombstone of the group itself, which the shard sees to."""
        match record:
            case GroupEpochRecord(value=value) if value is not None:
                self.epoch, self.metadata_hash = value.epoch, value.metadata_hash
            case PartitionMetadataRecord(present=present):
                self.has_partition_metadata = present
            case MemberRecord(member_id=member_id, value=metadata):
                self._replay_member(member_id, metadata)
            case CurrentRecord(member_id=member_id, value=current):
                self._replay_current(member_id, current)
            case TargetRecord(member_id=member_id, value=target):
                if target is None:
                    self.targets.pop(member_id, None)
                else:
                    self.targets[member_id] = target
            case TargetEpochRecord(value=target_epoch):
                self.target_epoch = NO_EPOCH if target_epoch is None else target_epoch.epoch
                self.target_made_ms = 0 if target_epoch is None else target_epoch.timestamp_ms
                self._reconciled_count = sum(map(self.is_reconciled, self.members.values()))
            case RegexRecord(regex=regex, value=resolved):
                if resolved is None:
                    self.regexes.pop(regex, None)
                else:
                    self.regexes[regex] = resolved

    def _replay_member(self, member_id: str, metadata: MemberMetadata | None) -> None:
        member = self.members.get(member_id)
        if metadata is None:
            if member is not None:
                self._replay_current(member_id, None)
                self._reconciled_count -= self.is_reconciled(member)
                self._count(member, -1)
                del self.members[member_id]
            return
        if member is None:
            member = self._add(member_id)
        else:
            self._count(member, -1)
        member.metadata = metadata
        self._count(member, 1)

    def _replay_current(self, member_id: str, current: CurrentAssignment | None) -> None:
        """A deleted assignment leaves a member that owns nothing; its own deletion follows."""
        member = self.members.get(member_id)
        if member is None:
            if current is None:
                return
            member = self._add(member_id)
        self._reconciled_count -= self.is_reconciled(member)
        self._release(member)
        member.current = CurrentAssignment(epoch=-1, previous_epoch=-1) if current is None else current
        for topic_id, partition in _each(member.current):
            self._owners.setdefault(topic_id, {})[partition] = member_id
        self._reconciled_count += self.is_reconciled(member)

    def _add(self, member_id: str) -> ConsumerMember:
        member = self.members[member_id] = ConsumerMember(member_id=member_id)
        self._reconciled_count += self.is_reconciled(member)
        return member

    def _release(self, member: ConsumerMember) -> None:
        for topic_id, partition in _each(member.current):
            owners = self._owners.get(topic_id)
            if owners is not None and owners.get(partition) == member.member_id:
                del owners[partition]
                if not owners:
                    del self._owners[topic_id]

    def _count(self, member: ConsumerMember, step: int) -> None:
        """Enter a member's metadata into the indexes, or take it out."""
        metadata = member.metadata
        for topic in metadata.topics:
            _step(self.names, topic, step)
        if metadata.regex:
            _step(self.patterns, metadata.regex, step)
        if metadata.assignor is not None:
            _step(self.assignors, metadata.assignor, step)
        if metadata.classic is not None:
            self.classic_count += step
            for name, _ in metadata.classic.protocols:
                _step(self.classic_protocols, name, step)
        if metadata.instance_id is not None:
            if step > 0:
                self.instances[metadata.instance_id] = member.member_id
            elif self.instances.get(metadata.instance_id) == member.member_id:
                del self.instances[metadata.instance_id]


def member_tombstones(group_id: str, member_id: str) -> Iterable[ConsumerRecord]:
    """In this order: what is owned is released before its owner is gone."""
    return (
        CurrentRecord(group_id=group_id, member_id=member_id, value=None),
        TargetRecord(group_id=group_id, member_id=member_id, value=None),
        MemberRecord(group_id=group_id, member_id=member_id, value=None),
    )


def _each(current: CurrentAssignment) -> Iterator[tuple[TopicId, int]]:
    for owned in (current.assigned, current.revoking):
        for topic_id, partitions in owned.items():
            for partition in partitions:
                yield topic_id, partition


def _step(counts: dict[str, int], name: str, step: int) -> None:
    count = counts.get(name, 0) + step
    if count:
        counts[name] = count
    else:
        counts.pop(name, None)


def without_epochs(owned: Mapping[TopicId, Mapping[int, int]]) -> Partitions:
    return {topic_id: frozenset(partitions) for topic_id, partitions in owned.items()}
