"""What a broker uses of the machine it runs on: clocks, disk, listening sockets, the metadata store, flush threads, chance.

Owns nothing that lives: ``app.py`` asks it once for each part. It is the one place where the simulation
(``tests/simulation``) puts another machine below the very same broker. What else a broker needs of its surroundings comes
from the event loop it is given: timers, connections, worker threads.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from random import Random

from broker.clock import Clock, SystemClock, boot_id
from broker.cluster.store_choice import metadata_store
from broker.config.broker import BrokerConfig
from broker.metadata.store import MetadataStore
from broker.network.secret import load_cluster_secret
from broker.network.server import bind
from broker.partition.flush import FlushScheduler
from broker.storage.filesystem import FileSystem, RealFileSystem


class Machine:
    """The real one."""

    def __init__(self) -> None:
        self.clock: Clock = SystemClock()
        self.filesystem: FileSystem = RealFileSystem()
        self.random = Random()
        """For what has to be spread and need not be secret."""

    def boot_id(self) -> str:
        return boot_id()

    def cluster_secret(self, config: BrokerConfig) -> bytes:
        """Makes the home directory and the secret if need be. Raises ``OSError`` or ``ValueError``."""
        home = Path(config.home)
        home.mkdir(parents=True, exist_ok=True)
        return load_cluster_secret(home)

    def bind(self, host: str, port: int) -> socket.socket:
        """Raises ``OSError``."""
        return bind(host, port)

    def metadata_store(self, config: BrokerConfig) -> MetadataStore:
        return metadata_store(config, self.clock)

    def flush_scheduler(self, loop: asyncio.AbstractEventLoop, *, on_failed: Callable[[str], None]) -> FlushScheduler:
        return FlushScheduler(loop, on_failed=on_failed)
