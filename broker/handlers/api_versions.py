"""ApiVersions v0–4: what this broker speaks.

Versions: v1 throttle time, v3 flexible request with client software name and version (KIP-511), v4 finalized
features whose minimum may be 0. An unknown version is answered by the pipeline in v0 form with error 35 and our own
range of this key only; the answer's header is always v0.
Deviations: no feature is finalized yet, so the lists are empty (clients then stay on classic groups and the first
transaction protocol).
"""

from __future__ import annotations

import re
from typing import Any

from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.registry import SERVED, advertised

API = ApiKey.API_VERSIONS

_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")


def handle(request: Request, message: Any, services: Services) -> Any:
    if request.api_version >= 3:
        name, version = message.client_software_name, message.client_software_version
        if not (_SOFTWARE.fullmatch(name) and _SOFTWARE.fullmatch(version)):
            return m.ApiVersionsResponse(error_code=ErrorCode.INVALID_REQUEST, api_keys=[])
        request.connection.client_software_name = name
        request.connection.client_software_version = version
    return m.ApiVersionsResponse(
        api_keys=[
            m.ApiVersionsResponse.ApiVersion(api_key=key, min_version=low, max_version=high)
            for key, low, high in advertised()
        ],
        finalized_features_epoch=-1,
    )


def unsupported_version() -> Any:
    """The answer to a version we do not know: error 35 and our range of this one key."""
    spec = SERVED[API]
    return m.ApiVersionsResponse(
        error_code=ErrorCode.UNSUPPORTED_VERSION,
        api_keys=[
            m.ApiVersionsResponse.ApiVersion(
                api_key=spec.key, min_version=spec.min_version, max_version=spec.max_version
            )
        ],
    )
