"""Which metadata store an installation has: what the config ``metadata`` says. Used by the broker and by the backup command."""

from __future__ import annotations

from pathlib import Path

from broker.clock import Clock
from broker.config.broker import BrokerConfig
from broker.config.metadata_address import parse_metadata_address
from broker.metadata.sqlite import SqliteStore
from broker.metadata.store import MetadataStore


def store_kind(config: BrokerConfig) -> str:
    """What people are told that it is: ``sqlite`` or ``zookeeper``."""
    return "zookeeper" if config.metadata else "sqlite"


def metadata_store(config: BrokerConfig, clock: Clock) -> MetadataStore:
    if not config.metadata:
        return SqliteStore(Path(config.home) / "metadata.sqlite3", clock=clock)
    # Only here: with a file for its metadata a broker has no use for kazoo and its threads.
    from broker.metadata.zookeeper import ZookeeperStore

    address = parse_metadata_address(config.metadata)
    return ZookeeperStore(
        address.servers, address.chroot, session_timeout_ms=config.broker_session_timeout_ms, clock=clock
    )
