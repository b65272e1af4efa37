"""What one broker asks another: Kafka requests over the internal listener, in a version the asker chooses.

Owns: the authenticated connections to other brokers, by broker and API, and when to try a broker again that could not
be reached. Given to coordinators as a ``PeerRequests`` (``transactions/ports.py``); built by ``app.py``.

What must stay true:
- a request to this very broker goes to its handler without a socket;
- each API has connections of its own: Kafka answers a connection in order, so a request that waits for a flush or for
  another broker must not hold back one of another kind. Two brokers that wait for each other never do so in a circle;
- requests in flight to one broker by one API ≤ ``IN_FLIGHT_MAX``; a broker that cannot be reached is left alone for a
  while that doubles up to ``BACKOFF_SECONDS_MAX``, and until then refuses at once;
- every failure to get an answer is a retriable ``KafkaError`` NETWORK_EXCEPTION. The peer may have acted on the request:
  whoever asks must be able to ask again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broker.client.addresses import Address
from broker.client.errors import ClientConnectionError
from broker.client.pool import ConnectionPool
from broker.clock import Clock
from broker.errors import ErrorCode, KafkaError
from broker.types import BrokerId

if TYPE_CHECKING:
    from broker.cluster.image import ClusterImage

IN_FLIGHT_MAX = 200
CONNECT_TIMEOUT_SECONDS = 2.0
BACKOFF_SECONDS_MIN = 0.05
BACKOFF_SECONDS_MAX = 1.0

LocalCall = Callable[[int, int, Any], Awaitable[Any]]
"""(api key, version, request message) -> response message, by this broker's own handler."""


@dataclass(slots=True)
class _Lane:
    """Connections to one broker for one API."""

    pool: ConnectionPool
    address: Address
    in_flight: int = 0
    backoff_seconds: float = 0.0
    not_before: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStatistics:
    lanes: int
    in_flight: int
    requests_total: int
    failures_total: int


class Peers:
    def __init__(
        self,
        *,
        node_id: BrokerId,
        image: Callable[[], ClusterImage],
        secret: bytes,
        clock: Clock,
        local: LocalCall,
        request_timeout_ms: Callable[[], int],
    ) -> None:
        self._node_id = node_id
        self._image = image
        self._secret = secret
        self._clock = clock
        self._local = local
        self._request_timeout_ms = request_timeout_ms
        self._lanes: dict[tuple[BrokerId, int], _Lane] = {}
        self._requests_total = 0
        self._failures_total = 0

    async def request(self, broker_id: BrokerId, api_key: int, api_version: int, message: Any) -> Any:
        """The response message. Raises ``KafkaError``: BROKER_NOT_AVAILABLE for a broker that is not alive, else
        NETWORK_EXCEPTION."""
        if broker_id == self._node_id:
            return await self._local(api_key, api_version, message)
        lane = await self._lane(broker_id, api_key)
        self._refuse_when_unusable(lane, broker_id)
        self._requests_total += 1
        lane.in_flight += 1
        try:
            connection = await lane.pool.acquire(lane.address)
            lane.backoff_seconds = 0.0
            seconds = self._request_timeout_ms() / 1000
            return await connection.call_version(api_key, api_version, message, seconds)
        except ClientConnectionError as error:
            self._failures_total += 1
            if not lane.pool.is_connected(lane.address):
                self._back_off(lane)
            raise KafkaError(ErrorCode.NETWORK_EXCEPTION, str(error)) from error
        finally:
            lane.in_flight -= 1

    async def close(self) -> None:
        lanes, self._lanes = list(self._lanes.values()), {}
        await asyncio.gather(*(lane.pool.close() for lane in lanes))

    def statistics(self) -> PeerStatistics:
        return PeerStatistics(
            lanes=len(self._lanes),
            in_flight=sum(lane.in_flight for lane in self._lanes.values()),
            requests_total=self._requests_total,
            failures_total=self._failures_total,
        )

    async def _lane(self, broker_id: BrokerId, api_key: int) -> _Lane:
        broker = self._image().brokers.get(broker_id)
        if broker is None:
            raise KafkaError(ErrorCode.BROKER_NOT_AVAILABLE, f"broker {broker_id} is not alive")
        address = Address(broker.internal_host, broker.internal_port)
        lane = self._lanes.get((broker_id, api_key))
        if lane is not None and lane.address == address:
            return lane
        pool = ConnectionPool(
            client_id=f"broker-{self._node_id}", secret=self._secret, connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS
        )
        self._lanes[broker_id, api_key] = fresh = _Lane(pool, address)
        if lane is not None:
            await lane.pool.close()
        return fresh

    def _refuse_when_unusable(self, lane: _Lane, broker_id: BrokerId) -> None:
        if lane.in_flight >= IN_FLIGHT_MAX:
            why = f"{lane.in_flight} requests to broker {broker_id} are waiting already"
            raise KafkaError(ErrorCode.NETWORK_EXCEPTION, why)
        if self._clock.monotonic() < lane.not_before:
            raise KafkaError(ErrorCode.NETWORK_EXCEPTION, f"broker {broker_id} could not be reached a moment ago")

    def _back_off(self, lane: _Lane) -> None:
        lane.backoff_seconds = min(max(lane.backoff_seconds * 2, BACKOFF_SECONDS_MIN), BACKOFF_SECONDS_MAX)
        lane.not_before = self._clock.monotonic() + lane.backoff_seconds
