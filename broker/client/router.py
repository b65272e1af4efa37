"""Which broker a call goes to: any, one by id, the controller, a partition's leader, a group's coordinator.

Owns: the cluster's addresses as last seen, the leader table, and the rules for trying again. A call is repeated
only when that is safe: a request that certainly was not sent, a read, or an answer that says "wrong broker"
(nothing was done). A change whose answer was lost is *not* repeated: the caller is told and decides.

A broker that died is named by the others until its session has run out and somebody took over. So a broker that cannot be
reached is asked for again until ``request_timeout_seconds`` are over, looking up afresh in between; as the controller
another one is taken at once, for every broker knows what to do with its requests. Where nobody can be reached at all
the call fails at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import msgspec

from broker.client.addresses import Address, parse_bootstrap
from broker.client.connection import CONNECT_TIMEOUT_SECONDS, Connection, StructType
from broker.client.errors import (
    AuthenticationFailedError,
    BrokerUnreachableError,
    ClientConnectionError,
    ClientTimeoutError,
    PeerProtocolError,
    raise_for_code,
)
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
AVOIDED_SECONDS = 5.0
"""A broker that could not be reached is not chosen for so long where another one does as well."""
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
        self._avoided: dict[int, float] = {}
        """Broker → until when, on the loop's clock."""

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
        return await self._on_broker(
            broker_id,
            lambda connection: self._call(connection, api_key, request, timeout_seconds),
            repeatable=repeatable,
        )

    async def send_broker(self, broker_id: int, api_key: int, request: Any) -> None:
        """Send a request that has no answer."""
        await self._on_broker(
            broker_id, lambda connection: connection.send_unanswered(api_key, request), repeatable=False
        )

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
        seconds = self.request_timeout_seconds if timeout_seconds is None else timeout_seconds

        async def act(connection: Connection) -> StructType:
            return await connection.call_private(api_key, request, response_type, timeout_seconds=seconds)

        if broker_id is None:
            return await self._on(self._bootstrap[0], act, repeatable=repeatable)
        return await self._on_broker(broker_id, act, repeatable=repeatable)

    async def controller_id(self) -> int:
        """The broker that decides; Kafka 4 names any live broker, for all of them forward."""
        if self._controller_id not in self._brokers:
            await self.metadata([])
        now = asyncio.get_running_loop().time()
        candidates = [self._controller_id, *self._brokers] if self._controller_id in self._brokers else [*self._brokers]
        for broker_id in candidates:
            if self._avoided.get(broker_id, 0.0) <= now:
                return broker_id
        if candidates:
            return candidates[0]
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
        """Repeat ``attempt`` while the answer is "not me", or who should answer is not there, looking up afresh in
        between."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self.request_timeout_seconds
        delay, attempts = BACKOFF_FIRST_SECONDS, 0
        while True:
            try:
                return await attempt()
            except BrokerUnreachableError:
                if loop.time() + delay >= give_up_at:
                    raise
            except KafkaError as error:
                if error.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION and topic is not None:
                    self.forget_topic(topic)
                attempts += 1
                if error.code not in MISROUTED or attempts >= ATTEMPTS_MAX:
                    raise
            self.forget_controller()
            if topic is not None:
                self.forget_topic(topic)
            await asyncio.sleep(delay)
            delay = min(delay * 2, BACKOFF_MAX_SECONDS)

    # How -------------------------------------------------------------------------------------------

    def _candidates(self) -> list[Address]:
        known = [Address(broker.host, broker.port) for broker in self._brokers.values()]
        addresses = dict.fromkeys((*self._bootstrap, *known))
        return sorted(addresses, key=lambda address: not self._pool.is_connected(address))

    async def _on_broker(
        self, broker_id: int, act: Callable[[Connection], Awaitable[Result]], *, repeatable: bool
    ) -> Result:
        """As ``_on``; who cannot be reached is remembered, and told from one whose answer was lost."""
        address = await self.address_of(broker_id)
        try:
            result = await self._on(address, act, repeatable=repeatable)
        except (AuthenticationFailedError, PeerProtocolError):
            raise  # it is there
        except ClientConnectionError as error:
            self._avoided[broker_id] = asyncio.get_running_loop().time() + AVOIDED_SECONDS
            if error.maybe_sent:
                raise
            raise BrokerUnreachableError(str(error)) from error
        self._avoided.pop(broker_id, None)
        return result

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
