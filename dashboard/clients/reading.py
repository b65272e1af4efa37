"""Asking every broker for its connections and for what clients pushed to it. Bounded; a silent broker is named."""

from __future__ import annotations

from dataclasses import dataclass, field

from broker.protocol.private import ClientInstanceEntry, ConnectionEntry
from dashboard.clients.grouping import Connection
from dashboard.gateway import GatewayError, gateway

CONNECTIONS_MAX = 2_000
"""Shown at once, of all brokers together; a filter by client id finds the others."""
PAGE = 500
INSTANCES_MAX = 500


@dataclass(slots=True, kw_only=True)
class Found:
    """What the brokers answered."""

    connections: list[Connection] = field(default_factory=list)
    total: int = 0
    troubles: dict[int, str] = field(default_factory=dict)
    """Broker → why it could not be asked."""

    @property
    def cut(self) -> bool:
        return len(self.connections) < self.total


@dataclass(slots=True, kw_only=True)
class Instances:
    found: list[tuple[int, ClientInstanceEntry]] = field(default_factory=list)
    total: int = 0
    troubles: dict[int, str] = field(default_factory=dict)


def read_connections(*, client_id: str = "", listener: str = "") -> Found:
    """Raises ``GatewayError`` when not even the list of brokers can be had."""
    found = Found()
    for broker in gateway().describe_cluster().brokers:
        try:
            _read_broker(found, broker.id, client_id, listener)
        except GatewayError as error:
            found.troubles[broker.id] = str(error)
    return found


def _read_broker(found: Found, broker_id: int, client_id: str, listener: str) -> None:
    after = 0
    while True:
        page = gateway().connections(broker_id, after=after, limit=PAGE, client_id=client_id, listener=listener)
        if not after:
            found.total += page.total
        room = CONNECTIONS_MAX - len(found.connections)
        entries: list[ConnectionEntry] = page.connections[:room]
        found.connections += [Connection(broker_id=broker_id, entry=entry) for entry in entries]
        after = page.next_after
        if not after or len(found.connections) >= CONNECTIONS_MAX:
            return


def read_instances() -> Instances:
    """Client instances that were given a metrics subscription, without their values."""
    instances = Instances()
    for broker in gateway().describe_cluster().brokers:
        try:
            answer = gateway().client_instances(broker.id, limit=INSTANCES_MAX)
        except GatewayError as error:
            instances.troubles[broker.id] = str(error)
            continue
        instances.total += answer.total
        instances.found += [(broker.id, entry) for entry in answer.instances]
    return instances
