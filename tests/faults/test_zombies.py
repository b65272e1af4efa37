"""Row 28: two producers with one transactional id. The older one is fenced, and nothing of it gets into the other's."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer

from broker.client.blocking import Client
from tests.faults.clusters import one_broker
from tests.faults.stage import Stage
from tests.faults.workloads.confluent_clients import QUICK
from tests.support.committed import committed

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

WAIT = 20.0
ZOMBIE_TOPIC = "zombies"


def producer_of(bootstrap: str, transactional_id: str) -> Producer:
    settings = {"bootstrap.servers": bootstrap, "transactional.id": transactional_id, "linger.ms": 0, **QUICK}
    producer = Producer(settings)
    producer.init_transactions(WAIT)
    return producer


def test_an_older_producer_of_the_same_transactional_id_is_fenced_under_load(tmp_path: Path) -> None:
    with (
        one_broker(tmp_path / "home") as cluster,
        Stage(tmp_path, cluster) as stage,
        Client(cluster.bootstrap) as client,
    ):
        source, sink = stage.topic("source", 3), stage.topic("sink", 3)
        client.create_topic(ZOMBIE_TOPIC, 1, 1)
        stage.load("confluent", source, rate=50)
        stage.copies(source, sink)
        stage.wait_progress(50)
        for number in range(3):
            older = producer_of(cluster.bootstrap, "twice")
            older.begin_transaction()
            older.produce(ZOMBIE_TOPIC, b"older %d" % number)
            older.flush(WAIT)
            newer = producer_of(cluster.bootstrap, "twice")
            newer.begin_transaction()
            newer.produce(ZOMBIE_TOPIC, b"newer %d" % number)
            older.produce(ZOMBIE_TOPIC, b"older again %d" % number)
            with pytest.raises(KafkaException):
                older.commit_transaction(WAIT)
            newer.commit_transaction(WAIT)
        with stage.fault("a copier's id is taken by somebody else"):
            thief = producer_of(cluster.bootstrap, "copy-0")
            thief.begin_transaction()
            thief.abort_transaction(WAIT)
        stage.wait_progress(50)
        assert committed(client, ZOMBIE_TOPIC) == [b"newer %d" % number for number in range(3)]
        stage.judge()
