"""A reset and deletions from the pages against a real broker and a real consumer."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from html import unescape

import pytest
from confluent_kafka import Consumer, TopicPartition
from django.test import Client

from broker.client.blocking import Client as KafkaClient
from broker.types import TopicPartition as Partition
from tests.support.broker_process import BrokerProcess

pytestmark = pytest.mark.django_db
_numbers = itertools.count(1)


@pytest.fixture
def topic(cluster: KafkaClient) -> str:
    """Two partitions with ten records each."""
    name = f"reset-{next(_numbers)}"
    cluster.create_topic(name, 2, 1)
    for partition in range(2):
        for number in range(10):
            cluster.produce(name, None, b"%d" % number, partition=partition, timestamp_ms=1_700_000_000_000 + number)
    return name


@pytest.fixture
def consumer(broker_process: BrokerProcess, topic: str) -> Iterator[Consumer]:
    made = Consumer({"bootstrap.servers": broker_process.bootstrap, "group.id": f"readers of {topic}"})
    yield made
    made.close()


@pytest.fixture
def group(consumer: Consumer, topic: str) -> str:
    """Has committed 7 in both partitions and has no members."""
    consumer.commit(offsets=[TopicPartition(topic, number, 7) for number in range(2)], asynchronous=False)
    return f"readers of {topic}"


def committed(cluster: KafkaClient, group: str) -> list[int]:
    return [one.offset for one in cluster.group_offsets(group)]


def confirm(admin_client: Client, url: str, group: str) -> str:
    shown = admin_client.get(url).content.decode()
    plan = re.search(r'name="plan" value="([^"]*)"', shown)
    assert plan is not None, shown
    answer = admin_client.post(url, {"plan": unescape(plan[1]), "typed_name": group}, follow=True)
    return answer.content.decode()


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("to=earliest", [0, 0]),
        ("to=latest", [10, 10]),
        ("to=offset&offset=4", [4, 4]),
        ("to=shift&shift=-5", [2, 2]),
        ("to=time&time=2023-11-14T22:13:20.003&zone=UTC", [3, 3]),
        ("to=latest&partitions=1", [7, 10]),
    ],
)
def test_every_strategy_moves_the_group(
    admin_client: Client, cluster: KafkaClient, topic: str, group: str, to: str, expected: list[int]
) -> None:
    body = confirm(admin_client, f"/groups/by-id/reset-offsets?group={group}&topic={topic}&{to}", group)
    assert "reset. The group goes on there" in body
    assert committed(cluster, group) == expected


def test_while_a_consumer_reads_the_page_says_why_not(
    admin_client: Client, cluster: KafkaClient, topic: str, group: str, consumer: Consumer
) -> None:
    consumer.subscribe([topic])
    while not consumer.assignment():
        consumer.poll(0.1)
    url = f"/groups/by-id/reset-offsets?group={group}&topic={topic}&to=earliest"
    body = admin_client.get(url).content.decode()
    assert "The group has 1 member: stop its consumers first." in body
    assert 'name="plan"' not in body


def test_offsets_of_a_topic_and_then_the_group_are_deleted(
    admin_client: Client, cluster: KafkaClient, topic: str, group: str
) -> None:
    other = f"{topic}-other"
    cluster.create_topic(other, 1, 1)
    cluster.commit_group_offsets(group, {Partition(other, 0): 0})
    admin_client.post(f"/groups/by-id/delete-offsets?group={group}&topic={topic}", {"typed_name": group})
    assert [one.topic for one in cluster.group_offsets(group)] == [other]
    admin_client.post(f"/groups/by-id/delete?group={group}", {"typed_name": group})
    assert group not in [one.group_id for one in cluster.list_groups()]
