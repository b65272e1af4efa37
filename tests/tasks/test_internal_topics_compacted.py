"""The coordinators' own topics are compacted like any other: they stop growing, and a restart reads what is left."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from django.core.management import call_command
from pytest_django import Settings

from broker.client.blocking import Client
from tests.support.broker_process import BrokerProcess

pytestmark = pytest.mark.django_db(transaction=True)

GROUP = "grows"


@pytest.fixture
def compact(tmp_path: Path, settings: Settings) -> Callable[[BrokerProcess, str], int]:
    def run(broker: BrokerProcess, topic: str) -> int:
        """Bytes saved."""
        settings.OTTLA_BOOTSTRAP_INTERNAL = [f"127.0.0.1:{broker.internal_port}"]
        settings.OTTLA_CLUSTER_SECRET_FILE = broker.home / "cluster_secret"
        output = StringIO()
        call_command("compact", "--topic", topic, "--json", stdout=output)
        (row,) = json.loads(output.getvalue())
        assert row["state"] == "succeeded"
        return int(row["bytes_saved"])

    return run


def size_of(broker: BrokerProcess, topic: str) -> int:
    return sum(path.stat().st_size for path in broker.data_directory.glob(f"{topic}-*/*.log"))


def commit(broker: BrokerProcess, rounds: range) -> None:
    """Many commits of many partitions by one group: only the last of each partition is worth keeping."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": GROUP, "enable.auto.commit": False})
    consumer.committed([TopicPartition("t", 0)], timeout=20)  # waits for the coordinator
    for number in rounds:
        consumer.commit(
            offsets=[TopicPartition("t", part, number, "m" * 1_000) for part in range(50)], asynchronous=False
        )
    consumer.close()


def committed(broker: BrokerProcess) -> set[int]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": GROUP})
    found = consumer.committed([TopicPartition("t", part) for part in range(50)], timeout=20)
    consumer.close()
    return {partition.offset for partition in found}


def test_committed_offsets_survive_compaction_and_their_topic_stops_growing(
    tmp_path: Path, compact: Callable[[BrokerProcess, str], int]
) -> None:
    environment = {
        "OTTLA_OFFSETS_TOPIC_NUM_PARTITIONS": "1",
        "OTTLA_OFFSETS_TOPIC_SEGMENT_BYTES": "1048576",
    }
    with BrokerProcess(tmp_path, **environment) as broker:
        with Client(broker.bootstrap) as client:
            client.create_topic("t", 50, 1)
        commit(broker, range(1))
        sizes = []
        for round_ in range(3):
            commit(broker, range(30 * round_, 30 * round_ + 30))
            compact(broker, "__consumer_offsets")
            sizes.append(size_of(broker, "__consumer_offsets"))
            assert committed(broker) == {30 * round_ + 29}
        assert max(sizes) < 1.5 * 1024 * 1024, f"{sizes}: an open segment and the last commits"
        broker.restart()
        assert committed(broker) == {89}
        broker.kill()
        broker.start()
        assert committed(broker) == {89}


def test_transaction_state_survives_compaction_and_its_topic_stops_growing(
    tmp_path: Path, compact: Callable[[BrokerProcess, str], int]
) -> None:
    environment = {
        "OTTLA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "1",
        "OTTLA_TRANSACTION_STATE_LOG_SEGMENT_BYTES": "1048576",
    }
    with BrokerProcess(tmp_path, **environment) as broker:
        with Client(broker.bootstrap) as client:
            client.create_topic("t", 2, 1, {"cleanup.policy": "compact", "internal.segment.bytes": "4000"})
        producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": "x" * 8_000})
        producer.init_transactions(20)
        for number in range(150):
            producer.begin_transaction()
            producer.produce("t", key=b"k", value=b"%d" % number, partition=number % 2)
            producer.commit_transaction() if number % 3 else producer.abort_transaction()
        grown = size_of(broker, "__transaction_state")
        assert compact(broker, "__transaction_state") > grown / 2
        assert compact(broker, "t") > 0
        broker.restart()
        producer.begin_transaction()
        producer.produce("t", key=b"k", value=b"last", partition=0)
        producer.commit_transaction()
        consumer = Consumer(
            {
                "bootstrap.servers": broker.bootstrap,
                "group.id": "r",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
            }
        )
        consumer.assign([TopicPartition("t", 0, 0)])
        values = []
        while (message := consumer.poll(15)) is not None and message.error() is None:
            values.append(message.value())
        consumer.close()
        assert message is not None, "the reader is stuck"
        assert values[-1] == b"last"
        assert all(value == b"last" or int(value) % 3 for value in values)
