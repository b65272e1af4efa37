from __future__ import annotations

from collections.abc import Sequence

import pytest

from broker.cluster import records
from broker.cluster.decision import Decision
from broker.cluster.image import BrokerState, ClusterImage, PartitionImage
from broker.cluster.reassignment import Reassignment, ReassignmentResult, decide_reassignments, reassignments_of
from broker.config.broker import BrokerConfig
from broker.errors import ErrorCode
from broker.metadata.store import Transaction
from broker.types import format_topic_id
from tests.cluster.builders import NOW_MS, cluster, committed, outcome, placed, with_topics


def decide(
    image: ClusterImage, *moves: tuple[str, int, Sequence[int] | None], allow: bool = True
) -> Decision[ReassignmentResult]:
    asked = [Reassignment(topic=name, partition=index, replicas=replicas) for name, index, replicas in moves]
    return decide_reassignments(image, asked, allow_factor_change=allow, config=BrokerConfig(), now_ms=NOW_MS)


def after(image: ClusterImage, replicas: Sequence[int] | None) -> PartitionImage:
    decision = decide(image, ("a", 0, replicas))
    assert [result.error for result in decision.results] == [None]
    return committed(image, decision.transaction).topics_by_name["a"].partitions[0]


def with_partition(image: ClusterImage, **fields: object) -> ClusterImage:
    values: dict[str, object] = {"leader_epoch": 4, "partition_epoch": 9, "leader": 1} | fields
    record = records.PartitionRecord(**values)  # type: ignore[arg-type]
    key = records.partition_key(format_topic_id(image.topics_by_name["a"].topic_id), 0)
    return committed(image, Transaction(puts={key: records.encode(record)}))


@pytest.fixture
def image() -> ClusterImage:
    return with_partition(
        with_topics(cluster(1, 2, 3, 4, 5), placed("a", (1, 2, 3))), replicas=[1, 2, 3], isr=[1, 2, 3]
    )


@pytest.fixture
def moving(image: ClusterImage) -> ClusterImage:
    """From 1, 2, 3 to 4, 2, 1; 4 is not there yet."""
    return with_partition(image, replicas=[4, 2, 1, 3], isr=[1, 2, 3], adding=[4], removing=[3])


def test_a_move_names_who_comes_and_who_goes(image: ClusterImage) -> None:
    partition = after(image, [4, 2, 1])
    assert (partition.replicas, partition.adding, partition.removing) == ((4, 2, 1, 3), (4,), (3,))
    assert (partition.leader, partition.isr, partition.cause) == (1, (2, 1, 3), "reassigning")


def test_another_order_is_another_preferred_leader_and_nothing_moves(image: ClusterImage) -> None:
    partition = after(image, [3, 2, 1])
    assert (partition.replicas, partition.adding, partition.removing) == ((3, 2, 1), (), ())
    assert partition.leader == 1


def test_a_move_to_where_the_partition_is_changes_nothing(image: ClusterImage) -> None:
    assert decide(image, ("a", 0, [1, 2, 3])).transaction is None


def test_a_second_move_replaces_the_first_and_still_waits_for_who_is_on_the_way(moving: ClusterImage) -> None:
    partition = after(moving, [4, 5, 1])
    assert (partition.replicas, partition.adding, partition.removing) == ((4, 5, 1, 2, 3), (4, 5), (2, 3))
    dropped = after(moving, [5, 2, 1])
    assert (dropped.replicas, dropped.adding, dropped.removing) == ((5, 2, 1, 4, 3), (5,), (4, 3))


def test_a_cancelled_move_leaves_who_was_there(moving: ClusterImage) -> None:
    partition = after(moving, None)
    assert (partition.replicas, partition.adding, partition.removing) == ((2, 1, 3), (), ())
    assert (partition.leader, partition.leader_epoch, partition.cause) == (1, 5, "reassignment_cancelled")


def test_a_cancellation_that_would_leave_nobody_in_sync_is_refused(moving: ClusterImage) -> None:
    alone = with_partition(moving, replicas=[4, 5, 1], isr=[4], leader=4, adding=[4, 5], removing=[1])
    (result,) = decide(alone, ("a", 0, None)).results
    assert outcome(result.error) == (
        ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        "Unable to revert partition assignment for a:0 because it would require an unclean leader election.",
    )


def test_a_broker_that_is_away_may_be_a_target_if_it_is_expected_back(image: ClusterImage) -> None:
    away = ClusterImage(
        **{name: getattr(image, name) for name in image.__slots__ if name != "brokers_state"},
        brokers_state={8: BrokerState(), 9: BrokerState(state="decommissioned")},
    )
    assert after(away, [1, 2, 8]).adding == (8,)
    (result,) = decide(away, ("a", 0, [1, 2, 9])).results
    assert result.error is not None
    assert result.error.code is ErrorCode.INVALID_REPLICA_ASSIGNMENT


@pytest.mark.parametrize(
    ("move", "code", "message"),
    [
        (("b", 0, [1]), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "No such topic as b"),
        (("a", 1, [1]), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "No such partition as a-1"),
        (("a", 0, None), ErrorCode.NO_REASSIGNMENT_IN_PROGRESS, ErrorCode.NO_REASSIGNMENT_IN_PROGRESS.message),
        (
            ("a", 0, []),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes an empty replica list.",
        ),
        (
            ("a", 0, [1, 1]),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes the broker 1 more than once.",
        ),
        (
            ("a", 0, [1, 7]),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes broker 7, but no such broker is registered.",
        ),
    ],
)
def test_a_move_that_makes_no_sense_is_refused(
    image: ClusterImage, move: tuple[str, int, Sequence[int] | None], code: ErrorCode, message: str
) -> None:
    decision = decide(image, move)
    assert [outcome(result.error) for result in decision.results] == [(code, message)]
    assert decision.transaction is None


def test_one_bad_move_leaves_the_others_alone_and_none_is_named_twice(image: ClusterImage) -> None:
    two = with_topics(image, placed("b", (1,), (2,)))
    decision = decide(two, ("b", 0, [2]), ("b", 1, [7]), ("a", 0, [1, 2]), ("a", 0, [1]))
    codes = [None if result.error is None else result.error.code for result in decision.results]
    assert codes == [
        None,
        ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.INVALID_REQUEST,
    ]


def test_another_replication_factor_may_be_forbidden(moving: ClusterImage) -> None:
    (result,) = decide(moving, ("a", 0, [1, 2]), allow=False).results
    assert outcome(result.error) == (
        ErrorCode.INVALID_REPLICATION_FACTOR,
        "The replication factor is changed from 3 to 2, which was not allowed.",
    )
    assert decide(moving, ("a", 0, [1, 2, 5]), allow=False).results[0].error is None


def test_what_moves_is_found(moving: ClusterImage) -> None:
    assert [index for index, _ in reassignments_of(moving.topics_by_name["a"])] == [0]
