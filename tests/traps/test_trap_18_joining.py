"""Trap 18: who joins without an id is given one and asked to come again with it (KIP-394). A round waits for everybody it knows, for
as long as the slowest member allows; then the leader alone is told all of them, under a protocol all of them speak."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from broker.errors import ErrorCode
from tests.support.broker_process import BrokerProcess
from tests.support.wait import wait_until
from tests.support.wire import Wire
from tests.traps.member import Member, form, new_name, until_rebalancing

NewMember = Callable[..., Member]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """One that takes short sessions, so that a test may outlive them."""
    with BrokerProcess(tmp_path_factory.mktemp("joins"), OTTLA_GROUP_MIN_SESSION_TIMEOUT_MS="200") as process:
        yield process


@pytest.fixture
def member(broker: BrokerProcess) -> Iterator[NewMember]:
    """Members of one group, each with a connection of its own."""
    group_id = new_name("join")
    wires: list[Wire] = []

    def new(*, instance_id: str | None = None) -> Member:
        wires.append(Wire(broker.port))
        return Member(wires[-1], group_id, instance_id=instance_id)

    yield new
    for wire in wires:
        wire.socket.close()


def test_an_empty_id_is_answered_with_an_id_that_is_expected_back(member: NewMember) -> None:
    newcomer = member()
    newcomer.ask_to_join()
    refused = newcomer.joined()
    assert (refused.error_code, refused.generation_id) == (ErrorCode.MEMBER_ID_REQUIRED, -1)
    given = refused.member_id
    assert given
    assert newcomer.state() == "Empty", "nobody is a member yet"
    newcomer.ask_to_join()
    joined = newcomer.joined()
    assert (joined.error_code, joined.member_id, joined.leader) == (0, given, given)


@pytest.mark.parametrize(("version", "instance_id"), [(3, None), (5, "pod-1")])
def test_before_v4_and_with_an_instance_id_nobody_is_asked_twice(member: NewMember, version: int, instance_id) -> None:
    newcomer = member(instance_id=instance_id)
    newcomer.ask_to_join(version=version)
    assert newcomer.joined().error_code == 0


def test_an_id_nobody_comes_back_with_is_forgotten_when_its_session_is_over(member: NewMember) -> None:
    newcomer = member()
    newcomer.ask_to_join(session_ms=200)
    assert newcomer.joined().error_code == ErrorCode.MEMBER_ID_REQUIRED
    over = time.monotonic() + 1.0
    wait_until(lambda: time.monotonic() > over, "the session is over: asking would tell, but also prolong it")
    newcomer.ask_to_join(session_ms=200)
    assert newcomer.joined().error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_round_waits_for_everybody_and_the_leader_alone_is_told_who_they_are(member: NewMember) -> None:
    first, second, newcomer = member(), member(), member()
    form(first, second)
    newcomer.ask_to_join()
    newcomer.joined()
    newcomer.ask_to_join()
    until_rebalancing(first, second)
    first.ask_to_join()
    newcomer.wire.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        newcomer.joined()
    newcomer.wire.socket.settimeout(10)
    second.ask_to_join()
    answers = [one.joined() for one in (first, second, newcomer)]
    assert {answer.generation_id for answer in answers} == {3}
    everybody = {one.member_id for one in (first, second, newcomer)}
    for one, answer in zip((first, second, newcomer), answers, strict=True):
        told = {entry.member_id for entry in answer.members}
        assert told == (everybody if one.member_id == answer.leader else set())


def test_who_does_not_come_back_in_its_rebalance_time_is_left_behind(member: NewMember) -> None:
    absent, newcomer = member(), member()
    form(absent, rebalance_ms=400)
    newcomer.ask_to_join(rebalance_ms=400)
    newcomer.joined()
    newcomer.ask_to_join(rebalance_ms=400)
    joined = newcomer.joined()
    assert [one.member_id for one in joined.members] == [newcomer.member_id]
    assert absent.heartbeat() == ErrorCode.UNKNOWN_MEMBER_ID


def test_members_keep_their_ids_through_rounds_that_overlap(member: NewMember) -> None:
    """The commonest mistake: a round opens while another is being closed, and somebody is told it is unknown."""
    members = [member() for _ in range(3)]
    form(*members)
    ids = [one.member_id for one in members]
    for opener in members * 2:
        opener.ask_to_join(("range", b"other topics"))
        others = [one for one in members if one is not opener]
        until_rebalancing(*others)
        for one in others:
            one.ask_to_join()
        assert [one.joined().error_code for one in members] == [0, 0, 0]
        follower = next(one for one in members if one is not opener)
        assert follower.heartbeat() == 0, "between joining and syncing a member is one"
    assert [one.member_id for one in members] == ids


def test_the_protocol_is_one_that_all_speak_and_most_prefer(member: NewMember) -> None:
    first, second = member(), member()
    first.join(("range", b""), ("sticky", b""))
    second.ask_to_join(("sticky", b""))
    second.joined()
    second.ask_to_join(("sticky", b""))
    until_rebalancing(first)
    first.ask_to_join(("range", b""), ("sticky", b""))
    assert [one.joined().protocol_name for one in (first, second)] == ["sticky", "sticky"]
    stranger = member()
    for strange in ({"protocol_type": "connect"}, {}):
        stranger.ask_to_join(("roundrobin", b""), **strange)
        assert stranger.joined().error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
