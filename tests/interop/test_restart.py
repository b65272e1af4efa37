"""What was acknowledged is there after a clean restart and after kill -9; committed offsets too."""

from __future__ import annotations

import pytest

from tests.interop.clients import WRITERS, Message, read_with_confluent
from tests.support.broker_process import BrokerProcess

pytestmark = pytest.mark.interop


@pytest.fixture
def own_broker(tmp_path):
    with BrokerProcess(tmp_path) as process:
        yield process


@pytest.mark.parametrize("ending", ["clean", "kill"])
def test_acknowledged_records_survive_a_restart(own_broker, ending) -> None:
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": own_broker.bootstrap})
    admin.create_topics([NewTopic("kept", 3, 1)])["kept"].result(timeout=30)
    records = [Message(key=b"%d" % index, value=b"v%d" % index) for index in range(1000)]
    WRITERS["confluent-kafka"](own_broker.bootstrap, "kept", records, "lz4")

    own_broker.kill() if ending == "kill" else own_broker.stop()
    own_broker.start()

    found = read_with_confluent(own_broker.bootstrap, "kept", len(records))
    assert sorted(message.content for message in found) == sorted(record.content for record in records)


def test_committed_offsets_survive_kill_9(own_broker) -> None:
    from confluent_kafka import Consumer, TopicPartition

    WRITERS["confluent-kafka"](own_broker.bootstrap, "auto-created", [Message(key=None, value=b"v")] * 20, "none")
    settings = {"bootstrap.servers": own_broker.bootstrap, "group.id": "durable", "enable.auto.commit": False}
    partition = TopicPartition("auto-created", 0, 12, metadata="checkpoint seven")
    consumer = Consumer(settings)
    consumer.commit(offsets=[partition], asynchronous=False)
    consumer.close()

    own_broker.kill()
    own_broker.start()

    consumer = Consumer(settings)
    try:
        (found,) = consumer.committed([TopicPartition("auto-created", 0)], timeout=30)
    finally:
        consumer.close()
    assert (found.offset, found.metadata) == (12, "checkpoint seven")
