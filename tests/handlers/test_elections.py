"""ElectLeaders and ListPartitionReassignments: what is true while every partition has one replica."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from broker.errors import ErrorCode
from broker.handlers import elect_leaders, list_partition_reassignments
from broker.protocol import messages as m
from broker.types import TopicPartition
from tests.handlers.admin_stage import Stage, open_stage, versions
from tests.support.wait import eventually

Request = m.ElectLeadersRequest


@pytest.fixture
async def stage(tmp_path: Path) -> Any:
    async with open_stage(tmp_path) as opened:
        yield opened


def asking(*partitions: tuple[str, int], unclean: bool = False) -> Any:
    entries = [Request.TopicPartitions(topic=name, partitions=[index]) for name, index in partitions]
    return Request(election_type=int(unclean), topic_partitions=entries, timeout=1_000)


def told(answer: Any) -> dict[TopicPartition, ErrorCode]:
    assert answer.error_code == 0
    return {
        TopicPartition(topic.topic, part.partition_id): ErrorCode(part.error_code)
        for topic in answer.replica_election_results
        for part in topic.partition_result
    }


@pytest.mark.parametrize("version", versions(elect_leaders))
async def test_a_preferred_leader_that_leads_is_not_elected_again(stage: Stage, version: int) -> None:
    await stage.create("a", 2)
    answer = await stage.ask(elect_leaders, asking(("a", 1), ("a", 2), ("none", 0)), version)
    assert told(answer) == {
        ("a", 1): ErrorCode.ELECTION_NOT_NEEDED,
        ("a", 2): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ("none", 0): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    }


async def test_a_partition_whose_broker_is_away_says_so_also_when_anybody_would_do(stage: Stage) -> None:
    other = await stage.another_broker(2)
    topic = await stage.create("a", 4)
    lost = [index for index, partition in enumerate(topic.partitions) if partition.leader == 2]
    await other.stop()
    await eventually(lambda: 2 not in stage.cluster.image.brokers)
    everything = Request(topic_partitions=None, timeout=1_000)
    answer = told(await stage.ask(elect_leaders, everything))
    assert answer == {("a", index): ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE for index in lost}
    answer = told(await stage.ask(elect_leaders, asking(("a", lost[0]), unclean=True)))
    assert answer == {("a", lost[0]): ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE}


async def test_an_unknown_kind_of_election_is_an_invalid_request(stage: Stage) -> None:
    answer = await stage.ask(elect_leaders, Request(election_type=2, topic_partitions=[]))
    assert answer.error_code == ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize("topics", [None, []])
async def test_nothing_is_being_reassigned(stage: Stage, topics: Any) -> None:
    await stage.create("a")
    answer = await stage.ask(list_partition_reassignments, m.ListPartitionReassignmentsRequest(topics=topics))
    assert (answer.error_code, answer.error_message, answer.topics) == (0, None, [])
