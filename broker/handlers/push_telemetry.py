"""PushTelemetry v0 (KIP-714): the metrics of one client; the latest values are kept in memory.

What is refused: a reserved id (INVALID_REQUEST), too early (THROTTLING_QUOTA_EXCEEDED), another subscription
(UNKNOWN_SUBSCRIPTION_ID), an unknown codec (UNSUPPORTED_COMPRESSION_TYPE), above ``telemetry.max.bytes`` as sent or above
``CLIENT_METRICS_INFLATED_BYTES_MAX`` once inflated (TELEMETRY_TOO_LARGE), and what is no OpenTelemetry (INVALID_RECORD).
"""

from __future__ import annotations

from typing import Any

from broker import limits
from broker.client_metrics.instances import ClientInstance
from broker.client_metrics.otlp import MalformedProtobuf, Push, decode_metrics
from broker.errors import ErrorCode, KafkaError
from broker.handlers.client_instance import RESERVED_IDS, facts_of
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.compression import decompress

API = ApiKey.PUSH_TELEMETRY

_CODECS = range(5)
"""none, gzip, snappy, lz4, zstd"""


def handle(request: Request, message: Any, services: Services) -> Any:
    try:
        _keep(request, message, services)
    except KafkaError as error:
        return m.PushTelemetryResponse(error_code=int(error.code))
    return m.PushTelemetryResponse()


def _keep(request: Request, message: Any, services: Services) -> None:
    instance_id = message.client_instance_id
    if instance_id in RESERVED_IDS:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Invalid client instance id.")
    instances = services.client_instances
    instance = instances.admit_push(
        instance_id,
        facts_of(request, instance_id),
        request.connection.connection_id,
        int(services.clock.monotonic() * 1_000),
        subscription_id=message.subscription_id,
        terminating=message.terminating,
    )
    request.connection.client_instance_id = instance_id
    try:
        push = _read(message, services.cluster.config.telemetry_max_bytes)
    except KafkaError as error:
        raise instances.refuse(instance, error.code, error.message) from None
    _remember(instance, push, services)


def _read(message: Any, bytes_max: int) -> Push:
    metrics, codec = message.metrics, message.compression_type
    if codec not in _CODECS:
        raise KafkaError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, f"Unknown compression type {codec}.")
    if len(metrics) > bytes_max:
        raise KafkaError(ErrorCode.TELEMETRY_TOO_LARGE, f"A push is at most {bytes_max} bytes long.")
    if not metrics:
        return Push()
    try:
        data = decompress(codec, metrics, limits.CLIENT_METRICS_INFLATED_BYTES_MAX) if codec else bytes(metrics)
        return decode_metrics(data)
    except MalformedProtobuf as error:
        raise KafkaError(ErrorCode.INVALID_RECORD, str(error)) from None
    except KafkaError as error:
        too_large = error.code is ErrorCode.MESSAGE_TOO_LARGE
        code = ErrorCode.TELEMETRY_TOO_LARGE if too_large else ErrorCode.INVALID_RECORD
        raise KafkaError(code, error.message) from None


def _remember(instance: ClientInstance, push: Push, services: Services) -> None:
    services.client_instances.keep(instance, push.points, push.left_out, services.clock.wall_ms())
