from __future__ import annotations

from broker.config.broker import BROKER_CONFIGS, BrokerConfig
from broker.config.definition import ConfigSource
from broker.config.describe import (
    ConfigSynonym,
    describe_broker_configs,
    describe_dynamic_default_configs,
    describe_topic_configs,
)
from broker.config.topic import TOPIC_CONFIGS


def test_a_topic_shows_every_public_config_with_its_value_and_source() -> None:
    described = {d.name: d for d in describe_topic_configs({"retention.ms": " 5"}, BrokerConfig())}
    assert described.keys() == {name for name, d in TOPIC_CONFIGS.items() if not d.internal}
    assert (described["retention.ms"].value, described["retention.ms"].source) == ("5", ConfigSource.DYNAMIC_TOPIC)
    assert (described["segment.ms"].value, described["segment.ms"].source) == ("604800000", ConfigSource.DEFAULT)
    assert described["cleanup.policy"].value == "delete"
    assert described["preallocate"].value == "false"
    assert described["remote.storage.enable"].synonyms == ()
    assert not any(d.read_only for d in described.values())


def test_the_synonyms_of_a_topic_config_come_in_order_of_precedence() -> None:
    broker = BrokerConfig.from_environment({"OTTLA_LOG_RETENTION_HOURS": "1"}).with_dynamic(
        {"log.retention.ms": "9"}, {}
    )
    (retention,) = describe_topic_configs({"retention.ms": "5"}, broker, ["retention.ms", "no.such.config"])
    assert retention.synonyms == (
        ConfigSynonym(name="retention.ms", value="5", source=ConfigSource.DYNAMIC_TOPIC),
        ConfigSynonym(name="log.retention.ms", value="9", source=ConfigSource.DYNAMIC_DEFAULT_BROKER),
        ConfigSynonym(name="log.retention.hours", value="1", source=ConfigSource.STATIC_BROKER),
        ConfigSynonym(name="log.retention.hours", value="168", source=ConfigSource.DEFAULT),
    )
    (inherited,) = describe_topic_configs({}, broker, ["retention.ms"])
    assert (inherited.value, inherited.source) == ("9", ConfigSource.DYNAMIC_DEFAULT_BROKER)


def test_an_internal_config_is_shown_only_where_it_was_set() -> None:
    names = [d.name for d in describe_topic_configs({"internal.segment.bytes": "4096"}, BrokerConfig())]
    assert "internal.segment.bytes" in names


def test_a_broker_shows_every_config_and_which_can_change() -> None:
    config = BrokerConfig.from_environment({"OTTLA_NUM_PARTITIONS": "4"}, node_id=2)
    described = {d.name: d for d in describe_broker_configs(config)}
    assert described.keys() == BROKER_CONFIGS.keys()
    assert (described["num.partitions"].value, described["num.partitions"].source) == ("4", ConfigSource.STATIC_BROKER)
    assert described["num.partitions"].read_only
    assert not described["log.retention.ms"].read_only
    assert described["log.retention.ms"].value is None
    assert described["node.id"].value == "2"
    assert described["broker.id"].value == "2"
    assert described["log.dirs"].value == "var/broker-2"
    assert [d.name for d in describe_broker_configs(config, ["num.partitions"])] == ["num.partitions"]


def test_the_defaults_of_all_brokers_are_only_what_was_set() -> None:
    described = describe_dynamic_default_configs({"message.max.bytes": "5", "log.retention.ms": "7"})
    assert [(d.name, d.value, d.source) for d in described] == [
        ("log.retention.ms", "7", ConfigSource.DYNAMIC_DEFAULT_BROKER),
        ("message.max.bytes", "5", ConfigSource.DYNAMIC_DEFAULT_BROKER),
    ]
    assert [d.name for d in describe_dynamic_default_configs({"message.max.bytes": "5"}, ["log.dirs"])] == []
