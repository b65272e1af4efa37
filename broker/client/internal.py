"""The private APIs of one broker: telemetry, retention, compaction, connections. Needs secret and internal listener."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from broker.client.connection import StructType
from broker.client.errors import raise_for_code
from broker.client.router import Router
from broker.protocol import private
from broker.protocol.api import ApiKey
from broker.telemetry.sample import TelemetryResponse

POLL_GRACE_SECONDS = 5.0
"""Beyond the wait the broker was asked for, before the answer counts as lost."""
RETENTION_TIMEOUT_SECONDS = 30.0
"""Deleting renames files; a busy disk may take its time."""

SWAP_TIMEOUT_SECONDS = 120.0
"""The broker reads up to a gigabyte, from a disk that may be busy."""


class InternalClient:
    """``broker_id`` None means the broker behind the first bootstrap address."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def telemetry(
        self, incarnation: str = "", seq: int = -1, wait_ms: int = 1_000, *, broker_id: int | None = None
    ) -> TelemetryResponse:
        """Samples after ``seq``, waiting for the next one; a full one when ``seq`` is unknown to the broker."""
        return await self._call(
            broker_id,
            ApiKey.TELEMETRY,
            private.TelemetryRequest(incarnation=incarnation, seq=seq, max_wait_ms=wait_ms),
            TelemetryResponse,
            repeatable=True,
            timeout_seconds=wait_ms / 1000 + POLL_GRACE_SECONDS,
        )

    async def segment_inventory(
        self,
        topics: Iterable[str] = (),
        *,
        partitions: Iterable[int] = (),
        details: bool = False,
        broker_id: int | None = None,
    ) -> private.SegmentInventoryResponse:
        """The segments of every partition the broker leads, or only of ``topics`` and of these partition numbers."""
        return await self._call(
            broker_id,
            ApiKey.SEGMENT_INVENTORY,
            private.SegmentInventoryRequest(topics=list(topics), partitions=list(partitions), details=details),
            private.SegmentInventoryResponse,
            repeatable=True,
            timeout_seconds=RETENTION_TIMEOUT_SECONDS,
        )

    async def compaction_inventory(
        self, topics: Iterable[str] = (), *, partitions: Iterable[int] = (), broker_id: int | None = None
    ) -> private.CompactionInventoryResponse:
        """The compacted partitions of a broker, and where its files are."""
        return await self._call(
            broker_id,
            ApiKey.COMPACTION_INVENTORY,
            private.CompactionInventoryRequest(topics=list(topics), partitions=list(partitions)),
            private.CompactionInventoryResponse,
            repeatable=True,
            timeout_seconds=RETENTION_TIMEOUT_SECONDS,
        )

    async def active_producers(
        self, topic: str, partition: int, *, broker_id: int | None = None
    ) -> list[tuple[int, int, int]]:
        """(producer id, epoch, last data offset or -1) of the producers a partition remembers."""
        response = await self._call(
            broker_id,
            ApiKey.ACTIVE_PRODUCERS,
            private.ActiveProducersRequest(topic=topic, partition=partition),
            private.ActiveProducersResponse,
            repeatable=True,
        )
        return response.producers

    async def swap_segments(
        self, request: private.SwapSegmentsRequest, *, broker_id: int | None = None
    ) -> private.SwapSegmentsResponse:
        """Ask the broker to put a cleaned segment in its place; it reads the whole of it first."""
        return await self._call(
            broker_id,
            ApiKey.SWAP_SEGMENTS,
            request,
            private.SwapSegmentsResponse,
            repeatable=False,
            timeout_seconds=SWAP_TIMEOUT_SECONDS,
        )

    async def apply_retention(
        self, actions: Sequence[private.RetentionAction], *, broker_id: int | None = None
    ) -> list[private.RetentionOutcome]:
        """Ask the broker to delete; it judges each action anew, so asking twice is harmless."""
        response = await self._call(
            broker_id,
            ApiKey.APPLY_RETENTION,
            private.ApplyRetentionRequest(actions=list(actions)),
            private.ApplyRetentionResponse,
            repeatable=True,
            timeout_seconds=RETENTION_TIMEOUT_SECONDS,
        )
        return response.outcomes

    async def set_broker_state(self, broker_id: int, state: str) -> None:
        """``draining`` or ``active``, decided by any live broker: the one it is about may be away."""

        async def attempt() -> None:
            await self._call(
                await self._router.controller_id(),
                ApiKey.BROKER_STATE,
                private.BrokerStateRequest(broker_id=broker_id, state=state),
                private.BrokerStateResponse,
                repeatable=True,
            )

        await self._router.until_routed(attempt)

    async def connections(
        self,
        *,
        after: int = 0,
        limit: int = 100,
        client_id: str = "",
        listener: str = "",
        broker_id: int | None = None,
    ) -> private.ConnectionsResponse:
        """One page of a broker's connections; ``next_after`` of the answer asks for the next."""
        return await self._call(
            broker_id,
            ApiKey.CONNECTIONS,
            private.ConnectionsRequest(after=after, limit=limit, client_id=client_id, listener=listener),
            private.ConnectionsResponse,
            repeatable=True,
        )

    async def disconnect(self, connection_id: int, *, broker_id: int | None = None) -> None:
        """End one connection of a broker. Raises ``KafkaError`` RESOURCE_NOT_FOUND when it is gone already."""
        await self._call(
            broker_id,
            ApiKey.DISCONNECT,
            private.DisconnectRequest(connection_id=connection_id),
            private.DisconnectResponse,
            repeatable=False,
        )

    async def client_metrics(
        self,
        *,
        after: bytes = b"",
        limit: int = 100,
        client_instance_id: bytes = b"",
        values: bool = True,
        broker_id: int | None = None,
    ) -> private.ClientMetricsResponse:
        """What clients pushed to a broker (KIP-714): one page, or one instance alone."""
        return await self._call(
            broker_id,
            ApiKey.CLIENT_METRICS,
            private.ClientMetricsRequest(
                after=after, limit=limit, client_instance_id=client_instance_id, values=values
            ),
            private.ClientMetricsResponse,
            repeatable=True,
        )

    async def _call(
        self,
        broker_id: int | None,
        api_key: int,
        request: msgspec.Struct,
        response_type: type[StructType],
        *,
        repeatable: bool,
        timeout_seconds: float | None = None,
    ) -> StructType:
        """Every private answer carries a code and a message; raises ``KafkaError`` for a refusal."""
        response: Any = await self._router.call_private(
            broker_id, api_key, request, response_type, repeatable=repeatable, timeout_seconds=timeout_seconds
        )
        raise_for_code(response.error_code, response.error_message)
        answer: StructType = response
        return answer
