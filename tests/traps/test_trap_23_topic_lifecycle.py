"""Trap 23: a topic comes into being only where both the request and the broker allow it; bad names never do; each topic of a
request has its own result, a dry run changes nothing, and what is answered with success is there."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.topics import create_topic
from tests.support.wait import wait_until
from tests.support.wire import Wire

_numbers = itertools.count()


def fresh() -> str:
    return f"trap-23-{next(_numbers)}"


def metadata(wire: Wire, name: str, *, create: bool, version: int = 9) -> int:
    r = m.MetadataRequest
    request = r(topics=[r.MetadataRequestTopic(name=name)], allow_auto_topic_creation=create)
    return wire.call(ApiKey.METADATA, version, request).topics[0].error_code


def create(wire: Wire, *topics: Any, version: int = 7, validate_only: bool = False) -> dict[str, Any]:
    request = m.CreateTopicsRequest(topics=list(topics), timeout=10_000, validate_only=validate_only)
    return {result.name: result for result in wire.call(ApiKey.CREATE_TOPICS, version, request).topics}


def topic(name: str, partitions: int = 1, replicas: int = 1, **configs: str) -> Any:
    r = m.CreateTopicsRequest
    return r.CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=replicas,
        configs=[r.CreatableTopicConfig(name=key.replace("_", "."), value=value) for key, value in configs.items()],
    )


def test_asking_for_a_topic_creates_it_only_if_the_request_allows_it(wire: Wire) -> None:
    name = fresh()
    for _ in range(2):
        assert metadata(wire, name, create=False) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    first = metadata(wire, name, create=True)
    assert first in (0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.LEADER_NOT_AVAILABLE)
    wait_until(lambda: metadata(wire, name, create=False) == 0, "the topic is there")


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "ä", "x" * 250, "new\nline"])
def test_a_bad_name_is_told_by_every_way_to_a_topic(wire: Wire, name: str) -> None:
    assert metadata(wire, name, create=True) == ErrorCode.INVALID_TOPIC_EXCEPTION
    assert create(wire, topic(name))[name].error_code == ErrorCode.INVALID_TOPIC_EXCEPTION


def test_each_topic_has_its_own_result(wire: Wire) -> None:
    good, exists = fresh(), create_topic(wire)
    results = create(
        wire,
        topic(good, 3),
        topic(exists),
        topic("bad name"),
        topic("no-partitions", 0),
        topic("many-replicas", 1, 9),
        topic("bad-config", no_such_config="1"),
    )
    assert {name: result.error_code for name, result in results.items()} == {
        good: 0,
        exists: ErrorCode.TOPIC_ALREADY_EXISTS,
        "bad name": ErrorCode.INVALID_TOPIC_EXCEPTION,
        "no-partitions": ErrorCode.INVALID_PARTITIONS,
        "many-replicas": ErrorCode.INVALID_REPLICATION_FACTOR,
        "bad-config": ErrorCode.INVALID_CONFIG,
    }
    assert metadata(wire, good, create=False) == 0, "what was created is there when the answer is"


def test_a_dry_run_says_what_would_happen_and_changes_nothing(wire: Wire) -> None:
    name = fresh()
    assert create(wire, topic(name), validate_only=True)[name].error_code == 0
    assert metadata(wire, name, create=False) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_minus_one_means_the_brokers_default_and_the_answer_says_what_that_was(wire: Wire) -> None:
    name = fresh()
    result = create(wire, topic(name, -1, -1, retention_ms="1000"))[name]
    assert (result.error_code, result.num_partitions, result.replication_factor) == (0, 1, 1)
    configs = {config.name: config.value for config in result.configs}
    assert configs["retention.ms"] == "1000"
    assert configs["cleanup.policy"] == "delete"
    assert result.topic_id != bytes(16)


def test_partitions_are_added_per_topic_and_never_taken_away(wire: Wire) -> None:
    grown, shrunk = create_topic(wire, partitions=2), create_topic(wire, partitions=2)
    r = m.CreatePartitionsRequest
    wanted = [
        r.CreatePartitionsTopic(name=name, count=count, assignments=None)
        for name, count in ((grown, 4), (shrunk, 1), ("no-such-topic", 3))
    ]
    results = wire.call(ApiKey.CREATE_PARTITIONS, 3, r(topics=wanted, timeout=10_000)).results
    assert {result.name: result.error_code for result in results} == {
        grown: 0,
        shrunk: ErrorCode.INVALID_PARTITIONS,
        "no-such-topic": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    }
