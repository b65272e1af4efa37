"""ApiVersions v0-4: what this broker speaks.

Versions: v1 throttle time, v3 flexible request with client software name and version (KIP-511) and features (KIP-584), v4
features whose minimum may be 0; before, that is told as 1, which older clients can read. An unknown version is answered by the
pipeline in v0 form with error 35 and our own range of this key only; the answer's header is always v0.
"""

from __future__ import annotations

import re
from typing import Any

from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.registry import FEATURES, SERVED, advertised

API = ApiKey.API_VERSIONS

_LEVEL_0_SINCE_VERSION = 4
_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")


def handle(request: Request, message: Any, services: Services) -> Any:
    if request.api_version >= 3:
        name, version = message.client_software_name, message.client_software_version
        if not (_SOFTWARE.fullmatch(name) and _SOFTWARE.fullmatch(version)):
            return m.ApiVersionsResponse(error_code=ErrorCode.INVALID_REQUEST, api_keys=[])
        request.connection.client_software_name = name
        request.connection.client_software_version = version
    lowest_level = 0 if request.api_version >= _LEVEL_0_SINCE_VERSION else 1
    return m.ApiVersionsResponse(
        api_keys=[
            m.ApiVersionsResponse.ApiVersion(api_key=key, min_version=low, max_version=high)
            for key, low, high in advertised()
        ],
        supported_features=[
            m.ApiVersionsResponse.SupportedFeatureKey(
                name=feature.name, min_version=max(feature.min_level, lowest_level), max_version=feature.max_level
            )
            for feature in FEATURES
        ],
        finalized_features_epoch=services.cluster.image.revision,
        finalized_features=[
            m.ApiVersionsResponse.FinalizedFeatureKey(
                name=feature.name, min_version_level=feature.level, max_version_level=feature.level
            )
            for feature in FEATURES
        ],
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
