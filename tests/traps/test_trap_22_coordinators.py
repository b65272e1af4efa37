"""Trap 22: what is told about brokers is about live ones, and there is always one; any broker takes an administrator's call. A group
asked of another broker than its coordinator, or of one that still reads, is told so: never an empty answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.broker_process import BrokerProcess
from tests.support.topics import create_topic
from tests.support.wait import wait_until
from tests.support.wire import Wire
from tests.traps.member import Member, key_of
from tests.traps.pair import node_ids, pair_of_brokers

Brokers = dict[int, BrokerProcess]
PARTITIONS, COMMITS = 100, 400
"""Of each commit one record a partition."""


@pytest.fixture
def brokers(two_brokers: tuple[BrokerProcess, BrokerProcess]) -> Brokers:
    return {one.node_id: one for one in two_brokers}


@pytest.fixture
def wires(brokers: Brokers) -> Iterator[dict[int, Wire]]:
    with Wire(brokers[1].port) as one, Wire(brokers[2].port) as two:
        yield {1: one, 2: two}


def test_the_controller_that_is_told_is_one_of_those_that_are_listed(wires: dict[int, Wire]) -> None:
    for wire in wires.values():
        listed, controller = node_ids(wire)
        assert listed == {1, 2}
        assert controller in listed
        cluster = wire.call(ApiKey.DESCRIBE_CLUSTER, 1, m.DescribeClusterRequest())
        assert {one.broker_id for one in cluster.brokers} == {1, 2}
        assert cluster.controller_id in (1, 2)


def test_every_broker_takes_an_administrators_call(wires: dict[int, Wire]) -> None:
    for wire in wires.values():
        topic = create_topic(wire)
        for other in wires.values():
            r = m.MetadataRequest
            (found,) = other.call(ApiKey.METADATA, 12, r(topics=[r.MetadataRequestTopic(name=topic)])).topics
            assert found.error_code == 0, "and whoever is asked next knows of it"


def test_who_does_not_coordinate_a_group_says_so(wires: dict[int, Wire]) -> None:
    topic = create_topic(wires[1])
    elsewhere = Member(wires[1], key_of(wires[1], 2))
    elsewhere.ask_to_join(version=3)
    assert elsewhere.joined().error_code == ErrorCode.NOT_COORDINATOR
    assert elsewhere.heartbeat() == ErrorCode.NOT_COORDINATOR
    assert elsewhere.commit(topic, 1, as_member=False) == ErrorCode.NOT_COORDINATOR
    r = m.OffsetFetchRequest
    request = r(groups=[r.OffsetFetchRequestGroup(group_id=elsewhere.group_id, topics=None)])
    (group,) = wires[1].call(ApiKey.OFFSET_FETCH, 8, request).groups
    assert (group.error_code, group.topics) == (ErrorCode.NOT_COORDINATOR, [])
    described = m.DescribeGroupsRequest(groups=[elsewhere.group_id])
    assert wires[1].call(ApiKey.DESCRIBE_GROUPS, 5, described).groups[0].error_code == ErrorCode.NOT_COORDINATOR
    init = m.InitProducerIdRequest(transactional_id=key_of(wires[1], 2, key_type=1), transaction_timeout=1000)
    assert wires[1].call(ApiKey.INIT_PRODUCER_ID, 4, init).error_code == ErrorCode.NOT_COORDINATOR


def test_a_broker_that_is_gone_is_listed_no_more_and_one_that_still_reads_gives_no_empty_answer(tmp_path) -> None:
    """It has so much to read that whoever asks all the time cannot miss it."""
    r = m.OffsetFetchRequest
    with pair_of_brokers(tmp_path) as (first, second):
        with Wire(second.port) as wire:
            topic = create_topic(wire, partitions=PARTITIONS)
            member = Member(wire, key_of(wire, 2))
            for offset in range(1, COMMITS + 1):
                member.commit_all(topic, PARTITIONS, offset)
        second.kill()
        with Wire(first.port) as wire:
            wait_until(lambda: node_ids(wire) == ({1}, 1), "the dead broker is not listed")
        topics = [r.OffsetFetchRequestTopics(name=topic, partition_indexes=[0])]
        request = r(groups=[r.OffsetFetchRequestGroup(group_id=member.group_id, topics=topics)])
        second.launch()
        answers = []
        with wait_until(lambda: connected(second), "it listens") as wire:

            def answered() -> bool:
                (group,) = wire.call(ApiKey.OFFSET_FETCH, 8, request).groups
                answers.append(group)
                return group.error_code == 0

            wait_until(answered, "the coordinator is back", seconds=60)
        second.wait_ready()
        refusals = [ErrorCode(refused.error_code) for refused in answers[:-1]]
        assert set(refusals) <= {
            ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
            ErrorCode.NOT_COORDINATOR,
            ErrorCode.COORDINATOR_NOT_AVAILABLE,
        }
        assert ErrorCode.COORDINATOR_LOAD_IN_PROGRESS in refusals
        assert answers[-1].topics[0].partitions[0].committed_offset == COMMITS


def connected(broker: BrokerProcess) -> Wire | None:
    try:
        return Wire(broker.port)
    except OSError:
        return None
