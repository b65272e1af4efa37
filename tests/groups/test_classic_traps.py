"""What real clients trip over when a coordinator gets it slightly wrong."""

from __future__ import annotations

import pytest

from broker.errors import ErrorCode
from broker.groups.classic_group import GroupState
from broker.groups.events import JoinReply, LeavingMember
from tests.groups.stage import Stage

GIBBERISH = bytes(range(256))


@pytest.mark.parametrize("protocol_type", ["consumer", "connect", "sr"])
@pytest.mark.parametrize("payload", [b"", GIBBERISH], ids=["empty", "gibberish"])
def test_metadata_and_assignments_are_opaque_to_the_byte(protocol_type: str, payload: bytes) -> None:
    stage = Stage()
    tickets = [
        stage.enter(protocol_type=protocol_type, protocols=(("v1", payload), ("v0", b"other")))[1] for _ in range(2)
    ]
    stage.settle()
    leader, follower = sorted(
        (stage.answer(ticket) for ticket in tickets), key=lambda joined: joined.member_id != joined.leader
    )
    assert [one.metadata for one in leader.members] == [payload, payload]
    stage.sync(leader, {follower.member_id: payload})
    answer = stage.answer(stage.sync(follower))
    assert (answer.assignment, answer.protocol_type, answer.protocol) == (payload, protocol_type, "v1")


def test_a_heartbeat_between_join_and_sync_is_fine() -> None:
    stage = Stage()
    member_id, ticket = stage.enter()
    stage.settle()
    joined = stage.answer(ticket)
    assert stage.group.state is GroupState.COMPLETING_REBALANCE
    assert stage.heartbeat(member_id, joined.generation) is ErrorCode.NONE


def test_who_waits_for_an_assignment_is_told_when_another_round_opens() -> None:
    stage = Stage()
    tickets = [stage.enter()[1] for _ in range(2)]
    stage.settle()
    joined = [stage.answer(ticket) for ticket in tickets]
    follower = next(one for one in joined if one.member_id != one.leader)
    waiting = stage.sync(follower)
    assert stage.waits(waiting)
    stage.enter()
    assert stage.answer(waiting).error is ErrorCode.REBALANCE_IN_PROGRESS
    assert stage.heartbeat(follower.member_id, follower.generation) is ErrorCode.REBALANCE_IN_PROGRESS


def test_members_that_come_and_go_together_make_one_round() -> None:
    stage = Stage()
    first, second = stage.form(2)
    stage.leave(second.member_id)
    newcomer, ticket = stage.enter()
    stage.leave(newcomer)
    assert stage.answer(ticket).error is ErrorCode.UNKNOWN_MEMBER_ID
    answer = stage.answer(stage.join(first.member_id))
    assert (answer.error, answer.generation) == (ErrorCode.NONE, 2)
    assert [one.member_id for one in answer.members] == [first.member_id]


def test_each_of_several_that_leave_has_its_own_answer() -> None:
    stage = Stage()
    (dynamic,) = stage.form()
    stage.join(instance="pod-1")
    answer = stage.leave(
        LeavingMember(member_id=dynamic.member_id, reason="scaled down"),
        LeavingMember(member_id="", instance_id="pod-1"),
        LeavingMember(member_id="", instance_id="pod-2"),
        LeavingMember(member_id="ghost"),
    )
    assert [error for _, error in answer.members] == [
        ErrorCode.NONE,
        ErrorCode.NONE,
        ErrorCode.UNKNOWN_MEMBER_ID,
        ErrorCode.UNKNOWN_MEMBER_ID,
    ]
    assert stage.group.state is GroupState.EMPTY


def test_leaving_under_a_former_id_is_fenced() -> None:
    stage = Stage()
    stage.join(instance="pod-1")
    old_id = stage.group.instances["pod-1"]
    stage.join(instance="pod-1")
    answer = stage.leave(LeavingMember(member_id=old_id, instance_id="pod-1"))
    assert [error for _, error in answer.members] == [ErrorCode.FENCED_INSTANCE_ID]


def test_why_somebody_left_is_the_reason_of_the_rebalance() -> None:
    stage = Stage()
    _, second = stage.form(2)
    stage.leave(LeavingMember(member_id=second.member_id, reason="the consumer is being closed"))
    assert stage.group.last_rebalance_reason == f"{second.member_id} left (the consumer is being closed)"


@pytest.mark.parametrize("version", [8, 9])
def test_a_restarted_static_leader_never_assigns_for_a_generation_that_stands(version: int) -> None:
    """KIP-814: with v9 it is told everybody, so that it can watch their topics, and to skip; before, that it follows."""
    stage = Stage()
    tickets = [stage.join(instance=name) for name in ("pod-1", "pod-2")]
    stage.settle()
    joined = [stage.answer(ticket) for ticket in tickets]
    leader = next(one for one in joined if one.member_id == one.leader)
    stage.sync(leader, {one.member_id: one.member_id.encode() for one in joined})
    instance = next(name for name, member in stage.group.instances.items() if member == leader.member_id)
    answer = stage.answer(stage.join(instance=instance, version=version))
    assert (answer.error, answer.generation) == (ErrorCode.NONE, leader.generation)
    if version == 9:
        assert answer.skip_assignment
        assert answer.leader == answer.member_id
        assert {one.instance_id for one in answer.members} == {"pod-1", "pod-2"}
    else:
        assert answer.leader == leader.member_id
        assert answer.members == ()
    synced = stage.answer(stage.sync(answer, instance=instance))
    assert synced.assignment == leader.member_id.encode()


def test_an_error_names_no_protocol() -> None:
    stage = Stage()
    stage.form()
    refused = stage.answer(stage.join(protocol_type="connect"))
    assert refused == JoinReply(error=ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
