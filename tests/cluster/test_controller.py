from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from broker.cluster import controller, records
from broker.cluster.config_changes import ConfigChange, ConfigOperation, ResourceChange
from broker.cluster.controller import (
    NewPartitions,
    NewTopic,
    TopicResult,
    decide_alter_configs,
    decide_create_partitions,
    decide_create_topics,
    decide_delete_topics,
    decide_election,
    decide_leadership,
    decide_register,
)
from broker.cluster.image import ClusterImage
from broker.config.broker import BrokerConfig
from broker.errors import ErrorCode, KafkaError
from broker.limits import PARTITIONS_PER_TOPIC_MAX
from broker.metadata.store import Absent, Transaction, VersionIs
from broker.types import ZERO_TOPIC_ID, format_topic_id
from tests.cluster.builders import (
    NOW_MS,
    broker,
    cluster,
    committed,
    numbered_ids,
    partition_keys,
    placed,
    topic,
    with_topics,
    written,
)

CONFIG = BrokerConfig()


def create(image: ClusterImage, *topics: NewTopic, config: BrokerConfig = CONFIG) -> controller.Decision[TopicResult]:
    return decide_create_topics(
        image, topics, config=config, random=Random(1), new_topic_id=numbered_ids(), now_ms=NOW_MS
    )


def outcome(error: KafkaError | None) -> tuple[ErrorCode, str] | None:
    return None if error is None else (error.code, error.message)


def refusal(image: ClusterImage, new: NewTopic, config: BrokerConfig = CONFIG) -> tuple[ErrorCode, str] | None:
    decision = create(image, new, config=config)
    assert decision.transaction is None
    return outcome(decision.results[0].error)


# Creating ------------------------------------------------------------------------------------------------


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
    partition = {"replicas": [1], "isr": [1], "leader": 1, "leader_epoch": 0}
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
    assert [(p.leader, p.replicas, p.isr) for p in partitions] == [(3, (3, 1), (3,)), (1, (1, 2), (1,))]


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


# Deleting ------------------------------------------------------------------------------------------------


def delete(
    image: ClusterImage, *topics: tuple[str | None, bytes], config: BrokerConfig = CONFIG
) -> controller.Decision[TopicResult]:
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


# More partitions -----------------------------------------------------------------------------------------


def grow(image: ClusterImage, *requests: NewPartitions) -> controller.Decision[TopicResult]:
    return decide_create_partitions(image, requests, random=Random(1))


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


# Configs -------------------------------------------------------------------------------------------------


def alter(image: ClusterImage, *changes: ResourceChange) -> controller.Decision[controller.ResourceResult]:
    return decide_alter_configs(image, changes, config=CONFIG)


def change(
    kind: int, name: str, *changes: tuple[str, str | None], replace: bool = False, operation: int = 0
) -> ResourceChange:
    return ResourceChange(
        type=kind,
        name=name,
        changes=tuple(ConfigChange(name=n, value=v, operation=operation) for n, v in changes),
        replace=replace,
    )


def test_a_topics_configs_change_with_its_record() -> None:
    image = with_topics(cluster(1), topic("a", configs={"retention.ms": "1"}))
    before = image.topics_by_name["a"]
    decision = alter(image, change(2, "a", ("segment.ms", "7")))
    assert decision.transaction is not None
    assert list(decision.transaction.preconditions) == [VersionIs("topics/a", before.version)]
    after = committed(image, decision.transaction).topics_by_name["a"]
    assert after.configs == {"retention.ms": "1", "segment.ms": "7"}
    assert after.partitions == before.partitions


def test_a_change_that_changes_nothing_writes_nothing() -> None:
    image = with_topics(cluster(1), topic("a", configs={"retention.ms": "1"}))
    assert alter(image, change(2, "a", ("retention.ms", "1"))).transaction is None
    assert (
        alter(image, change(4, "1", ("message.max.bytes", None), operation=ConfigOperation.DELETE)).transaction is None
    )


def test_dynamic_broker_configs_are_kept_apart_for_one_and_for_all() -> None:
    image = cluster(1, 2)
    first = alter(image, change(4, "1", ("message.max.bytes", "7")), change(4, "", ("log.retention.ms", "9")))
    assert [r.error for r in first.results] == [None, None]
    image = committed(image, first.transaction)
    assert image.broker_configs == {"1": {"message.max.bytes": "7"}, "": {"log.retention.ms": "9"}}
    last = alter(image, change(4, "1", ("message.max.bytes", None), operation=ConfigOperation.DELETE))
    assert last.transaction is not None
    assert list(last.transaction.preconditions) == [VersionIs("configs/brokers/1", image.broker_configs_versions["1"])]
    assert committed(image, last.transaction).broker_configs == {"": {"log.retention.ms": "9"}}


@pytest.mark.parametrize(
    ("asked", "code", "message"),
    [
        (change(2, "missing"), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "The topic 'missing' does not exist."),
        (
            change(2, ""),
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            "Topic name is invalid: the empty string is not allowed",
        ),
        (
            change(2, "a", ("retention.ms", "x")),
            ErrorCode.INVALID_CONFIG,
            "Invalid value x for configuration retention.ms: Not a number of type LONG",
        ),
        (change(2, "a", ("nope", "x")), ErrorCode.INVALID_CONFIG, "Unknown topic config name: nope"),
        (
            change(2, "a", ("retention.ms", None)),
            ErrorCode.INVALID_REQUEST,
            "Null value not supported for : retention.ms",
        ),
        (change(4, "2"), ErrorCode.INVALID_REQUEST, "Unexpected broker id, expected 1, but received 2"),
        (change(4, "one"), ErrorCode.INVALID_REQUEST, "Node id must be an integer, but it is: one"),
        (
            change(4, "1", ("num.partitions", "2")),
            ErrorCode.INVALID_REQUEST,
            "Cannot update these configs dynamically: {num.partitions}",
        ),
        (change(32, "group", ("x", "1")), ErrorCode.INVALID_REQUEST, "Unknown resource type 32"),
    ],
)
def test_a_change_without_sense_is_refused(asked: ResourceChange, code: ErrorCode, message: str) -> None:
    image = with_topics(cluster(1, 2), topic("a"))
    decision = alter(image, asked)
    assert outcome(decision.results[0].error) == (code, message)
    assert decision.transaction is None


def test_a_bad_resource_leaves_the_others_alone_and_its_own_changes_stay_together() -> None:
    image = with_topics(cluster(1), topic("a"), topic("b"))
    decision = alter(
        image, change(2, "a", ("retention.ms", "5"), ("segment.ms", "x")), change(2, "b", ("retention.ms", "6"))
    )
    assert [r.error is None for r in decision.results] == [False, True]
    after = committed(image, decision.transaction)
    assert after.topics_by_name["a"].configs == {}
    assert after.topics_by_name["b"].configs == {"retention.ms": "6"}


def test_a_resource_named_twice_is_refused_both_times() -> None:
    image = with_topics(cluster(1), topic("a"))
    decision = alter(image, change(2, "a", ("retention.ms", "5")), change(2, "a", ("segment.ms", "5")))
    assert [outcome(r.error) for r in decision.results] == [
        (ErrorCode.INVALID_REQUEST, "Each resource must appear at most once.")
    ] * 2
    assert decision.transaction is None


# Leadership ----------------------------------------------------------------------------------------------


def leadership(image: ClusterImage) -> Transaction | None:
    return decide_leadership(image, image.topics_by_id.values())


def test_there_is_nothing_to_do_while_every_leader_lives() -> None:
    assert leadership(with_topics(cluster(1, 2), topic("a", 4, 2))) is None


def test_every_write_of_the_controller_depends_on_its_epoch() -> None:
    image = cluster(1, settled=False)
    transaction = leadership(image)
    assert transaction is not None
    assert VersionIs(records.CONTROLLER_EPOCH, image.controller_epoch_version) in transaction.preconditions


def test_a_broker_that_came_back_leads_again_under_a_higher_epoch() -> None:
    image = with_topics(cluster(1, 2), placed("a", (1,), (2,)))
    restarted = replace(image, brokers={1: broker(1, incarnation="second"), 2: broker(2)})
    after = committed(restarted, leadership(restarted))
    assert [(p.leader, p.leader_epoch, p.partition_epoch) for p in after.topics_by_name["a"].partitions] == [
        (1, 1, 1),
        (2, 0, 0),
    ]
    assert after.is_settled(1)
    assert leadership(after) is None


def test_a_lost_broker_leaves_its_partitions_to_in_sync_replicas_or_to_nobody() -> None:
    image = with_topics(cluster(1, 2), placed("a", (1, 2), (1, 2)))
    topic_id = format_topic_id(image.topics_by_name["a"].topic_id)
    in_sync = records.PartitionRecord(replicas=[1, 2], isr=[1, 2], leader=1, leader_epoch=5, partition_epoch=7)
    image = committed(image, Transaction(puts={records.partition_key(topic_id, 0): records.encode(in_sync)}))
    lost = replace(image, brokers={2: broker(2)})
    after = committed(lost, leadership(lost))
    first, second = after.topics_by_name["a"].partitions
    assert (first.leader, first.leader_epoch, first.partition_epoch, first.isr) == (2, 6, 8, (1, 2))
    assert (second.leader, second.leader_epoch, second.isr) == (-1, 1, (1,))
    assert after.incarnations == {2: "first"}
    assert leadership(after) is None


def test_a_partition_without_a_leader_gets_one_when_an_in_sync_replica_returns() -> None:
    image = with_topics(cluster(1, 2), placed("a", (1, 2)))
    lost = replace(image, brokers={2: broker(2)})
    headless = committed(lost, leadership(lost))
    back = replace(headless, brokers={1: broker(1, incarnation="second"), 2: broker(2)})
    partition = committed(back, leadership(back)).topics_by_name["a"].partitions[0]
    assert (partition.leader, partition.leader_epoch) == (1, 2)


@pytest.mark.parametrize(("epoch", "version"), [(-1, 0), (4, 9)])
def test_an_election_claims_the_free_key_under_the_next_epoch(epoch: int, version: int) -> None:
    image = ClusterImage(controller_epoch=epoch, controller_epoch_version=version)
    transaction = decide_election(image, 2, "me", "session")
    expected = Absent(records.CONTROLLER_EPOCH) if version == 0 else VersionIs(records.CONTROLLER_EPOCH, version)
    assert transaction.preconditions == (Absent(records.CONTROLLER), expected)
    assert transaction.session == "session"
    assert set(transaction.ephemeral_puts) == {records.CONTROLLER}
    assert written(transaction)[records.CONTROLLER_EPOCH] == {"epoch": max(epoch, 0) + 1, "broker_id": 2}


def test_a_registration_is_an_ephemeral_key() -> None:
    record = records.BrokerRecord(id=2, host="h", port=1, internal_host="i", internal_port=2, incarnation="x")
    transaction = decide_register(record, "session")
    assert (transaction.puts, set(transaction.ephemeral_puts)) == ({}, {"brokers/2"})
    assert transaction.preconditions == (Absent("brokers/2"),)


def test_ids_given_out_are_never_the_null_id() -> None:
    make: Callable[[], bytes] = numbered_ids()
    assert make() != ZERO_TOPIC_ID
