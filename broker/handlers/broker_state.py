"""BrokerState (private, key 10021), version 0: drain a broker, or take it back.

A draining broker keeps its replicas in sync. It gets no new ones, and others lead where they can.
"""

from __future__ import annotations

from broker.handlers.context import Request, Services
from broker.protocol.api import ApiKey
from broker.protocol.private import BrokerStateRequest, BrokerStateResponse

API = ApiKey.BROKER_STATE


async def handle_private(request: Request, message: BrokerStateRequest, services: Services) -> BrokerStateResponse:
    result = await services.cluster.set_broker_state(message.broker_id, message.state)
    if result.error is not None:
        return BrokerStateResponse(error_code=int(result.error.code), error_message=result.error.message)
    return BrokerStateResponse()
