"""Connections as clients, and what is worth knowing of a library's version."""

from __future__ import annotations

from typing import Any

import pytest

from broker.protocol.private import ConnectionEntry
from dashboard.clients.grouping import ClientRow, Connection, group, library_note, librdkafka_version


def connection(number: int, client_id: str | None = "shop", *, broker_id: int = 1, **values: Any) -> Connection:
    defaults: dict[str, Any] = {
        "listener": "client",
        "peer_host": "10.0.0.7",
        "peer_port": 40_000 + number,
        "connected_at_ms": 1_000 * number,
        "client_software_name": "confluent-kafka-python",
        "client_software_version": "2.16.1-rdkafka-2.16.0",
    }
    return Connection(
        broker_id=broker_id,
        entry=ConnectionEntry(connection_id=number, client_id=client_id, **{**defaults, **values}),
    )


def only(*connections: Connection) -> ClientRow:
    (row,) = group(connections)
    return row


def test_the_connections_of_a_client_are_one_row() -> None:
    row = only(
        connection(2, broker_id=2, idle_ms=9_000, requests_per_second=1.5, throttled_ms=10, api_versions={0: 7, 3: 12}),
        connection(1, idle_ms=4_000, requests_per_second=2.0, muted=True, throttled_ms=20, api_versions={0: 12}),
    )
    assert (row.client_id, row.library, row.host) == (
        "shop",
        "confluent-kafka-python 2.16.1-rdkafka-2.16.0",
        "10.0.0.7",
    )
    assert (row.since_ms, row.idle_ms, row.requests_rate, row.throttled_ms, row.muted) == (1_000, 4_000, 3.5, 30, True)
    assert (row.brokers, row.api_versions) == ([1, 2], {0: 12, 3: 12})
    assert [one.entry.connection_id for one in row.connections] == [1, 2]


@pytest.mark.parametrize(
    "values",
    [
        {"client_software_version": "2.17.0"},
        {"client_software_name": "librdkafka"},
        {"peer_host": "10.0.0.8"},
        {"listener": "internal"},
    ],
)
def test_another_library_host_or_listener_is_another_client(values: dict[str, str]) -> None:
    rows = group([connection(1), connection(2, **values)])
    assert len(rows) == 2
    assert len({row.key for row in rows}) == 2


def test_a_client_that_tells_nothing_is_a_client_too() -> None:
    row = only(connection(1, None, client_software_name="", client_software_version=""))
    assert (row.client_id, row.library, row.note) == ("", "", "")


@pytest.mark.parametrize(
    ("software", "version", "expected"),
    [
        ("librdkafka", "2.11.0", (2, 11, 0)),
        ("librdkafka", "v2.3.0-dirty", (2, 3, 0)),
        ("confluent-kafka-python", "2.16.1-rdkafka-2.16.0", (2, 16, 0)),
        ("confluent-kafka-dotnet", "2.4.0-librdkafka-2.4.0", (2, 4, 0)),
        ("apache-kafka-java", "2.1.0", None),
        ("aiokafka", "0.14.0", None),
        ("librdkafka", "unknown", None),
        ("", "", None),
    ],
)
def test_librdkafka_is_found_inside_what_is_built_on_it(
    software: str, version: str, expected: tuple[int, int, int] | None
) -> None:
    assert librdkafka_version(software, version) == expected


def test_only_versions_that_stop_compressing_elsewhere_are_noted() -> None:
    assert "silently stops compressing" in library_note("librdkafka", "2.11.0")
    assert "librdkafka 2.0.2: works here" in library_note("librdkafka", "2.0.2")
    assert library_note("librdkafka", "2.11.1") == ""
    assert library_note("confluent-kafka-python", "2.16.1-rdkafka-2.16.0") == ""
    assert library_note("apache-kafka-java", "2.1.0") == ""
