"""How members meet: opening, waiting for, completing and failing a round."""

from __future__ import annotations

from broker.errors import ErrorCode
from broker.groups.classic_group import GroupState
from broker.groups.events import JoinedMember, JoinReply, LeavingMember, SyncReply
from broker.groups.records import GroupRecord, GroupValue, MemberValue
from tests.groups.stage import GROUP, START_MS, Stage, subscription

CLICKS = subscription("clicks")


def test_a_new_member_is_first_given_an_id() -> None:
    stage = Stage()
    assert stage.answer(stage.join()) == JoinReply(error=ErrorCode.MEMBER_ID_REQUIRED, member_id="app-1")
    assert stage.timers == {("session", GROUP, "app-1"): START_MS + 10_000}
    assert stage.log == []


def test_an_old_client_becomes_a_member_at_once() -> None:
    stage = Stage()
    ticket = stage.join(version=3)
    stage.settle()
    assert stage.answer(ticket).member_id == "app-1"


def test_a_pending_id_that_is_never_used_expires_and_leaves_no_trace() -> None:
    stage = Stage()
    stage.join()
    stage.advance(10_000)
    assert stage.shard.groups == {}
    assert stage.timers == {}


def test_the_only_member_leads_and_is_told_of_itself() -> None:
    stage = Stage()
    member_id, ticket = stage.enter()
    stage.settle()
    assert stage.answer(ticket) == JoinReply(
        member_id=member_id,
        generation=1,
        protocol_type="consumer",
        protocol="range",
        leader=member_id,
        members=(JoinedMember(member_id=member_id, instance_id=None, metadata=CLICKS),),
    )
    assert stage.group.state is GroupState.COMPLETING_REBALANCE
    assert stage.log == [], "a round is not written, only its outcome"


def test_the_leaders_sync_is_the_outcome_and_the_only_record() -> None:
    stage = Stage()
    (joined,) = stage.form()
    assert stage.log == [
        GroupRecord(
            group_id=GROUP,
            value=GroupValue(
                protocol_type="consumer",
                generation=1,
                protocol="range",
                leader=joined.member_id,
                state_timestamp_ms=START_MS,
                members=(
                    MemberValue(
                        member_id=joined.member_id,
                        instance_id=None,
                        client_id="app",
                        client_host="/10.0.0.1",
                        rebalance_timeout_ms=60_000,
                        session_timeout_ms=10_000,
                        subscription=CLICKS,
                        assignment=joined.member_id.encode(),
                    ),
                ),
            ),
        )
    ]
    assert stage.group.state is GroupState.STABLE
    assert stage.timers == {("session", GROUP, joined.member_id): START_MS + 10_000}


def test_followers_wait_for_the_leaders_assignment_and_get_their_own_bytes() -> None:
    stage = Stage()
    tickets = [stage.enter()[1] for _ in range(2)]
    stage.settle()
    leader, follower = (stage.answer(ticket) for ticket in tickets)
    assert (follower.members, follower.leader) == ((), leader.member_id)
    waiting = stage.sync(follower)
    assert stage.waits(waiting)
    stage.sync(leader, {follower.member_id: b"\x00opaque\xff"})
    assert stage.answer(waiting) == SyncReply(protocol_type="consumer", protocol="range", assignment=b"\x00opaque\xff")


def test_a_member_the_leader_forgot_gets_an_empty_assignment() -> None:
    stage = Stage()
    tickets = [stage.enter()[1] for _ in range(2)]
    stage.settle()
    leader, follower = (stage.answer(ticket) for ticket in tickets)
    stage.sync(leader, {})
    assert stage.answer(stage.sync(follower)).assignment == b""


def test_a_first_round_waits_for_others_and_once_more_if_someone_came() -> None:
    stage = Stage(initial_rebalance_delay_ms=3_000)
    _, first = stage.enter()
    stage.advance(2_900)
    _, second = stage.enter()
    stage.advance(2_900)
    assert stage.waits(first)
    stage.advance(200)
    assert stage.answer(first).generation == stage.answer(second).generation == 1


def test_a_first_round_never_waits_longer_than_the_rebalance_timeout() -> None:
    stage = Stage(initial_rebalance_delay_ms=3_000)
    tickets = [stage.enter(rebalance_ms=7_000)[1]]
    for _ in range(8):
        stage.advance(1_000)
        tickets.append(stage.enter(rebalance_ms=7_000)[1])
    assert stage.answer(tickets[0]).generation == 1


def test_everyone_in_a_stable_group_is_called_back_when_someone_joins() -> None:
    stage = Stage()
    first, second = stage.form(2)
    newcomer, ticket = stage.enter(reason="rolling restart")
    assert stage.heartbeat(first.member_id, 1) is ErrorCode.REBALANCE_IN_PROGRESS
    assert stage.group.last_rebalance_reason == f"member {newcomer} joined (rolling restart)"
    again = [stage.join(first.member_id), stage.join(second.member_id)]
    assert [stage.answer(one).generation for one in [ticket, *again]] == [2, 2, 2]
    assert {one.member_id for one in stage.answer(again[0]).members} == {first.member_id, second.member_id, newcomer}


def test_who_does_not_come_back_in_time_is_out_and_the_others_go_on() -> None:
    stage = Stage()
    first, second = stage.form(2, session_ms=300_000)
    _, ticket = stage.enter(session_ms=300_000)
    stage.join(second.member_id, session_ms=300_000)
    stage.advance(60_000)
    assert stage.answer(ticket).generation == 2
    assert first.member_id not in stage.group.members
    assert stage.group.leader == second.member_id
    assert stage.heartbeat(first.member_id, 1) is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_round_waits_for_ids_that_were_just_given_out() -> None:
    stage = Stage()
    (first,) = stage.form()
    pending = stage.answer(stage.join()).member_id
    _, ticket = stage.enter()
    stage.join(first.member_id)
    assert stage.waits(ticket)
    stage.join(pending)
    assert len(stage.group.members) == 3
    assert stage.answer(ticket).generation == 2


def test_a_silent_member_is_removed_after_its_session() -> None:
    stage = Stage()
    first, second = stage.form(2)
    stage.advance(6_000)
    stage.heartbeat(first.member_id, 1)
    stage.advance(5_000)
    assert list(stage.group.members) == [first.member_id]
    assert stage.group.state is GroupState.PREPARING_REBALANCE
    assert stage.group.last_rebalance_reason == f"session of member {second.member_id} timed out"


def test_a_member_that_waits_in_a_round_is_alive_however_long_it_takes() -> None:
    stage = Stage()
    first, second = stage.form(2, session_ms=10_000, rebalance_ms=300_000)
    ticket = stage.join(first.member_id, protocols=(("range", subscription("other")),), rebalance_ms=300_000)
    for _ in range(20):
        stage.advance(9_000)
        stage.heartbeat(second.member_id, 1)
    assert stage.waits(ticket)
    assert first.member_id in stage.group.members
    stage.join(second.member_id)
    assert stage.answer(ticket).error is ErrorCode.NONE


def test_a_new_member_whose_client_may_be_gone_waits_five_minutes_at_most() -> None:
    stage = Stage()
    (first,) = stage.form(session_ms=10_000_000, rebalance_ms=10_000_000)
    _, ticket = stage.enter()
    stage.advance(300_000)
    assert stage.answer(ticket) == JoinReply(error=ErrorCode.UNKNOWN_MEMBER_ID)
    assert list(stage.group.members) == [first.member_id]


def test_members_that_take_the_answer_but_never_sync_are_removed() -> None:
    stage = Stage()
    tickets = [stage.enter(session_ms=100_000)[1] for _ in range(2)]
    stage.settle()
    leader, follower = (stage.answer(ticket) for ticket in tickets)
    stage.sync(leader, {})
    stage.advance(60_000)
    assert list(stage.group.members) == [leader.member_id]
    assert stage.group.state is GroupState.PREPARING_REBALANCE
    assert stage.heartbeat(follower.member_id, 1) is ErrorCode.UNKNOWN_MEMBER_ID


def test_when_the_last_one_leaves_the_group_is_empty_and_says_since_when() -> None:
    stage = Stage()
    (joined,) = stage.form()
    stage.advance(5_000)
    stage.leave(joined.member_id)
    assert stage.log[-1] == GroupRecord(
        group_id=GROUP,
        value=GroupValue(
            protocol_type="consumer", generation=2, protocol=None, leader=None, state_timestamp_ms=START_MS + 5_000
        ),
    )
    assert stage.group.state is GroupState.EMPTY
    assert stage.timers == {}


def test_the_leader_that_leaves_is_succeeded() -> None:
    stage = Stage()
    leader, follower = stage.form(2)
    stage.leave(leader.member_id)
    reply = stage.answer(stage.join(follower.member_id))
    assert (reply.leader, len(reply.members), reply.generation) == (follower.member_id, 1, 2)


def test_the_protocol_most_members_prefer_among_those_all_support_wins() -> None:
    stage = Stage()
    preferences = [("sticky", "range"), ("range", "sticky"), ("mine", "range", "sticky")]
    tickets = [stage.enter(protocols=tuple((name, CLICKS) for name in names))[1] for names in preferences]
    stage.settle()
    assert {stage.answer(ticket).protocol for ticket in tickets} == {"range"}


def test_a_member_with_nothing_in_common_is_refused_and_the_group_lives_on() -> None:
    stage = Stage()
    (joined,) = stage.form()
    refusal = JoinReply(error=ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    assert stage.answer(stage.join(protocols=(("other", b""),))) == refusal
    assert stage.answer(stage.join(protocol_type="connect")) == refusal
    assert stage.answer(stage.join(protocols=())) == refusal
    assert stage.heartbeat(joined.member_id, 1) is ErrorCode.NONE


def test_a_group_whose_metadata_does_not_fit_into_a_record_cannot_become_stable() -> None:
    stage = Stage(record_bytes_max=400)
    _, ticket = stage.enter()
    stage.settle()
    joined = stage.answer(ticket)
    synced = stage.sync(joined, {joined.member_id: bytes(400)})
    assert stage.answer(synced) == SyncReply(error=ErrorCode.UNKNOWN_SERVER_ERROR)
    assert stage.group.state is GroupState.PREPARING_REBALANCE
    assert stage.log == []


def test_after_a_reload_members_carry_on_where_the_last_outcome_left_them() -> None:
    stage = Stage()
    first, second = stage.form(2)
    stage.reload()
    assert stage.heartbeat(first.member_id, 1) is ErrorCode.NONE
    assert stage.answer(stage.sync(second)).assignment == second.member_id.encode()
    stage.advance(9_000)
    assert stage.heartbeat(second.member_id, 1) is ErrorCode.NONE


def test_a_reload_knows_the_subscription_of_the_last_outcome_and_not_of_an_older_one() -> None:
    stage = Stage()
    (joined,) = stage.form()
    again = stage.answer(stage.join(joined.member_id, protocols=(("sticky", subscription("other")),)))
    stage.sync(again, {})
    live = stage.group.value()
    stage.reload()
    assert stage.group.value() == live
    assert stage.group.subscribed == {"other"}
    assert stage.group.shared_protocols() == {"sticky"}


def test_a_round_lost_in_a_crash_is_met_again() -> None:
    stage = Stage()
    (first,) = stage.form()
    newcomer, ticket = stage.enter()
    stage.join(first.member_id)
    assert stage.answer(ticket).generation == 2
    stage.reload()
    assert stage.heartbeat(newcomer, 2) is ErrorCode.UNKNOWN_MEMBER_ID
    assert stage.heartbeat(first.member_id, 2) is ErrorCode.ILLEGAL_GENERATION
    assert stage.answer(stage.join(first.member_id)).generation == 2


def test_a_reloaded_group_that_is_too_large_meets_again() -> None:
    stage = Stage()
    joined = stage.form(3)
    stage.config = type(stage.config)(size_max=2, initial_rebalance_delay_ms=0)
    stage.reload()
    answers = [stage.join(one.member_id) for one in joined]
    assert stage.answer(answers[2]) == JoinReply(error=ErrorCode.GROUP_MAX_SIZE_REACHED)
    assert [stage.answer(one).generation for one in answers[:2]] == [2, 2]


def test_concurrent_rebalances_never_call_a_living_member_unknown() -> None:
    """Twenty members, each joining while the round before is still being synced."""
    stage = Stage()
    known: dict[str, JoinReply] = {}
    for _ in range(20):
        newcomer, ticket = stage.enter()
        tickets = {newcomer: ticket}
        for member_id, reply in known.items():
            assert stage.heartbeat(member_id, reply.generation) in (ErrorCode.NONE, ErrorCode.REBALANCE_IN_PROGRESS)
            stage.sync(reply)
            tickets[member_id] = stage.join(member_id)
        stage.settle()
        known = {member_id: stage.answer(ticket) for member_id, ticket in tickets.items()}
        assert {reply.error for reply in known.values()} == {ErrorCode.NONE}
    assert {getattr(reply, "error", None) for reply in stage.replies.values()}.isdisjoint({ErrorCode.UNKNOWN_MEMBER_ID})


def test_an_administrator_removes_a_static_member_by_its_instance() -> None:
    stage = Stage()
    ticket = stage.join(instance="pod-1")
    stage.settle()
    stage.sync(stage.answer(ticket), {})
    leaving = LeavingMember(member_id="", instance_id="pod-1")
    unknown = LeavingMember(member_id="", instance_id="pod-2")
    assert stage.leave(leaving, unknown).members == (
        (leaving, ErrorCode.NONE),
        (unknown, ErrorCode.UNKNOWN_MEMBER_ID),
    )
    assert stage.group.is_empty
