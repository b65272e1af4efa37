"""The configs of a topic, broker, group or client-metrics subscription as DescribeConfigs and CreateTopics report them.

Owns: which value a reader is shown and where it comes from. Pure; the handlers only turn it into wire messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from broker.config.broker import BROKER_CONFIGS, BrokerConfig
from broker.config.client_metrics import CLIENT_METRICS_CONFIGS
from broker.config.definition import ConfigDef, ConfigSource, ConfigType, InvalidConfigValue, UpdateMode
from broker.config.group import GROUP_CONFIGS, GroupConfigs
from broker.config.topic import TOPIC_CONFIGS, TopicConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSynonym:
    name: str
    value: str | None
    source: ConfigSource


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedConfig:
    definition: ConfigDef
    value: str | None
    """None when unset or sensitive."""
    source: ConfigSource
    read_only: bool
    synonyms: tuple[ConfigSynonym, ...]
    """Every place that gives it a value, strongest first; the first is where ``value`` is from."""

    @property
    def name(self) -> str:
        return self.definition.name


def describe_topic_configs(
    overrides: Mapping[str, str], broker: BrokerConfig, names: Iterable[str] | None = None
) -> list[DescribedConfig]:
    """All public topic configs (or those of ``names`` that exist), sorted by name."""
    resolved = TopicConfig.resolve(overrides, broker)
    return [_describe_topic_config(d, overrides, resolved, broker) for d in _chosen(TOPIC_CONFIGS, names, overrides)]


def describe_broker_configs(broker: BrokerConfig, names: Iterable[str] | None = None) -> list[DescribedConfig]:
    """All broker configs (or those of ``names`` that exist) as this broker uses them, sorted by name."""
    return [
        _described(d, d.format(broker.value_of(d.name)), _broker_synonyms(broker, d.name), _read_only(d))
        for d in _chosen(BROKER_CONFIGS, names, broker.static_values)
    ]


def describe_dynamic_default_configs(
    defaults: Mapping[str, str], names: Iterable[str] | None = None
) -> list[DescribedConfig]:
    """Only what was set for all brokers at once."""
    wanted = None if names is None else set(names)
    described = []
    for name in sorted(defaults):
        definition = BROKER_CONFIGS.get(name)
        if definition is None or (wanted is not None and name not in wanted):
            continue
        source = ConfigSource.DYNAMIC_DEFAULT_BROKER
        synonym = ConfigSynonym(name=name, value=_shown(definition, defaults[name]), source=source)
        described.append(_described(definition, defaults[name], (synonym,), _read_only(definition)))
    return described


def describe_group_configs(
    overrides: Mapping[str, str], broker: BrokerConfig, names: Iterable[str] | None = None
) -> list[DescribedConfig]:
    """All group configs, as they act: a group nobody configured, or that does not exist, has the broker's."""
    resolved = GroupConfigs.resolve(overrides, broker)
    described = []
    for definition in _chosen(GROUP_CONFIGS, names, overrides):
        value = definition.format(resolved.value_of(definition.name))
        synonyms = _own_synonym(definition, overrides, ConfigSource.DYNAMIC_GROUP)
        synonyms += _broker_synonyms(broker, definition.synonyms[0])
        described.append(_described(definition, value, synonyms, read_only=False))
    return described


def describe_client_metrics_configs(
    configs: Mapping[str, str], names: Iterable[str] | None = None
) -> list[DescribedConfig]:
    """The three configs of a subscription, its own or the default."""
    described = []
    for definition in _chosen(CLIENT_METRICS_CONFIGS, names, configs):
        value = configs.get(definition.name, definition.format(definition.default))
        synonyms = _own_synonym(definition, configs, ConfigSource.DYNAMIC_CLIENT_METRICS)
        described.append(_described(definition, value, synonyms, read_only=False))
    return described


def describe_loggers(levels: Iterable[tuple[str, str]]) -> list[DescribedConfig]:
    return [
        _described(
            ConfigDef(name=name, type=ConfigType.STRING, default="INFO", documentation=""),
            level,
            (ConfigSynonym(name=name, value=level, source=ConfigSource.DYNAMIC_BROKER_LOGGER),),
            read_only=False,
        )
        for name, level in levels
    ]


def _chosen(schema: Mapping[str, ConfigDef], names: Iterable[str] | None, given: Mapping[str, str]) -> list[ConfigDef]:
    """Internal configs only when they were set, as Kafka lists originals besides its public configs."""
    wanted = None if names is None else set(names)
    return [
        definition
        for name, definition in sorted(schema.items())
        if (wanted is None or name in wanted) and (not definition.internal or name in given)
    ]


def _describe_topic_config(
    definition: ConfigDef, overrides: Mapping[str, str], resolved: TopicConfig, broker: BrokerConfig
) -> DescribedConfig:
    value = definition.format(resolved.value_of(definition.name))
    synonyms = _own_synonym(definition, overrides, ConfigSource.DYNAMIC_TOPIC)
    if synonyms:
        value = _canonical(definition, overrides[definition.name])
    if definition.synonyms:
        synonyms += _broker_synonyms(broker, definition.synonyms[0])
    return _described(definition, value, synonyms, read_only=False)


def _own_synonym(
    definition: ConfigDef, overrides: Mapping[str, str], source: ConfigSource
) -> tuple[ConfigSynonym, ...]:
    if definition.name not in overrides:
        return ()
    value = _shown(definition, _canonical(definition, overrides[definition.name]))
    return (ConfigSynonym(name=definition.name, value=value, source=source),)


def _broker_synonyms(broker: BrokerConfig, name: str) -> tuple[ConfigSynonym, ...]:
    return tuple(
        ConfigSynonym(name=synonym, value=_shown(BROKER_CONFIGS[synonym], value), source=source)
        for synonym, value, source in broker.sources(name)
    )


def _described(
    definition: ConfigDef, value: str | None, synonyms: tuple[ConfigSynonym, ...], read_only: bool
) -> DescribedConfig:
    return DescribedConfig(
        definition=definition,
        value=_shown(definition, value),
        source=synonyms[0].source if synonyms else ConfigSource.DEFAULT,
        read_only=read_only,
        synonyms=synonyms,
    )


def _canonical(definition: ConfigDef, text: str) -> str | None:
    """The stored text as the type prints it; unchanged if a newer version stored what this one cannot read."""
    try:
        return definition.format(definition.parse(text))
    except InvalidConfigValue:
        return text


def _shown(definition: ConfigDef, value: str | None) -> str | None:
    return None if definition.sensitive else value


def _read_only(definition: ConfigDef) -> bool:
    return definition.update_mode is UpdateMode.READ_ONLY
