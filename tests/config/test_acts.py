"""A config acts or is refused with a reason: a promise to operators (docs/configs.md), to which the sources are held."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from broker.config.broker_schema import BROKER_CONFIGS
from broker.config.definition import ConfigDef
from broker.config.topic import TOPIC_CONFIGS

BROKER = Path(__file__).parents[2] / "broker"
SCHEMA_FILES = {"broker.py", "broker_schema.py", "topic.py", "definition.py", "describe.py", "document.py"}

ACTS_BY_ITSELF = {
    "internal.segment.bytes": "becomes segment.bytes in TopicConfig.resolve",
    "broker.id": "becomes node.id in BrokerConfig",
    "log.dir": "becomes log.dirs in BrokerConfig",
    "log.dirs": "becomes data_directory in BrokerConfig",
    "listeners": "becomes host and port in BrokerConfig",
    "advertised.listeners": "becomes advertised_host and advertised_port in BrokerConfig",
}

UNFINISHED: frozenset[str] = frozenset()
"""Neither yet. A new config never comes in."""


@pytest.mark.parametrize("schema", [TOPIC_CONFIGS, BROKER_CONFIGS], ids=["topic", "broker"])
def test_every_config_acts_or_is_refused_with_a_reason(schema: dict[str, ConfigDef]) -> None:
    neither = {name for name, definition in schema.items() if not definition.acts and not definition.refused}
    assert neither == UNFINISHED & schema.keys()
    assert not {name for name, definition in schema.items() if definition.acts and definition.refused}


@pytest.fixture(scope="module")
def words() -> set[str]:
    """Every identifier of the broker's sources but those that only describe configs."""
    found: set[str] = set()
    for path in BROKER.rglob("*.py"):
        if path.parent.name == "config" and path.parent.parent == BROKER and path.name in SCHEMA_FILES:
            continue
        found.update(re.findall(r"\w+", path.read_text(encoding="utf-8")))
    return found


def test_every_topic_config_that_is_said_to_act_is_read_somewhere_and_no_other_is(words: set[str]) -> None:
    for name, definition in TOPIC_CONFIGS.items():
        if name not in ACTS_BY_ITSELF and definition.attribute not in BROKER_CONFIG_ATTRIBUTES:
            assert definition.acts == (definition.attribute in words), name


def test_every_broker_config_that_is_said_to_act_is_read_somewhere_and_no_other_is(words: set[str]) -> None:
    for name, definition in BROKER_CONFIGS.items():
        defaults = [topic for topic in TOPIC_CONFIGS.values() if name in topic.synonyms]
        if name in ACTS_BY_ITSELF:
            assert definition.acts
        elif defaults:
            assert definition.acts == any(topic.acts for topic in defaults), name
        else:
            assert definition.acts == (definition.attribute in words), name


BROKER_CONFIG_ATTRIBUTES = {definition.attribute for definition in BROKER_CONFIGS.values()}
