"""The connections page's source: who is connected, through the blocking client and a real broker."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from broker.client.blocking import Client
from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.private import ConnectionEntry
from tests.support.broker_process import BrokerProcess
from tests.support.wait import wait_until
from tests.support.wire import Wire


@pytest.fixture(scope="module")
def internal(broker_process: BrokerProcess) -> Iterator[Client]:
    with Client(f"127.0.0.1:{broker_process.internal_port}", broker_process.cluster_secret) as client:
        yield client


def entry_of(internal: Client, wire: Wire) -> ConnectionEntry:
    port = wire.socket.getsockname()[1]
    (entry,) = [e for e in internal.connections(limit=1_000).connections if e.peer_port == port]
    return entry


def test_a_client_is_shown_with_what_it_said_of_itself(internal: Client, broker_process: BrokerProcess) -> None:
    with Wire(broker_process.port) as wire:
        hello = m.ApiVersionsRequest(client_software_name="apache-kafka-java", client_software_version="4.1.0")
        wire.call(ApiKey.API_VERSIONS, 4, hello)
        wire.call(ApiKey.METADATA, 12, m.MetadataRequest(topics=[]))
        entry = entry_of(internal, wire)
    assert (entry.listener, entry.peer_host, entry.client_id) == ("client", "127.0.0.1", "hostile")
    assert (entry.client_software_name, entry.client_software_version) == ("apache-kafka-java", "4.1.0")
    assert entry.api_versions == {ApiKey.API_VERSIONS: 4, ApiKey.METADATA: 12}
    assert (entry.requests, entry.pending, entry.muted) == (2, 0, False)
    assert entry.bytes_in > 60
    assert entry.bytes_out > 200
    assert entry.bytes_out_per_second > 0


def test_pages_and_filters_find_everybody_once(internal: Client, broker_process: BrokerProcess) -> None:
    name = f"paged-{uuid.uuid4().hex[:8]}"
    clients = [Client(broker_process.bootstrap, client_id=f"{name}-{number}") for number in range(3)]
    try:
        for client in clients:
            client.describe_cluster()
        found, after = [], 0
        while True:
            page = internal.connections(after=after, limit=2, client_id=name, listener="client")
            found += page.connections
            assert len(page.connections) <= 2
            if not page.next_after:
                break
            after = page.next_after
        assert {entry.client_id for entry in found} == {f"{name}-{number}" for number in range(3)}
        assert len(found) == page.total == len({entry.connection_id for entry in found})
    finally:
        for client in clients:
            client.close()
    assert internal.connections(listener="internal").connections[0].listener == "internal"


def test_an_operator_ends_a_connection(internal: Client, broker_process: BrokerProcess) -> None:
    with Wire(broker_process.port) as wire:
        wire.call(ApiKey.API_VERSIONS, 0, m.ApiVersionsRequest())
        entry = entry_of(internal, wire)
        internal.disconnect(entry.connection_id)
        assert wire.closed_by_broker()
    wait_until(lambda: is_gone(internal, entry.connection_id), "the connection is forgotten")


def is_gone(internal: Client, connection_id: int) -> bool:
    try:
        internal.disconnect(connection_id)
    except KafkaError as error:
        return error.code is ErrorCode.RESOURCE_NOT_FOUND
    return False


def test_it_cannot_end_the_connection_it_asks_over(internal: Client) -> None:
    own = [e for e in internal.connections(listener="internal").connections if ApiKey.CONNECTIONS in e.api_versions]
    with pytest.raises(KafkaError) as refused:
        internal.disconnect(own[-1].connection_id)
    assert refused.value.code is ErrorCode.INVALID_REQUEST
