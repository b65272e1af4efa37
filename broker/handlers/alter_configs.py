"""AlterConfigs (33), versions 0–2: replaces all configs of a resource; what is not named goes back to its default.

Kept for old clients; IncrementalAlterConfigs changes single configs. One result per resource, ``validate_only`` honoured.
"""

from __future__ import annotations

from typing import Any

from broker.cluster.config_changes import ConfigChange, ResourceChange
from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.ALTER_CONFIGS


async def handle(request: Request, message: Any, services: Services) -> Any:
    changes = [
        ResourceChange(
            type=resource.resource_type,
            name=resource.resource_name,
            changes=tuple(ConfigChange(name=config.name, value=config.value) for config in resource.configs),
            replace=True,
        )
        for resource in message.resources
    ]
    results = await services.cluster.alter_configs(changes, validate_only=message.validate_only)
    return m.AlterConfigsResponse(
        responses=[
            m.AlterConfigsResponse.AlterConfigsResourceResponse(
                error_code=ErrorCode.NONE if result.error is None else result.error.code,
                error_message=None if result.error is None else result.error.message,
                resource_type=result.type,
                resource_name=result.name,
            )
            for result in results
        ]
    )
