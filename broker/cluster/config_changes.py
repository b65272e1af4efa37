"""What a change request makes of a resource's configs.

Owns: the meaning of SET, DELETE, APPEND and SUBTRACT and of a full replacement, before validation. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from broker.config.definition import ConfigDef, ConfigType, quoted
from broker.errors import ErrorCode, KafkaError


class ResourceType(IntEnum):
    """ConfigResource types on the wire."""

    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    """Of one process and never stored: see ``config/loggers.py``."""
    CLIENT_METRICS = 16
    GROUP = 32


class ConfigOperation(IntEnum):
    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigChange:
    name: str
    value: str | None
    operation: int = ConfigOperation.SET


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceChange:
    """All the changes one request asks of one resource."""

    type: int
    name: str
    """The topic's, subscription's or group's name, or the broker's id as text; empty means all brokers."""
    changes: Sequence[ConfigChange]
    replace: bool = False
    """AlterConfigs: what is not named goes back to its default."""


Defaults = Callable[[str], Sequence[str]]
"""The items a list config has when it was not set."""


def check_request(change: ResourceChange) -> None:
    """What Kafka refuses before it looks at the resource."""
    names = [item.name for item in change.changes]
    if len(set(names)) != len(names):
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Error due to duplicate config keys")
    for item in change.changes:
        if item.operation not in ConfigOperation.__members__.values():
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unknown operations type {item.operation}")
    nulls = [i.name for i in change.changes if i.value is None and i.operation != ConfigOperation.DELETE]
    if nulls:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Null value not supported for : {quoted(', '.join(nulls))}")


def changed_configs(
    current: Mapping[str, str], change: ResourceChange, schema: Mapping[str, ConfigDef], defaults: Defaults
) -> dict[str, str]:
    """The overrides after the change. Raises ``KafkaError`` for an operation the config's type does not have."""
    configs = {} if change.replace else dict(current)
    for item in change.changes:
        match item.operation:
            case ConfigOperation.DELETE:
                configs.pop(item.name, None)
            case ConfigOperation.SET:
                assert item.value is not None
                configs[item.name] = item.value
            case _:
                configs[item.name] = _changed_list(configs, item, schema, defaults)
    return configs


def _changed_list(
    configs: Mapping[str, str], item: ConfigChange, schema: Mapping[str, ConfigDef], defaults: Defaults
) -> str:
    operation = ConfigOperation(item.operation)
    definition = schema.get(item.name)
    if definition is None or definition.type is not ConfigType.LIST:
        raise KafkaError(
            ErrorCode.INVALID_CONFIG, f"Can't {operation.name} to key {quoted(item.name)} because its type is not LIST."
        )
    old = _items(configs[item.name]) if item.name in configs else list(defaults(item.name))
    named = _items(item.value or "")
    if operation is ConfigOperation.APPEND:
        return ",".join(old + [value for value in named if value not in old])
    return ",".join(value for value in old if value not in named)


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]
