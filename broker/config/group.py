"""The configs of one consumer group (DescribeConfigs resource type 32) and what they inherit from the broker.

Owns: their names, types and rules. A group's own value wins over the broker's. The broker keeps a range for each: a
value outside it is refused when it is set, and one that a later change of the range left outside acts as the nearest
value inside, so that an old setting never stops a group. Kafka's configs of share and streams groups are known and
refused, because those groups are not served.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broker.config.definition import ConfigDef, ConfigType, ConfigValue, InvalidConfigValue, at_least, quoted
from broker.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from broker.config.broker import BrokerConfig


def _define(name: str, broker_name: str, default: int, documentation: str, minimum: int) -> ConfigDef:
    return ConfigDef(
        name=name,
        type=ConfigType.INT,
        default=default,
        documentation=documentation,
        validator=at_least(minimum),
        synonyms=(broker_name,),
        acts=True,
    )


GROUP_CONFIGS: dict[str, ConfigDef] = {
    definition.name: definition
    for definition in (
        _define(
            "consumer.session.timeout.ms",
            "group.consumer.session.timeout.ms",
            45_000,
            "A member of the consumer protocol that is silent for this long is removed.",
            1,
        ),
        _define(
            "consumer.heartbeat.interval.ms",
            "group.consumer.heartbeat.interval.ms",
            5_000,
            "How often a member of the consumer protocol is told to send a heartbeat.",
            1,
        ),
        _define(
            "consumer.assignment.interval.ms",
            "group.consumer.assignment.interval.ms",
            1_000,
            "Least time between two target assignments of a group; 0 computes one with every change.",
            0,
        ),
    )
}

_UNSERVED_PREFIXES = {
    "share.": "share groups are not served",
    "streams.": "streams groups are not served",
    "errors.deadletterqueue.": "share groups are not served",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupConfigs:
    consumer_session_timeout_ms: int = 45_000
    consumer_heartbeat_interval_ms: int = 5_000
    consumer_assignment_interval_ms: int = 1_000

    @classmethod
    def resolve(cls, overrides: Mapping[str, str], broker_config: BrokerConfig) -> GroupConfigs:
        """What acts for a group with these overrides, from ``image.group_configs.get(group_id, {})``.

        Overrides of a newer version, unknown or not readable here, are skipped.
        """
        ranges = _ranges(broker_config)
        values: dict[str, int] = {}
        for name, (low, high, inherited) in ranges.items():
            value = _readable(GROUP_CONFIGS[name], overrides.get(name), inherited)
            values[GROUP_CONFIGS[name].attribute] = min(max(value, low), high)
        return cls(**values)

    def value_of(self, name: str) -> ConfigValue:
        return getattr(self, GROUP_CONFIGS[name].attribute)


def validate_group_configs(configs: Mapping[str, str], broker_config: BrokerConfig) -> None:
    """Raise ``KafkaError`` INVALID_CONFIG, in Kafka's words, unless a group may have these overrides."""
    values: dict[str, Any] = {}
    for name, text in configs.items():
        definition = GROUP_CONFIGS.get(name)
        if definition is None:
            raise _refusal(name)
        values[name] = definition.parse(text)
    ranges = _ranges(broker_config)
    for name, value in values.items():
        low, high, _ = ranges[name]
        kind = name.removeprefix("consumer.")
        if value < low:
            raise _invalid(f"{name} must be greater than or equal to group.consumer.min.{kind}")
        if value > high:
            raise _invalid(f"{name} must be less than or equal to group.consumer.max.{kind}")
    session, heartbeat = (
        values.get(name, ranges[name][2]) for name in ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms")
    )
    if session <= heartbeat:
        raise _invalid("consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms")


def _ranges(broker: BrokerConfig) -> dict[str, tuple[int, int, int]]:
    """Name → (least, most, what the broker gives)."""
    return {
        "consumer.session.timeout.ms": (
            broker.group_consumer_min_session_timeout_ms,
            broker.group_consumer_max_session_timeout_ms,
            broker.group_consumer_session_timeout_ms,
        ),
        "consumer.heartbeat.interval.ms": (
            broker.group_consumer_min_heartbeat_interval_ms,
            broker.group_consumer_max_heartbeat_interval_ms,
            broker.group_consumer_heartbeat_interval_ms,
        ),
        "consumer.assignment.interval.ms": (
            broker.group_consumer_min_assignment_interval_ms,
            broker.group_consumer_max_assignment_interval_ms,
            broker.group_consumer_assignment_interval_ms,
        ),
    }


def _readable(definition: ConfigDef, text: str | None, otherwise: int) -> int:
    if text is None:
        return otherwise
    try:
        value: int = definition.parse(text)
    except InvalidConfigValue:
        return otherwise
    return value


def _refusal(name: str) -> KafkaError:
    for prefix, reason in _UNSERVED_PREFIXES.items():
        if name.startswith(prefix):
            return _invalid(f"Group config {quoted(name)} is refused: {reason}.")
    return _invalid(f"Unknown group config name: {quoted(name)}")


def _invalid(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_CONFIG, message)
