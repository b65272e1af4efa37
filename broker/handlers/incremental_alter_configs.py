"""IncrementalAlterConfigs (44), versions 0–1: SET, DELETE, and on lists APPEND and SUBTRACT.

A resource's changes happen together or not at all; one result per resource, ``validate_only`` honoured. Dynamic broker
configs go to the broker they are for, or with an empty name to all. Log levels (type 8) concern the asked process alone
and end with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from broker.cluster.config_changes import (
    ConfigChange,
    ConfigOperation,
    ResourceChange,
    ResourceType,
    check_request,
)
from broker.config.definition import quoted
from broker.config.loggers import LoggerChange, apply_logger_changes, check_logger_changes
from broker.errors import ErrorCode, KafkaError
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
    stored = [change for change in changes if change.type != ResourceType.BROKER_LOGGER]
    results = await services.cluster.alter_configs(stored, validate_only=message.validate_only) if stored else ()
    outcomes = iter([result.error for result in results])
    return m.IncrementalAlterConfigsResponse(
        responses=[
            _result(
                change,
                next(outcomes)
                if change.type != ResourceType.BROKER_LOGGER
                else _alter_loggers(change, changes, services.node_id, message.validate_only),
            )
            for change in changes
        ]
    )


def _alter_loggers(
    change: ResourceChange, all_changes: Sequence[ResourceChange], node_id: int, validate_only: bool
) -> KafkaError | None:
    try:
        if sum(other.type == change.type and other.name == change.name for other in all_changes) > 1:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Each resource must appear at most once.")
        check_request(change)
        if change.name != str(node_id):
            raise KafkaError(
                ErrorCode.INVALID_REQUEST,
                f"Unexpected broker id, expected {node_id}, but received {quoted(change.name)}",
            )
        wanted = [_logger_change(item) for item in change.changes]
        check_logger_changes(wanted)
    except KafkaError as refused:
        return refused
    if not validate_only:
        apply_logger_changes(wanted)
    return None


def _logger_change(item: ConfigChange) -> LoggerChange:
    operation = ConfigOperation(item.operation)
    if operation in (ConfigOperation.APPEND, ConfigOperation.SUBTRACT):
        raise KafkaError(
            ErrorCode.INVALID_REQUEST, f"{operation.name} operation is not allowed for the BROKER_LOGGER resource"
        )
    return LoggerChange(item.name, None if operation is ConfigOperation.DELETE else item.value)


def _result(change: ResourceChange, error: KafkaError | None) -> Any:
    return m.IncrementalAlterConfigsResponse.AlterConfigsResourceResponse(
        error_code=ErrorCode.NONE if error is None else error.code,
        error_message=None if error is None else error.message,
        resource_type=change.type,
        resource_name=change.name,
    )
