"""Trap 26: who asks the wrong broker is told the right one, or nothing: never a wrong one (KIP-951). In groups of the new protocol
(KIP-848) a heartbeat may be sent twice, the broker resolves patterns, leaving has two epochs, and a group has one type."""

from __future__ import annotations

from typing import Any

import pytest

from broker.client.blocking import Client
from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.types import TopicPartition
from tests.support.broker_process import BrokerProcess
from tests.support.topics import batch, create_topic, fetch_request, leader_epoch_of, produce_request, topic_id_of
from tests.support.wait import wait_until
from tests.support.wire import Wire
from tests.traps.member import Member, find_coordinator, new_name
from tests.traps.pair import topic_on

LEAVE, LEAVE_FOR_A_WHILE = -1, -2


# Hints -----------------------------------------------------------------------------------------------


def test_who_asks_the_wrong_broker_is_told_the_right_one(two_brokers: tuple[BrokerProcess, BrokerProcess]) -> None:
    asked, leading = two_brokers
    with Wire(asked.port) as wire:
        topic = topic_on(wire, asked.node_id)
        begun = leader_epoch_of(wire, topic)
        with Client(asked.bootstrap) as client:
            client.reassign({TopicPartition(topic, 0): [leading.node_id]})
            wait_until(lambda: not client.reassignments(), "it was moved to the other broker")
        epoch = leader_epoch_of(wire, topic)
        assert epoch > begun, "a constant would not do"
        produced = wire.call(ApiKey.PRODUCE, 10, produce_request({(topic, 0): batch(b"v")}))
        fetched = wire.call(ApiKey.FETCH, 16, fetch_request(topic_id_of(wire, topic)))
    for answer, (result,) in (
        (produced, produced.responses[0].partition_responses),
        (fetched, fetched.responses[0].partitions),
    ):
        assert result.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
        assert (result.current_leader.leader_id, result.current_leader.leader_epoch) == (leading.node_id, epoch)
        assert [(one.node_id, one.port) for one in answer.node_endpoints] == [(leading.node_id, leading.port)]


def test_where_nothing_is_wrong_or_nothing_is_known_no_leader_is_told(wire: Wire) -> None:
    topic = create_topic(wire)
    for name in (topic, "nobody-knows-it"):
        produced = wire.call(ApiKey.PRODUCE, 10, produce_request({(name, 0): batch(b"v")}))
        leader = produced.responses[0].partition_responses[0].current_leader
        assert (leader.leader_id, leader.leader_epoch, produced.node_endpoints) == (-1, -1, [])


# The new group protocol ------------------------------------------------------------------------------


class Consumer:
    """A member of the new protocol that says exactly what it is told to say."""

    def __init__(self, wire: Wire, group_id: str, member_id: str, *, instance_id: str | None = None) -> None:
        self.wire, self.group_id, self.member_id, self.instance_id = wire, group_id, member_id, instance_id
        self.epoch = 0
        self.owned: set[tuple[bytes, int]] = set()

    def beat(self, *, epoch: int | None = None, **fields: Any) -> Any:
        request = m.ConsumerGroupHeartbeatRequest(
            group_id=self.group_id,
            member_id=self.member_id,
            member_epoch=self.epoch if epoch is None else epoch,
            instance_id=self.instance_id,
            **{"topic_partitions": None, "rebalance_timeout": -1, **fields},
        )
        return self.wire.call(ApiKey.CONSUMER_GROUP_HEARTBEAT, 1, request)

    def follow(self, **fields: Any) -> Any:
        """A beat whose answer is believed."""
        answer = self.beat(**fields)
        assert answer.error_code == 0, answer
        self.epoch = answer.member_epoch
        if answer.assignment is not None:
            self.owned = assigned(answer)
        return answer

    def join(self, *topics: str, pattern: str | None = None) -> Any:
        return self.follow(
            epoch=0,
            topic_partitions=[],
            rebalance_timeout=10_000,
            subscribed_topic_names=list(topics) or None,
            subscribed_topic_regex=pattern,
        )

    def owns(self, *partitions: tuple[bytes, int]) -> list[Any]:
        entry = m.ConsumerGroupHeartbeatRequest.TopicPartitions
        topics = sorted({topic for topic, _ in partitions})
        return [
            entry(topic_id=topic, partitions=[index for at, index in partitions if at == topic]) for topic in topics
        ]


def assigned(answer: Any) -> set[tuple[bytes, int]]:
    return {(topic.topic_id, index) for topic in answer.assignment.topic_partitions for index in topic.partitions}


@pytest.fixture
def group_id(wire: Wire) -> str:
    name = new_name("new")
    find_coordinator(wire, name)
    return name


def test_a_heartbeat_whose_answer_was_lost_is_answered_again(wire: Wire, group_id: str) -> None:
    topic = create_topic(wire, partitions=2)
    topic_id = topic_id_of(wire, topic)
    one, other = Consumer(wire, group_id, "one"), Consumer(wire, group_id, "other")
    first = one.join(topic)
    assert assigned(first) == {(topic_id, 0), (topic_id, 1)}
    again = one.join(topic)
    assert (again.member_epoch, assigned(again)) == (first.member_epoch, assigned(first)), (
        "joining is repeated like that"
    )
    other.join(topic)
    wait_until(lambda: len((one.follow(), one.owned)[1]) == 1, "one partition is to be given up")
    before = one.epoch
    bumped = one.beat(topic_partitions=one.owns(*one.owned))
    assert (bumped.error_code, bumped.member_epoch > before) == (0, True)
    retried = one.beat(epoch=before, topic_partitions=one.owns(*one.owned))
    assert (retried.error_code, retried.member_epoch) == (0, bumped.member_epoch), "nobody is fenced for a lost answer"
    stale = one.beat(epoch=bumped.member_epoch + 1)
    assert stale.error_code == ErrorCode.FENCED_MEMBER_EPOCH


def test_the_broker_resolves_patterns_and_sees_topics_that_come(wire: Wire, group_id: str) -> None:
    topic = create_topic(wire)
    member = Consumer(wire, group_id, "one")
    assert assigned(member.join(pattern=f"{topic[:-1]}[{topic[-1]}]")) == {(topic_id_of(wire, topic), 0)}
    wrong = Consumer(wire, group_id, "two").beat(
        epoch=0, topic_partitions=[], rebalance_timeout=10_000, subscribed_topic_regex="t["
    )
    assert wrong.error_code == ErrorCode.INVALID_REGULAR_EXPRESSION


def test_leaving_for_good_and_for_a_while_are_two_things(wire: Wire, group_id: str) -> None:
    topic = create_topic(wire)
    whole = {(topic_id_of(wire, topic), 0)}
    former = Consumer(wire, group_id, "former", instance_id="pod-1")
    assert assigned(former.join(topic)) == whole
    rival = Consumer(wire, group_id, "rival", instance_id="pod-1")
    refused = rival.beat(epoch=0, topic_partitions=[], rebalance_timeout=10_000, subscribed_topic_names=[topic])
    assert refused.error_code == ErrorCode.UNRELEASED_INSTANCE_ID
    assert former.beat(epoch=LEAVE_FOR_A_WHILE).member_epoch == LEAVE_FOR_A_WHILE
    bystander = Consumer(wire, group_id, "bystander")
    assert assigned(bystander.join(topic)) == set(), "what it had is kept for it"
    assert assigned(rival.join(topic)) == whole
    assert former.beat().error_code == ErrorCode.FENCED_INSTANCE_ID
    assert rival.beat(epoch=LEAVE).member_epoch == LEAVE
    wait_until(lambda: (bystander.follow(), bystander.owned)[1] == whole, "now it is free")


def test_a_group_has_one_type(wire: Wire, group_id: str) -> None:
    topic = create_topic(wire)
    newcomer = Consumer(wire, group_id, "one")
    newcomer.join(topic)
    classic = Member(wire, group_id)
    classic.ask_to_join(("v1", b"not of a consumer"), protocol_type="connect", version=3)
    assert classic.joined().error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert newcomer.beat(epoch=LEAVE).error_code == 0
    connect = Member(wire, new_name("connect"))
    connect.join(("v1", b"not of a consumer"), protocol_type="connect")
    stranger = Consumer(wire, connect.group_id, "one").beat(
        epoch=0, topic_partitions=[], rebalance_timeout=10_000, subscribed_topic_names=[topic]
    )
    assert stranger.error_code == ErrorCode.GROUP_ID_NOT_FOUND
    assert connect.state() == "CompletingRebalance", "and nothing happened to it"
