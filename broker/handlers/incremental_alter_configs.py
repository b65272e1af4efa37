"""IncrementalAlterConfigs (44), versions 0–1: SET, DELETE, and on lists APPEND and SUBTRACT.

A resource's changes happen together or not at all; one result per resource, ``validate_only`` honoured. Dynamic broker
configs go to the broker they are for, or with an empty name to all.
"""

from __future__ import annotations

from typing import Any

from broker.cluster.config_changes import ConfigChange, ResourceChange
from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.INCREMENTAL_ALTER_CONFIGS


async def handle(request: Request, message: Any, services: Services) -> Any:
    changes = [
        ResourceChange(
            type=resource.resource_type,
            name=resource.resource_name,
            changes=tuple(
                ConfigChange(name=config.name, value=config.value, operation=config.config_operation)
                for config in resource.configs
            ),
        )
        for resource in message.resources
    ]
    results = await services.cluster.alter_configs(changes, validate_only=message.validate_only)
    return m.IncrementalAlterConfigsResponse(
        responses=[
            m.IncrementalAlterConfigsResponse.AlterConfigsResourceResponse(
                error_code=ErrorCode.NONE if result.error is None else result.error.code,
                error_message=None if result.error is None else result.error.message,
                resource_type=result.type,
                resource_name=result.name,
            )
            for result in results
        ]
    )
