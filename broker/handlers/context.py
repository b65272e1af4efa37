"""What a handler is given: one request and the broker's services.

Owns: ``Request`` (who asked what, on which connection) and ``Services`` (the parts composed by ``app.py``).
Handlers keep no state of their own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from broker.client_metrics.instances import ClientInstances
from broker.quotas.driver import Quotas
from broker.quotas.replication import ReplicationThrottle

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.clock import Clock
    from broker.cluster.driver import ClusterDriver
    from broker.config.broker import BrokerConfig
    from broker.groups.driver import GroupCoordinator
    from broker.partition.fetch_session_cache import FetchSessionCache
    from broker.partition.manager import PartitionManager
    from broker.partition.recompressor import Recompressor
    from broker.protocol.private import ConnectionEntry
    from broker.telemetry.sampler import Sampler
    from broker.transactions.driver import TransactionCoordinator
    from broker.transactions.gate import TransactionGate


@dataclass(slots=True)
class ConnectionInfo:
    """Facts of one connection; ``client_software_*`` come from ApiVersions v3+ (KIP-511).

    The counters are bumped on the hot path, so they are plain ints; ``network/session.py`` and the pipeline count.
    """

    connection_id: int
    peer_host: str
    peer_port: int
    listener: str
    """``client`` or ``internal``."""
    authenticated: bool = False
    client_software_name: str = ""
    client_software_version: str = ""
    session: Any = None
    """Private to ``handlers/authenticate.py``: the state of a challenge under way."""
    client_id: str | None = None
    spoken: int = -1
    """API key << 16 | version of the last request: what is said again need not be noted again."""
    api_versions: dict[int, int] = field(default_factory=dict)
    """API key → the version it was last spoken in. Served keys only, so it is bounded."""
    requests_total: int = 0
    bytes_in_total: int = 0
    bytes_out_total: int = 0
    throttled_ms_total: int = 0
    client_instance_id: bytes = b""
    """From GetTelemetrySubscriptions or PushTelemetry."""
    mute_ms: int = 0
    """Set by a handler whose client has to wait: the session mutes the connection once the answer is on its way."""


@dataclass(slots=True)
class Request:
    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None
    body: memoryview
    """The frame behind the header. Valid only until the handler first awaits; copy what must live longer."""
    connection: ConnectionInfo
    began_ns: int = 0
    """When the handler was called, if its time has to be measured."""
    busy_ns: int = 0
    """Time of the event loop this request has used."""
    throttle_ms: int = 0
    """What the answer tells its client to wait."""

    def drop_body(self) -> None:
        """An answer that is parked must not hold on to the frame."""
        self.body = _NO_BODY

    def pause(self) -> None:
        """What follows is waiting and not work."""
        if self.began_ns:
            self.busy_ns += time.perf_counter_ns() - self.began_ns
            self.began_ns = 0


_NO_BODY = memoryview(b"")


class Connections(Protocol):
    """What handlers may ask of the connections of this broker; ``network/server.py`` answers."""

    def page(
        self, *, after: int, limit: int, now_ms: int, wanted: Callable[[ConnectionInfo], bool]
    ) -> tuple[list[ConnectionEntry], int]:
        """(at most ``limit`` connections with an id above ``after``, how many are wanted in all)."""

    def disconnect(self, connection_id: int) -> bool:
        """End a connection now. False when there is none of that id."""

    def hold(self, byte_count: int) -> None:
        """Count what a request keeps in memory while it waits, beside the input that waits. Raises ``CloseConnection``
        when all of that together is enough."""

    def let_go(self, byte_count: int) -> None:
        """The request is done, or given up."""


@dataclass(slots=True)
class Services:
    """Composition of one broker process. Built once by ``app.py``; every field is set before the first request."""

    node_id: int
    cluster_id: str
    incarnation: str
    config: BrokerConfig
    clock: Clock
    cluster: ClusterDriver
    partitions: PartitionManager
    groups: GroupCoordinator
    transactions: TransactionCoordinator
    gate: TransactionGate
    sampler: Sampler
    fetch_sessions: FetchSessionCache
    recompressor: Recompressor
    cluster_secret: bytes
    quotas: Quotas = field(default_factory=Quotas)
    client_instances: ClientInstances = field(default_factory=ClientInstances)
    leader_throttle: ReplicationThrottle = field(default_factory=ReplicationThrottle)
    """Of what followers copy from here."""
    connections: Connections = field(init=False)
    """The server needs the pipeline, which needs this: ``app.py`` sets it as soon as there is a server."""
