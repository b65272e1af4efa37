"""CreateTopics, DeleteTopics and CreatePartitions; what they decide is proven in tests/cluster/test_controller.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from broker.errors import ErrorCode
from broker.handlers import create_partitions, create_topics, delete_topics
from broker.protocol import messages as m
from broker.types import ZERO_TOPIC_ID
from tests.handlers.admin_stage import Stage, open_stage, versions


@pytest.fixture
async def stage(tmp_path: Path) -> Any:
    async with open_stage(tmp_path) as opened:
        yield opened


def creatable(name: str, partitions: int = 1, factor: int = 1, assignments: Any = (), **configs: str | None) -> Any:
    request = m.CreateTopicsRequest
    return request.CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=factor,
        assignments=[
            request.CreatableReplicaAssignment(partition_index=index, broker_ids=list(replicas))
            for index, replicas in assignments
        ],
        configs=[
            request.CreatableTopicConfig(name=config.replace("_", "."), value=value)
            for config, value in configs.items()
        ],
    )


@pytest.mark.parametrize("version", versions(create_topics))
async def test_a_topic_is_created_in_every_version(stage: Stage, version: int) -> None:
    message = m.CreateTopicsRequest(topics=[creatable("a", 3, retention_ms="5")])
    (result,) = (await stage.ask(create_topics, message, version)).topics
    created = stage.cluster.image.topics_by_name["a"]
    assert (result.error_code, result.error_message, result.name) == (0, None, "a")
    assert (len(created.partitions), created.configs) == (3, {"retention.ms": "5"})
    if version >= 5:
        assert (result.num_partitions, result.replication_factor) == (3, 1)
        configs = {config.name: config for config in result.configs}
        assert (configs["retention.ms"].value, configs["retention.ms"].config_source) == ("5", 1)
        assert (configs["segment.ms"].value, configs["segment.ms"].config_source) == ("604800000", 5)
        assert not configs["segment.ms"].read_only
    if version >= 7:
        assert result.topic_id == created.topic_id


async def test_the_good_topics_of_a_request_are_created_whatever_the_others_are(stage: Stage) -> None:
    topics = [creatable("good"), creatable("bad name"), creatable("big", factor=4), creatable("x", retention_ms="soon")]
    results = (await stage.ask(create_topics, m.CreateTopicsRequest(topics=topics))).topics
    assert [(r.name, r.error_code) for r in results] == [
        ("good", 0),
        ("bad name", ErrorCode.INVALID_TOPIC_EXCEPTION),
        ("big", ErrorCode.INVALID_REPLICATION_FACTOR),
        ("x", ErrorCode.INVALID_CONFIG),
    ]
    assert results[3].error_message == "Invalid value soon for configuration retention.ms: Not a number of type LONG"
    assert (results[1].num_partitions, results[1].configs) == (-1, [])
    assert list(stage.cluster.image.topics_by_name) == ["good"]


async def test_validate_only_answers_as_if_and_creates_nothing(stage: Stage) -> None:
    message = m.CreateTopicsRequest(topics=[creatable("a", -1, -1)], validate_only=True)
    (result,) = (await stage.ask(create_topics, message)).topics
    assert (result.error_code, result.num_partitions, result.replication_factor) == (0, 1, 1)
    assert result.topic_id == ZERO_TOPIC_ID
    assert not stage.cluster.image.topics_by_name


async def test_replicas_may_be_placed_by_hand(stage: Stage) -> None:
    topic = creatable("a", -1, -1, assignments=[(1, (1,)), (0, (1,))])
    (result,) = (await stage.ask(create_topics, m.CreateTopicsRequest(topics=[topic]))).topics
    assert (result.error_code, result.num_partitions) == (0, 2)


@pytest.mark.parametrize("version", versions(delete_topics))
async def test_a_topic_is_deleted_in_every_version(stage: Stage, version: int) -> None:
    created = await stage.create("a")
    if version >= 6:
        states = [m.DeleteTopicsRequest.DeleteTopicState(name=name) for name in ("a", "missing")]
        message = m.DeleteTopicsRequest(topics=states)
    else:
        message = m.DeleteTopicsRequest(topic_names=["a", "missing"])
    good, missing = (await stage.ask(delete_topics, message, version)).responses
    assert (good.name, good.error_code) == ("a", 0)
    assert (missing.name, missing.error_code) == ("missing", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    assert good.topic_id == (created.topic_id if version >= 6 else ZERO_TOPIC_ID)
    assert not stage.cluster.image.topics_by_name


async def test_a_topic_is_deleted_by_its_id(stage: Stage) -> None:
    created = await stage.create("a")
    state = m.DeleteTopicsRequest.DeleteTopicState
    message = m.DeleteTopicsRequest(
        topics=[state(name=None, topic_id=created.topic_id), state(name=None, topic_id=b"\x09" * 16)]
    )
    good, unknown = (await stage.ask(delete_topics, message)).responses
    assert (good.name, good.error_code) == ("a", 0)
    assert (unknown.name, unknown.error_code) == (None, ErrorCode.UNKNOWN_TOPIC_ID)


@pytest.mark.parametrize(("version", "code"), [(1, ErrorCode.INVALID_REQUEST), (3, ErrorCode.TOPIC_DELETION_DISABLED)])
async def test_switched_off_deletion_is_told_as_the_version_can(tmp_path: Path, version: int, code: ErrorCode) -> None:
    async with open_stage(tmp_path, delete_topic_enable=False) as stage:
        await stage.create("a")
        (result,) = (await stage.ask(delete_topics, m.DeleteTopicsRequest(topic_names=["a"]), version)).responses
        assert result.error_code == code


@pytest.mark.parametrize("version", versions(create_partitions))
async def test_a_topic_grows_in_every_version(stage: Stage, version: int) -> None:
    await stage.create("a")
    topic = m.CreatePartitionsRequest.CreatePartitionsTopic
    message = m.CreatePartitionsRequest(
        topics=[topic(name="a", count=3, assignments=None), topic(name="missing", count=3, assignments=None)]
    )
    good, missing = (await stage.ask(create_partitions, message, version)).results
    assert (good.name, good.error_code, good.error_message) == ("a", 0, None)
    assert missing.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert len(stage.cluster.image.topics_by_name["a"].partitions) == 3


async def test_growth_by_hand_and_growth_only_validated(stage: Stage) -> None:
    await stage.create("a")
    request = m.CreatePartitionsRequest
    assignment = request.CreatePartitionsAssignment(broker_ids=[1])
    topic = request.CreatePartitionsTopic(name="a", count=2, assignments=[assignment])
    (result,) = (await stage.ask(create_partitions, request(topics=[topic], validate_only=True))).results
    assert result.error_code == 0
    assert len(stage.cluster.image.topics_by_name["a"].partitions) == 1
    (result,) = (await stage.ask(create_partitions, request(topics=[topic]))).results
    assert result.error_code == 0
    (result,) = (await stage.ask(create_partitions, request(topics=[topic]))).results
    assert (result.error_code, result.error_message) == (
        ErrorCode.INVALID_PARTITIONS,
        "Topic already has 2 partition(s).",
    )
