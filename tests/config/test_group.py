from __future__ import annotations

import pytest

from broker.config.broker import BrokerConfig
from broker.config.group import GROUP_CONFIGS, GroupConfigs, validate_group_configs
from broker.errors import ErrorCode, KafkaError

BROKER = BrokerConfig()


def test_a_group_inherits_the_brokers_values_and_its_own_win() -> None:
    broker = BrokerConfig.from_environment({"OTTLA_GROUP_CONSUMER_HEARTBEAT_INTERVAL_MS": "7000"})
    assert GroupConfigs.resolve({}, BROKER) == GroupConfigs()
    assert GroupConfigs.resolve({"consumer.session.timeout.ms": "50000"}, broker) == GroupConfigs(
        consumer_session_timeout_ms=50_000, consumer_heartbeat_interval_ms=7_000
    )


def test_the_default_of_every_group_config_is_the_brokers() -> None:
    for name, definition in GROUP_CONFIGS.items():
        assert definition.default == BROKER.value_of(definition.synonyms[0]), name
        assert GroupConfigs().value_of(name) == definition.default


def test_what_a_later_range_of_the_broker_excludes_acts_as_the_nearest_value_inside() -> None:
    narrow = BrokerConfig.from_environment({"OTTLA_GROUP_CONSUMER_MAX_SESSION_TIMEOUT_MS": "46000"})
    assert GroupConfigs.resolve({"consumer.session.timeout.ms": "59000"}, narrow).consumer_session_timeout_ms == 46_000


def test_what_this_version_cannot_read_is_skipped() -> None:
    assert GroupConfigs.resolve({"consumer.session.timeout.ms": "soon", "newer": "1"}, BROKER) == GroupConfigs()


@pytest.mark.parametrize(
    ("configs", "message"),
    [
        ({"nope": "1"}, "Unknown group config name: nope"),
        (
            {"share.record.lock.duration.ms": "1"},
            "Group config share.record.lock.duration.ms is refused: share groups are not served.",
        ),
        (
            {"streams.num.standby.replicas": "1"},
            "Group config streams.num.standby.replicas is refused: streams groups are not served.",
        ),
        (
            {"consumer.session.timeout.ms": "x"},
            "Invalid value x for configuration consumer.session.timeout.ms: Not a number of type INT",
        ),
        (
            {"consumer.session.timeout.ms": "44999"},
            "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
        ),
        (
            {"consumer.heartbeat.interval.ms": "15001"},
            "consumer.heartbeat.interval.ms must be less than or equal to group.consumer.max.heartbeat.interval.ms",
        ),
        (
            {"consumer.assignment.interval.ms": "-1"},
            "Invalid value -1 for configuration consumer.assignment.interval.ms: Value must be at least 0",
        ),
    ],
)
def test_what_a_group_may_not_have_is_refused(configs: dict[str, str], message: str) -> None:
    with pytest.raises(KafkaError) as refused:
        validate_group_configs(configs, BROKER)
    assert (refused.value.code, refused.value.message) == (ErrorCode.INVALID_CONFIG, message)


def test_a_heartbeat_interval_must_be_shorter_than_the_session() -> None:
    wide = BrokerConfig.from_environment({"OTTLA_GROUP_CONSUMER_MIN_SESSION_TIMEOUT_MS": "1000"})
    validate_group_configs({"consumer.session.timeout.ms": "5001"}, wide)
    with pytest.raises(KafkaError, match="must be greater than consumer"):
        validate_group_configs({"consumer.session.timeout.ms": "5000"}, wide)
