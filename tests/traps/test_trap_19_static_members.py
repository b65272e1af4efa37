"""Trap 19: a static member that comes back without its member id gets a new one, its old assignment, and disturbs nobody, as long
as it wants the same topics. The id it had is fenced. It stays when its process goes; an administrator removes it by its instance id."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.errors import ErrorCode
from tests.support.broker_process import BrokerProcess
from tests.support.topics import create_topic
from tests.support.wire import Wire
from tests.traps.member import Member, form, new_name, until_rebalancing

Pair = tuple[Member, Member]


@pytest.fixture
def pair(broker_process: BrokerProcess) -> Iterator[Pair]:
    """The leader pod-0 and its follower pod-1."""
    group_id = new_name("static")
    with Wire(broker_process.port) as one, Wire(broker_process.port) as other:
        leader = Member(one, group_id, instance_id="pod-0")
        follower = Member(other, group_id, instance_id="pod-1")
        assert form(leader, follower) is leader
        yield leader, follower


def restarted(member: Member) -> Member:
    return Member(member.wire, member.group_id, instance_id=member.instance_id)


def test_it_comes_back_with_another_id_to_the_same_assignment_and_nobody_rebalances(pair: Pair) -> None:
    leader, follower = pair
    again = restarted(follower)
    joined = again.join()
    assert again.member_id not in ("", follower.member_id)
    assert (joined.error_code, joined.generation_id, joined.leader) == (0, follower.generation, leader.member_id)
    assert again.sync().assignment == follower.member_id.encode()
    assert leader.heartbeat() == 0
    assert again.heartbeat() == 0


def test_with_another_subscription_it_cannot_have_its_old_assignment_and_everybody_meets(pair: Pair) -> None:
    leader, follower = pair
    again = restarted(follower)
    again.ask_to_join(("range", b"other topics"))
    until_rebalancing(leader)
    leader.ask_to_join()
    told = {one.group_instance_id: one.metadata for one in leader.joined().members}
    assert told == {"pod-0": b"topics", "pod-1": b"other topics"}
    assert again.joined().error_code == 0


def test_the_id_it_had_is_fenced_wherever_it_is_used(wire: Wire, pair: Pair) -> None:
    _, former = pair
    topic = create_topic(wire)
    restarted(former).join()
    assert former.heartbeat() == ErrorCode.FENCED_INSTANCE_ID
    assert former.sync().error_code == ErrorCode.FENCED_INSTANCE_ID
    former.ask_to_join()
    assert former.joined().error_code == ErrorCode.FENCED_INSTANCE_ID
    assert former.leave(instance_id="pod-1") == ErrorCode.FENCED_INSTANCE_ID
    assert former.commit(topic, 3, as_instance=True) == ErrorCode.FENCED_INSTANCE_ID
    assert former.commit(topic, 3) == ErrorCode.UNKNOWN_MEMBER_ID


@pytest.mark.parametrize(("version", "skips", "told"), [(9, True, 2), (8, False, 0)])
def test_a_leader_that_comes_back_is_told_to_skip_the_assignment(pair: Pair, version: int, skips, told) -> None:
    leader, follower = pair
    again = restarted(leader)
    joined = again.join(version=version)
    assert (joined.error_code, joined.generation_id) == (0, leader.generation)
    assert (joined.skip_assignment, len(joined.members)) == (skips, told)
    assert (joined.leader == again.member_id) is skips, "before v9 it must take itself for a follower"
    assert again.sync().assignment == leader.member_id.encode()
    assert follower.heartbeat() == 0


def test_it_stays_when_its_connection_ends_and_goes_when_an_administrator_says_so(wire: Wire, pair: Pair) -> None:
    leader, follower = pair
    follower.wire.socket.close()
    assert leader.heartbeat() == 0
    administrator = Member(wire, leader.group_id)
    assert administrator.leave(member_id="", instance_id="pod-7") == ErrorCode.UNKNOWN_MEMBER_ID
    assert administrator.leave(member_id="", instance_id="pod-1") == 0
    assert leader.heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS
    leader.ask_to_join()
    assert [one.group_instance_id for one in leader.joined().members] == ["pod-0"]
