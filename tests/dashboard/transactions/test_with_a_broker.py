"""The Transactions pages against a real broker: a real producer's transaction, its abort, and what readers see."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaException, Producer
from django.test import Client

from broker.client.blocking import Client as KafkaClient
from broker.types import TopicPartition
from dashboard.transactions.reading import read_survey
from tests.support.broker_process import BrokerProcess

pytestmark = pytest.mark.django_db
_numbers = itertools.count(1)


@pytest.fixture
def topic(cluster: KafkaClient) -> str:
    name = f"transactions-{next(_numbers)}"
    cluster.create_topic(name, 1, 1)
    return name


@pytest.fixture
def producer(broker_process: BrokerProcess, topic: str) -> Iterator[Producer]:
    """Has an open transaction with five records."""
    made = Producer({"bootstrap.servers": broker_process.bootstrap, "transactional.id": f"id of {topic}"})
    made.init_transactions(20)
    made.begin_transaction()
    for number in range(5):
        made.produce(topic, b"%d" % number, partition=0)
    made.flush(20)
    yield made
    made.purge()


def ends(cluster: KafkaClient, topic: str) -> tuple[int, int]:
    return (
        cluster.list_offsets(topic, {0: -1}, read_committed=True)[0].offset,
        cluster.list_offsets(topic, {0: -1})[0].offset,
    )


@pytest.mark.usefixtures("producer")
def test_an_open_transaction_is_listed_with_what_it_holds_back(admin_client: Client, topic: str) -> None:
    found = read_survey().find(f"id of {topic}")
    assert found is not None
    assert (found.word, found.waiting, found.hanging) == ("open", 5, False)
    assert [(held.topic_partition, held.first_offset) for held in found.held] == [(TopicPartition(topic, 0), 0)]
    body = admin_client.get(f"/transactions/one?id=id of {topic}").content.decode()
    assert "5 records wait behind it" in body
    assert "open since offset" in admin_client.get(f"/topics/{topic}/producers/").content.decode()


def test_an_abort_lets_readers_go_on_and_fences_the_producer(
    admin_client: Client, cluster: KafkaClient, producer: Producer, topic: str
) -> None:
    assert ends(cluster, topic) == (0, 5)
    url = f"/transactions/abort?id=id of {topic}"
    assert admin_client.post(url, {"typed_name": f"id of {topic}"}).status_code == 302
    assert ends(cluster, topic) == (6, 6)
    found = read_survey().find(f"id of {topic}")
    assert found is not None
    assert not found.is_open
    with pytest.raises(KafkaException):
        producer.commit_transaction(10)
