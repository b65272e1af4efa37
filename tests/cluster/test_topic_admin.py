from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from broker.cluster.decision import Decision, NewPartitions, NewTopic, TopicResult
from broker.cluster.image import BrokerState, ClusterImage
from broker.cluster.topic_admin import decide_create_partitions, decide_create_topics, decide_delete_topics
from broker.config.broker import BrokerConfig
from broker.errors import ErrorCode
from broker.limits import PARTITIONS_PER_TOPIC_MAX
from broker.metadata.store import Absent, Transaction, VersionIs
from broker.types import ZERO_TOPIC_ID, format_topic_id
from tests.cluster.builders import (
    NOW_MS,
    cluster,
    committed,
    numbered_ids,
    outcome,
    partition_keys,
    placed,
    topic,
    with_topics,
    written,
)

CONFIG = BrokerConfig()


def create(image: ClusterImage, *topics: NewTopic, config: BrokerConfig = CONFIG) -> Decision[TopicResult]:
    return decide_create_topics(
        image, topics, config=config, random=Random(1), new_topic_id=numbered_ids(), now_ms=NOW_MS
    )


def refusal(image: ClusterImage, new: NewTopic, config: BrokerConfig = CONFIG) -> tuple[ErrorCode, str] | None:
    decision = create(image, new, config=config)
    assert decision.transaction is None
    return outcome(decision.results[0].error)


# Creating ------------------------------------------------------------------------------------------


def test_a_new_topic_is_its_record_and_one_record_per_partition() -> None:
    decision = create(cluster(1), topic("orders", 2, configs={"retention.ms": "5"}))
    assert decision.results == (
        TopicResult(
            name="orders",
            topic_id=(1).to_bytes(16, "big"),
            partition_count=2,
            replication_factor=1,
            configs={"retention.ms": "5"},
        ),
    )
    assert decision.transaction is not None
    assert list(decision.transaction.preconditions) == [Absent("topics/orders")]
    partition = {
        "replicas": [1],
        "isr": [1],
        "leader": 1,
        "leader_epoch": 0,
        "cause": "created",
        "changed_at_ms": NOW_MS,
    }
    assert written(decision.transaction) == {
        "topics/orders": {
            "topic_id": "AAAAAAAAAAAAAAAAAAAAAQ",
            "partition_count": 2,
            "configs": {"retention.ms": "5"},
            "created_at_ms": NOW_MS,
        },
        "partitions/AAAAAAAAAAAAAAAAAAAAAQ/0": partition,
        "partitions/AAAAAAAAAAAAAAAAAAAAAQ/1": partition,
    }


def test_minus_one_asks_for_the_brokers_defaults() -> None:
    config = BrokerConfig(num_partitions=4, default_replication_factor=2)
    (result,) = create(cluster(1, 2), NewTopic(name="a"), config=config).results
    assert (result.partition_count, result.replication_factor) == (4, 2)


def test_a_bad_item_leaves_its_neighbours_alone() -> None:
    decision = create(cluster(1), topic("good"), topic("bad name"), topic("many", factor=3), topic("fine"))
    assert [(r.name, r.error is None) for r in decision.results] == [
        ("good", True),
        ("bad name", False),
        ("many", False),
        ("fine", True),
    ]
    assert decision.transaction is not None
    assert {key for key in decision.transaction.puts if key.startswith("topics/")} == {"topics/good", "topics/fine"}


@pytest.mark.parametrize(
    ("new", "code", "message"),
    [
        (topic("there"), ErrorCode.TOPIC_ALREADY_EXISTS, "Topic 'there' already exists."),
        (
            topic("the.re"),
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            "Topic 'the.re' collides with existing topic: the_re",
        ),
        (
            topic(""),
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            "Topic name is invalid: the empty string is not allowed",
        ),
        (
            topic("a", partitions=0),
            ErrorCode.INVALID_PARTITIONS,
            "Number of partitions was set to an invalid non-positive value.",
        ),
        (
            topic("a", partitions=-2),
            ErrorCode.INVALID_PARTITIONS,
            "Number of partitions was set to an invalid non-positive value.",
        ),
        (
            topic("a", factor=0),
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ),
        (
            topic("a", factor=3),
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because "
            "only 2 broker(s) are registered.",
        ),
        (
            topic("a", configs={"retention.ms": "soon"}),
            ErrorCode.INVALID_CONFIG,
            "Invalid value soon for configuration retention.ms: Not a number of type LONG",
        ),
        (
            topic("a", configs={"retention.seconds": "1"}),
            ErrorCode.INVALID_CONFIG,
            "Unknown topic config name: retention.seconds",
        ),
        (
            topic("a", configs={"retention.ms": None}),
            ErrorCode.INVALID_CONFIG,
            "Null value not supported for topic configs: retention.ms",
        ),
        (
            topic("__cluster_metadata"),
            ErrorCode.INVALID_REQUEST,
            "Creation of internal topic __cluster_metadata is prohibited.",
        ),
    ],
)
def test_a_topic_that_cannot_be_is_refused_in_kafkas_words(new: NewTopic, code: ErrorCode, message: str) -> None:
    image = with_topics(cluster(1, 2), topic("there"), topic("the_re"))
    assert refusal(image, new) == (code, message)


def test_more_partitions_than_a_topic_may_have_are_refused() -> None:
    refused = refusal(cluster(1), topic("a", partitions=PARTITIONS_PER_TOPIC_MAX + 1))
    assert refused is not None
    assert refused[0] is ErrorCode.INVALID_PARTITIONS


def test_one_request_cannot_add_partitions_without_bound() -> None:
    decision = create(cluster(1), topic("a", PARTITIONS_PER_TOPIC_MAX), topic("b", 1))
    assert [outcome(result.error) for result in decision.results] == [
        None,
        (ErrorCode.POLICY_VIOLATION, "Excessively large number of partitions per request."),
    ]


def test_two_new_topics_of_one_request_may_not_collide_either() -> None:
    decision = create(cluster(1), topic("a.b"), topic("a_b"))
    assert [r.error is None for r in decision.results] == [True, False]


def test_a_name_given_twice_is_refused_once_and_not_created() -> None:
    decision = create(cluster(1), topic("a"), topic("b"), topic("a", 5))
    assert [(r.name, outcome(r.error)) for r in decision.results] == [
        ("a", (ErrorCode.INVALID_REQUEST, "Duplicate topic name.")),
        ("b", None),
    ]


def test_a_manual_assignment_is_taken_as_it_is() -> None:
    decision = create(cluster(1, 2, 3), placed("a", (3, 1), (1, 2)))
    assert decision.results[0].replication_factor == 2
    image = committed(cluster(1, 2, 3), decision.transaction)
    partitions = image.topics_by_name["a"].partitions
    assert [(p.leader, p.replicas, p.isr) for p in partitions] == [(3, (3, 1), (3, 1)), (1, (1, 2), (1, 2))]


def one_of_three_away() -> ClusterImage:
    """Broker 3 is registered and away."""
    states = {i: BrokerState(version=40 + i) for i in (1, 2, 3)}
    return replace(cluster(1, 2), brokers_state=states)


def test_who_is_away_gets_replicas_when_those_here_are_too_few() -> None:
    image = one_of_three_away()
    decision = create(image, topic("a", 4, factor=3))
    assert decision.transaction is not None
    assert VersionIs("brokers_state/3", 43) in decision.transaction.preconditions
    for partition in committed(image, decision.transaction).topics_by_name["a"].partitions:
        assert sorted(partition.replicas) == [1, 2, 3]
        assert partition.replicas[2] == 3
        assert sorted(partition.isr) == [1, 2]
        assert partition.leader == partition.replicas[0]
    two = create(image, topic("b", 4, factor=2)).transaction
    for partition in committed(image, two).topics_by_name["b"].partitions:
        assert sorted(partition.replicas) == [1, 2]


def test_the_default_factor_counts_who_is_away_but_not_who_is_to_leave() -> None:
    config = BrokerConfig(default_replication_factor=3)
    assert create(one_of_three_away(), NewTopic(name="a"), config=config).results[0].replication_factor == 3
    leaving = replace(one_of_three_away(), brokers_state={3: BrokerState(state="draining")})
    assert create(leaving, NewTopic(name="a"), config=config).results[0].replication_factor == 2


def test_who_is_about_to_stop_gets_replicas_last_and_is_not_in_sync_with_them() -> None:
    image = replace(cluster(1, 2, 3), stopping=frozenset({2}))
    made = committed(image, create(image, topic("a", 3, factor=3)).transaction).topics_by_name["a"]
    assert [(p.replicas[2], sorted(p.isr)) for p in made.partitions] == [(2, [1, 3])] * 3


def test_without_a_live_broker_there_is_no_topic() -> None:
    image = replace(one_of_three_away(), brokers={})
    assert refusal(image, topic("a", factor=1)) == (
        ErrorCode.INVALID_REPLICATION_FACTOR,
        "Unable to replicate the partition 1 time(s): All brokers are currently fenced.",
    )


def test_who_is_away_may_be_named_but_not_alone() -> None:
    image = one_of_three_away()
    partition = committed(image, create(image, placed("a", (3, 1))).transaction).topics_by_name["a"].partitions[0]
    assert (partition.replicas, partition.isr, partition.leader) == ((3, 1), (1,), 1)
    assert refusal(image, placed("b", (3,))) == (
        ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        "The manual partition assignment includes a partition all of whose brokers are fenced or in controlled shutdown.",
    )


@pytest.mark.parametrize(
    ("new", "code", "message"),
    [
        (
            NewTopic(name="a", partition_count=1, assignments=((0, (1,)),)),
            ErrorCode.INVALID_REQUEST,
            "A manual partition assignment was specified, but numPartitions was not set to -1.",
        ),
        (
            NewTopic(name="a", replication_factor=1, assignments=((0, (1,)),)),
            ErrorCode.INVALID_REQUEST,
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        ),
        (
            NewTopic(name="a", assignments=((0, (1,)), (0, (1,)))),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "Found multiple manual partition assignments for partition 0",
        ),
        (
            NewTopic(name="a", assignments=((0, (1,)), (2, (1,)))),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "partitions should be a consecutive 0-based integer sequence",
        ),
        (
            placed("a", ()),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes an empty replica list.",
        ),
        (
            placed("a", (1, 1)),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes the broker 1 more than once.",
        ),
        (
            placed("a", (1, 9)),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes broker 9, but no such broker is registered.",
        ),
        (
            placed("a", (1, 2), (1,)),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes a partition with 1 replica(s), but this is not consistent with "
            "previous partitions, which have 2 replica(s).",
        ),
    ],
)
def test_a_manual_assignment_without_sense_is_refused(new: NewTopic, code: ErrorCode, message: str) -> None:
    assert refusal(cluster(1, 2), new) == (code, message)


# Deleting ------------------------------------------------------------------------------------------


def delete(
    image: ClusterImage, *topics: tuple[str | None, bytes], config: BrokerConfig = CONFIG
) -> Decision[TopicResult]:
    return decide_delete_topics(image, topics, config=config)


def test_a_deleted_topic_takes_its_partitions_along() -> None:
    image = with_topics(cluster(1), topic("a", 2), topic("b"))
    found = image.topics_by_name["a"]
    decision = delete(image, ("a", ZERO_TOPIC_ID))
    topic_id = format_topic_id(found.topic_id)
    assert decision.transaction == Transaction(
        preconditions=[VersionIs("topics/a", found.version)],
        puts={},
        deletes=["topics/a", f"partitions/{topic_id}/0", f"partitions/{topic_id}/1"],
    )
    assert list(committed(image, decision.transaction).topics_by_name) == ["b"]


def test_a_topic_may_be_named_by_its_id() -> None:
    image = with_topics(cluster(1), topic("a"))
    topic_id = image.topics_by_name["a"].topic_id
    assert delete(image, (None, topic_id)).results == (TopicResult(name="a", topic_id=topic_id),)


def test_what_cannot_be_deleted_is_refused_item_by_item() -> None:
    image = with_topics(cluster(1), topic("a"), topic("b"), topic("__consumer_offsets"))
    a_id = image.topics_by_name["a"].topic_id
    unknown = b"\x01" * 16
    decision = delete(
        image,
        ("missing", ZERO_TOPIC_ID),
        (None, unknown),
        (None, ZERO_TOPIC_ID),
        ("a", a_id),
        ("__consumer_offsets", ZERO_TOPIC_ID),
        ("b", ZERO_TOPIC_ID),
    )
    assert [None if r.error is None else r.error.code for r in decision.results] == [
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.INVALID_REQUEST,
        None,
    ]
    assert list(committed(image, decision.transaction).topics_by_name) == ["a", "__consumer_offsets"]


def test_a_topic_named_twice_is_not_deleted() -> None:
    image = with_topics(cluster(1), topic("a"), topic("b"))
    b_id = image.topics_by_name["b"].topic_id
    twice = delete(image, ("a", ZERO_TOPIC_ID), ("a", ZERO_TOPIC_ID), (None, b_id), (None, b_id))
    assert [(r.name, outcome(r.error)) for r in twice.results] == [
        ("a", (ErrorCode.INVALID_REQUEST, "Duplicate topic name.")),
        (None, (ErrorCode.INVALID_REQUEST, "Duplicate topic id.")),
    ]
    assert twice.transaction is None


def test_a_topic_given_by_name_and_by_id_is_refused_the_second_time() -> None:
    image = with_topics(cluster(1), topic("a"))
    decision = delete(image, ("a", ZERO_TOPIC_ID), (None, image.topics_by_name["a"].topic_id))
    assert [outcome(r.error) for r in decision.results] == [
        None,
        (ErrorCode.INVALID_REQUEST, "The provided topic name maps to an ID that was already supplied."),
    ]


def test_deletion_can_be_switched_off() -> None:
    image = with_topics(cluster(1), topic("a"))
    decision = delete(image, ("a", ZERO_TOPIC_ID), config=BrokerConfig(delete_topic_enable=False))
    assert decision.results[0].error is not None
    assert decision.results[0].error.code is ErrorCode.TOPIC_DELETION_DISABLED
    assert decision.transaction is None


# More partitions ------------------------------------------------------------------------------------------


def grow(image: ClusterImage, *requests: NewPartitions) -> Decision[TopicResult]:
    return decide_create_partitions(image, requests, random=Random(1), now_ms=NOW_MS)


def test_added_partitions_continue_the_round_and_leave_the_old_ones_alone() -> None:
    image = with_topics(cluster(1, 2, 3), placed("a", (2,), (3,)))
    before = image.topics_by_name["a"]
    decision = grow(image, NewPartitions(name="a", total_count=4))
    assert decision.transaction is not None
    assert list(decision.transaction.preconditions) == [VersionIs("topics/a", before.version)]
    assert len(partition_keys(decision.transaction)) == 2
    after = committed(image, decision.transaction).topics_by_name["a"]
    assert [p.leader for p in after.partitions] == [2, 3, 1, 2]
    assert after.partitions[:2] == before.partitions
    assert after.topic_id == before.topic_id
    assert after.created_at_ms == before.created_at_ms


def test_added_partitions_may_be_placed_by_hand() -> None:
    image = with_topics(cluster(1, 2), placed("a", (1, 2)))
    decision = grow(image, NewPartitions(name="a", total_count=2, assignments=((2, 1),)))
    assert committed(image, decision.transaction).topics_by_name["a"].partitions[1].replicas == (2, 1)


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (
            NewPartitions(name="a", total_count=2),
            ErrorCode.INVALID_PARTITIONS,
            "Topic already has 2 partition(s).",
        ),
        (
            NewPartitions(name="a", total_count=1),
            ErrorCode.INVALID_PARTITIONS,
            "The topic a currently has 2 partition(s); 1 would not be an increase.",
        ),
        (
            NewPartitions(name="a", total_count=-1),
            ErrorCode.INVALID_PARTITIONS,
            "The topic a currently has 2 partition(s); -1 would not be an increase.",
        ),
        (
            NewPartitions(name="a", total_count=4, assignments=((1,),)),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
        ),
        (
            NewPartitions(name="a", total_count=3, assignments=((1, 2),)),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes a partition with 2 replica(s), but this is not consistent with "
            "previous partitions, which have 1 replica(s).",
        ),
        (
            NewPartitions(name="missing", total_count=3),
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION.message,
        ),
        (
            NewPartitions(name="__consumer_offsets", total_count=60),
            ErrorCode.INVALID_REQUEST,
            "Topic __consumer_offsets is internal and may not be given more partitions.",
        ),
    ],
)
def test_a_growth_without_sense_is_refused(request_: NewPartitions, code: ErrorCode, message: str) -> None:
    image = with_topics(cluster(1, 2), topic("a", 2), topic("__consumer_offsets", 50))
    decision = grow(image, request_)
    assert outcome(decision.results[0].error) == (code, message)
    assert decision.transaction is None


def test_a_topic_to_grow_named_twice_is_refused() -> None:
    image = with_topics(cluster(1), topic("a"))
    decision = grow(image, NewPartitions(name="a", total_count=2), NewPartitions(name="a", total_count=3))
    assert [outcome(r.error) for r in decision.results] == [(ErrorCode.INVALID_REQUEST, "Duplicate topic name.")]
