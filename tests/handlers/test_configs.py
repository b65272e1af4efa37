"""DescribeConfigs, IncrementalAlterConfigs and AlterConfigs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from broker.config.broker import BROKER_CONFIGS
from broker.config.topic import TOPIC_CONFIGS
from broker.errors import ErrorCode
from broker.handlers import alter_configs, describe_configs, incremental_alter_configs
from broker.protocol import messages as m
from tests.handlers.admin_stage import Stage, open_stage, versions

TOPIC, BROKER = 2, 4
SET, DELETE, APPEND, SUBTRACT = range(4)


@pytest.fixture
async def stage(tmp_path: Path) -> Any:
    async with open_stage(tmp_path, num_partitions=3) as opened:
        await opened.create("a", retention_ms="5")
        yield opened


def describe(*resources: tuple[int, str, list[str] | None], **fields: Any) -> Any:
    request = m.DescribeConfigsRequest
    return request(
        resources=[
            request.DescribeConfigsResource(resource_type=kind, resource_name=name, configuration_keys=keys)
            for kind, name, keys in resources
        ],
        **fields,
    )


def incremental(kind: int, name: str, *changes: tuple[str, int, str | None], validate_only: bool = False) -> Any:
    request = m.IncrementalAlterConfigsRequest
    return request(
        resources=[
            request.AlterConfigsResource(
                resource_type=kind,
                resource_name=name,
                configs=[
                    request.AlterableConfig(name=config, config_operation=operation, value=value)
                    for config, operation, value in changes
                ],
            )
        ],
        validate_only=validate_only,
    )


async def described(stage: Stage, kind: int, name: str, config: str) -> Any:
    answer = await stage.ask(describe_configs, describe((kind, name, [config]), include_synonyms=True))
    (entry,) = answer.results[0].configs
    return entry


@pytest.mark.parametrize("version", versions(describe_configs))
async def test_every_config_of_a_topic_is_described_in_every_version(stage: Stage, version: int) -> None:
    answer = await stage.ask(describe_configs, describe((TOPIC, "a", None), include_synonyms=True), version)
    (result,) = answer.results
    assert (result.error_code, result.resource_type, result.resource_name) == (0, TOPIC, "a")
    entries = {entry.name: entry for entry in result.configs}
    assert entries.keys() == {name for name, definition in TOPIC_CONFIGS.items() if not definition.internal}
    retention = entries["retention.ms"]
    assert (retention.value, retention.config_source, retention.read_only, retention.is_sensitive) == (
        "5",
        1,
        False,
        False,
    )
    assert [(s.name, s.value, s.source) for s in retention.synonyms] == [
        ("retention.ms", "5", 1),
        ("log.retention.hours", "168", 5),
    ]
    assert (entries["segment.ms"].value, entries["segment.ms"].config_source) == ("604800000", 5)
    if version >= 3:
        assert (retention.config_type, entries["cleanup.policy"].config_type, entries["preallocate"].config_type) == (
            5,
            7,
            1,
        )


async def test_null_and_empty_keys_both_ask_for_all_and_keys_choose(stage: Stage) -> None:
    answer = await stage.ask(
        describe_configs, describe((TOPIC, "a", None), (TOPIC, "a", []), (TOPIC, "a", ["segment.ms", "nope"]))
    )
    everything, also_everything, chosen = answer.results
    assert len(everything.configs) == len(also_everything.configs) > 30
    assert [entry.name for entry in chosen.configs] == ["segment.ms"]


async def test_synonyms_and_documentation_come_only_when_asked_for(stage: Stage) -> None:
    silent = await stage.ask(describe_configs, describe((TOPIC, "a", ["retention.ms"])))
    assert (silent.results[0].configs[0].synonyms, silent.results[0].configs[0].documentation) == ([], None)
    asked = await stage.ask(describe_configs, describe((TOPIC, "a", ["retention.ms"]), include_documentation=True))
    assert "Age" in asked.results[0].configs[0].documentation


async def test_every_config_of_this_broker_is_described(stage: Stage) -> None:
    answer = await stage.ask(describe_configs, describe((BROKER, "1", None), include_synonyms=True))
    entries = {entry.name: entry for entry in answer.results[0].configs}
    assert entries.keys() == BROKER_CONFIGS.keys()
    partitions = entries["num.partitions"]
    assert (partitions.value, partitions.config_source, partitions.read_only) == ("3", 4, True)
    assert [(s.value, s.source) for s in partitions.synonyms] == [("3", 4), ("1", 5)]
    assert not entries["message.max.bytes"].read_only


@pytest.mark.parametrize(
    ("kind", "name", "code"),
    [
        (TOPIC, "missing", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (TOPIC, "bad name", ErrorCode.INVALID_TOPIC_EXCEPTION),
        (BROKER, "2", ErrorCode.INVALID_REQUEST),
        (BROKER, "one", ErrorCode.INVALID_REQUEST),
        (0, "x", ErrorCode.INVALID_REQUEST),
    ],
)
async def test_a_resource_that_is_not_there_is_an_error_of_its_own(
    stage: Stage, kind: int, name: str, code: ErrorCode
) -> None:
    bad, good = (await stage.ask(describe_configs, describe((kind, name, None), (TOPIC, "a", None)))).results
    assert (bad.error_code, bad.resource_type, bad.resource_name, bad.configs) == (code, kind, name, [])
    assert bad.error_message
    assert good.error_code == 0


@pytest.mark.parametrize("version", versions(incremental_alter_configs))
async def test_set_and_delete_change_what_they_name(stage: Stage, version: int) -> None:
    message = incremental(TOPIC, "a", ("segment.ms", SET, "7"), ("retention.ms", DELETE, None))
    (result,) = (await stage.ask(incremental_alter_configs, message, version)).responses
    assert (result.error_code, result.error_message, result.resource_type, result.resource_name) == (
        0,
        None,
        TOPIC,
        "a",
    )
    assert stage.cluster.image.topics_by_name["a"].configs == {"segment.ms": "7"}


async def test_append_and_subtract_change_lists(stage: Stage) -> None:
    await stage.ask(incremental_alter_configs, incremental(TOPIC, "a", ("cleanup.policy", APPEND, "compact")))
    assert (await described(stage, TOPIC, "a", "cleanup.policy")).value == "delete,compact"
    await stage.ask(incremental_alter_configs, incremental(TOPIC, "a", ("cleanup.policy", SUBTRACT, "delete")))
    assert (await described(stage, TOPIC, "a", "cleanup.policy")).value == "compact"
    (refused,) = (
        await stage.ask(incremental_alter_configs, incremental(TOPIC, "a", ("retention.ms", APPEND, "1")))
    ).responses
    assert refused.error_code == ErrorCode.INVALID_CONFIG


async def test_validate_only_refuses_what_is_wrong_and_changes_nothing(stage: Stage) -> None:
    for value, code in (("7", 0), ("x", ErrorCode.INVALID_CONFIG)):
        message = incremental(TOPIC, "a", ("segment.ms", SET, value), validate_only=True)
        (result,) = (await stage.ask(incremental_alter_configs, message)).responses
        assert result.error_code == code
    assert stage.cluster.image.topics_by_name["a"].configs == {"retention.ms": "5"}


async def test_what_cannot_be_is_refused_with_a_reason(stage: Stage) -> None:
    for message, code, reason in (
        (
            incremental(TOPIC, "a", ("retention.ms", SET, "abc")),
            ErrorCode.INVALID_CONFIG,
            "Invalid value abc for configuration retention.ms: Not a number of type LONG",
        ),
        (incremental(TOPIC, "a", ("nope", SET, "1")), ErrorCode.INVALID_CONFIG, "Unknown topic config name: nope"),
        (
            incremental(TOPIC, "b", ("retention.ms", SET, "1")),
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
            "The topic 'b' does not exist.",
        ),
        (
            incremental(BROKER, "1", ("num.partitions", SET, "1")),
            ErrorCode.INVALID_REQUEST,
            "Cannot update these configs dynamically: {num.partitions}",
        ),
    ):
        (result,) = (await stage.ask(incremental_alter_configs, message)).responses
        assert (result.error_code, result.error_message) == (code, reason)


async def test_dynamic_broker_configs_show_their_source_and_reach_topics(stage: Stage) -> None:
    await stage.ask(incremental_alter_configs, incremental(BROKER, "", ("log.retention.ms", SET, "70")))
    await stage.ask(incremental_alter_configs, incremental(BROKER, "1", ("message.max.bytes", SET, "80")))
    entry = await described(stage, BROKER, "1", "log.retention.ms")
    assert (entry.value, entry.config_source) == ("70", 3)
    entry = await described(stage, BROKER, "1", "message.max.bytes")
    assert (entry.value, entry.config_source) == ("80", 2)
    entry = await described(stage, TOPIC, "a", "max.message.bytes")
    assert (entry.value, entry.config_source) == ("80", 2)
    entry = await described(stage, TOPIC, "a", "retention.ms")
    assert [(s.name, s.value, s.source) for s in entry.synonyms] == [
        ("retention.ms", "5", 1),
        ("log.retention.ms", "70", 3),
        ("log.retention.hours", "168", 5),
    ]
    answer = await stage.ask(describe_configs, describe((BROKER, "", None)))
    assert [(e.name, e.value, e.config_source) for e in answer.results[0].configs] == [("log.retention.ms", "70", 3)]


@pytest.mark.parametrize("version", versions(alter_configs))
async def test_alter_configs_replaces_all_of_a_topics_configs(stage: Stage, version: int) -> None:
    request = m.AlterConfigsRequest
    resource = request.AlterConfigsResource(
        resource_type=TOPIC,
        resource_name="a",
        configs=[request.AlterableConfig(name="segment.ms", value="9")],
    )
    (result,) = (await stage.ask(alter_configs, request(resources=[resource], validate_only=True), version)).responses
    assert result.error_code == 0
    assert stage.cluster.image.topics_by_name["a"].configs == {"retention.ms": "5"}
    (result,) = (await stage.ask(alter_configs, request(resources=[resource]), version)).responses
    assert (result.error_code, result.resource_name) == (0, "a")
    assert stage.cluster.image.topics_by_name["a"].configs == {"segment.ms": "9"}


async def test_reading_all_and_writing_it_back_changes_nothing_that_matters(stage: Stage) -> None:
    """What UIs do: DescribeConfigs, then AlterConfigs with everything."""
    before = (await stage.ask(describe_configs, describe((TOPIC, "a", None)))).results[0].configs
    request = m.AlterConfigsRequest
    resource = request.AlterConfigsResource(
        resource_type=TOPIC,
        resource_name="a",
        configs=[request.AlterableConfig(name=entry.name, value=entry.value) for entry in before],
    )
    (result,) = (await stage.ask(alter_configs, request(resources=[resource]))).responses
    assert (result.error_code, result.error_message) == (0, None)
    after = (await stage.ask(describe_configs, describe((TOPIC, "a", None)))).results[0].configs
    assert [(e.name, e.value) for e in after] == [(e.name, e.value) for e in before]


async def test_a_brokers_list_configs_are_appended_to_and_subtracted_from_for_all_brokers(stage: Stage) -> None:
    change = incremental(BROKER, "", ("log.cleanup.policy", APPEND, "compact"))
    (checked,) = (await stage.ask(incremental_alter_configs, change)).responses
    assert checked.error_code == 0
    entry = await described(stage, BROKER, "1", "log.cleanup.policy")
    assert (entry.value, entry.config_source) == ("delete,compact", 3)
    assert (await described(stage, TOPIC, "a", "cleanup.policy")).value == "compact,delete"
    await stage.ask(incremental_alter_configs, incremental(BROKER, "", ("log.cleanup.policy", SUBTRACT, "delete")))
    assert (await described(stage, BROKER, "1", "log.cleanup.policy")).value == "compact"
    await stage.ask(incremental_alter_configs, incremental(BROKER, "", ("log.cleanup.policy", DELETE, None)))
    assert (await described(stage, BROKER, "1", "log.cleanup.policy")).config_source == 5


async def test_alter_configs_replaces_all_dynamic_configs_of_a_broker(stage: Stage) -> None:
    await stage.ask(incremental_alter_configs, incremental(BROKER, "1", ("max.connections", SET, "7")))
    request = m.AlterConfigsRequest
    resource = request.AlterConfigsResource(
        resource_type=BROKER, resource_name="1", configs=[request.AlterableConfig(name="message.max.bytes", value="9")]
    )
    for validate_only, left in ((True, {"max.connections": "7"}), (False, {"message.max.bytes": "9"})):
        message = request(resources=[resource], validate_only=validate_only)
        (result,) = (await stage.ask(alter_configs, message)).responses
        assert result.error_code == 0
        assert stage.cluster.image.broker_configs == {"1": left}


async def test_what_would_do_nothing_is_refused_for_brokers_too(stage: Stage) -> None:
    message = incremental(BROKER, "", ("num.io.threads", SET, "16"))
    (result,) = (await stage.ask(incremental_alter_configs, message)).responses
    assert result.error_code == ErrorCode.INVALID_CONFIG
    assert "one event loop" in result.error_message
