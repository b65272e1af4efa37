"""Committed offsets of the groups of one shard, and when they die.

Owns: the map group → topic → partition → offset, changed only by ``replay``; who may commit; and the rules of expiry.
Pure: handlers return records, time and the cluster's topics are arguments.

When an offset expires (``offsets.retention.minutes`` = R), Kafka's rules:

| group | counted from | spared |
|---|---|---|
| Empty, with a protocol type | the moment it became empty | - |
| Stable consumer group | the commit | topics any member is subscribed to; all, if that is unknown |
| simple (no protocol type) | the commit | - |
| in a round, or not a consumer group | never | everything |
| any | - | partitions with an offset pending in a transaction |

An offset whose client chose a retention of its own (OffsetCommit v2-v4) obeys that one instead of R.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from broker.coordination.primitives import STRING_BYTES_MAX
from broker.errors import ErrorCode, KafkaError
from broker.groups.classic_group import ClassicGroup, GroupState
from broker.groups.config import GroupConfig
from broker.groups.events import CommitOffsets, FetchedOffset, OffsetToCommit
from broker.groups.records import OffsetRecord, OffsetValue
from broker.types import NO_TIMESTAMP, ZERO_TOPIC_ID, TopicId

TopicOffsets: TypeAlias = dict[str, dict[int, OffsetValue]]
Dies: TypeAlias = Callable[[str, int, OffsetValue], bool]
"""Whether the offset of a (topic, partition) is over."""


def always(topic: str, partition: int, value: OffsetValue) -> bool:
    return True


class OffsetStore:
    def __init__(self) -> None:
        self._groups: dict[str, TopicOffsets] = {}

    def replay(self, record: OffsetRecord) -> None:
        if record.value is not None:
            topics = self._groups.setdefault(record.group_id, {})
            topics.setdefault(record.topic, {})[record.partition] = record.value
            return
        topics = self._groups.get(record.group_id, {})
        partitions = topics.get(record.topic, {})
        partitions.pop(record.partition, None)
        if not partitions:
            topics.pop(record.topic, None)
        if not topics:
            self._groups.pop(record.group_id, None)

    def of_group(self, group_id: str) -> TopicOffsets:
        return self._groups.get(group_id, {})

    def groups(self) -> Iterator[str]:
        return iter(self._groups)

    def get(self, group_id: str, topic: str, partition: int) -> OffsetValue | None:
        return self._groups.get(group_id, {}).get(topic, {}).get(partition)

    def fetch(self, group_id: str, wanted: Iterable[tuple[str, int]] | None) -> list[FetchedOffset]:
        """Offsets of the partitions wanted, unknown ones as -1; of every partition when ``wanted`` is ``None``."""
        topics = self.of_group(group_id)
        if wanted is None:
            wanted = [(topic, partition) for topic, partitions in topics.items() for partition in partitions]
        return [_fetched(topic, partition, topics.get(topic, {}).get(partition)) for topic, partition in wanted]

    def tombstones(self, group_id: str, dies: Dies) -> list[OffsetRecord]:
        """Records that delete the offsets of a group for which ``dies``."""
        return [
            OffsetRecord(group_id=group_id, topic=topic, partition=partition, value=None)
            for topic, partitions in self.of_group(group_id).items()
            for partition, value in partitions.items()
            if dies(topic, partition, value)
        ]


def _fetched(topic: str, partition: int, value: OffsetValue | None) -> FetchedOffset:
    if value is None:
        return FetchedOffset(topic=topic, partition=partition)
    return FetchedOffset(
        topic=topic,
        partition=partition,
        offset=value.offset,
        leader_epoch=value.leader_epoch,
        metadata=value.metadata,
        topic_id=value.topic_id,
    )


# Committing ------------------------------------------------------------------------------------------


def check_committer(group: ClassicGroup, event: CommitOffsets, *, transactional: bool = False) -> None:
    """May this client commit to this group now? Raises ``KafkaError``.

    A producer may name its consumer's membership (KIP-447) and is held to it then; older ones, which do not, are let in
    at any time, because their transactional id fences them. The state of the group is no matter to a transaction.
    """
    if event.generation < 0 and group.is_empty:
        return
    if event.generation < 0 and not event.member_id and event.instance_id is None:
        if transactional:
            return
        # Someone who is not a member would overwrite what the members are working on.
        raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
    group.member(event.member_id, event.instance_id)
    if event.generation != group.generation:
        raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
    if group.state is GroupState.COMPLETING_REBALANCE and not transactional:
        raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS)


def offset_record(event: CommitOffsets, item: OffsetToCommit, config: GroupConfig, now_ms: int) -> OffsetRecord:
    """Raises OFFSET_METADATA_TOO_LARGE."""
    too_long = len(item.metadata) > config.offset_metadata_length_max
    if too_long or len(item.metadata.encode(errors="surrogatepass")) > STRING_BYTES_MAX:
        raise KafkaError(ErrorCode.OFFSET_METADATA_TOO_LARGE)
    return OffsetRecord(
        group_id=event.group_id,
        topic=item.topic,
        partition=item.partition,
        value=OffsetValue(
            offset=item.offset,
            commit_timestamp_ms=now_ms,
            leader_epoch=item.leader_epoch,
            metadata=item.metadata,
            expire_timestamp_ms=now_ms + event.retention_ms if event.retention_ms >= 0 else NO_TIMESTAMP,
            topic_id=item.topic_id,
        ),
    )


# Dying -----------------------------------------------------------------------------------------------


def expired(group: ClassicGroup, retention_ms: int, now_ms: int) -> Dies:
    """The rule that says of each offset of ``group`` whether its time is over."""

    def never(topic: str, partition: int, value: OffsetValue) -> bool:
        return False

    def by_age(topic: str, partition: int, value: OffsetValue) -> bool:
        if not group.is_simple and group.is_subscribed_to(topic):
            return False
        if value.expire_timestamp_ms != NO_TIMESTAMP:
            return now_ms >= value.expire_timestamp_ms
        counted_from_ms = value.commit_timestamp_ms
        if group.is_empty and not group.is_simple and group.state_since_ms != NO_TIMESTAMP:
            counted_from_ms = group.state_since_ms
        return now_ms - counted_from_ms >= retention_ms

    if group.is_simple or group.is_empty:
        return by_age
    if group.state is GroupState.STABLE and group.uses_consumer_protocol:
        return by_age
    return never


def of_gone_topics(topic_ids: Callable[[str], TopicId | None], deleted: frozenset[str] = frozenset()) -> Dies:
    """Offsets that belong to a topic that was deleted, or deleted and created anew under the same name.

    A record that names its topic's id can be judged at any time. One that does not (an old client chose its own
    retention, or Apache Kafka wrote it) dies only with a topic just ``deleted``; else it is left to expiry.
    """

    def dies(topic: str, partition: int, value: OffsetValue) -> bool:
        if value.topic_id == ZERO_TOPIC_ID:
            return topic in deleted
        return topic_ids(topic) != value.topic_id

    return dies
