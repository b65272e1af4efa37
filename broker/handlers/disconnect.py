"""Disconnect (private, key 10005), version 0: an operator ends one connection.

The client sees a closed connection and does what it does then; most connect again at once.
"""

from __future__ import annotations

import logging

from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.protocol.api import ApiKey
from broker.protocol.private import DisconnectRequest, DisconnectResponse

API = ApiKey.DISCONNECT
logger = logging.getLogger(__name__)


def handle_private(request: Request, message: DisconnectRequest, services: Services) -> DisconnectResponse:
    if message.connection_id == request.connection.connection_id:
        return _refused(ErrorCode.INVALID_REQUEST, "A connection cannot end itself by request; close it.")
    if not services.connections.disconnect(message.connection_id):
        return _refused(ErrorCode.RESOURCE_NOT_FOUND, f"There is no connection {message.connection_id}.")
    logger.info("connection %d was ended by an operator", message.connection_id)
    return DisconnectResponse()


def _refused(code: ErrorCode, message: str) -> DisconnectResponse:
    return DisconnectResponse(error_code=int(code), error_message=message)
