"""ClientMetrics (private, key 10006), version 0: what clients pushed to this broker (KIP-714), a bounded page at a time."""

from __future__ import annotations

from broker import limits
from broker.client_metrics.instances import ClientInstance
from broker.handlers.context import Request, Services
from broker.protocol.api import ApiKey
from broker.protocol.private import ClientInstanceEntry, ClientMetricsRequest, ClientMetricsResponse

API = ApiKey.CLIENT_METRICS


def handle_private(request: Request, message: ClientMetricsRequest, services: Services) -> ClientMetricsResponse:
    limit = min(max(message.limit, 1), limits.CLIENT_INSTANCES_PAGE_MAX)
    now_ms = int(services.clock.monotonic() * 1_000)
    found, total = services.client_instances.page(message.after, limit + 1, now_ms)
    if message.client_instance_id:
        one = services.client_instances.get(message.client_instance_id)
        found = [] if one is None else [one]
    page = found[:limit]
    return ClientMetricsResponse(
        broker_id=services.node_id,
        sampled_at_ms=services.clock.wall_ms(),
        total=total,
        next_after=page[-1].id if len(found) > limit else b"",
        instances=[_entry(instance, values=message.values) for instance in page],
    )


def _entry(instance: ClientInstance, *, values: bool) -> ClientInstanceEntry:
    facts = instance.facts
    return ClientInstanceEntry(
        client_instance_id=instance.id,
        client_id=facts["client_id"],
        client_software_name=facts["client_software_name"],
        client_software_version=facts["client_software_version"],
        peer_host=facts["client_source_address"],
        connection_id=instance.connection_id,
        metrics=list(instance.metrics),
        interval_ms=instance.interval_ms,
        pushes=instance.pushes_total,
        pushed_at_ms=instance.pushed_at_ms,
        last_error=int(instance.last_error),
        terminating=instance.terminating,
        points_left_out=instance.left_out,
        points=instance.points if values else [],
    )
