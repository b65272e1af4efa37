"""Trap 24: DescribeConfigs tells every config there is, where its value comes from and what else could have given it one; a tool
that reads them all, changes one and writes them back must find the others unchanged. Lists alone can be added to."""

from __future__ import annotations

from typing import Any

import pytest

from broker.config.topic import TOPIC_CONFIGS
from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.topics import create_topic
from tests.support.wire import Wire

TOPIC = 2
DYNAMIC_TOPIC, DEFAULT = 1, 5
SET, DELETE, APPEND, SUBTRACT = range(4)


def describe(wire: Wire, topic: str, *names: str, version: int = 4, synonyms: bool = False) -> Any:
    r = m.DescribeConfigsRequest
    resource = r.DescribeConfigsResource(
        resource_type=TOPIC, resource_name=topic, configuration_keys=list(names) or None
    )
    return wire.call(ApiKey.DESCRIBE_CONFIGS, version, r(resources=[resource], include_synonyms=synonyms)).results[0]


def alter(wire: Wire, topic: str, *changes: tuple[str, int, str | None]) -> int:
    r = m.IncrementalAlterConfigsRequest
    configs = [r.AlterableConfig(name=name, config_operation=kind, value=value) for name, kind, value in changes]
    resource = r.AlterConfigsResource(resource_type=TOPIC, resource_name=topic, configs=configs)
    return wire.call(ApiKey.INCREMENTAL_ALTER_CONFIGS, 1, r(resources=[resource])).responses[0].error_code


def values(wire: Wire, topic: str) -> dict[str, tuple[str | None, int]]:
    return {config.name: (config.value, config.config_source) for config in describe(wire, topic).configs}


def test_every_known_config_is_told_with_its_source_and_type(wire: Wire) -> None:
    topic = create_topic(wire, retention_ms="1000")
    configs = {config.name: config for config in describe(wire, topic).configs}
    assert configs.keys() == {name for name, definition in TOPIC_CONFIGS.items() if not definition.internal}
    assert (configs["retention.ms"].value, configs["retention.ms"].config_source) == ("1000", DYNAMIC_TOPIC)
    assert (configs["segment.ms"].value, configs["segment.ms"].config_source) == ("604800000", DEFAULT)
    for name, config in configs.items():
        assert config.config_type == TOPIC_CONFIGS[name].type
        assert not config.read_only


def test_synonyms_come_strongest_first_and_only_when_asked_for(wire: Wire) -> None:
    topic = create_topic(wire, retention_ms="1000")
    (told,) = describe(wire, topic, "retention.ms", synonyms=True).configs
    assert [(synonym.name, synonym.source) for synonym in told.synonyms] == [
        ("retention.ms", DYNAMIC_TOPIC),
        ("log.retention.hours", DEFAULT),
    ]
    (told,) = describe(wire, topic, "retention.ms").configs
    assert told.synonyms == []


def test_an_unknown_topic_is_an_error_and_an_unknown_name_is_left_out(wire: Wire) -> None:
    assert describe(wire, "no-such-topic").error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    found = describe(wire, create_topic(wire), "retention.ms", "no.such.config")
    assert (found.error_code, [config.name for config in found.configs]) == (0, ["retention.ms"])


def test_reading_all_and_writing_back_what_was_set_changes_nothing(wire: Wire) -> None:
    topic = create_topic(wire, retention_ms="1000", cleanup_policy="compact,delete")
    before = values(wire, topic)
    r = m.AlterConfigsRequest
    configs = [
        r.AlterableConfig(name=name, value=value) for name, (value, source) in before.items() if source == DYNAMIC_TOPIC
    ]
    resource = r.AlterConfigsResource(resource_type=TOPIC, resource_name=topic, configs=configs)
    assert wire.call(ApiKey.ALTER_CONFIGS, 2, r(resources=[resource])).responses[0].error_code == 0
    assert values(wire, topic) == before


def test_every_default_can_be_set_as_it_is_told(wire: Wire) -> None:
    """Also of those configs of which no other value is taken."""
    topic = create_topic(wire)
    told = [(name, SET, value) for name, (value, _) in values(wire, topic).items() if value is not None]
    assert alter(wire, topic, *told) == 0


def test_lists_alone_can_be_added_to_and_taken_from(wire: Wire) -> None:
    topic = create_topic(wire)
    assert alter(wire, topic, ("cleanup.policy", APPEND, "compact")) == 0
    assert set(str(values(wire, topic)["cleanup.policy"][0]).split(",")) == {"compact", "delete"}
    assert alter(wire, topic, ("cleanup.policy", SUBTRACT, "delete")) == 0
    assert values(wire, topic)["cleanup.policy"] == ("compact", DYNAMIC_TOPIC)
    assert alter(wire, topic, ("cleanup.policy", DELETE, None)) == 0
    assert values(wire, topic)["cleanup.policy"] == ("delete", DEFAULT)
    assert alter(wire, topic, ("retention.ms", APPEND, "5")) == ErrorCode.INVALID_CONFIG


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("retention.ms", "soon"),
        ("no.such.config", "1"),
        ("remote.storage.enable", "true"),
        ("leader.replication.throttled.replicas", "everything"),
    ],
)
def test_what_is_wrong_or_would_do_nothing_is_refused_and_nothing_else_of_the_request_happens(
    wire, name, value
) -> None:
    topic = create_topic(wire)
    before = values(wire, topic)
    assert alter(wire, topic, ("segment.ms", SET, "5000"), (name, SET, value)) == ErrorCode.INVALID_CONFIG
    assert values(wire, topic) == before
