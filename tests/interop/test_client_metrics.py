"""librdkafka pushes its metrics by itself once a subscription matches it (KIP-714)."""

from __future__ import annotations

from confluent_kafka import Producer

from broker.client.blocking import Client
from broker.protocol.private import ClientInstanceEntry
from tests.support.broker_process import BrokerProcess
from tests.support.wait import wait_until

CLIENT_ID = "metrics-of-librdkafka"
SUBSCRIPTION = "interop-librdkafka"


def test_librdkafka_pushes_what_it_is_asked_for(broker_process: BrokerProcess) -> None:
    address = f"127.0.0.1:{broker_process.internal_port}"
    with Client(address, broker_process.cluster_secret) as internal, Client(broker_process.bootstrap) as client:
        wanted = {"metrics": "*", "interval.ms": "200", "match": f"client_id={CLIENT_ID}"}
        client.alter_client_metrics(SUBSCRIPTION, wanted)
        producer = Producer({"bootstrap.servers": broker_process.bootstrap, "client.id": CLIENT_ID})
        try:
            producer.produce("pushes", b"value")
            producer.flush(10)
            wait_until(lambda: pushed(internal) >= 2, "two pushes of librdkafka", seconds=20)
            entry = entry_of(internal)
            assert (entry.client_software_name, entry.metrics) == ("confluent-kafka-python", ["*"])
            assert entry.last_error == 0
            names = {point.name for point in entry.points}
            assert any(name.startswith("org.apache.kafka.producer.") for name in names), names
            connections = internal.connections(client_id=CLIENT_ID).connections
            assert entry.client_instance_id in {c.client_instance_id for c in connections}
        finally:
            client.alter_client_metrics(SUBSCRIPTION, dict.fromkeys(wanted))
            producer.flush(10)


def entry_of(internal: Client) -> ClientInstanceEntry:
    (entry,) = [e for e in internal.client_metrics().instances if e.client_id == CLIENT_ID]
    return entry


def pushed(internal: Client) -> int:
    return max((e.pushes for e in internal.client_metrics().instances if e.client_id == CLIENT_ID), default=0)
