"""``AsyncClient``: the client for code that already runs an event loop."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType

from broker.client.configs import ConfigsClient
from broker.client.connection import CONNECT_TIMEOUT_SECONDS
from broker.client.groups import GroupsClient
from broker.client.internal import InternalClient
from broker.client.placement import PlacementClient
from broker.client.producer import ProducerClient
from broker.client.reader import ReaderClient
from broker.client.results import ClusterDescription, ClusterMetadata
from broker.client.router import REQUEST_TIMEOUT_SECONDS, Router
from broker.client.topics import TopicsClient
from broker.client.transactions import TransactionsClient


class AsyncClient:
    """Every call of one cluster, by subject. Bound to the loop it is first used on; close it there.

    Works against any Kafka broker. With ``secret`` the bootstrap addresses are *internal* listeners: every
    connection proves the secret first, and the private APIs (``internal``) are there.
    """

    def __init__(
        self,
        bootstrap: str | Iterable[str],
        secret: bytes | None = None,
        *,
        client_id: str = "ottla",
        request_timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
    ) -> None:
        self.router = Router(
            bootstrap,
            client_id=client_id,
            secret=secret,
            request_timeout_seconds=request_timeout_seconds,
            connect_timeout_seconds=connect_timeout_seconds,
        )
        self.topics = TopicsClient(self.router)
        self.configs = ConfigsClient(self.router)
        self.groups = GroupsClient(self.router)
        self.producer = ProducerClient(self.router)
        self.reader = ReaderClient(self.router)
        self.internal = InternalClient(self.router)
        self.transactions = TransactionsClient(self.router)
        self.placement = PlacementClient(self.router)

    async def metadata(self, topics: Iterable[str] | None = None) -> ClusterMetadata:
        """Brokers and topics; None means all topics. Never creates one."""
        return await self.router.metadata(topics)

    async def describe_cluster(self) -> ClusterDescription:
        return (await self.router.metadata([])).cluster

    async def close(self) -> None:
        await self.router.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
