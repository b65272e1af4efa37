from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from broker.errors import ErrorCode
from broker.handlers import metadata
from broker.handlers.topology import AUTHORIZED_OPERATIONS_OMITTED
from broker.protocol import messages as m
from broker.types import ZERO_TOPIC_ID
from tests.handlers.admin_stage import Stage, open_stage, versions

UNKNOWN_ID = b"\x07" * 16


@pytest.fixture
async def stage(tmp_path: Path) -> Any:
    async with open_stage(tmp_path) as opened:
        yield opened


def request(
    *names: str | None, ids: tuple[bytes, ...] = (), create: bool = False, all_topics: bool = False, **fields: Any
) -> Any:
    topic = m.MetadataRequest.MetadataRequestTopic
    topics = [topic(name=name) for name in names] + [topic(name=None, topic_id=topic_id) for topic_id in ids]
    return m.MetadataRequest(topics=None if all_topics else topics, allow_auto_topic_creation=create, **fields)


@pytest.mark.parametrize("version", versions(metadata))
async def test_every_version_tells_brokers_topics_and_leaders(stage: Stage, version: int) -> None:
    created = await stage.create("a", 2)
    answer = await stage.ask(metadata, request("a"), version)
    (broker,) = answer.brokers
    assert (broker.node_id, broker.host, broker.port) == (1, "127.0.0.1", 9092)
    (topic,) = answer.topics
    assert (topic.error_code, topic.name) == (0, "a")
    assert topic.topic_id == (created.topic_id if version >= 10 else ZERO_TOPIC_ID)
    assert [(p.error_code, p.partition_index, p.leader_id) for p in topic.partitions] == [(0, 0, 1), (0, 1, 1)]
    assert [(p.replica_nodes, p.isr_nodes) for p in topic.partitions] == [([1], [1])] * 2
    assert [p.leader_epoch for p in topic.partitions] == [0 if version >= 7 else -1] * 2
    if version >= 1:
        assert answer.controller_id == 1
    if version >= 2:
        assert answer.cluster_id == stage.services.cluster_id


@pytest.mark.parametrize("version", versions(metadata))
async def test_all_topics_and_no_topics_are_asked_for_as_the_version_says(stage: Stage, version: int) -> None:
    await stage.create("a")
    await stage.create("b")
    everything = request() if version == 0 else request(all_topics=True)
    assert [t.name for t in (await stage.ask(metadata, everything, version)).topics] == ["a", "b"]
    if version >= 1:
        assert (await stage.ask(metadata, request(), version)).topics == []


async def test_an_unknown_topic_is_an_error_and_is_not_created_unasked(stage: Stage) -> None:
    for version in (4, 13):
        (topic,) = (await stage.ask(metadata, request("missing"), version)).topics
        assert (topic.error_code, topic.name, topic.partitions) == (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "missing", [])
    assert not stage.cluster.image.topics_by_name


@pytest.mark.parametrize("version", versions(metadata))
async def test_a_topic_made_on_request_is_in_the_same_answer(stage: Stage, version: int) -> None:
    """Before version 4 there is no way to say no."""
    (topic,) = (await stage.ask(metadata, request("new", create=True), version)).topics
    assert topic.error_code == 0
    assert [p.leader_id for p in topic.partitions] == [1]
    assert "new" in stage.cluster.image.topics_by_name


async def test_asking_for_all_topics_creates_none(stage: Stage) -> None:
    assert (await stage.ask(metadata, request(all_topics=True, create=True))).topics == []


async def test_a_broker_may_forbid_automatic_topics(tmp_path: Path) -> None:
    async with open_stage(tmp_path, auto_create_topics_enable=False) as stage:
        (topic,) = (await stage.ask(metadata, request("new", create=True))).topics
        assert topic.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        assert not stage.cluster.image.topics_by_name


@pytest.mark.parametrize("create", [True, False])
async def test_an_illegal_name_is_said_to_be_one(stage: Stage, create: bool) -> None:
    answer = await stage.ask(metadata, request("bad name", "good", create=create))
    bad, good = answer.topics
    assert bad.error_code == ErrorCode.INVALID_TOPIC_EXCEPTION
    assert good.error_code == (0 if create else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)


async def test_an_automatic_topic_has_no_more_replicas_than_there_are_brokers(tmp_path: Path) -> None:
    async with open_stage(tmp_path, default_replication_factor=3) as stage:
        (topic,) = (await stage.ask(metadata, request("new", create=True))).topics
        assert topic.error_code == 0
        assert [partition.replica_nodes for partition in topic.partitions] == [[1]]


async def test_a_topic_asked_for_twice_is_answered_once(stage: Stage) -> None:
    await stage.create("a")
    assert len((await stage.ask(metadata, request("a", "a", "a"))).topics) == 1


async def test_topics_are_found_by_id_from_version_12(stage: Stage) -> None:
    created = await stage.create("a")
    known, unknown = (await stage.ask(metadata, request(ids=(created.topic_id, UNKNOWN_ID)))).topics
    assert (known.error_code, known.name) == (0, "a")
    assert (unknown.error_code, unknown.name, unknown.topic_id) == (ErrorCode.UNKNOWN_TOPIC_ID, None, UNKNOWN_ID)
    answer = await stage.ask(metadata, request(ids=(created.topic_id,), create=True), 12)
    assert [t.name for t in answer.topics] == ["a"]


@pytest.mark.parametrize("version", [10, 11])
async def test_ids_in_a_version_that_cannot_use_them_are_an_error(stage: Stage, version: int) -> None:
    created = await stage.create("a")
    (topic,) = (await stage.ask(metadata, request(ids=(created.topic_id,)), version)).topics
    assert topic.error_code == ErrorCode.INVALID_REQUEST


async def test_operations_are_told_only_when_asked_for(stage: Stage) -> None:
    await stage.create("a")
    silent = await stage.ask(metadata, request("a"), 9)
    assert silent.cluster_authorized_operations == AUTHORIZED_OPERATIONS_OMITTED
    assert silent.topics[0].topic_authorized_operations == AUTHORIZED_OPERATIONS_OMITTED
    asked = await stage.ask(
        metadata,
        request("a", include_cluster_authorized_operations=True, include_topic_authorized_operations=True),
        9,
    )
    assert asked.cluster_authorized_operations == 8096
    assert asked.topics[0].topic_authorized_operations == 3576


async def test_the_internal_listener_is_told_internal_ports(stage: Stage) -> None:
    (broker,) = (await stage.ask(metadata, request(), listener="internal")).brokers
    assert broker.port == 19092


async def test_what_is_advertised_is_what_clients_are_told(tmp_path: Path) -> None:
    async with open_stage(tmp_path, advertised_listeners="PLAINTEXT://kafka.example:1234", broker_rack="r1") as stage:
        (broker,) = (await stage.ask(metadata, request())).brokers
        assert (broker.host, broker.port, broker.rack) == ("kafka.example", 1234, "r1")


async def test_internal_topics_are_marked(stage: Stage) -> None:
    await stage.cluster.create_topic_automatically("__consumer_offsets")
    (topic,) = (await stage.ask(metadata, request("__consumer_offsets"))).topics
    assert topic.is_internal
    assert len(topic.partitions) == 50


async def test_a_partition_whose_leader_is_gone_says_so(stage: Stage) -> None:
    other = await stage.another_broker(2)
    from broker.cluster.decision import NewTopic

    await stage.cluster.create_topics([NewTopic(name="a", assignments=((0, (2,)),))])
    assert [b.node_id for b in (await stage.ask(metadata, request())).brokers] == [1, 2]
    await other.stop()
    while stage.cluster.image.topics_by_name["a"].partitions[0].leader != -1:
        await stage.cluster._advanced.wait()
    answer = await stage.ask(metadata, request("a"))
    (partition,) = answer.topics[0].partitions
    assert (partition.error_code, partition.leader_id) == (ErrorCode.LEADER_NOT_AVAILABLE, -1)
    assert (partition.leader_epoch, partition.replica_nodes, partition.offline_replicas) == (1, [2], [2])
    assert [b.node_id for b in answer.brokers] == [1]
    assert answer.controller_id == 1
