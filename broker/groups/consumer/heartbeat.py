"""ConsumerGroupHeartbeat: how a member of the new protocol joins, goes on and leaves, all by one request.

Owns: what that request means for a group that exists (``shard.py`` finds or makes it).

| epoch | means | refused with |
|---|---|---|
| 0 | join, or join again from nothing | UNRELEASED_INSTANCE_ID while another member has the instance id and is not away; GROUP_MAX_SIZE_REACHED |
| the member's | go on | - |
| the one before | go on: the answer was lost. Only with nothing it has no right to | FENCED_MEMBER_EPOCH otherwise |
| any other above 0 | - | FENCED_MEMBER_EPOCH |
| -1 | leave | UNKNOWN_MEMBER_ID |
| -2 | leave, to come back under the same instance id | UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID |

A request that changes nothing writes nothing, and costs a few comparisons however large the group is.
"""

from __future__ import annotations

from dataclasses import replace

from broker.coordination.primitives import STRING_BYTES_MAX
from broker.errors import ErrorCode, KafkaError
from broker.groups.consumer.events import (
    AWAY_EPOCH,
    JOINING_EPOCH,
    LEAVING_EPOCH,
    ConsumerHeartbeat,
    ConsumerHeartbeatReply,
)
from broker.groups.consumer.fencing import fence, stay_away
from broker.groups.consumer.group import ConsumerGroup, ConsumerMember
from broker.groups.consumer.membership import enter, reconcile, replace_static, require_room
from broker.groups.consumer.records import MemberMetadata, OwnedPartitions, Partitions
from broker.groups.consumer.regex import compile_regex
from broker.groups.consumer.settings import ConsumerSettings
from broker.groups.consumer.targets import renew_targets
from broker.groups.consumer.turn import ConsumerTurn, restart_session
from broker.types import TopicId


def check_heartbeat(
    event: ConsumerHeartbeat, settings: ConsumerSettings, *, brings_own_id: bool, record_bytes_max: int
) -> None:
    """What can be said without looking at the group. Raises INVALID_REQUEST, UNSUPPORTED_ASSIGNOR or
    INVALID_REGULAR_EXPRESSION. ``brings_own_id``: v1, whose clients make their member ids themselves."""
    if not event.member_id and (brings_own_id or event.epoch > 0 or event.epoch == LEAVING_EPOCH):
        raise _invalid("MemberId can't be empty.")
    for name, text in (("GroupId", event.group_id), ("InstanceId", event.instance_id), ("RackId", event.rack_id)):
        if text is not None and not text.strip():
            raise _invalid(f"{name} can't be empty.")
    if event.epoch == JOINING_EPOCH:
        if event.rebalance_timeout_ms == -1:
            raise _invalid("RebalanceTimeoutMs must be provided in first request.")
        if event.owned is None or event.owned:
            raise _invalid("TopicPartitions must be empty when (re-)joining.")
        if event.topics is None and event.regex is None:
            raise _invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
    elif event.epoch == AWAY_EPOCH and event.instance_id is None:
        raise _invalid("InstanceId can't be null.")
    elif event.epoch < AWAY_EPOCH:
        raise _invalid("MemberEpoch is invalid.")
    if event.assignor is not None and event.assignor not in settings.assignors:
        raise KafkaError(
            ErrorCode.UNSUPPORTED_ASSIGNOR,
            f"ServerAssignor {event.assignor} is not supported. Supported assignors: {', '.join(settings.assignors)}.",
        )
    if event.regex:
        compile_regex(event.regex)
    _require_storable(event, record_bytes_max)


def _require_storable(event: ConsumerHeartbeat, record_bytes_max: int) -> None:
    """Refuse what could never be written into the member's record, before memory is spent on keeping it."""
    texts = (event.member_id, event.instance_id or "", event.rack_id or "", event.client_id, event.regex or "")
    sizes = [len(text.encode()) for text in (*texts, *(event.topics or ()))]
    if max(sizes) > STRING_BYTES_MAX or sum(sizes) > record_bytes_max:
        raise _invalid("This member does not fit into a record of its group.")


def _invalid(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REQUEST, message)


def heartbeat(turn: ConsumerTurn, group: ConsumerGroup, event: ConsumerHeartbeat) -> ConsumerHeartbeatReply:
    """A member joins or goes on. Raises ``KafkaError``; what was written until then stands by itself."""
    member_id = event.member_id or event.generated_id
    require_room(turn, group, member_id)
    had = _admit(turn, group, event, member_id)
    changed = enter(turn, group, member_id, _metadata(group.members.get(member_id), event))
    member = group.members[member_id]
    member.last_heartbeat_ms = turn.now_ms
    restart_session(turn, group, member)
    renew_targets(turn, group)
    reconcile(turn, group, member, event.owned, subscription_changed=changed)
    tells_all = event.epoch == JOINING_EPOCH or event.is_full
    return ConsumerHeartbeatReply(
        member_id=member_id,
        epoch=member.epoch,
        heartbeat_interval_ms=turn.settings.heartbeat_interval_ms,
        assigned=member.current.assigned if tells_all or member.current.assigned != had else None,
    )


def leave(turn: ConsumerTurn, group: ConsumerGroup, event: ConsumerHeartbeat) -> ConsumerHeartbeatReply:
    """A member goes, for good or for a while. Raises ``KafkaError``."""
    if event.instance_id is None:
        member = group.member(event.member_id)
    else:
        member = group.static_member(event.member_id, event.instance_id)
    if event.epoch == AWAY_EPOCH:
        stay_away(turn, group, member)
    else:
        fence(turn, group, [member.member_id], f"member {member.member_id} left")
    return ConsumerHeartbeatReply(member_id=member.member_id, epoch=event.epoch)


def _admit(turn: ConsumerTurn, group: ConsumerGroup, event: ConsumerHeartbeat, member_id: str) -> OwnedPartitions:
    """Let the member in, or let it go on. Answers what it was assigned until now, nothing for one that is new."""
    if event.epoch != JOINING_EPOCH:
        if event.instance_id is None:
            member = group.member(member_id)
        else:
            member = group.static_member(member_id, event.instance_id)
        _require_epoch(member, event)
        return member.current.assigned
    if event.instance_id is not None:
        old = group.members.get(group.instances.get(event.instance_id, ""))
        # A member that joins again under its own id was not replaced by anybody: it may have missed the answer.
        if old is not None and old.member_id != member_id:
            if not old.is_classic and old.epoch != AWAY_EPOCH:
                raise KafkaError(
                    ErrorCode.UNRELEASED_INSTANCE_ID,
                    f"Static member {member_id} with instance id {event.instance_id} cannot join the group because the "
                    f"instance id is owned by {old.member_id} member.",
                )
            replace_static(turn, group, old, member_id)
    joined = group.members.get(member_id)
    return {} if joined is None else joined.current.assigned


def _require_epoch(member: ConsumerMember, event: ConsumerHeartbeat) -> None:
    if event.epoch == member.epoch:
        return
    if (
        event.epoch == member.current.previous_epoch
        and event.epoch < member.epoch
        and _has_a_right_to(member, event.owned)
    ):
        return
    relation = "greater" if event.epoch > member.epoch else "smaller"
    raise KafkaError(
        ErrorCode.FENCED_MEMBER_EPOCH,
        f"The consumer group member has a {relation} member epoch ({event.epoch}) than the one known by the group "
        f"coordinator ({member.epoch}). The member must abandon all its partitions and rejoin.",
    )


def _has_a_right_to(member: ConsumerMember, owned: Partitions | None) -> bool:
    """Whether it says it owns nothing but what is assigned to it or still has to be given up by it."""
    if owned is None:
        return False
    current = member.current

    def allowed(topic_id: TopicId, partition: int) -> bool:
        return partition in current.assigned.get(topic_id, ()) or partition in current.revoking.get(topic_id, ())

    return all(allowed(topic_id, partition) for topic_id, partitions in owned.items() for partition in partitions)


def _metadata(member: ConsumerMember | None, event: ConsumerHeartbeat) -> MemberMetadata:
    """What the member says of itself now, on top of what it said before; the same object if that is nothing new."""
    before = MemberMetadata() if member is None else member.metadata
    news: dict[str, object] = {}
    if event.instance_id is not None and event.instance_id != before.instance_id:
        news["instance_id"] = event.instance_id
    if event.rack_id is not None and event.rack_id != before.rack_id:
        news["rack_id"] = event.rack_id
    if event.rebalance_timeout_ms not in (-1, before.rebalance_timeout_ms):
        news["rebalance_timeout_ms"] = event.rebalance_timeout_ms
    if event.assignor is not None and event.assignor != before.assignor:
        news["assignor"] = event.assignor
    if event.topics is not None and event.topics != before.topics:
        news["topics"] = event.topics
    if event.regex is not None and event.regex != before.regex:
        news["regex"] = event.regex
    if event.client_id != before.client_id or event.client_host != before.client_host:
        news |= {"client_id": event.client_id, "client_host": event.client_host}
    if before.classic is not None:
        news["classic"] = None
    return replace(before, **news) if news else before  # type: ignore[arg-type]
