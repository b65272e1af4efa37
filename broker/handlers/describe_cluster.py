"""DescribeCluster (60), versions 0–2: the live brokers, the controller, the cluster's id.

v1 the endpoint type: brokers (1) only, there are no separate controllers (2 is answered as Kafka answers a request
of the wrong type: MISMATCHED_ENDPOINT_TYPE). v2 fenced brokers on request: those that were here, are away, and were not
unregistered.
"""

from __future__ import annotations

from typing import Any

from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.handlers.topology import AUTHORIZED_OPERATIONS_OMITTED, CLUSTER_OPERATIONS, controller_id, endpoints
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.DESCRIBE_CLUSTER
ENDPOINT_TYPE_BROKERS = 1
ENDPOINT_TYPE_CONTROLLERS = 2


def handle(request: Request, message: Any, services: Services) -> Any:
    if message.endpoint_type != ENDPOINT_TYPE_BROKERS:
        known = message.endpoint_type == ENDPOINT_TYPE_CONTROLLERS
        return m.DescribeClusterResponse(
            error_code=ErrorCode.MISMATCHED_ENDPOINT_TYPE if known else ErrorCode.UNSUPPORTED_ENDPOINT_TYPE,
            error_message="The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
            if known
            else f"Unsupported endpoint type {message.endpoint_type}",
            endpoint_type=ENDPOINT_TYPE_BROKERS,
        )
    brokers = [
        m.DescribeClusterResponse.DescribeClusterBroker(
            broker_id=endpoint.id, host=endpoint.host, port=endpoint.port, rack=endpoint.rack
        )
        for endpoint in endpoints(request, services)
    ]
    if message.include_fenced_brokers:
        image = services.cluster.image
        brokers += [
            m.DescribeClusterResponse.DescribeClusterBroker(
                broker_id=broker_id, host=away.host, port=away.port, rack=away.rack, is_fenced=True
            )
            for broker_id, away in image.brokers_state.items()
            if broker_id not in image.brokers
        ]
    return m.DescribeClusterResponse(
        endpoint_type=ENDPOINT_TYPE_BROKERS,
        cluster_id=services.cluster_id,
        controller_id=controller_id(services),
        brokers=brokers,
        cluster_authorized_operations=CLUSTER_OPERATIONS
        if message.include_cluster_authorized_operations
        else AUTHORIZED_OPERATIONS_OMITTED,
    )
