"""A request of this broker to itself: the handler is called with the message, without a socket or bytes.

Coordinators ask whichever broker is responsible; when that is this one, ``client/peers.py`` comes here. The handler sees
an authenticated request on the internal listener, as from any other broker.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from broker.handlers.context import ConnectionInfo, Request, Services
from broker.handlers.pipeline import HANDLER_MODULES

_CONNECTION_ID = 0
"""No socket has it."""


class LocalCalls:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._connection = ConnectionInfo(_CONNECTION_ID, "127.0.0.1", 0, "internal", authenticated=True)

    async def call(self, api_key: int, api_version: int, message: Any) -> Any:
        """The handler's response message; its ``KafkaError`` if it has no place for one."""
        module = importlib.import_module(f"broker.handlers.{HANDLER_MODULES[api_key]}")
        request = Request(
            api_key, api_version, 0, f"broker-{self._services.node_id}", memoryview(b""), self._connection
        )
        response = module.handle(request, message, self._services)
        return await response if inspect.isawaitable(response) else response
