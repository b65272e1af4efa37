"""Telemetry (private, key 10001), version 0: the long poll for this broker's samples.

The sampler decides between deltas and a full sample; a wait is bounded by it. See ``telemetry/sample.py``.
"""

from __future__ import annotations

from broker.handlers.context import Request, Services
from broker.protocol.api import ApiKey
from broker.protocol.private import TelemetryRequest
from broker.telemetry.sample import TelemetryResponse

API = ApiKey.TELEMETRY


async def handle_private(request: Request, message: TelemetryRequest, services: Services) -> TelemetryResponse:
    return await services.sampler.poll(message)
