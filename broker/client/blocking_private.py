"""The calls to brokers of this project alone (``protocol/private.py``), for code without an event loop. They need the secret and
an internal listener."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from broker.client.internal import RETENTION_TIMEOUT_SECONDS, SWAP_TIMEOUT_SECONDS
from broker.client.on_thread import OnThread
from broker.protocol import private
from broker.telemetry.sample import TelemetryResponse


class PrivateCalls(OnThread):
    """``broker_id=None``: whichever of the bootstrap brokers answers."""

    def telemetry(
        self, incarnation: str = "", seq: int = -1, wait_ms: int = 1_000, *, broker_id: int | None = None
    ) -> TelemetryResponse:
        return self._run(
            lambda client: client.internal.telemetry(incarnation, seq, wait_ms, broker_id=broker_id),
            extra_seconds=wait_ms / 1000,
        )

    def segment_inventory(
        self,
        topics: Iterable[str] = (),
        *,
        partitions: Iterable[int] = (),
        details: bool = False,
        broker_id: int | None = None,
    ) -> private.SegmentInventoryResponse:
        return self._run(
            lambda client: client.internal.segment_inventory(
                topics, partitions=partitions, details=details, broker_id=broker_id
            ),
            extra_seconds=RETENTION_TIMEOUT_SECONDS,
        )

    def compaction_inventory(
        self, topics: Iterable[str] = (), *, partitions: Iterable[int] = (), broker_id: int | None = None
    ) -> private.CompactionInventoryResponse:
        return self._run(
            lambda client: client.internal.compaction_inventory(topics, partitions=partitions, broker_id=broker_id),
            extra_seconds=RETENTION_TIMEOUT_SECONDS,
        )

    def active_producers(
        self, topic: str, partition: int, *, broker_id: int | None = None
    ) -> list[tuple[int, int, int]]:
        return self._run(lambda client: client.internal.active_producers(topic, partition, broker_id=broker_id))

    def swap_segments(
        self, request: private.SwapSegmentsRequest, *, broker_id: int | None = None
    ) -> private.SwapSegmentsResponse:
        return self._run(
            lambda client: client.internal.swap_segments(request, broker_id=broker_id),
            extra_seconds=SWAP_TIMEOUT_SECONDS,
        )

    def apply_retention(
        self, actions: Sequence[private.RetentionAction], *, broker_id: int | None = None
    ) -> list[private.RetentionOutcome]:
        return self._run(
            lambda client: client.internal.apply_retention(actions, broker_id=broker_id),
            extra_seconds=RETENTION_TIMEOUT_SECONDS,
        )

    def set_broker_state(self, broker_id: int, state: str) -> None:
        self._run(lambda client: client.internal.set_broker_state(broker_id, state))

    def connections(
        self,
        after: int = 0,
        limit: int = 100,
        client_id: str = "",
        listener: str = "",
        *,
        broker_id: int | None = None,
    ) -> private.ConnectionsResponse:
        """One page of a broker's connections, by id; ask again with ``after=next_after`` until that is 0."""
        return self._run(
            lambda client: client.internal.connections(
                after=after, limit=limit, client_id=client_id, listener=listener, broker_id=broker_id
            )
        )

    def disconnect(self, connection_id: int, *, broker_id: int | None = None) -> None:
        self._run(lambda client: client.internal.disconnect(connection_id, broker_id=broker_id))

    def client_metrics(
        self,
        after: bytes = b"",
        limit: int = 100,
        client_instance_id: bytes = b"",
        values: bool = True,
        *,
        broker_id: int | None = None,
    ) -> private.ClientMetricsResponse:
        """What clients pushed to a broker (KIP-714); ask again with ``after=next_after`` until that is empty."""
        return self._run(
            lambda client: client.internal.client_metrics(
                after=after,
                limit=limit,
                client_instance_id=client_instance_id,
                values=values,
                broker_id=broker_id,
            )
        )
