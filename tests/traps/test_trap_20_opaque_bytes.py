"""Trap 20: what members tell each other through the broker is theirs. Metadata and assignments come back byte for byte, whatever they
are, under whatever protocol type; type and name of the protocol are told back to those versions that ask for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.broker_process import BrokerProcess
from tests.support.wire import Wire
from tests.traps.member import Member, new_name, until_rebalancing

EVERY_BYTE = bytes(range(256)) * 3
LIKE_A_SUBSCRIPTION_BUT_NOT_ONE = b"\x00\x01\x00\x00\x00\x05\x00\x03abc"


@pytest.fixture
def two(broker_process: BrokerProcess) -> Iterator[tuple[Member, Member]]:
    group_id = new_name("opaque")
    with Wire(broker_process.port) as one, Wire(broker_process.port) as other:
        yield Member(one, group_id), Member(other, group_id)


@pytest.mark.parametrize("protocol_type", ["consumer", "connect", "sr", "sender-of-whatever"])
@pytest.mark.parametrize(
    "payload", [b"", EVERY_BYTE, LIKE_A_SUBSCRIPTION_BUT_NOT_ONE], ids=["empty", "every", "almost"]
)
def test_bytes_come_back_as_they_were_given(two: tuple[Member, Member], protocol_type: str, payload: bytes) -> None:
    leader, follower = two
    leader.join(("v1", b"of the leader" + payload), protocol_type=protocol_type)
    follower.ask_to_join(("v1", payload), protocol_type=protocol_type)
    follower.joined()
    follower.ask_to_join(("v1", payload), protocol_type=protocol_type)
    until_rebalancing(leader)
    leader.ask_to_join(("v1", b"of the leader" + payload), protocol_type=protocol_type)
    joined, followed = leader.joined(), follower.joined()
    assert {one.member_id: one.metadata for one in joined.members} == {
        leader.member_id: b"of the leader" + payload,
        follower.member_id: payload,
    }
    assert (joined.protocol_type, joined.protocol_name) == (protocol_type, "v1")
    assert (followed.protocol_type, followed.protocol_name) == (protocol_type, "v1")
    leader.sync(protocol_type=protocol_type, **{follower.member_id: payload})
    synced = follower.sync(protocol_type=protocol_type)
    assert (synced.error_code, synced.assignment) == (0, payload)
    assert (synced.protocol_type, synced.protocol_name) == (protocol_type, "v1")
    described = m.DescribeGroupsRequest(groups=[leader.group_id])
    (group,) = leader.wire.call(ApiKey.DESCRIBE_GROUPS, 5, described).groups
    assert (group.protocol_type, group.protocol_data) == (protocol_type, "v1")
    (seen,) = [one for one in group.members if one.member_id == follower.member_id]
    assert (seen.member_metadata, seen.member_assignment) == (payload, payload)


def test_where_there_is_no_protocol_none_is_told(two: tuple[Member, Member]) -> None:
    member, _ = two
    member.ask_to_join(version=7)
    refused = member.joined()
    assert (refused.error_code, refused.protocol_type, refused.protocol_name) == (
        ErrorCode.MEMBER_ID_REQUIRED,
        None,
        None,
    )
    member.ask_to_join(version=6)
    assert (member.joined().error_code, member.protocol) == (0, "range")
    stranger = Member(member.wire, new_name("dead"))
    stranger.member_id, stranger.protocol = "nobody", "range"
    synced = stranger.sync()
    assert (synced.error_code, synced.protocol_type, synced.protocol_name, synced.assignment) == (
        ErrorCode.UNKNOWN_MEMBER_ID,
        None,
        None,
        b"",
    )


def test_from_v5_on_who_syncs_must_say_for_which_protocol(two: tuple[Member, Member]) -> None:
    member, _ = two
    member.join()
    assert member.sync(protocol_type=None).error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert member.sync(protocol_type="connect").error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert member.sync(version=4, protocol_type=None, _=b"mine").assignment == b"mine"
    member.protocol = "sticky"
    assert member.sync().error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
