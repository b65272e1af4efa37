"""Trap 21: an offset nobody committed is -1 and no error. Who may commit depends on the group: members in their generation, nobody
while it rebalances, and clients without membership only where there are no members. An offset a transaction holds is not stable.
Offsets expire from when their group became empty, and not while a transaction holds one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.errors import ErrorCode
from broker.groups.events import Leave, LeavingMember
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.groups.coordinator import World
from tests.groups.test_driver import form as form_in_memory
from tests.groups.test_transactional_offsets import Transactions
from tests.support.broker_process import BrokerProcess
from tests.support.topics import create_topic
from tests.support.wait import wait_until
from tests.support.wire import Wire
from tests.transactions.version_2 import Producer
from tests.traps.member import Member, form, new_name, round_of, until_ready

ALL = None


@pytest.fixture
def topic(wire: Wire) -> str:
    return create_topic(wire, partitions=2)


@pytest.fixture
def member(wire: Wire) -> Member:
    return Member(wire, new_name("offsets"))


def test_what_nobody_committed_is_nothing_and_no_error(member: Member, topic: str) -> None:
    for _ in range(2):  # of a group nobody knows, and of one that has other offsets
        (found,) = member.committed(topic, 1)
        assert (found.error_code, found.committed_offset, found.committed_leader_epoch, found.metadata) == (
            0,
            -1,
            -1,
            "",
        )
        assert member.commit(topic, 5, as_member=False) == 0


def test_metadata_and_epoch_come_back_with_the_offset(member: Member, topic: str) -> None:
    assert member.commit(topic, 5, as_member=False, metadata="wörk: \x00 {}") == 0
    (found,) = member.committed(topic)
    assert (found.committed_offset, found.committed_leader_epoch, found.metadata) == (5, 0, "wörk: \x00 {}")
    assert member.commit(topic, 6, as_member=False, metadata="x" * 4097) == ErrorCode.OFFSET_METADATA_TOO_LARGE
    assert member.committed(topic)[0].committed_offset == 5


def test_all_means_those_that_were_committed(member: Member, topic: str) -> None:
    r = m.OffsetFetchRequest
    everything = r(groups=[r.OffsetFetchRequestGroup(group_id=member.group_id, topics=ALL)])
    assert member.wire.call(ApiKey.OFFSET_FETCH, 8, everything).groups[0].topics == []
    member.commit(topic, 5, as_member=False)
    (found,) = member.wire.call(ApiKey.OFFSET_FETCH, 8, everything).groups[0].topics
    assert (found.name, [one.partition_index for one in found.partitions]) == (topic, [0])


def test_members_alone_commit_to_a_group_that_has_members(member: Member, topic: str) -> None:
    form(member)
    assert member.commit(topic, 1) == 0
    assert member.commit(topic, 2, as_member=False) == ErrorCode.UNKNOWN_MEMBER_ID
    member.generation += 1
    assert member.commit(topic, 3) == ErrorCode.ILLEGAL_GENERATION
    member.generation -= 1
    assert member.committed(topic)[0].committed_offset == 1
    assert member.leave() == 0
    assert member.commit(topic, 4) == ErrorCode.UNKNOWN_MEMBER_ID
    assert member.commit(topic, 5, as_member=False) == 0, "empty again"


def test_between_joining_and_syncing_nobody_commits(member: Member, topic: str) -> None:
    round_of(member)
    assert member.commit(topic, 1) == ErrorCode.REBALANCE_IN_PROGRESS
    assert member.committed(topic)[0].committed_offset == -1
    assert member.sync(_=b"").error_code == 0
    assert member.commit(topic, 1) == 0


@pytest.fixture
def producer(wire: Wire, broker_process: BrokerProcess) -> Iterator[Producer]:
    with Producer(broker_process.port, new_name()) as one:
        until_ready(wire, one)
        yield one


def commit_in_transaction(wire: Wire, producer: Producer, member: Member, topic: str, offset: int) -> None:
    r = m.TxnOffsetCommitRequest
    item = r.TxnOffsetCommitRequestPartition(partition_index=0, committed_offset=offset, committed_metadata="")
    request = r(
        transactional_id=producer.transactional_id,
        group_id=member.group_id,
        producer_id=producer.id,
        producer_epoch=producer.epoch,
        generation_id=member.generation,
        member_id=member.member_id,
        topics=[r.TxnOffsetCommitRequestTopic(name=topic, partitions=[item])],
    )

    def done() -> bool:
        (answer,) = wire.call(ApiKey.TXN_OFFSET_COMMIT, 5, request).topics[0].partitions
        assert answer.error_code in (0, ErrorCode.CONCURRENT_TRANSACTIONS)
        return answer.error_code == 0

    wait_until(done, "the offset is in the transaction")


@pytest.mark.parametrize("commit", [True, False])
def test_an_offset_in_an_open_transaction_is_not_stable(wire: Wire, member, producer, topic, commit: bool) -> None:
    member.commit(topic, 3, as_member=False)
    commit_in_transaction(wire, producer, member, topic, 7)
    assert member.committed(topic, stable=True)[0].error_code == ErrorCode.UNSTABLE_OFFSET_COMMIT
    assert member.committed(topic, 1, stable=True)[0].error_code == 0, "only that partition"
    (found,) = member.committed(topic)
    assert (found.error_code, found.committed_offset) == (0, 3), "who does not ask for stable ones is told the old one"
    producer.end(commit=commit)
    wait_until(lambda: member.committed(topic, stable=True)[0].error_code == 0, "the marker is there")
    assert member.committed(topic, stable=True)[0].committed_offset == (7 if commit else 3)


MINUTE_MS = 60_000


@pytest.mark.parametrize("has_committed", [True, False])
async def test_what_a_group_has_dies_a_while_after_it_became_empty_and_not_under_a_transaction(
    has_committed: bool,
) -> None:
    """In memory: the least time that offsets are kept is a minute."""
    async with World(partition_count=1, offsets_retention_minutes=1) as world:
        await world.groups.find("g")
        joined = await form_in_memory(world)
        world.clock.advance(5 * MINUTE_MS)
        await world.groups.leave(Leave(group_id="g", members=(LeavingMember(member_id=joined.member_id),)))
        transactions = Transactions(world)
        if has_committed:
            await transactions.plainly(1)
        await transactions.commit(5)
        kept = {0: 1 if has_committed else -1, 1: -1}
        for _ in range(2):
            await world.groups.expire_offsets()
            assert await transactions.offsets() == kept
            (listed,) = await world.groups.list_groups()
            assert (listed.group_id, listed.protocol_type) == ("g", "consumer"), "it is still the group it was"
            world.clock.advance(MINUTE_MS)
        await transactions.end(commit=False)
        await world.groups.expire_offsets()
        assert await transactions.offsets() == {0: -1, 1: -1}
        assert await world.groups.list_groups() == []
