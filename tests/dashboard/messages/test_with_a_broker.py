"""The message pages and the tail over a real broker, with what a real client wrote in every codec."""

from __future__ import annotations

import itertools
import re

import pytest
from confluent_kafka import Producer
from django.test import Client

from broker.client.asynchronous import AsyncClient
from broker.client.blocking import Client as KafkaClient
from dashboard.messages.predicate import parse
from dashboard.messages.tail_reader import TailReader
from tests.support.broker_process import BrokerProcess

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
_numbers = itertools.count(1)


@pytest.fixture
def topic(cluster: KafkaClient) -> str:
    name = f"messages-{next(_numbers)}"
    cluster.create_topic(name, 3, 1)
    return name


def write(broker: BrokerProcess, topic: str, codec: str, count: int, partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "compression.type": codec, "linger.ms": 20})
    for number in range(count):
        value = f"{codec} {number} ".encode() * 20
        producer.produce(topic, value, key=codec.encode(), partition=partition, headers=[("codec", codec.encode())])
    assert producer.flush(20) == 0


@pytest.mark.django_db
def test_records_of_every_codec_are_shown_with_their_codec(
    viewer: Client, cluster: KafkaClient, broker_process: BrokerProcess, topic: str
) -> None:
    for partition, codec in enumerate(CODECS):
        write(broker_process, topic, codec, 40, partition % 3)
    page = viewer.get(f"/topics/{topic}/?tab=messages&limit=500").content.decode()
    assert len(re.findall(r'<tr id="m-', page)) == 200
    for codec in CODECS:
        found = viewer.get(f"/topics/{topic}/?tab=messages&q=header.codec+%3D+{codec}&limit=50").content.decode()
        assert len(re.findall(r'<tr id="m-', found)) == 40
        first = re.search(rf'href="(/topics/{topic}/messages/\d[^"]*)"', found)
        assert first is not None
        record = viewer.get(first[1]).content.decode()
        assert f"<dt>Compression</dt><dd>{codec}</dd>" in record


@pytest.mark.django_db
def test_a_topic_that_is_not_there_is_not_found(viewer: Client, cluster: KafkaClient) -> None:
    assert viewer.get("/topics/nowhere/messages/0/0/").status_code == 404
    assert "cannot be shown" in viewer.get("/topics/nowhere/?tab=messages").content.decode()


async def test_the_tail_follows_what_is_written(
    broker_process: BrokerProcess, cluster: KafkaClient, topic: str
) -> None:
    cluster.produce(topic, b"k", b"before", partition=0)
    async with AsyncClient(broker_process.bootstrap) as client:
        reader = TailReader(client, topic, None, parse("not value = dull"))
        await reader.open()
        for value in (b"one", b"dull", b"two"):
            cluster.produce(topic, b"k", value, partition=1)
        seen: list[bytes | None] = []
        while len(seen) < 2:
            batch = await reader.next()
            assert batch.trouble == ""
            seen += [record.value for record in batch.records]
        assert seen == [b"one", b"two"]
