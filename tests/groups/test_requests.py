"""What one request gets, state by state: the table at the top of ``classic_group.py``."""

from __future__ import annotations

import pytest

from broker.errors import ErrorCode
from broker.groups.classic_group import GroupState
from broker.groups.events import JoinReply, LeavingMember, OffsetToCommit, SyncReply
from broker.limits import GROUP_PENDING_MEMBERS_MAX
from tests.groups.stage import Stage, subscription

OFFSET = OffsetToCommit(topic="clicks", partition=0, offset=5)


def test_nobody_knows_a_member_of_a_group_that_does_not_exist() -> None:
    stage = Stage()
    assert stage.answer(stage.join("ghost")) == JoinReply(error=ErrorCode.UNKNOWN_MEMBER_ID, member_id="ghost")
    assert stage.answer(stage.sync(JoinReply(member_id="ghost", generation=1))).error is ErrorCode.UNKNOWN_MEMBER_ID
    assert stage.heartbeat("ghost", 1) is ErrorCode.UNKNOWN_MEMBER_ID
    assert stage.leave("ghost").members == ((LeavingMember(member_id="ghost"), ErrorCode.UNKNOWN_MEMBER_ID),)
    assert stage.shard.groups == {}


def test_an_unknown_member_of_a_known_group() -> None:
    stage = Stage()
    stage.form()
    assert stage.answer(stage.join("ghost")).error is ErrorCode.UNKNOWN_MEMBER_ID
    assert stage.heartbeat("ghost", 1) is ErrorCode.UNKNOWN_MEMBER_ID
    assert stage.answer(stage.join("ghost", instance="pod-9")).error is ErrorCode.UNKNOWN_MEMBER_ID


def test_another_generation_is_illegal() -> None:
    stage = Stage()
    (joined,) = stage.form()
    assert stage.heartbeat(joined.member_id, 0) is ErrorCode.ILLEGAL_GENERATION
    assert stage.answer(stage.sync(joined, generation=2)) == SyncReply(error=ErrorCode.ILLEGAL_GENERATION)
    assert stage.commit(OFFSET, generation=7, member_id=joined.member_id).error is ErrorCode.ILLEGAL_GENERATION


def test_sync_checks_the_protocol_only_when_told_one() -> None:
    stage = Stage()
    (joined,) = stage.form()
    assert stage.answer(stage.sync(joined)).error is ErrorCode.NONE
    assert stage.answer(stage.sync(joined, protocol_type="consumer", protocol="range")).error is ErrorCode.NONE
    assert stage.answer(stage.sync(joined, protocol="other")).error is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert stage.answer(stage.sync(joined, protocol_type="connect")).error is ErrorCode.INCONSISTENT_GROUP_PROTOCOL


def test_while_preparing_sync_and_heartbeat_say_that_a_round_is_open() -> None:
    stage = Stage()
    first, second = stage.form(2)
    stage.join(first.member_id)
    assert stage.group.state is GroupState.PREPARING_REBALANCE
    assert stage.heartbeat(second.member_id, 1) is ErrorCode.REBALANCE_IN_PROGRESS
    assert stage.answer(stage.sync(second)) == SyncReply(error=ErrorCode.REBALANCE_IN_PROGRESS)


def test_a_follower_that_joins_again_unchanged_is_told_the_present_generation() -> None:
    stage = Stage()
    leader, follower = stage.form(2)
    assert stage.answer(stage.join(follower.member_id)) == JoinReply(
        member_id=follower.member_id,
        generation=1,
        protocol_type="consumer",
        protocol="range",
        leader=leader.member_id,
    )
    assert stage.group.state is GroupState.STABLE


def test_a_follower_that_joins_again_with_another_subscription_opens_a_round() -> None:
    stage = Stage()
    _, follower = stage.form(2)
    assert stage.waits(stage.join(follower.member_id, protocols=(("range", subscription("other")),)))
    assert stage.group.state is GroupState.PREPARING_REBALANCE


def test_the_leader_that_joins_again_opens_a_round_even_unchanged() -> None:
    stage = Stage()
    leader, _ = stage.form(2)
    assert stage.waits(stage.join(leader.member_id))


def test_a_lost_join_answer_is_given_again_until_the_leader_has_spoken() -> None:
    stage = Stage()
    tickets = [stage.enter()[1] for _ in range(2)]
    stage.settle()
    leader, follower = (stage.answer(ticket) for ticket in tickets)
    assert stage.answer(stage.join(leader.member_id)) == leader
    assert stage.answer(stage.join(follower.member_id)) == follower
    assert stage.group.state is GroupState.COMPLETING_REBALANCE


def test_who_asks_twice_is_answered_twice() -> None:
    stage = Stage()
    leader, follower = stage.form(2)
    given_up = stage.join(leader.member_id)
    stage.join(leader.member_id)
    assert stage.answer(given_up) == JoinReply(error=ErrorCode.REBALANCE_IN_PROGRESS, member_id=leader.member_id)
    reply = stage.answer(stage.join(follower.member_id))
    waiting = stage.sync(reply)
    stage.sync(reply)
    assert stage.answer(waiting) == SyncReply(error=ErrorCode.REBALANCE_IN_PROGRESS)


def test_a_sole_member_may_change_its_protocols() -> None:
    stage = Stage()
    (joined,) = stage.form()
    reply = stage.answer(stage.join(joined.member_id, protocols=(("sticky", subscription("clicks")),)))
    assert (reply.protocol, reply.generation) == ("sticky", 2)


def test_leaving_while_others_wait_completes_their_round() -> None:
    stage = Stage()
    first, second = stage.form(2)
    ticket = stage.join(first.member_id)
    stage.leave(second.member_id)
    assert stage.answer(ticket).generation == 2


def test_a_member_that_leaves_while_it_waits_is_told_to_start_over() -> None:
    stage = Stage()
    first, _ = stage.form(2)
    ticket = stage.join(first.member_id)
    stage.leave(first.member_id)
    assert stage.answer(ticket) == JoinReply(error=ErrorCode.UNKNOWN_MEMBER_ID)


def test_a_pending_id_can_leave_too() -> None:
    stage = Stage()
    member_id = stage.answer(stage.join()).member_id
    assert stage.leave(member_id).members[0][1] is ErrorCode.NONE
    assert (stage.shard.groups, stage.timers) == ({}, {})


def test_a_full_group_refuses_newcomers_and_keeps_its_members() -> None:
    stage = Stage(size_max=2)
    first, _ = stage.form(2)
    assert stage.answer(stage.join()) == JoinReply(error=ErrorCode.GROUP_MAX_SIZE_REACHED)
    assert stage.heartbeat(first.member_id, 1) is ErrorCode.NONE


def test_ids_given_out_but_not_used_are_bounded() -> None:
    stage = Stage()
    for _ in range(GROUP_PENDING_MEMBERS_MAX):
        stage.join()
    assert stage.answer(stage.join()) == JoinReply(error=ErrorCode.GROUP_MAX_SIZE_REACHED)
    assert len(stage.group.pending_joins) == GROUP_PENDING_MEMBERS_MAX


def test_committing_counts_as_a_sign_of_life() -> None:
    stage = Stage()
    (joined,) = stage.form()
    stage.advance(8_000)
    assert stage.commit(OFFSET, generation=1, member_id=joined.member_id).errors == (ErrorCode.NONE,)
    stage.advance(8_000)
    assert stage.heartbeat(joined.member_id, 1) is ErrorCode.NONE


@pytest.mark.parametrize("knows", [True, False])
def test_committing_to_a_group_that_does_not_exist_as_its_member(knows: bool) -> None:
    stage = Stage()
    reply = stage.commit(OFFSET, generation=1, member_id="m", knows_group_id_not_found=knows)
    assert reply.error is (ErrorCode.GROUP_ID_NOT_FOUND if knows else ErrorCode.ILLEGAL_GENERATION)


def test_nobody_but_members_commits_to_a_group_with_members() -> None:
    stage = Stage()
    (joined,) = stage.form()
    assert stage.commit(OFFSET).error is ErrorCode.UNKNOWN_MEMBER_ID
    stage.leave(joined.member_id)
    assert stage.commit(OFFSET).errors == (ErrorCode.NONE,)


def test_committing_between_join_and_sync_is_too_early() -> None:
    stage = Stage()
    _, ticket = stage.enter()
    stage.settle()
    joined = stage.answer(ticket)
    reply = stage.commit(OFFSET, generation=1, member_id=joined.member_id)
    assert reply.error is ErrorCode.REBALANCE_IN_PROGRESS


def test_committing_while_a_round_is_open_is_fine() -> None:
    stage = Stage()
    first, second = stage.form(2)
    stage.join(first.member_id)
    assert stage.commit(OFFSET, generation=1, member_id=second.member_id).errors == (ErrorCode.NONE,)
