"""ListConfigResources v0–1: what DescribeConfigs may be asked about.

Versions: v0 client-metrics subscriptions only (it was ListClientMetricsResources), v1 the wanted types, none meaning all:
topics (2), brokers (4), broker loggers (8), client-metrics subscriptions (16), groups with configs of their own (32).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from broker.cluster.config_changes import ResourceType
from broker.cluster.image import ClusterImage
from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.LIST_CONFIG_RESOURCES


def handle(request: Request, message: Any, services: Services) -> Any:
    wanted = set(message.resource_types) or set(ResourceType)
    if request.api_version == 0:
        wanted = {ResourceType.CLIENT_METRICS}
    if not wanted <= set(ResourceType):
        return m.ListConfigResourcesResponse(error_code=ErrorCode.UNSUPPORTED_VERSION, config_resources=[])
    return m.ListConfigResourcesResponse(
        config_resources=[
            m.ListConfigResourcesResponse.ConfigResource(resource_name=name, resource_type=kind)
            for kind in sorted(wanted)
            for name in _names(ResourceType(kind), services.cluster.image)
        ]
    )


def _names(kind: ResourceType, image: ClusterImage) -> Iterable[str]:
    match kind:
        case ResourceType.TOPIC:
            return sorted(image.topics_by_name)
        case ResourceType.BROKER | ResourceType.BROKER_LOGGER:
            return [str(broker_id) for broker_id in image.brokers]
        case ResourceType.CLIENT_METRICS:
            return sorted(image.client_metrics_configs)
        case ResourceType.GROUP:
            return sorted(image.group_configs)
