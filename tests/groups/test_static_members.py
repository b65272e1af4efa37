"""Static membership (KIP-345, KIP-814): a restart that is quick enough disturbs nobody."""

from __future__ import annotations

from typing import Any

from broker.errors import ErrorCode
from broker.groups.classic_group import GroupState
from broker.groups.events import JoinReply, SyncReply
from tests.groups.stage import Stage, subscription


def stable(*instances: str, **how: Any) -> tuple[Stage, list[JoinReply]]:
    stage = Stage()
    tickets = [stage.join(instance=instance, **how) for instance in instances]
    stage.settle()
    joined = [stage.answer(ticket) for ticket in tickets]
    stage.sync(joined[0], {one.member_id: one.member_id.encode() for one in joined})
    for one in joined[1:]:
        stage.sync(one)
    return stage, joined


def test_it_needs_no_id_handed_out_first() -> None:
    _, (joined,) = stable("pod-1")
    assert joined.member_id == "pod-1-1"
    assert joined.error is ErrorCode.NONE


def test_a_restarted_follower_gets_a_new_id_and_its_old_assignment_without_a_rebalance() -> None:
    stage, (leader, follower) = stable("pod-1", "pod-2")
    records = len(stage.log)
    back = stage.answer(stage.join(instance="pod-2"))
    assert back == JoinReply(
        member_id="pod-2-3",
        generation=1,
        protocol_type="consumer",
        protocol="range",
        leader=leader.member_id,
    )
    assert stage.answer(stage.sync(back, instance="pod-2")).assignment == follower.member_id.encode()
    assert stage.group.state is GroupState.STABLE
    assert len(stage.log) == records + 1, "the new id survives a restart of the broker"


def test_the_old_id_is_fenced_everywhere() -> None:
    stage, (_, follower) = stable("pod-1", "pod-2")
    stage.join(instance="pod-2")
    assert stage.heartbeat(follower.member_id, 1, instance="pod-2") is ErrorCode.FENCED_INSTANCE_ID
    assert stage.answer(stage.sync(follower, instance="pod-2")) == SyncReply(error=ErrorCode.FENCED_INSTANCE_ID)
    assert stage.answer(stage.join(follower.member_id, instance="pod-2")).error is ErrorCode.FENCED_INSTANCE_ID
    refused = stage.commit(generation=1, member_id=follower.member_id, instance_id="pod-2")
    assert refused.error is ErrorCode.FENCED_INSTANCE_ID


def test_a_join_of_the_old_id_that_still_waits_is_fenced_at_once() -> None:
    stage, (leader, follower) = stable("pod-1", "pod-2")
    waiting = stage.join(leader.member_id, instance="pod-1")
    assert stage.waits(waiting)
    stage.join(instance="pod-1")
    assert stage.answer(waiting) == JoinReply(error=ErrorCode.FENCED_INSTANCE_ID, member_id=leader.member_id)
    assert stage.heartbeat(follower.member_id, 1) is ErrorCode.REBALANCE_IN_PROGRESS


def test_a_restarted_leader_is_told_to_skip_the_assignment() -> None:
    stage, (_, follower) = stable("pod-1", "pod-2")
    back = stage.answer(stage.join(instance="pod-1"))
    assert back.leader == back.member_id
    assert back.skip_assignment
    assert {member.member_id for member in back.members} == {back.member_id, follower.member_id}


def test_an_older_leader_is_told_that_its_former_id_leads() -> None:
    stage, (leader, _) = stable("pod-1", "pod-2")
    back = stage.answer(stage.join(instance="pod-1", version=8))
    assert (back.leader, back.members, back.skip_assignment) == (leader.member_id, (), False)
    assert stage.group.leader == back.member_id


def test_owning_nothing_after_a_restart_is_not_a_changed_subscription() -> None:
    stage, _ = stable("pod-1", protocols=(("range", subscription("a", "b", owned=b"\x00\x00\x00\x01")),))
    back = stage.answer(stage.join(instance="pod-1", protocols=(("range", subscription("b", "a")),)))
    assert back.generation == 1


def test_another_subscription_after_a_restart_opens_a_round() -> None:
    stage, (_, follower) = stable("pod-1", "pod-2")
    waiting = stage.join(instance="pod-1", protocols=(("range", subscription("other")),))
    assert stage.waits(waiting)
    assert stage.heartbeat(follower.member_id, 1) is ErrorCode.REBALANCE_IN_PROGRESS


def test_another_protocol_after_a_restart_opens_a_round() -> None:
    stage, _ = stable("pod-1")
    back = stage.answer(stage.join(instance="pod-1", protocols=(("sticky", subscription("clicks")),)))
    assert (back.generation, back.protocol) == (2, "sticky")


def test_a_restart_between_join_and_sync_meets_again() -> None:
    stage = Stage()
    tickets = [stage.join(instance=instance) for instance in ("pod-1", "pod-2")]
    stage.settle()
    leader, follower = (stage.answer(ticket) for ticket in tickets)
    waiting = stage.sync(follower, instance="pod-2")
    stage.join(instance="pod-1")
    assert stage.answer(waiting) == SyncReply(error=ErrorCode.REBALANCE_IN_PROGRESS)
    assert leader.member_id not in stage.group.members


def test_a_static_member_that_is_away_keeps_its_place_in_the_next_round() -> None:
    stage, (leader, follower) = stable("pod-1", "pod-2", session_ms=300_000)
    ticket = stage.join(leader.member_id, instance="pod-1", session_ms=300_000)
    stage.advance(60_000)
    assert {member.member_id for member in stage.answer(ticket).members} == {leader.member_id, follower.member_id}
    stage.sync(stage.answer(ticket), {})
    stage.advance(60_000)
    assert stage.group.state is GroupState.STABLE, "nobody waits for the sync of one who is away"


def test_a_static_member_that_stays_away_is_removed_after_its_session() -> None:
    stage, _ = stable("pod-1")
    stage.advance(10_000)
    assert stage.group.is_empty


def test_replacement_survives_a_reload() -> None:
    stage, (_, follower) = stable("pod-1", "pod-2")
    back = stage.answer(stage.join(instance="pod-2"))
    stage.reload()
    assert stage.heartbeat(back.member_id, 1, instance="pod-2") is ErrorCode.NONE
    assert stage.heartbeat(follower.member_id, 1, instance="pod-2") is ErrorCode.FENCED_INSTANCE_ID
