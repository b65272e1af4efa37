"""One configuration key as a value: its type, default, validator, synonyms and documentation.

Owns: how text becomes a typed value and back, and Kafka's wording of what is wrong with a text. The topic and
broker schemas (``topic.py``, ``broker.py``) are tables of these; DescribeConfigs, Django admin and docs/configs.md
all read the same tables, so a config cannot be validated one way and shown another.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, TypeAlias

from broker.errors import ErrorCode, KafkaError
from broker.limits import CONFIG_VALUE_LENGTH_MAX, QUOTED_LENGTH_MAX

INT_MIN, INT_MAX = -(2**31), 2**31 - 1
LONG_MIN, LONG_MAX = -(2**63), 2**63 - 1
SHORT_MIN, SHORT_MAX = -(2**15), 2**15 - 1

ConfigValue: TypeAlias = Any
"""bool, str, int, float, a tuple of str, or None where the definition allows it."""


class ConfigType(IntEnum):
    """The numbers are DescribeConfigs' ``config_type`` on the wire."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7
    CLASS = 8
    PASSWORD = 9


class Importance(Enum):
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class UpdateMode(Enum):
    """When a broker config may change. Topic configs are always changeable."""

    READ_ONLY = "read-only"
    PER_BROKER = "per-broker"
    """Dynamic, one broker at a time only."""
    CLUSTER_WIDE = "cluster-wide"
    """Dynamic, for one broker or as the default of all."""


class ConfigSource(IntEnum):
    """Where a value comes from, strongest first in ``synonyms``. The numbers are DescribeConfigs' on the wire."""

    DYNAMIC_TOPIC = 1
    DYNAMIC_BROKER = 2
    DYNAMIC_DEFAULT_BROKER = 3
    STATIC_BROKER = 4
    DEFAULT = 5
    DYNAMIC_BROKER_LOGGER = 6
    DYNAMIC_CLIENT_METRICS = 7
    DYNAMIC_GROUP = 8


_INTEGER_BOUNDS = {
    ConfigType.INT: (INT_MIN, INT_MAX),
    ConfigType.SHORT: (SHORT_MIN, SHORT_MAX),
    ConfigType.LONG: (LONG_MIN, LONG_MAX),
}
_INTEGER = re.compile(r"[+-]?[0-9]+")
_LIST_SEPARATOR = re.compile(r"\s*,\s*")


def quoted(value: object) -> str:
    """A client's text as it may be repeated in a message."""
    text = str(value)
    return text if len(text) <= QUOTED_LENGTH_MAX else f"{text[:QUOTED_LENGTH_MAX]}..."


class InvalidConfigValue(KafkaError):
    """A value that its definition refuses; the text is Kafka's, so tools that match on it keep working."""

    def __init__(self, name: str, value: object, reason: str) -> None:
        super().__init__(ErrorCode.INVALID_CONFIG, f"Invalid value {quoted(value)} for configuration {name}: {reason}")
        self.name = name


Refusal: TypeAlias = str | tuple[str, str]
"""Why a value is refused; with the offending item in front where the value is a list."""
Validator: TypeAlias = Callable[[ConfigValue], Refusal | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigDef:
    name: str
    type: ConfigType
    default: ConfigValue
    documentation: str
    importance: Importance = Importance.MEDIUM
    validator: Validator | None = None
    valid_values: str = ""
    """The validator in words, for people."""
    synonyms: tuple[str, ...] = ()
    """Topic config: the broker configs that give its default. Broker config: all names of the same setting.
    Strongest first."""
    acts: bool = False
    """Whether Ottla acts on it."""
    refused: str = ""
    """Why any value but the default is refused, as a sentence for whoever sets it. A config either acts or has such a
    reason: a value that is taken and then does nothing would be a promise broken in silence."""
    update_mode: UpdateMode = UpdateMode.READ_ONLY
    internal: bool = False
    """Accepted but left out of listings, as Kafka does with its own internal configs."""

    @property
    def attribute(self) -> str:
        """The field of ``TopicConfig`` or ``BrokerConfig`` that holds the typed value."""
        return self.name.replace(".", "_")

    @property
    def sensitive(self) -> bool:
        return self.type is ConfigType.PASSWORD

    def parse(self, text: str | None) -> ConfigValue:
        """The typed, validated value of ``text``. Raises ``InvalidConfigValue``."""
        if text is None:
            if self.default is None:
                return None
            raise InvalidConfigValue(self.name, None, "Value must be non-null")
        if len(text) > CONFIG_VALUE_LENGTH_MAX:
            raise InvalidConfigValue(self.name, text, f"Value is longer than {CONFIG_VALUE_LENGTH_MAX} characters")
        value = self._typed(text)
        if self.validator is not None and (refusal := self.validator(value)) is not None:
            shown, reason = refusal if isinstance(refusal, tuple) else (_shown(value), refusal)
            raise InvalidConfigValue(self.name, shown, reason)
        return value

    def accept(self, text: str | None) -> ConfigValue:
        """As ``parse``, for somebody who sets the value now: what this broker would not act on is refused too."""
        value = self.parse(text)
        if self.refused and value != self.default:
            raise InvalidConfigValue(self.name, text, self.refused)
        return value

    def effective(self, text: str) -> ConfigValue:
        """The value of a text that was stored earlier: the default where it would be refused today."""
        value = self.parse(text)
        return self.default if self.refused else value

    def format(self, value: ConfigValue) -> str | None:
        """The text DescribeConfigs answers for a typed value."""
        if value is None:
            return None
        if self.type is ConfigType.BOOLEAN:
            return "true" if value else "false"
        if self.type is ConfigType.LIST:
            return ",".join(value)
        return str(value)

    def _typed(self, text: str) -> ConfigValue:
        trimmed = text.strip()
        match self.type:
            case ConfigType.BOOLEAN:
                lowered = trimmed.lower()
                if lowered not in ("true", "false"):
                    raise InvalidConfigValue(self.name, text, "Expected value to be either true or false")
                return lowered == "true"
            case ConfigType.INT | ConfigType.SHORT | ConfigType.LONG:
                return self._integer(trimmed)
            case ConfigType.DOUBLE:
                return self._double(trimmed)
            case ConfigType.LIST:
                return tuple(_LIST_SEPARATOR.split(trimmed)) if trimmed else ()
            case _:
                return text

    def _integer(self, text: str) -> int:
        lower, upper = _INTEGER_BOUNDS[self.type]
        # The length check keeps int() from ever seeing megabytes of digits.
        if len(text) > 20 or not _INTEGER.fullmatch(text) or not lower <= int(text) <= upper:
            raise InvalidConfigValue(self.name, text, f"Not a number of type {self.type.name}")
        return int(text)

    def _double(self, text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise InvalidConfigValue(self.name, text, "Not a number of type DOUBLE") from None


def _shown(value: ConfigValue) -> str:
    return f"[{', '.join(value)}]" if isinstance(value, tuple) else str(value)


# Validators: each returns Kafka's sentence for a refused value. -----------------------------------------


def at_least(minimum: float) -> Validator:
    def check(value: ConfigValue) -> str | None:
        return f"Value must be at least {minimum}" if value is not None and not value >= minimum else None

    return check


def between(minimum: float, maximum: float) -> Validator:
    def check(value: ConfigValue) -> str | None:
        if value is None or minimum <= value <= maximum:
            return None
        return f"Value must be at least {minimum}" if not value >= minimum else f"Value must be no more than {maximum}"

    return check


def one_of(*allowed: str) -> Validator:
    def check(value: ConfigValue) -> str | None:
        return None if value in allowed else f"String must be one of: {', '.join(allowed)}"

    return check


def list_of(*allowed: str, empty_allowed: bool = True) -> Validator:
    """Every item is one of ``allowed`` and none comes twice."""

    def check(value: ConfigValue) -> Refusal | None:
        if not value:
            return None if empty_allowed else f"Configuration must not be empty. Valid values: {', '.join(allowed)}"
        for item in value:
            if item not in allowed:
                return item, f"String must be one of: {', '.join(allowed)}"
        return "Configuration contains duplicate values" if len(set(value)) != len(value) else None

    return check


_THROTTLED_REPLICA = re.compile(r"[0-9]+:[0-9]+")


def throttled_replicas(value: ConfigValue) -> str | None:
    """``*`` alone, or a list of ``partition:broker`` pairs."""
    if value == ("*",) or all(_THROTTLED_REPLICA.fullmatch(item.strip()) for item in value):
        return None
    return (
        "is not a valid list of throttled replicas: it must be the literal '*' or a list of replicas in the form "
        "[partitionId]:[brokerId],[partitionId]:[brokerId],..."
    )
