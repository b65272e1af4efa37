"""GetTelemetrySubscriptions v0 (KIP-714): which metrics this client is to push, how often and how compressed.

Deviations: always advertised; Kafka does so only where a receiver plug-in is configured, and ours is built in.
"""

from __future__ import annotations

from typing import Any

from broker.errors import KafkaError
from broker.handlers.client_instance import ZERO_ID, facts_of
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.types import new_topic_id

API = ApiKey.GET_TELEMETRY_SUBSCRIPTIONS

ACCEPTED_CODECS = (4, 3, 1, 2)
"""zstd, lz4, gzip, snappy: the order is our preference. No compression is always accepted and not listed, as in Kafka."""


def handle(request: Request, message: Any, services: Services) -> Any:
    instance_id = message.client_instance_id if message.client_instance_id != ZERO_ID else new_topic_id()
    now_ms = int(services.clock.monotonic() * 1_000)
    try:
        instance = services.client_instances.subscribe(
            instance_id, facts_of(request, instance_id), request.connection.connection_id, now_ms
        )
    except KafkaError as error:
        return m.GetTelemetrySubscriptionsResponse(error_code=int(error.code))
    request.connection.client_instance_id = instance_id
    return m.GetTelemetrySubscriptionsResponse(
        client_instance_id=instance_id,
        subscription_id=instance.subscription_id,
        accepted_compression_types=list(ACCEPTED_CODECS),
        push_interval=instance.interval_ms,
        telemetry_max_bytes=services.cluster.config.telemetry_max_bytes,
        delta_temporality=True,
        requested_metrics=list(instance.metrics),
    )
