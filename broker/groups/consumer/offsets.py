"""Who may commit and fetch offsets of a consumer group, and when they die.

Owns: the rules of membership by epoch. A member commits under the epoch it knows: its present one, or an older one as
long as the partition has been its own since then. That is what keeps a commit good that was on its way when the epoch
grew, and what stops one of a member whose partition went to another and came back.
"""

from __future__ import annotations

from broker.errors import ErrorCode, KafkaError
from broker.groups.consumer.group import ConsumerGroup, ConsumerMember
from broker.groups.events import CommitOffsets, OffsetToCommit
from broker.groups.offsets import Dies
from broker.groups.records import OffsetValue
from broker.types import NO_TIMESTAMP


def check_committer(group: ConsumerGroup, event: CommitOffsets, *, transactional: bool = False) -> None:
    """Raises ``KafkaError``: UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH (ILLEGAL_GENERATION to classic members and
    transactions), UNSUPPORTED_VERSION. One partition the member has no right to refuses the whole request."""
    if event.generation < 0 and group.is_empty:
        return
    anonymous = event.generation == -1 and not event.member_id and event.instance_id is None
    if transactional and anonymous:
        return
    member = group.member(event.member_id)
    if not transactional and not member.is_classic and not event.knows_group_id_not_found:
        raise KafkaError(
            ErrorCode.UNSUPPORTED_VERSION,
            "OffsetCommit version 9 or above must be used by members using the consumer group protocol",
        )
    if event.generation == member.epoch:
        return
    stale = ErrorCode.ILLEGAL_GENERATION if member.is_classic or transactional else ErrorCode.STALE_MEMBER_EPOCH
    if event.generation > member.epoch or any(event.generation < _owned_since(member, one) for one in event.offsets):
        raise KafkaError(stale)


def _owned_since(member: ConsumerMember, item: OffsetToCommit) -> int:
    """The epoch in which the member was given the partition; later than any when it has it not."""
    for owned in (member.current.assigned, member.current.revoking):
        since = owned.get(item.topic_id, {}).get(item.partition)
        if since is not None:
            return since
    return 2**31


def check_fetcher(group: ConsumerGroup, member_id: str | None, epoch: int) -> None:
    """OffsetFetch v9 on may name a member. Raises UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH or ILLEGAL_GENERATION."""
    if member_id is None and epoch < 0:
        return
    member = group.member(member_id or "")
    if epoch != member.epoch:
        raise KafkaError(ErrorCode.ILLEGAL_GENERATION if member.is_classic else ErrorCode.STALE_MEMBER_EPOCH)


def expired(group: ConsumerGroup, retention_ms: int, now_ms: int) -> Dies:
    """Counted from the commit; spared while anybody subscribes to the topic."""

    def dies(topic: str, partition: int, value: OffsetValue) -> bool:
        if group.is_subscribed_to(topic):
            return False
        if value.expire_timestamp_ms != NO_TIMESTAMP:
            return now_ms >= value.expire_timestamp_ms
        return now_ms - value.commit_timestamp_ms >= retention_ms

    return dies
