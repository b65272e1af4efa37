"""A cluster of one broker on a real metadata file, and requests that go through the real codec both ways.

``ask`` encodes the request in the version asked for, decodes it as the broker would, calls the handler, and encodes and
decodes its response: so each test also proves that what the handler answers can be said in that version.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from broker.clock import ManualClock
from broker.cluster.decision import NewTopic
from broker.cluster.driver import ClusterDriver
from broker.cluster.image import TopicImage
from broker.config.broker import BrokerConfig
from broker.handlers.context import ConnectionInfo, Request, Services
from broker.metadata.sqlite import SqliteStore
from broker.protocol import codec
from broker.protocol.registry import SERVED


@dataclass
class FakePartitions:
    """The one question these handlers ask of the partition manager."""

    directories: list[Any] = field(default_factory=list)

    def log_dirs(self) -> list[Any]:
        return self.directories


class Stage:
    def __init__(self, services: Services, path: Path) -> None:
        self.services = services
        self.cluster = services.cluster
        self.path = path

    async def ask(self, handler: ModuleType, message: Any, version: int | None = None, listener: str = "client") -> Any:
        key = handler.API
        version = SERVED[key].max_version if version is None else version
        body = memoryview(codec.encode_request(key, version, message))
        connection = ConnectionInfo(connection_id=1, peer_host="127.0.0.1", peer_port=5, listener=listener)
        request = Request(
            api_key=key, api_version=version, correlation_id=7, client_id="test", body=body, connection=connection
        )
        answer = handler.handle(request, codec.decode_request(key, version, body), self.services)
        if inspect.isawaitable(answer):
            answer = await answer
        return codec.decode_response(key, version, codec.encode_response(key, version, answer))

    async def create(self, name: str, partitions: int = 1, **configs: str) -> TopicImage:
        new = NewTopic(
            name=name, partition_count=partitions, configs={k.replace("_", "."): v for k, v in configs.items()}
        )
        (result,) = await self.cluster.create_topics([new])
        assert result.error is None, result.error
        return self.cluster.image.topics_by_name[name]

    async def another_broker(self, broker_id: int) -> ClusterDriver:
        """A second live broker of this cluster, known here when this returns."""
        driver = await _open(self.path, BrokerConfig.from_environment({}, node_id=broker_id), ManualClock())
        while broker_id not in self.cluster.image.brokers:
            await self.cluster._advanced.wait()
        return driver


async def _open(path: Path, config: BrokerConfig, clock: ManualClock) -> ClusterDriver:
    driver = ClusterDriver(
        SqliteStore(path, clock=clock, poll_interval=0.02), config, incarnation=f"life of {config.node_id}", clock=clock
    )
    await driver.start()
    await driver.register()
    return driver


@asynccontextmanager
async def open_stage(directory: Path, **config: Any) -> AsyncIterator[Stage]:
    path, clock = directory / "metadata.sqlite3", ManualClock()
    broker_config = BrokerConfig.from_environment({}, **config)
    cluster = await _open(path, broker_config, clock)
    unused: Any = None
    partitions: Any = FakePartitions()
    services = Services(
        node_id=broker_config.node_id,
        cluster_id=cluster.image.cluster_id,
        incarnation="life",
        config=broker_config,
        clock=clock,
        cluster=cluster,
        partitions=partitions,
        groups=unused,
        transactions=unused,
        gate=unused,
        sampler=unused,
        fetch_sessions=unused,
        recompressor=unused,
        cluster_secret=b"",
    )
    try:
        yield Stage(services, path)
    finally:
        await cluster.stop()


def versions(handler: ModuleType) -> range:
    spec = SERVED[handler.API]
    return range(spec.min_version, spec.max_version + 1)
