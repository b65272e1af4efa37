from __future__ import annotations

from dataclasses import replace

import pytest

from broker.cluster import records
from broker.cluster.controller import CONTROLLER_ELECTIONS_KEPT, decide_election, decide_leadership, decide_register
from broker.cluster.image import ClusterImage
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
    in_sync = records.PartitionRecord(replicas=[1, 2], isr=[1, 2], leader=1, leader_epoch=5, partition_epoch=7)
    image = committed(image, Transaction(puts={records.partition_key(topic_id, 0): records.encode(in_sync)}))
    lost = replace(image, brokers={2: broker(2)})
    after = committed(lost, leadership(lost))
    first, second = after.topics_by_name["a"].partitions
    assert (first.leader, first.leader_epoch, first.partition_epoch, first.isr) == (2, 6, 8, (2,))
    assert first.cause == "leader_failed"
    assert (second.leader, second.leader_epoch, second.isr, second.elr) == (-1, 1, (), (1,))
    assert second.last_known_leader == 1
    assert after.incarnations == {2: "first"}
    assert leadership(after) is None


def test_a_partition_without_a_leader_gets_one_when_an_in_sync_replica_returns() -> None:
    image = with_topics(cluster(1, 2), placed("a", (1, 2)))
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
