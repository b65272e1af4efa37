"""Members that speak the classic protocol in a consumer group, and groups that change their type under them."""

from __future__ import annotations

from typing import Any

import pytest

from broker.errors import ErrorCode
from broker.groups.classic_group import GroupState
from broker.groups.consumer.group import ConsumerGroupState
from broker.groups.consumer_protocol import assigned_partitions, write_assignment
from broker.groups.events import JoinReply
from tests.groups.consumer.stage import Assigned, ConsumerStage
from tests.groups.stage import GROUP, subscription


def owning(*topics: str, owned: Assigned | None = None) -> bytes:
    """The subscription of a cooperative member (version 1) that keeps what it has while it joins."""
    parts = write_assignment(1, owned or {})[2:-4]
    return subscription(*topics, owned=parts)


def cooperative(*topics: str, owned: Assigned | None = None) -> dict[str, Any]:
    return {"protocols": (("cooperative-sticky", owning(*topics, owned=owned)),)}


def rejoin(stage: ConsumerStage, member_id: str, owned: Assigned | None = None, **how: Any) -> JoinReply:
    reply = stage.answer(stage.join(member_id, **cooperative("clicks", owned=owned), **how))
    assert isinstance(reply, JoinReply)
    return reply


def synced(stage: ConsumerStage, joined: JoinReply) -> dict[str, list[int]]:
    reply = stage.answer(stage.sync(joined))
    assert reply.error is ErrorCode.NONE
    found: dict[str, list[int]] = {}
    for topic, partition in assigned_partitions(reply.assignment) or []:
        found.setdefault(topic, []).append(partition)
    return found


def classic_pair(**settings: Any) -> tuple[ConsumerStage, list[JoinReply]]:
    """A classic group of two, each with two of the four partitions of ``clicks``."""
    stage = ConsumerStage(**settings)
    tickets = [stage.enter(**cooperative("clicks"))[1] for _ in range(2)]
    stage.settle()
    joined = sorted((stage.answer(one) for one in tickets), key=lambda one: one.member_id != one.leader)
    halves = {
        joined[0].member_id: write_assignment(1, {"clicks": [0, 1]}),
        joined[1].member_id: write_assignment(1, {"clicks": [2, 3]}),
    }
    for one in joined:
        stage.sync(one, halves)
    assert stage.group.state is GroupState.STABLE
    return stage, joined


# Upgrade -----------------------------------------------------------------------------------------------


def test_the_first_member_of_the_new_protocol_turns_the_group_with_everybody_in_place() -> None:
    stage, (first, second) = classic_pair()
    new = stage.enter_consumer("new", "clicks")
    assert (new.error, new.epoch, stage.named(new.assigned)) == (ErrorCode.NONE, 2, {})
    assert GROUP not in stage.shard.groups
    assert stage.assigned(first.member_id) == {"clicks": [0, 1]}
    assert stage.assigned(second.member_id) == {"clicks": [2, 3]}
    assert [stage.member(one.member_id).epoch for one in (first, second)] == [1, 1]
    sizes = [len(partitions) for member in stage.consumer_group.members for partitions in stage.target(member).values()]
    assert sorted(sizes) == [1, 1, 2]
    (listed,) = stage.shard.list_groups()
    assert (listed.type, listed.protocol_type) == ("consumer", "consumer")


def test_classic_members_are_told_to_join_again_and_get_where_they_are_to_be() -> None:
    stage, (first, second) = classic_pair()
    stage.enter_consumer("new", "clicks")
    losing = first if stage.target(first.member_id) != {"clicks": [0, 1]} else second
    owned = stage.assigned(losing.member_id)
    assert stage.heartbeat(losing.member_id, 1) is ErrorCode.REBALANCE_IN_PROGRESS
    joined = rejoin(stage, losing.member_id, owned)
    assert (joined.error, joined.generation, joined.leader, joined.members) == (ErrorCode.NONE, 1, "", ())
    assert joined.protocol == "cooperative-sticky"
    (keeps,) = stage.target(losing.member_id)["clicks"]
    assert synced(stage, joined) == {"clicks": [keeps]}
    assert stage.heartbeat(losing.member_id, 1) is ErrorCode.REBALANCE_IN_PROGRESS, "it has not said that it gave up"
    done = rejoin(stage, losing.member_id, {"clicks": [keeps]})
    assert done.generation == 2
    assert synced(stage, done) == {"clicks": [keeps]}
    assert stage.heartbeat(losing.member_id, 2) is ErrorCode.NONE
    assert len(stage.named(stage.beat("new", 2).assigned)["clicks"]) == 1  # type: ignore[index]


def test_an_eager_member_owns_nothing_when_it_joins_so_nothing_is_waited_for() -> None:
    stage, (first, second) = classic_pair()
    stage.enter_consumer("new", "clicks")
    for one in (first, second):
        joined = stage.answer(
            stage.join(one.member_id, protocols=(("cooperative-sticky", subscription("clicks", version=0)),))
        )
        assert joined.generation == 2
        assert synced(stage, joined) == stage.target(one.member_id)
    assert stage.named(stage.beat("new", 2).assigned) == stage.target("new")
    assert stage.consumer_group.state is ConsumerGroupState.STABLE


def test_a_member_that_waited_in_a_round_meets_again_under_the_new_rules() -> None:
    stage, (first, _) = classic_pair()
    waiting = stage.join(first.member_id, **cooperative("clicks", "orders"))
    assert stage.waits(waiting)
    stage.enter_consumer("new", "clicks")
    assert stage.answer(waiting).error is ErrorCode.REBALANCE_IN_PROGRESS
    assert rejoin(stage, first.member_id, {"clicks": [0, 1]}).error is ErrorCode.NONE


@pytest.mark.parametrize(
    ("settings", "why"),
    [({"may_upgrade": False}, "online upgrade is disabled"), ({"size_max": 2}, "larger than group.consumer.max.size")],
)
def test_a_group_that_may_not_turn_sends_the_new_member_away(settings: dict[str, Any], why: str) -> None:
    stage, _ = classic_pair(**settings)
    reply = stage.enter_consumer("new", "clicks")
    assert reply.error is ErrorCode.GROUP_ID_NOT_FOUND
    assert why in (reply.message or "")
    assert stage.group.state is GroupState.STABLE


def test_a_group_of_another_kind_of_client_cannot_turn() -> None:
    stage = ConsumerStage()
    stage.form(1, protocol_type="connect", protocols=(("sessioned", b"whatever"),))
    assert stage.enter_consumer("new", "clicks").error is ErrorCode.GROUP_ID_NOT_FOUND


@pytest.mark.parametrize("bytes_", [b"\x00\x00\x7f", write_assignment(0, {})[:-4] + b"\x00\x00\x00\x02hi"])
def test_what_a_custom_assignor_says_would_be_lost_so_its_group_cannot_turn(bytes_: bytes) -> None:
    stage = ConsumerStage()
    _, ticket = stage.enter(protocols=(("own", owning("clicks")),))
    stage.settle()
    joined = stage.answer(ticket)
    stage.sync(joined, {joined.member_id: bytes_})
    assert stage.enter_consumer("new", "clicks").error is ErrorCode.GROUP_ID_NOT_FOUND
    assert stage.group.state is GroupState.STABLE


def test_what_a_sticky_assignor_remembers_is_no_obstacle() -> None:
    stage = ConsumerStage()
    _, ticket = stage.enter(**cooperative("clicks"))
    stage.settle()
    joined = stage.answer(ticket)
    remembered = write_assignment(0, {"clicks": [0, 1, 2, 3]})[:-4] + b"\x00\x00\x00\x02hi"
    stage.sync(joined, {joined.member_id: remembered})
    assert stage.enter_consumer("new", "clicks").error is ErrorCode.NONE
    assert stage.assigned(joined.member_id) == {"clicks": [0, 1, 2, 3]}


def test_an_empty_classic_group_is_simply_replaced_whatever_the_policy() -> None:
    stage, joined = classic_pair(may_upgrade=False)
    stage.commit(member_id=joined[0].member_id, generation=1)
    stage.leave(*(one.member_id for one in joined))
    assert stage.group.is_empty
    assert stage.enter_consumer("new", "clicks").error is ErrorCode.NONE
    stage.reload()
    assert list(stage.consumer_group.members) == ["new"]


# Living together ---------------------------------------------------------------------------------------


def consumer_group_with_classic(**settings: Any) -> tuple[ConsumerStage, str]:
    """``new`` of the consumer protocol, then a classic member; both have their half."""
    stage = ConsumerStage(**settings)
    stage.enter_consumer("new", "clicks")
    member_id = stage.answer(stage.join(**cooperative("clicks"))).member_id
    joined = rejoin(stage, member_id)
    assert synced(stage, joined) == {}
    stage.settle_group()
    assert stage.heartbeat(member_id, joined.generation) is ErrorCode.REBALANCE_IN_PROGRESS
    assert synced(stage, rejoin(stage, member_id)) == {"clicks": [2, 3]}
    assert stage.consumer_group.state is ConsumerGroupState.STABLE
    return stage, member_id


def test_a_classic_member_joins_a_consumer_group_the_way_it_knows() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("new", "clicks")
    asked = stage.answer(stage.join(**cooperative("clicks")))
    assert asked.error is ErrorCode.MEMBER_ID_REQUIRED
    joined = rejoin(stage, asked.member_id)
    assert (joined.error, joined.generation, joined.protocol_type) == (ErrorCode.NONE, 2, "consumer")


def test_while_others_hold_its_partitions_it_is_left_in_peace() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("new", "clicks")
    member_id = stage.answer(stage.join(**cooperative("clicks"))).member_id
    synced(stage, rejoin(stage, member_id))
    assert stage.heartbeat(member_id, 2) is ErrorCode.NONE
    stage.settle_group()
    assert stage.heartbeat(member_id, 2) is ErrorCode.REBALANCE_IN_PROGRESS


@pytest.mark.parametrize(
    ("protocol_type", "protocols"),
    [
        ("connect", (("x", b""),)),
        ("consumer", ()),
        ("consumer", (("range", b"\x00"),)),
        ("consumer", (("other", owning("clicks")),)),
    ],
    ids=["another type", "none", "malformed", "shared with nobody"],
)
def test_a_classic_member_must_be_able_to_live_with_the_others(protocol_type: str, protocols: Any) -> None:
    stage, _ = consumer_group_with_classic()
    ticket = stage.join(protocol_type=protocol_type, protocols=protocols)
    assert stage.answer(ticket).error is ErrorCode.INCONSISTENT_GROUP_PROTOCOL


def test_the_only_classic_member_may_change_its_protocol() -> None:
    stage, member_id = consumer_group_with_classic()
    changed = stage.answer(stage.join(member_id, protocols=(("range", owning("clicks", owned={"clicks": [2, 3]})),)))
    assert (changed.error, changed.protocol) == (ErrorCode.NONE, "range")


def test_generations_and_protocols_are_held_to() -> None:
    stage, member_id = consumer_group_with_classic()
    joined = JoinReply(member_id=member_id, generation=2)
    assert stage.heartbeat(member_id, 1) is ErrorCode.ILLEGAL_GENERATION
    assert stage.heartbeat("new", 2) is ErrorCode.UNKNOWN_MEMBER_ID
    assert stage.heartbeat("nobody", 2) is ErrorCode.UNKNOWN_MEMBER_ID
    assert stage.answer(stage.sync(joined, generation=1)).error is ErrorCode.ILLEGAL_GENERATION
    assert stage.answer(stage.sync(joined, protocol="range")).error is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert stage.answer(stage.sync(joined, protocol_type="x")).error is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert synced(stage, joined) == {"clicks": [2, 3]}
    stage.enter_consumer("newer", "clicks")
    assert stage.answer(stage.sync(joined)).error is ErrorCode.REBALANCE_IN_PROGRESS


def test_it_commits_under_its_generation() -> None:
    stage, member_id = consumer_group_with_classic()
    assert stage.commit(member_id=member_id, generation=2, knows_group_id_not_found=False).error is ErrorCode.NONE
    assert stage.commit(member_id=member_id, generation=3).error is ErrorCode.ILLEGAL_GENERATION


def test_who_is_told_to_join_again_and_does_not_is_fenced() -> None:
    stage, member_id = consumer_group_with_classic(session_timeout_ms=10**9)
    stage.enter_consumer("newer", "clicks")
    for _ in range(6):
        assert stage.heartbeat(member_id, 2) is ErrorCode.REBALANCE_IN_PROGRESS
        stage.advance(9_999)
    stage.heartbeat(member_id, 2)
    stage.advance(10)
    assert member_id not in stage.consumer_group.members


def test_who_joins_and_does_not_sync_is_fenced() -> None:
    stage, member_id = consumer_group_with_classic(session_timeout_ms=10**9)
    rejoin(stage, member_id, {"clicks": [2, 3]})
    for _ in range(6):
        assert stage.heartbeat(member_id, 2) is ErrorCode.NONE
        stage.advance(9_999)
    stage.heartbeat(member_id, 2)
    stage.advance(10)
    assert member_id not in stage.consumer_group.members


def test_its_session_is_its_own() -> None:
    stage, member_id = consumer_group_with_classic(session_timeout_ms=10**9)
    stage.advance(9_999)
    assert member_id in stage.consumer_group.members
    stage.advance(1)
    assert member_id not in stage.consumer_group.members


def test_it_leaves_as_it_always_did() -> None:
    stage, member_id = consumer_group_with_classic()
    assert stage.leave(member_id).members[0][1] is ErrorCode.NONE
    stage.settle_group()
    assert stage.assigned("new") == {"clicks": [0, 1, 2, 3]}


# Downgrade ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["leaves", "is silent"])
def test_when_the_last_new_member_goes_the_group_is_classic_again(how: str) -> None:
    stage, member_id = consumer_group_with_classic(session_timeout_ms=9_000)
    stage.commit(member_id=member_id, generation=2)
    if how == "leaves":
        assert stage.leave_consumer("new").error is ErrorCode.NONE
    else:
        stage.advance(5_000)
        stage.heartbeat(member_id, 2)
        stage.advance(4_000)
    assert GROUP not in stage.shard.consumer.groups
    assert (stage.group.state, stage.group.generation, list(stage.group.members)) == (
        GroupState.PREPARING_REBALANCE,
        2,
        [member_id],
    )
    assert stage.heartbeat(member_id, 2) is ErrorCode.REBALANCE_IN_PROGRESS
    joined = rejoin(stage, member_id, {"clicks": [2, 3]})
    assert (joined.generation, joined.leader) == (3, member_id)
    stage.reload()
    assert GROUP not in stage.shard.consumer.groups
    assert list(stage.group.members) == [member_id]


def test_members_keep_their_other_protocols_through_a_downgrade() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("new", "clicks")
    both = (("range", owning("clicks")), ("cooperative-sticky", owning("clicks")))
    member_id = stage.answer(stage.join(protocols=both)).member_id
    stage.join(member_id, protocols=both)
    stage.leave_consumer("new")
    assert stage.group.members[member_id].protocols == both


def test_a_group_that_may_not_turn_back_stays_with_its_classic_members() -> None:
    stage, member_id = consumer_group_with_classic(may_downgrade=False)
    stage.leave_consumer("new")
    assert list(stage.consumer_group.members) == [member_id]
    assert stage.heartbeat(member_id, 2) is ErrorCode.REBALANCE_IN_PROGRESS
    assert synced(stage, rejoin(stage, member_id, {"clicks": [2, 3]})) == {"clicks": [0, 1, 2, 3]}


def test_a_static_member_that_comes_back_classic_turns_the_group_without_a_rebalance() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("new", "clicks", instance_id="i")
    joined = stage.answer(stage.join(instance="i", **cooperative("clicks")))
    assert (joined.error, joined.generation) == (ErrorCode.NONE, 1)
    assert (stage.group.state, list(stage.group.members)) == (GroupState.STABLE, [joined.member_id])
    assert synced(stage, joined) == {"clicks": [0, 1, 2, 3]}
    assert stage.beat("new", 1, instance_id="i").error is ErrorCode.GROUP_ID_NOT_FOUND


def test_and_with_one_when_it_subscribes_to_something_else() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("new", "clicks", instance_id="i")
    joined = stage.answer(stage.join(instance="i", **cooperative("orders")))
    assert joined.error is ErrorCode.NONE
    assert stage.group.state is GroupState.PREPARING_REBALANCE


def test_a_static_classic_member_may_take_the_new_protocol_in_its_place() -> None:
    stage = ConsumerStage()
    ticket = stage.join(instance="i", **cooperative("clicks"))
    stage.settle()
    joined = stage.answer(ticket)
    stage.sync(joined, {joined.member_id: write_assignment(1, {"clicks": [0, 1, 2, 3]})})
    new = stage.enter_consumer("new", "clicks", instance_id="i")
    assert (new.error, stage.named(new.assigned)) == (ErrorCode.NONE, {"clicks": [0, 1, 2, 3]})
    assert list(stage.consumer_group.members) == ["new"]


def test_an_empty_consumer_group_is_a_classic_one_to_whoever_joins_next() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("new", "clicks")
    stage.leave_consumer("new")
    member_id, ticket = stage.enter(**cooperative("clicks"))
    stage.settle()
    assert stage.answer(ticket).leader == member_id
    assert stage.group.members.keys() == {member_id}
    assert GROUP not in stage.shard.consumer.groups
