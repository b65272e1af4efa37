"""Who asks in GetTelemetrySubscriptions and PushTelemetry, as subscriptions match it."""

from __future__ import annotations

from broker.handlers.context import Request
from broker.types import format_topic_id

ZERO_ID = bytes(16)
RESERVED_IDS = frozenset({ZERO_ID, bytes(15) + b"\x01"})
"""Ids that no client may have; Kafka's constants."""


def facts_of(request: Request, instance_id: bytes) -> dict[str, str]:
    connection = request.connection
    return {
        "client_instance_id": format_topic_id(instance_id),
        "client_id": request.client_id or "",
        "client_software_name": connection.client_software_name,
        "client_software_version": connection.client_software_version,
        "client_source_address": connection.peer_host,
        "client_source_port": str(connection.peer_port),
    }
