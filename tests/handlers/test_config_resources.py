"""Configs of groups, of client-metrics subscriptions and of loggers, and the list of what has configs."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker.errors import ErrorCode
from broker.handlers import alter_configs, describe_configs, incremental_alter_configs, list_config_resources
from broker.protocol import messages as m
from tests.handlers.admin_stage import Stage, open_stage, versions
from tests.handlers.test_configs import APPEND, DELETE, SET, describe, described, incremental

TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(tmp_path) as opened:
        yield opened


async def alter(stage: Stage, kind: int, name: str, *changes: tuple[str, int, str | None], **fields: Any) -> Any:
    answer = await stage.ask(incremental_alter_configs, incremental(kind, name, *changes, **fields))
    (result,) = answer.responses
    return result.error_code, result.error_message


async def test_a_group_has_the_brokers_values_until_it_is_given_its_own(stage: Stage) -> None:
    entry = await described(stage, GROUP, "g", "consumer.session.timeout.ms")
    assert (entry.value, entry.config_source, entry.config_type) == ("45000", 5, 3)
    assert [(s.name, s.value, s.source) for s in entry.synonyms] == [("group.consumer.session.timeout.ms", "45000", 5)]
    assert await alter(stage, GROUP, "g", ("consumer.session.timeout.ms", SET, "50000")) == (0, None)
    assert stage.cluster.image.group_configs == {"g": {"consumer.session.timeout.ms": "50000"}}
    entry = await described(stage, GROUP, "g", "consumer.session.timeout.ms")
    assert (entry.value, entry.config_source) == ("50000", 8)
    assert [(s.value, s.source) for s in entry.synonyms] == [("50000", 8), ("45000", 5)]
    await alter(stage, GROUP, "g", ("consumer.session.timeout.ms", DELETE, None))
    assert stage.cluster.image.group_configs == {}


async def test_a_groups_refusals_name_their_reason(stage: Stage) -> None:
    assert await alter(stage, GROUP, "", ("consumer.session.timeout.ms", SET, "50000")) == (
        ErrorCode.INVALID_REQUEST,
        "Default group resources are not allowed.",
    )
    assert await alter(stage, GROUP, "g", ("streams.num.standby.replicas", SET, "1")) == (
        ErrorCode.INVALID_CONFIG,
        "Group config streams.num.standby.replicas is refused: streams groups are not served.",
    )
    assert await alter(stage, GROUP, "g" * 1_025, ("consumer.session.timeout.ms", SET, "50000")) == (
        ErrorCode.INVALID_REQUEST,
        f"A name is at most 1024 characters long: {'g' * 256}...",
    )
    (nameless,) = (await stage.ask(describe_configs, describe((GROUP, "", None)))).results
    assert nameless.error_code == ErrorCode.INVALID_REQUEST


async def test_groups_with_configs_are_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.limits.GROUPS_WITH_CONFIGS_MAX", 1)
    interval = ("consumer.heartbeat.interval.ms", SET, "6000")
    assert await alter(stage, GROUP, "one", interval) == (0, None)
    assert (await alter(stage, GROUP, "two", interval))[0] == ErrorCode.POLICY_VIOLATION
    assert await alter(stage, GROUP, "one", ("consumer.heartbeat.interval.ms", SET, "7000")) == (0, None)


async def test_a_subscription_is_made_changed_and_removed(stage: Stage) -> None:
    created = ("metrics", SET, "org.apache.kafka.producer."), ("match", APPEND, "client_id=a.*")
    assert await alter(stage, METRICS, "sub", *created, validate_only=True) == (0, None)
    assert stage.cluster.image.client_metrics_configs == {}
    assert await alter(stage, METRICS, "sub", *created) == (0, None)
    (result,) = (await stage.ask(describe_configs, describe((METRICS, "sub", None)))).results
    assert {e.name: (e.value, e.config_source) for e in result.configs} == {
        "metrics": ("org.apache.kafka.producer.", 7),
        "match": ("client_id=a.*", 7),
        "interval.ms": ("300000", 5),
    }
    assert (await alter(stage, METRICS, "sub", ("interval.ms", SET, "5")))[0] == ErrorCode.INVALID_REQUEST
    await alter(stage, METRICS, "sub", ("metrics", DELETE, None), ("match", DELETE, None))
    assert stage.cluster.image.client_metrics_configs == {}


async def test_log_levels_are_described_and_changed_for_this_process_alone(stage: Stage) -> None:
    name = "broker.tests.level"
    logging.getLogger(name).setLevel(logging.NOTSET)
    assert await alter(stage, LOGGER, "1", (name, SET, "ERROR")) == (0, None)
    entry = await described(stage, LOGGER, "1", name)
    assert (entry.value, entry.config_source, entry.read_only) == ("ERROR", 6, False)
    assert await alter(stage, LOGGER, "1", (name, SET, "DEBUG"), validate_only=True) == (0, None)
    assert logging.getLogger(name).level == logging.ERROR
    assert (await alter(stage, LOGGER, "1", (name, APPEND, "DEBUG")))[0] == ErrorCode.INVALID_REQUEST
    assert (await alter(stage, LOGGER, "2", (name, SET, "DEBUG")))[0] == ErrorCode.INVALID_REQUEST
    assert (await alter(stage, LOGGER, "1", ("no.such.logger", SET, "DEBUG")))[0] == ErrorCode.INVALID_CONFIG
    assert await alter(stage, LOGGER, "1", (name, DELETE, None)) == (0, None)
    assert logging.getLogger(name).level == logging.NOTSET


async def test_loggers_and_other_resources_of_one_request_are_answered_in_its_order(stage: Stage) -> None:
    await stage.create("a")
    logging.getLogger("broker.tests.order").setLevel(logging.NOTSET)
    message = incremental(TOPIC, "a", ("retention.ms", SET, "7"))
    message.resources = [
        *incremental(LOGGER, "1", ("broker.tests.order", SET, "LOUD")).resources,
        *message.resources,
        *incremental(GROUP, "g", ("nope", SET, "1")).resources,
    ]
    answer = await stage.ask(incremental_alter_configs, message)
    assert [(r.resource_type, r.error_code) for r in answer.responses] == [
        (LOGGER, ErrorCode.INVALID_CONFIG),
        (TOPIC, 0),
        (GROUP, ErrorCode.INVALID_CONFIG),
    ]


async def test_the_old_alter_configs_knows_no_loggers(stage: Stage) -> None:
    request = m.AlterConfigsRequest
    resource = request.AlterConfigsResource(resource_type=LOGGER, resource_name="1", configs=[])
    (result,) = (await stage.ask(alter_configs, request(resources=[resource]))).responses
    assert (result.error_code, "BROKER_LOGGER" in result.error_message) == (ErrorCode.INVALID_REQUEST, True)


@pytest.mark.parametrize("version", versions(list_config_resources))
async def test_what_has_configs_is_listed(stage: Stage, version: int) -> None:
    await stage.create("a")
    await alter(stage, METRICS, "sub", ("metrics", SET, "*"))
    await alter(stage, GROUP, "g", ("consumer.heartbeat.interval.ms", SET, "6000"))
    answer = await stage.ask(list_config_resources, m.ListConfigResourcesRequest(), version)
    listed = [(r.resource_type, r.resource_name) for r in answer.config_resources]
    everything = [(TOPIC, "a"), (BROKER, "1"), (LOGGER, "1"), (METRICS, "sub"), (GROUP, "g")]
    assert listed == (everything if version else [(METRICS, "sub")])


async def test_only_the_wanted_types_are_listed_and_an_unknown_one_is_an_error(stage: Stage) -> None:
    await stage.create("a")
    answer = await stage.ask(list_config_resources, m.ListConfigResourcesRequest(resource_types=[TOPIC]))
    assert [(r.resource_type, r.resource_name) for r in answer.config_resources] == [(TOPIC, "a")]
    answer = await stage.ask(list_config_resources, m.ListConfigResourcesRequest(resource_types=[TOPIC, 1]))
    assert (answer.error_code, answer.config_resources) == (ErrorCode.UNSUPPORTED_VERSION, [])
