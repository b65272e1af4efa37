"""UnregisterBroker (64), version 0: forget a broker that holds nothing any more, the last step of decommissioning it.

A broker that is away is forgotten at once. One that is alive gets nothing more and is forgotten when it stops.
Deviations: a broker that still has replicas is not forgotten (INVALID_REQUEST): Kafka leaves their partitions with a
replica that will never come.
"""

from __future__ import annotations

from typing import Any

from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.UNREGISTER_BROKER


async def handle(request: Request, message: Any, services: Services) -> Any:
    result = await services.cluster.unregister_broker(message.broker_id)
    return m.UnregisterBrokerResponse(
        error_code=ErrorCode.NONE if result.error is None else result.error.code,
        error_message=None if result.error is None else result.error.message,
    )
