"""What a handler is given: one request and the broker's services.

Owns: ``Request`` (who asked what, on which connection) and ``Services`` (the parts composed by ``app.py``).
Handlers keep no state of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from broker.clock import Clock
    from broker.cluster.driver import ClusterDriver
    from broker.config.broker import BrokerConfig
    from broker.groups.driver import GroupCoordinator
    from broker.partition.manager import PartitionManager
    from broker.telemetry.sampler import Sampler


@dataclass(slots=True)
class ConnectionInfo:
    """Facts of one connection; ``client_software_*`` come from ApiVersions v3+ (KIP-511)."""

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


@dataclass(slots=True)
class Request:
    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None
    body: memoryview
    """The frame behind the header. Valid only until the handler first awaits; copy what must live longer."""
    connection: ConnectionInfo


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
    sampler: Sampler
    cluster_secret: bytes
