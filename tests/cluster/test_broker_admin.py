from __future__ import annotations

from dataclasses import replace
from random import Random

from broker.cluster import records
from broker.cluster.broker_admin import decide_broker_state, decide_unregister
from broker.cluster.image import BrokerState, ClusterImage
from broker.cluster.topic_admin import decide_create_topics
from broker.config.broker import BrokerConfig
from broker.errors import ErrorCode
from broker.metadata.store import Absent, VersionIs
from tests.cluster.builders import NOW_MS, cluster, committed, numbered_ids, outcome, placed, topic, with_topics


def test_a_broker_is_drained_and_taken_back() -> None:
    image = cluster(1, 2)
    decision = decide_broker_state(image, 2, "draining", now_ms=NOW_MS)
    assert decision.transaction is not None
    assert list(decision.transaction.preconditions) == [Absent("brokers_state/2")]
    image = committed(image, decision.transaction)
    state = image.brokers_state[2]
    assert (state.state, state.since_ms, state.host, state.left_at_ms) == ("draining", NOW_MS, "host-2", -1)
    assert decide_broker_state(image, 2, "draining", now_ms=5).transaction is None
    back = decide_broker_state(image, 2, "active", now_ms=5)
    assert back.transaction is not None
    assert list(back.transaction.preconditions) == [VersionIs("brokers_state/2", state.version)]
    assert committed(image, back.transaction).brokers_state[2].state == "active"


def test_only_brokers_that_are_known_have_a_state_and_only_these_two() -> None:
    image = cluster(1)
    (unknown,) = decide_broker_state(image, 7, "draining", now_ms=NOW_MS).results
    assert outcome(unknown.error) == (ErrorCode.BROKER_ID_NOT_REGISTERED, "Broker ID 7 is not currently registered")
    (invented,) = decide_broker_state(image, 1, "decommissioned", now_ms=NOW_MS).results
    assert invented.error is not None
    assert invented.error.code is ErrorCode.INVALID_REQUEST


def test_a_broker_with_replicas_is_not_forgotten() -> None:
    image = with_topics(cluster(1, 2), placed("a", (2, 1), (1, 2)))
    (result,) = decide_unregister(image, 2, now_ms=NOW_MS).results
    assert outcome(result.error) == (
        ErrorCode.INVALID_REQUEST,
        "Broker 2 still has 2 replicas. Move them to other brokers before it is forgotten.",
    )


def test_one_that_lives_is_decommissioned_and_one_that_is_away_is_forgotten() -> None:
    image = cluster(1, 2)
    image = committed(image, decide_unregister(image, 2, now_ms=NOW_MS).transaction)
    assert image.brokers_state[2].state == "decommissioned"
    away = replace(cluster(1), brokers_state={2: BrokerState(version=4, left_at_ms=3)})
    decision = decide_unregister(away, 2, now_ms=NOW_MS)
    assert decision.transaction is not None
    assert list(decision.transaction.preconditions) == [VersionIs(records.broker_state_key(2), 4)]
    assert not committed(away, decision.transaction).brokers_state
    (unknown,) = decide_unregister(cluster(1), 2, now_ms=NOW_MS).results
    assert unknown.error is not None
    assert unknown.error.code is ErrorCode.BROKER_ID_NOT_REGISTERED


def replicas(image: ClusterImage, factor: int) -> set[int]:
    """The brokers that hold something of a new topic with many partitions."""
    decision = decide_create_topics(
        image,
        [topic("new", 12, factor)],
        config=BrokerConfig(),
        random=Random(1),
        new_topic_id=numbered_ids(),
        now_ms=NOW_MS,
    )
    assert [result.error for result in decision.results] == [None]
    made = committed(image, decision.transaction).topics_by_name["new"]
    return {broker_id for partition in made.partitions for broker_id in partition.replicas}


def test_nothing_new_is_placed_where_something_leaves_unless_there_is_no_choice() -> None:
    image = replace(cluster(1, 2, 3), brokers_state={2: BrokerState(state="draining")})
    assert replicas(image, 2) == {1, 3}
    assert replicas(image, 3) == {1, 2, 3}
    assert replicas(replace(image, stopping=frozenset({3})), 1) == {1}


def test_who_leaves_does_not_begin_to_lead() -> None:
    image = replace(cluster(1, 2, 3), brokers_state={2: BrokerState(state="draining")})
    made = with_topics(image, placed("a", (2, 3), (1, 2))).topics_by_name["a"]
    assert [(partition.leader, partition.isr) for partition in made.partitions] == [(3, (2, 3)), (1, (1, 2))]
