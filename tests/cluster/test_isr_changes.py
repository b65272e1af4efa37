from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from broker.cluster import records
from broker.cluster.controller import decide_leadership
from broker.cluster.decision import Decision
from broker.cluster.image import ClusterImage, PartitionImage
from broker.cluster.isr_changes import IsrOutcome, IsrProposal, decide_isr_changes, decide_loss
from broker.config.broker import BrokerConfig
from broker.errors import ErrorCode
from broker.metadata.store import Transaction, VersionIs
from broker.types import format_topic_id
from tests.cluster.builders import NOW_MS, broker, cluster, committed, placed, with_topics


def epochs(image: ClusterImage) -> ClusterImage:
    return replace(image, brokers={i: replace(broker(i), epoch=100 + i) for i in image.brokers})


@pytest.fixture
def image() -> ClusterImage:
    """One partition on brokers 1, 2 and 3; 1 leads, 1 and 2 are in sync."""
    made = with_topics(cluster(1, 2, 3), placed("a", (1, 2, 3)))
    record = records.PartitionRecord(replicas=[1, 2, 3], isr=[1, 2], leader=1, leader_epoch=4, partition_epoch=9)
    key = records.partition_key(format_topic_id(made.topics_by_name["a"].topic_id), 0)
    return epochs(committed(made, Transaction(puts={key: records.encode(record)})))


def proposal(image: ClusterImage, *isr: int, **changes: Any) -> IsrProposal:
    fields: dict[str, Any] = {
        "topic_id": image.topics_by_name["a"].topic_id,
        "partition": 0,
        "leader_epoch": 4,
        "partition_epoch": 9,
        "isr": [(r, 100 + r) for r in isr],
    }
    return IsrProposal(**(fields | changes))


def decide(image: ClusterImage, *proposals: IsrProposal, proposer: int = 1) -> Decision[IsrOutcome]:
    config = BrokerConfig.from_environment({"OTTLA_MIN_INSYNC_REPLICAS": "2"})
    return decide_isr_changes(image, proposer, proposals, config=config, now_ms=NOW_MS)


def test_a_replica_joins_if_it_still_is_who_the_leader_saw(image: ClusterImage) -> None:
    decision = decide(image, proposal(image, 1, 2, 3))
    (outcome,) = decision.results
    assert (outcome.error, outcome.leader, outcome.leader_epoch) == (ErrorCode.NONE, 1, 4)
    assert (outcome.isr, outcome.partition_epoch) == ((1, 2, 3), 10)
    assert decision.transaction is not None
    assert VersionIs("brokers/3", 103) in decision.transaction.preconditions
    assert VersionIs(records.CONTROLLER_EPOCH, image.controller_epoch_version) in decision.transaction.preconditions
    partition = committed(image, decision.transaction).topics_by_name["a"].partitions[0]
    assert (partition.isr, partition.cause) == ((1, 2, 3), "isr_grown")


def test_who_leaves_a_set_that_becomes_too_small_stays_eligible(image: ClusterImage) -> None:
    partition = committed(image, decide(image, proposal(image, 1)).transaction).topics_by_name["a"].partitions[0]
    assert (partition.isr, partition.elr, partition.cause) == ((1,), (2,), "isr_shrunk")


@pytest.mark.parametrize(
    ("changes", "isr", "proposer", "code"),
    [
        ({"topic_id": bytes(16)}, (1,), 1, ErrorCode.UNKNOWN_TOPIC_ID),
        ({"partition": 1}, (1,), 1, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ({"partition": -1}, (1,), 1, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ({"leader_epoch": 3}, (1,), 1, ErrorCode.FENCED_LEADER_EPOCH),
        ({"leader_epoch": 5}, (1,), 1, ErrorCode.NOT_CONTROLLER),
        ({"partition_epoch": 8}, (1,), 1, ErrorCode.INVALID_UPDATE_VERSION),
        ({"partition_epoch": 10}, (1,), 1, ErrorCode.NOT_CONTROLLER),
        ({}, (1, 2), 2, ErrorCode.INVALID_REQUEST),
        ({}, (2, 3), 1, ErrorCode.INVALID_REQUEST),
        ({}, (1, 4), 1, ErrorCode.INVALID_REQUEST),
        ({}, (1, 1), 1, ErrorCode.INVALID_REQUEST),
        ({"isr": [(1, 101), (3, 99)]}, (), 1, ErrorCode.INELIGIBLE_REPLICA),
    ],
)
def test_a_proposal_that_is_out_of_date_or_out_of_place_changes_nothing(
    image: ClusterImage, changes: dict[str, Any], isr: tuple[int, ...], proposer: int, code: ErrorCode
) -> None:
    decision = decide(image, proposal(image, *isr, **changes), proposer=proposer)
    assert [outcome.error for outcome in decision.results] == [code]
    assert decision.transaction is None


def test_nobody_joins_who_is_away_not_settled_or_about_to_stop(image: ClusterImage) -> None:
    away = replace(image, brokers={i: b for i, b in image.brokers.items() if i != 3})
    for other in (away, replace(image, incarnations={1: "first", 2: "first"}), replace(image, stopping=frozenset({3}))):
        (outcome,) = decide(other, proposal(image, 1, 2, 3)).results
        assert outcome.error is ErrorCode.INELIGIBLE_REPLICA


def test_one_request_carries_many_and_each_has_its_own_answer(image: ClusterImage) -> None:
    both = with_topics(image, placed("b", (1, 2)))
    other = proposal(both, 1, topic_id=both.topics_by_name["b"].topic_id, leader_epoch=7)
    decision = decide(both, other, proposal(both, 1), proposal(both, 1, 2, 3))
    assert [outcome.error for outcome in decision.results] == [
        ErrorCode.NOT_CONTROLLER,
        ErrorCode.NONE,
        ErrorCode.INVALID_REQUEST,
    ]


def test_the_proposal_that_completes_a_move_may_end_the_proposers_leadership(image: ClusterImage) -> None:
    record = records.PartitionRecord(
        replicas=[3, 1], isr=[1], leader=1, leader_epoch=4, partition_epoch=9, adding=[3], removing=[1]
    )
    key = records.partition_key(format_topic_id(image.topics_by_name["a"].topic_id), 0)
    moving = epochs(committed(image, Transaction(puts={key: records.encode(record)})))
    decision = decide(moving, proposal(moving, 1, 3))
    (outcome,) = decision.results
    assert (outcome.error, outcome.leader, outcome.leader_epoch, outcome.isr) == (
        ErrorCode.NEW_LEADER_ELECTED,
        3,
        5,
        (3,),
    )
    partition = committed(moving, decision.transaction).topics_by_name["a"].partitions[0]
    assert (partition.replicas, partition.adding, partition.removing, partition.cause) == ((3,), (), (), "reassigned")


def test_a_broker_that_lost_its_replica_is_relieved_and_no_longer_eligible(image: ClusterImage) -> None:
    topic_id = image.topics_by_name["a"].topic_id
    for lost in (None, {(topic_id, 0)}):
        decision = decide_loss(image, 1, lost, config=BrokerConfig(), now_ms=NOW_MS)
        assert decision.results == ((topic_id, 0),)
        partition = committed(image, decision.transaction).topics_by_name["a"].partitions[0]
        assert (partition.leader, partition.isr, partition.elr, partition.cause) == (2, (2,), (), "replica_lost")
    assert decide_loss(image, 1, {(topic_id, 1)}, config=BrokerConfig(), now_ms=NOW_MS).transaction is None
    assert decide_loss(image, 3, None, config=BrokerConfig(), now_ms=NOW_MS).transaction is None


def partition_of(image: ClusterImage) -> PartitionImage:
    return image.topics_by_name["a"].partitions[0]


def test_a_member_that_was_dropped_with_lost_data_is_eligible_only_until_it_says_so(image: ClusterImage) -> None:
    """The leader may be first to notice: it drops who asks for what is committed, without being able to say why."""
    topic = image.topics_by_name["a"]
    config = BrokerConfig.from_environment({"OTTLA_MIN_INSYNC_REPLICAS": "2"})
    dropped = committed(image, decide(image, proposal(image, 1)).transaction)
    assert partition_of(dropped).elr == (2,)
    told = committed(dropped, decide_loss(dropped, 2, {(topic.topic_id, 0)}, config=config, now_ms=NOW_MS).transaction)
    assert (partition_of(told).isr, partition_of(told).elr) == ((1,), ())

    # The leader dies before it does: the one without the data is elected, refuses, and gives it back.
    alone = replace(dropped, brokers={2: dropped.brokers[2], 3: dropped.brokers[3]})
    alone = committed(alone, decide_leadership(alone, [topic], config=config, now_ms=NOW_MS))
    topic = alone.topics_by_name["a"]
    alone = committed(alone, decide_leadership(alone, [topic], config=config, now_ms=NOW_MS))
    assert (partition_of(alone).leader, partition_of(alone).elr) == (2, (1,))
    given_back = decide_loss(alone, 2, {(topic.topic_id, 0)}, config=config, now_ms=NOW_MS)
    empty = committed(alone, given_back.transaction)
    assert (partition_of(empty).leader, partition_of(empty).isr, partition_of(empty).elr) == (-1, (), (1,))
    assert partition_of(empty).last_known_leader == -1
    back = replace(empty, brokers={**empty.brokers, 1: broker(1, incarnation="second")})
    decision = decide_leadership(back, [back.topics_by_name["a"]], config=config, now_ms=NOW_MS)
    assert partition_of(committed(back, decision)).leader == 1


def test_a_last_known_leader_that_finds_its_replica_lost_is_none_any_more(image: ClusterImage) -> None:
    topic_id = image.topics_by_name["a"].topic_id
    key = records.partition_key(format_topic_id(topic_id), 0)
    nobody = records.PartitionRecord(replicas=[1, 2, 3], isr=[], leader=-1, leader_epoch=4, last_known_leader=2)
    waiting = committed(image, Transaction(puts={key: records.encode(nobody)}))
    waiting = replace(waiting, brokers={3: waiting.brokers[3]})
    decision = decide_loss(waiting, 2, {(topic_id, 0)}, config=BrokerConfig(), now_ms=NOW_MS)
    assert decision.results == ((topic_id, 0),)
    assert partition_of(committed(waiting, decision.transaction)).last_known_leader == -1


def test_the_only_replica_stays_what_it_is(image: ClusterImage) -> None:
    alone = with_topics(cluster(1), placed("a", (1,)))
    assert decide_loss(alone, 1, None, config=BrokerConfig(), now_ms=NOW_MS).transaction is None
