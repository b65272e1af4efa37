"""Connections as clients: the same library, version, client id and host belong together. Pure.

A client opens several connections: one for its coordinator, one for metadata, one for each broker. People ask who is there,
so the page shows one row for them all.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from broker.protocol.private import ConnectionEntry

LIBRDKAFKA = re.compile(r"(?:^|[-_ ])(?:lib)?rdkafka-(\d+)\.(\d+)\.(\d+)")
PLAIN_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
COMPRESSES_AGAIN = (2, 11, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One connection and the broker it is to."""

    broker_id: int
    entry: ConnectionEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRow:
    client_id: str
    software: str
    """Empty: it never told (ApiVersions before version 3)."""
    version: str
    host: str
    listener: str
    connections: Sequence[Connection]

    @property
    def key(self) -> str:
        """Names the client in addresses; client ids may be anything."""
        parts = "\0".join((self.client_id, self.software, self.version, self.host, self.listener))
        return hashlib.blake2b(parts.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    @property
    def library(self) -> str:
        return f"{self.software} {self.version}".strip()

    @property
    def since_ms(self) -> int:
        return min(one.entry.connected_at_ms for one in self.connections)

    @property
    def idle_ms(self) -> int:
        return min(one.entry.idle_ms for one in self.connections)

    @property
    def requests_rate(self) -> float:
        return sum(one.entry.requests_per_second for one in self.connections)

    @property
    def bytes_in_rate(self) -> float:
        return sum(one.entry.bytes_in_per_second for one in self.connections)

    @property
    def bytes_out_rate(self) -> float:
        return sum(one.entry.bytes_out_per_second for one in self.connections)

    @property
    def throttled_ms(self) -> int:
        return sum(one.entry.throttled_ms for one in self.connections)

    @property
    def muted(self) -> bool:
        return any(one.entry.muted for one in self.connections)

    @property
    def unsent_bytes(self) -> int:
        return sum(one.entry.unsent_bytes for one in self.connections)

    @property
    def brokers(self) -> list[int]:
        return sorted({one.broker_id for one in self.connections})

    @property
    def note(self) -> str:
        return library_note(self.software, self.version)

    @property
    def api_versions(self) -> dict[int, int]:
        """API key → the newest version it speaks on any of its connections."""
        found: dict[int, int] = {}
        for one in self.connections:
            for key, version in one.entry.api_versions.items():
                found[key] = max(version, found.get(key, version))
        return dict(sorted(found.items()))


def group(connections: Iterable[Connection]) -> list[ClientRow]:
    """By client id, then library."""
    together: dict[tuple[str, str, str, str, str], list[Connection]] = {}
    for one in connections:
        entry = one.entry
        key = (
            entry.client_id or "",
            entry.client_software_name,
            entry.client_software_version,
            entry.peer_host,
            entry.listener,
        )
        together.setdefault(key, []).append(one)
    return [
        ClientRow(
            client_id=client_id,
            software=software,
            version=version,
            host=host,
            listener=listener,
            connections=sorted(found, key=lambda one: (one.broker_id, one.entry.connection_id)),
        )
        for (client_id, software, version, host, listener), found in sorted(together.items())
    ]


def library_note(software: str, version: str) -> str:
    """What is worth knowing of this version of a library, and is true of it; empty for all others.

    librdkafka before 2.11.1 stops compressing, silently, against brokers that no longer offer Produce 0 (Kafka 4.0). This
    broker offers it for that reason, so here it compresses: the note is for whoever moves the client elsewhere.
    """
    found = librdkafka_version(software, version)
    if found is not None and found < COMPRESSES_AGAIN:
        return (
            f"librdkafka {'.'.join(map(str, found))}: works here. Against Apache Kafka 4.0 it silently stops compressing; "
            "2.11.1 and later do not."
        )
    return ""


def librdkafka_version(software: str, version: str) -> tuple[int, int, int] | None:
    """Of librdkafka itself or of what is built on it (``2.16.1-rdkafka-2.16.0``); ``None`` for other libraries."""
    found = LIBRDKAFKA.search(version)
    if found is None and software == "librdkafka":
        found = PLAIN_VERSION.match(version)
    return (int(found[1]), int(found[2]), int(found[3])) if found is not None else None
