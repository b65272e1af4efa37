"""Which broker a call goes to: any, one by id, the controller, a partition's leader, a group's coordinator.

Owns: the cluster's addresses as last seen, the leader table, and the rules for trying again. A call is repeated
only when that is safe: a request that certainly was not sent, a read, or an answer that says "wrong broker"
(nothing was done). A change whose answer was lost is *not* repeated: the caller is told and decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import msgspec

from broker.client.addresses import Address, parse_bootstrap
from broker.client.connection import CONNECT_TIMEOUT_SECONDS, Connection, StructType
from broker.client.errors import ClientConnectionError, ClientTimeoutError, raise_for_code
from broker.client.metadata import read_metadata
from broker.client.pool import ConnectionPool
from broker.client.results import BrokerEndpoint, ClusterMetadata, TopicMetadata
from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

REQUEST_TIMEOUT_SECONDS = 10.0
ATTEMPTS_MAX = 6
BACKOFF_FIRST_SECONDS = 0.05
BACKOFF_MAX_SECONDS = 1.0
LEADERS_CACHED_MAX = 100_000
"""Beyond this the table is dropped and read again: a client that walks a huge cluster stays small."""

MISROUTED = frozenset(
    {
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.NOT_CONTROLLER,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.UNKNOWN_LEADER_EPOCH,
        ErrorCode.REPLICA_NOT_AVAILABLE,
    }
)
"""Answers that mean: nothing was done here; look up again who is responsible."""

Result = TypeVar("Result")


class Router:
    """Used only from one event loop."""

    def __init__(
        self,
        bootstrap: str | Iterable[str],
        *,
        client_id: str = "ottla",
        secret: bytes | None = None,
        request_timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
    ) -> None:
        self.request_timeout_seconds = request_timeout_seconds
        self._bootstrap = parse_bootstrap(bootstrap)
        self._pool = ConnectionPool(client_id=client_id, secret=secret, connect_timeout_seconds=connect_timeout_seconds)
        self._brokers: dict[int, BrokerEndpoint] = {}
        self._controller_id = -1
        self._leaders: dict[tuple[str, int], int] = {}

    async def close(self) -> None:
        await self._pool.close()

    # Metadata --------------------------------------------------------------------------------------

    async def metadata(self, topics: Iterable[str] | None) -> ClusterMetadata:
        """Ask the cluster; None asks for all topics. Remembers brokers and leaders on the way."""
        names = None if topics is None else list(dict.fromkeys(topics))
        request = m.MetadataRequest(
            topics=None if names is None else [m.MetadataRequest.MetadataRequestTopic(name=name) for name in names],
            allow_auto_topic_creation=False,
        )
        response = await self.any_broker(lambda connection: self._call(connection, ApiKey.METADATA, request))
        raise_for_code(response.error_code)
        found = read_metadata(response)
        self._remember(found)
        return found

    async def topic(self, name: str) -> TopicMetadata:
        """One topic's metadata; raises its error (UNKNOWN_TOPIC_OR_PARTITION …)."""
        topic = next((t for t in (await self.metadata([name])).topics if t.name == name), None)
        if topic is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"no topic named {name!r}")
        raise_for_code(topic.error, f"topic {name!r}: {topic.error.message}")
        return topic

    async def broker_ids(self) -> list[int]:
        return sorted(broker.id for broker in (await self.metadata([])).cluster.brokers)

    async def leaders(self, topic: str, partitions: Iterable[int]) -> dict[int, list[int]]:
        """Partitions grouped by the broker that leads them; raises when one has no leader."""
        wanted = list(dict.fromkeys(partitions))
        if any((topic, partition) not in self._leaders for partition in wanted):
            await self.topic(topic)
        grouped: dict[int, list[int]] = {}
        for partition in wanted:
            leader = self._leaders.get((topic, partition))
            if leader is None:
                raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"{topic} has no partition {partition}")
            if leader < 0:
                self._leaders.pop((topic, partition), None)
                raise KafkaError(ErrorCode.LEADER_NOT_AVAILABLE, f"{topic}-{partition} has no leader now")
            grouped.setdefault(leader, []).append(partition)
        return grouped

    def forget_topic(self, topic: str) -> None:
        """Drop what is remembered of a topic's leaders: the next call looks them up again."""
        for key in [key for key in self._leaders if key[0] == topic]:
            del self._leaders[key]

    def _remember(self, found: ClusterMetadata) -> None:
        self._brokers = {broker.id: broker for broker in found.cluster.brokers}
        self._controller_id = found.cluster.controller_id
        if len(self._leaders) > LEADERS_CACHED_MAX:
            self._leaders.clear()
        for topic in found.topics:
            if topic.error:
                self.forget_topic(topic.name)
            for partition in topic.partitions:
                self._leaders[topic.name, partition.partition] = partition.leader

    # Where to --------------------------------------------------------------------------------------

    async def any_broker(self, act: Callable[[Connection], Awaitable[Result]]) -> Result:
        """Run a repeatable call on the first broker that can be reached, connected ones first."""
        failure: ClientConnectionError | None = None
        for address in self._candidates():
            try:
                return await self._on(address, act, repeatable=True)
            except ClientConnectionError as error:
                failure = error
        assert failure is not None
        raise failure

    async def call_any(self, api_key: int, request: Any, *, timeout_seconds: float | None = None) -> Any:
        return await self.any_broker(lambda connection: self._call(connection, api_key, request, timeout_seconds))

    async def call_broker(
        self,
        broker_id: int,
        api_key: int,
        request: Any,
        *,
        repeatable: bool,
        timeout_seconds: float | None = None,
    ) -> Any:
        address = await self.address_of(broker_id)
        return await self._on(
            address,
            lambda connection: self._call(connection, api_key, request, timeout_seconds),
            repeatable=repeatable,
        )

    async def send_broker(self, broker_id: int, api_key: int, request: Any) -> None:
        """Send a request that has no answer."""
        connection = await self._pool.acquire(await self.address_of(broker_id))
        await connection.send_unanswered(api_key, request)

    async def call_private(
        self,
        broker_id: int | None,
        api_key: int,
        request: msgspec.Struct,
        response_type: type[StructType],
        *,
        repeatable: bool,
        timeout_seconds: float | None = None,
    ) -> StructType:
        """A private API of one broker; without an id, of the first bootstrap address."""
        address = self._bootstrap[0] if broker_id is None else await self.address_of(broker_id)
        seconds = self.request_timeout_seconds if timeout_seconds is None else timeout_seconds

        async def act(connection: Connection) -> StructType:
            return await connection.call_private(api_key, request, response_type, timeout_seconds=seconds)

        return await self._on(address, act, repeatable=repeatable)

    async def controller_id(self) -> int:
        """The broker that decides; Kafka 4 names any live broker, for all of them forward."""
        if self._controller_id not in self._brokers:
            await self.metadata([])
        if self._controller_id in self._brokers:
            return self._controller_id
        if self._brokers:
            return next(iter(self._brokers))
        raise KafkaError(ErrorCode.BROKER_NOT_AVAILABLE, "the cluster names no live broker")

    def forget_controller(self) -> None:
        self._controller_id = -1

    async def coordinator_id(self, key: str, key_type: int = 0) -> int:
        """Of a group (key type 0) or a transactional id (1)."""
        request = m.FindCoordinatorRequest(key=key, key_type=key_type)
        response = await self.call_any(ApiKey.FIND_COORDINATOR, request)
        raise_for_code(response.error_code, response.error_message)
        endpoint = BrokerEndpoint(id=response.node_id, host=response.host, port=response.port)
        self._brokers[endpoint.id] = endpoint
        return endpoint.id

    async def address_of(self, broker_id: int) -> Address:
        if broker_id not in self._brokers:
            await self.metadata([])
        broker = self._brokers.get(broker_id)
        if broker is None:
            raise KafkaError(ErrorCode.BROKER_NOT_AVAILABLE, f"broker {broker_id} is not in the cluster")
        return Address(broker.host, broker.port)

    async def until_routed(self, attempt: Callable[[], Awaitable[Result]], *, topic: str | None = None) -> Result:
        """Repeat ``attempt`` while the answer is "not me", looking up afresh in between."""
        delay = BACKOFF_FIRST_SECONDS
        for _ in range(ATTEMPTS_MAX - 1):
            try:
                return await attempt()
            except KafkaError as error:
                if error.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION and topic is not None:
                    self.forget_topic(topic)
                if error.code not in MISROUTED:
                    raise
            self.forget_controller()
            if topic is not None:
                self.forget_topic(topic)
            await asyncio.sleep(delay)
            delay = min(delay * 2, BACKOFF_MAX_SECONDS)
        return await attempt()

    # How -------------------------------------------------------------------------------------------

    def _candidates(self) -> list[Address]:
        known = [Address(broker.host, broker.port) for broker in self._brokers.values()]
        addresses = dict.fromkeys((*self._bootstrap, *known))
        return sorted(addresses, key=lambda address: not self._pool.is_connected(address))

    async def _on(
        self, address: Address, act: Callable[[Connection], Awaitable[Result]], *, repeatable: bool
    ) -> Result:
        """Run on one broker; once more on a new connection when a pooled one turns out to be dead."""
        pooled = self._pool.is_connected(address)
        try:
            return await act(await self._pool.acquire(address))
        except ClientConnectionError as error:
            if not pooled or isinstance(error, ClientTimeoutError) or (error.maybe_sent and not repeatable):
                raise
        return await act(await self._pool.acquire(address))

    async def _call(
        self, connection: Connection, api_key: int, request: Any, timeout_seconds: float | None = None
    ) -> Any:
        seconds = self.request_timeout_seconds if timeout_seconds is None else timeout_seconds
        return await connection.call(api_key, request, timeout_seconds=seconds)
