from __future__ import annotations

from dataclasses import replace

import pytest

from broker.cluster import records
from broker.cluster.controller import CONTROLLER_ELECTIONS_KEPT, decide_election, decide_leadership, decide_register
from broker.cluster.decision import NewTopic, topic_record
from broker.cluster.image import BrokerState, ClusterImage, PartitionImage
from broker.config.broker import BrokerConfig
from broker.metadata.store import Absent, Transaction, VersionIs
from broker.types import format_topic_id
from tests.cluster.builders import (
    NOW_MS,
    broker,
    cluster,
    committed,
    placed,
    topic,
    with_topics,
    written,
)


def leadership(image: ClusterImage) -> Transaction | None:
    return decide_leadership(image, image.topics_by_id.values(), config=BrokerConfig(), now_ms=NOW_MS)


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
    for index, isr in enumerate(([1, 2], [1])):
        record = records.PartitionRecord(replicas=[1, 2], isr=isr, leader=1, leader_epoch=5, partition_epoch=7)
        image = committed(image, Transaction(puts={records.partition_key(topic_id, index): records.encode(record)}))
    lost = replace(image, brokers={2: broker(2)})
    after = committed(lost, leadership(lost))
    first, second = after.topics_by_name["a"].partitions
    assert (first.leader, first.leader_epoch, first.partition_epoch, first.isr) == (2, 6, 8, (2,))
    assert first.cause == "leader_failed"
    assert (second.leader, second.leader_epoch, second.isr, second.elr) == (-1, 6, (), (1,))
    assert second.last_known_leader == 1
    assert after.incarnations == {2: "first"}
    assert leadership(after) is None


def test_a_partition_without_a_leader_gets_one_when_an_in_sync_replica_returns() -> None:
    image = with_topics(cluster(1, 2), placed("a", (1,)))
    lost = replace(image, brokers={2: broker(2)})
    headless = committed(lost, leadership(lost))
    back = replace(headless, brokers={1: broker(1, incarnation="second"), 2: broker(2)})
    partition = committed(back, leadership(back)).topics_by_name["a"].partitions[0]
    assert (partition.leader, partition.leader_epoch, partition.isr, partition.elr) == (1, 2, (1,), ())
    assert partition.cause == "leader_elected"


@pytest.mark.parametrize(("epoch", "version"), [(-1, 0), (4, 9)])
def test_an_election_claims_the_free_key_under_the_next_epoch(epoch: int, version: int) -> None:
    image = ClusterImage(controller_epoch=epoch, controller_epoch_version=version)
    transaction = decide_election(image, 2, "me", "session", now_ms=NOW_MS)
    expected = Absent(records.CONTROLLER_EPOCH) if version == 0 else VersionIs(records.CONTROLLER_EPOCH, version)
    assert transaction.preconditions == (Absent(records.CONTROLLER), expected)
    assert transaction.session == "session"
    assert set(transaction.ephemeral_puts) == {records.CONTROLLER}
    assert written(transaction)[records.CONTROLLER_EPOCH] == {
        "epoch": max(epoch, 0) + 1,
        "broker_id": 2,
        "elected_at_ms": NOW_MS,
    }


def test_the_last_elections_are_remembered_with_their_causes() -> None:
    image = cluster(1, 2)
    causes = []
    for broker_id in (1, 1, 2, 1):
        image = committed(image, decide_election(image, broker_id, "me", "session", now_ms=NOW_MS))
        assert image.controller_history[-1].epoch == image.controller_epoch
        causes.append(image.controller_history[-1].cause)
    assert causes == ["first", "restarted", "session_lost", "session_lost"]
    lost = replace(image, brokers={2: broker(2)})
    image = committed(lost, decide_election(lost, 2, "me", "session", now_ms=NOW_MS))
    assert (image.controller_history[-1].cause, image.controller_since_ms) == ("failed", NOW_MS)
    for _ in range(CONTROLLER_ELECTIONS_KEPT):
        image = committed(image, decide_election(image, 1, "me", "session", now_ms=NOW_MS))
    assert [election.epoch for election in image.controller_history] == list(
        range(image.controller_epoch - CONTROLLER_ELECTIONS_KEPT + 1, image.controller_epoch + 1)
    )


def test_a_registration_is_an_ephemeral_key() -> None:
    record = records.BrokerRecord(id=2, host="h", port=1, internal_host="i", internal_port=2, incarnation="x")
    transaction = decide_register(record, "session")
    assert (transaction.puts, set(transaction.ephemeral_puts)) == ({}, {"brokers/2"})
    assert transaction.preconditions == (Absent("brokers/2"),)


# Brokers that come and go --------------------------------------------------------------------------------


def replicated(image: ClusterImage, *isr: int, **fields: object) -> ClusterImage:
    """Topic ``a`` with one partition on brokers 1, 2 and 3, two of which have to be in sync."""
    made = with_topics(image, NewTopic(name="a", assignments=((0, (1, 2, 3)),), configs={"min.insync.replicas": "2"}))
    values: dict[str, object] = {"replicas": [1, 2, 3], "isr": list(isr), "leader": 1, "leader_epoch": 4}
    record = records.PartitionRecord(**(values | fields))  # type: ignore[arg-type]
    key = records.partition_key(format_topic_id(made.topics_by_name["a"].topic_id), 0)
    return committed(made, Transaction(puts={key: records.encode(record)}))


def settled(image: ClusterImage) -> PartitionImage:
    after = committed(image, leadership(image))
    assert leadership(after) is None, "one look is enough"
    return after.topics_by_name["a"].partitions[0]


def without(image: ClusterImage, *gone: int) -> ClusterImage:
    return replace(image, brokers={i: b for i, b in image.brokers.items() if i not in gone})


def returned(image: ClusterImage, *back: int, **changes: object) -> ClusterImage:
    brokers = {i: replace(broker(i, incarnation="second"), **changes) for i in back}  # type: ignore[arg-type]
    return replace(image, brokers=dict(sorted({**image.brokers, **brokers}.items())))


def test_a_follower_that_is_lost_leaves_the_in_sync_set() -> None:
    partition = settled(without(replicated(cluster(1, 2, 3), 1, 2, 3), 3))
    assert (partition.leader, partition.leader_epoch, partition.isr, partition.elr) == (1, 4, (1, 2), ())
    assert partition.cause == "broker_failed"


def test_a_follower_that_restarted_has_to_catch_up() -> None:
    partition = settled(returned(replicated(cluster(1, 2, 3), 1, 2, 3), 3))
    assert (partition.leader, partition.isr, partition.cause) == (1, (1, 2), "broker_restarted")


def test_all_lost_at_once_are_eligible_and_the_first_to_return_leads() -> None:
    image = without(replicated(cluster(1, 2, 3), 1, 2, 3), 1, 2, 3)
    image = committed(image, leadership(image))
    assert image.topics_by_name["a"].partitions[0].elr == (1, 2, 3)
    partition = settled(returned(image, 3))
    assert (partition.leader, partition.isr, partition.elr) == (3, (3,), (1, 2))


@pytest.mark.parametrize("loss", [{"data_intact": False}, {"lost": frozenset({records.EVERY_REPLICA})}])
def test_who_returns_without_its_data_does_not_lead_while_others_have_it(loss: dict[str, object]) -> None:
    image = without(replicated(cluster(1, 2, 3), 1, 2, 3), 1, 2, 3)
    image = committed(image, leadership(image))
    partition = settled(returned(image, 1, **loss))
    assert (partition.leader, partition.elr) == (-1, (2, 3))


def test_when_no_copy_is_certain_the_last_leader_leads_again() -> None:
    image = without(replicated(cluster(1, 2, 3), 1, 2, 3), 1, 2, 3)
    image = committed(image, leadership(image))
    image = committed(image, leadership(returned(image, 2, 3, data_intact=False)))
    assert image.topics_by_name["a"].partitions[0].elr == (1,)
    partition = settled(returned(image, 1, data_intact=False))
    assert (partition.leader, partition.isr, partition.cause) == (1, (1,), "last_known_leader")


def test_an_unclean_election_happens_only_where_the_topic_allows_it() -> None:
    image = without(replicated(cluster(1, 2, 3), 1), 1)
    assert settled(image).leader == -1
    topic = image.topics_by_name["a"]
    record = topic_record(topic, configs={**topic.configs, "unclean.leader.election.enable": "true"})
    allowed = committed(image, Transaction(puts={records.topic_key("a"): records.encode(record)}))
    partition = settled(allowed)
    assert (partition.leader, partition.isr, partition.elr, partition.cause) == (2, (2,), (), "unclean")


def test_who_stops_is_relieved_of_leading_and_of_being_waited_for() -> None:
    image = replicated(cluster(1, 2, 3), 1, 2, 3)
    partition = settled(replace(image, stopping=frozenset({1})))
    assert (partition.leader, partition.isr, partition.cause) == (2, (2, 3), "controlled_shutdown")
    follower = settled(replace(image, stopping=frozenset({3})))
    assert (follower.leader, follower.leader_epoch, follower.isr) == (1, 4, (1, 2))


def test_who_stops_alone_or_with_everybody_leads_until_the_end() -> None:
    image = replicated(cluster(1, 2, 3), 1, elr=[2, 3])
    assert leadership(replace(image, stopping=frozenset({1}))) is None
    everybody = replace(replicated(cluster(1, 2, 3), 1, 2, 3), stopping=frozenset({1, 2, 3}))
    assert settled(everybody).leader == 1


def test_who_drains_stays_in_sync_and_leads_only_where_nobody_else_can() -> None:
    image = replicated(cluster(1, 2, 3), 1, 2, 3)
    partition = settled(replace(image, brokers_state={1: BrokerState(state="draining")}))
    assert (partition.leader, partition.isr, partition.cause) == (2, (1, 2, 3), "drained")
    alone = replicated(cluster(1, 2, 3), 1, elr=[2, 3])
    assert leadership(replace(alone, brokers_state={1: BrokerState(state="draining")})) is None


def test_a_broker_is_remembered_while_it_is_away_until_it_is_decommissioned() -> None:
    image = committed(cluster(1, 2, settled=False), leadership(cluster(1, 2, settled=False)))
    assert (image.brokers_state[2].host, image.brokers_state[2].left_at_ms) == ("host-2", -1)
    gone = without(image, 2)
    after = committed(gone, leadership(gone))
    assert (after.brokers_state[2].host, after.brokers_state[2].left_at_ms) == ("host-2", NOW_MS)
    states = {**image.brokers_state, 2: replace(image.brokers_state[2], state="decommissioned")}
    forgotten = replace(gone, brokers_state=states)
    assert 2 not in committed(forgotten, leadership(forgotten)).brokers_state
