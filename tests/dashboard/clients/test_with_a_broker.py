"""The Clients pages against a real broker and a real client."""

from __future__ import annotations

import confluent_kafka
import pytest
from confluent_kafka import Producer
from django.test import Client

from broker.client.blocking import Client as KafkaClient
from dashboard.clients.grouping import ClientRow, group, librdkafka_version
from dashboard.clients.reading import read_connections
from tests.support.broker_process import BrokerProcess
from tests.support.wait import wait_until

pytestmark = pytest.mark.django_db


def connected(client_id: str) -> ClientRow | None:
    answer = read_connections(client_id=client_id)
    assert not answer.troubles
    found = group(answer.connections)
    return found[0] if found else None


def test_a_real_client_is_there_with_its_version_until_it_is_disconnected(
    admin_client: Client, cluster: KafkaClient, broker_process: BrokerProcess
) -> None:
    producer = Producer({"bootstrap.servers": broker_process.bootstrap, "client.id": "a real shop"})
    producer.list_topics(timeout=20)
    row = wait_until(lambda: connected("a real shop"), "the client is there")
    assert row is not None
    assert row.software == "confluent-kafka-python"
    assert librdkafka_version(row.software, row.version) == tuple(
        int(part) for part in confluent_kafka.libversion()[0].split("-")[0].split(".")
    )
    assert row.version.split("-")[0] in admin_client.get("/clients/").content.decode()
    before = {one.entry.connection_id for one in row.connections}
    admin_client.post(f"/clients/{row.key}/disconnect")

    def is_another() -> bool:
        now = connected("a real shop")
        return now is None or not before & {one.entry.connection_id for one in now.connections}

    wait_until(is_another, "the old connections are gone")


def test_a_subscription_reaches_the_broker_and_goes_again(admin_client: Client, cluster: KafkaClient) -> None:
    admin_client.post("/clients/metrics/change", {"name": "page-test", "metrics": "*", "interval": "30 s"})
    assert "page-test" in admin_client.get("/clients/metrics/").content.decode()
    refused = {"name": "page-test", "metrics": "*", "interval": "1 ms"}
    assert admin_client.post("/clients/metrics/change", refused).status_code == 409
    admin_client.post("/clients/metrics/change", {"name": "page-test", "remove": "1"})
    assert 'value="page-test"' not in admin_client.get("/clients/metrics/").content.decode()
