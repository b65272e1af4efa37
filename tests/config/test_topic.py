from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.config.broker import BROKER_CONFIGS, BrokerConfig
from broker.config.definition import ConfigType, UpdateMode
from broker.config.topic import TOPIC_CONFIGS, TopicConfig, validate_topic_config, validate_topic_configs
from broker.errors import ErrorCode, KafkaError


def test_the_defaults_of_the_class_are_those_of_the_schema() -> None:
    config = TopicConfig()
    for definition in TOPIC_CONFIGS.values():
        assert config.value_of(definition.name) == definition.default
    assert {field.name for field in fields(TopicConfig)} == {d.attribute for d in TOPIC_CONFIGS.values()}


def test_every_default_passes_its_own_validator() -> None:
    for definition in TOPIC_CONFIGS.values():
        text = definition.format(definition.default)
        if text is not None:
            assert definition.parse(text) == definition.default


def test_every_broker_synonym_exists_and_can_be_given_the_default() -> None:
    for definition in TOPIC_CONFIGS.values():
        for synonym in definition.synonyms:
            assert synonym in BROKER_CONFIGS
    assert TopicConfig.resolve({}, BrokerConfig()) == TopicConfig()


def test_an_override_wins_over_the_broker_and_the_broker_over_the_default() -> None:
    broker = BrokerConfig.from_environment({"OTTLA_LOG_RETENTION_MS": "1000", "OTTLA_MESSAGE_MAX_BYTES": "2000"})
    config = TopicConfig.resolve({"retention.ms": "5"}, broker)
    assert config.retention_ms == 5
    assert config.max_message_bytes == 2000
    assert config.segment_ms == TopicConfig().segment_ms


@pytest.mark.parametrize(
    ("environ", "retention_ms"),
    [
        ({"OTTLA_LOG_RETENTION_HOURS": "2"}, 7_200_000),
        ({"OTTLA_LOG_RETENTION_HOURS": "2", "OTTLA_LOG_RETENTION_MINUTES": "3"}, 180_000),
        (
            {"OTTLA_LOG_RETENTION_HOURS": "2", "OTTLA_LOG_RETENTION_MINUTES": "3", "OTTLA_LOG_RETENTION_MS": "4"},
            4,
        ),
        ({"OTTLA_LOG_RETENTION_HOURS": "-1"}, -1),
        ({"OTTLA_LOG_RETENTION_MS": "-1", "OTTLA_LOG_RETENTION_HOURS": "5"}, -1),
    ],
)
def test_of_the_retention_synonyms_the_finest_wins(environ: dict[str, str], retention_ms: int) -> None:
    assert TopicConfig.resolve({}, BrokerConfig.from_environment(environ)).retention_ms == retention_ms


def test_roll_hours_and_jitter_hours_are_turned_into_milliseconds() -> None:
    broker = BrokerConfig.from_environment({"OTTLA_LOG_ROLL_HOURS": "1", "OTTLA_LOG_ROLL_JITTER_HOURS": "2"})
    config = TopicConfig.resolve({}, broker)
    assert config.segment_ms == 3_600_000
    assert config.segment_jitter_ms == 7_200_000


def test_a_config_of_a_newer_version_is_skipped_when_resolving() -> None:
    assert TopicConfig.resolve({"invented.later": "1"}) == TopicConfig()


def test_the_internal_segment_size_may_be_smaller_than_kafka_allows() -> None:
    assert TopicConfig.resolve({"internal.segment.bytes": "4096"}).segment_bytes == 4096


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("retention.ms", "abc", "Invalid value abc for configuration retention.ms: Not a number of type LONG"),
        ("retention.ms", "-2", "Invalid value -2 for configuration retention.ms: Value must be at least -1"),
        ("segment.bytes", "100", "Invalid value 100 for configuration segment.bytes: Value must be at least 1048576"),
        (
            "cleanup.policy",
            "delete,shred",
            "Invalid value shred for configuration cleanup.policy: String must be one of: compact, delete",
        ),
        (
            "compression.type",
            "rar",
            "Invalid value rar for configuration compression.type: String must be one of: "
            "uncompressed, zstd, lz4, snappy, gzip, producer",
        ),
        (
            "preallocate",
            "maybe",
            "Invalid value maybe for configuration preallocate: Expected value to be either true or false",
        ),
        ("no.such.config", "1", "Unknown topic config name: no.such.config"),
        ("retention.ms", None, "Null value not supported for topic configs: retention.ms"),
    ],
)
def test_a_refused_value_is_explained_in_kafkas_words(name: str, value: str | None, message: str) -> None:
    with pytest.raises(KafkaError) as caught:
        validate_topic_config(name, value)
    assert caught.value.code is ErrorCode.INVALID_CONFIG
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("configs", "message"),
    [
        (
            {"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "5"},
            "min.compaction.lag.ms (10) > max.compaction.lag.ms (5)",
        ),
        ({"remote.storage.enable": "true"}, "This broker has no tiered storage"),
        (
            {"retention.ms": None, "retention.bytes": None},
            "Null value not supported for topic configs: retention.ms,retention.bytes",
        ),
    ],
)
def test_configs_that_do_not_go_together_are_refused(configs: dict[str, str | None], message: str) -> None:
    with pytest.raises(KafkaError) as caught:
        validate_topic_configs(configs)
    assert message in caught.value.message


def test_every_topic_config_is_documented_and_changeable() -> None:
    for definition in TOPIC_CONFIGS.values():
        assert definition.documentation.endswith((".", ")"))
        assert definition.update_mode is UpdateMode.READ_ONLY  # meant for brokers; topics are always changeable


@given(st.sampled_from(sorted(TOPIC_CONFIGS)), st.text(max_size=30))
def test_any_text_is_either_taken_or_refused_with_a_code(name: str, text: str) -> None:
    definition = TOPIC_CONFIGS[name]
    try:
        value = definition.parse(text)
    except KafkaError:
        with pytest.raises(KafkaError):
            TopicConfig.resolve({name: text})
        return
    shown = definition.format(value)
    assert shown is not None
    assert definition.parse(shown) == value or definition.type is ConfigType.DOUBLE
    TopicConfig.resolve({name: text})


def test_a_value_that_would_do_nothing_is_refused_with_the_reason_and_the_default_is_accepted() -> None:
    with pytest.raises(
        KafkaError, match=r"Invalid value true for configuration remote\.storage\.enable: This broker has no"
    ):
        validate_topic_config("remote.storage.enable", "true")
    validate_topic_config("remote.storage.enable", "false")


def test_such_a_value_that_was_stored_by_another_version_is_read_as_the_default() -> None:
    assert TopicConfig.resolve({"remote.storage.enable": "true"}) == TopicConfig()


def test_a_broker_default_of_a_refused_topic_config_is_refused_for_the_same_reason() -> None:
    with pytest.raises(KafkaError, match="This broker has no tiered storage"):
        BrokerConfig.from_environment({"OTTLA_LOG_LOCAL_RETENTION_MS": "5"})
