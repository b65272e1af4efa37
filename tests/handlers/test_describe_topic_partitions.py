from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from broker.errors import ErrorCode, KafkaError
from broker.handlers import describe_topic_partitions
from broker.protocol import messages as m
from tests.handlers.admin_stage import Stage, open_stage

Request = m.DescribeTopicPartitionsRequest


@pytest.fixture
async def stage(tmp_path: Path) -> Any:
    async with open_stage(tmp_path, max_request_partition_size_limit=4) as opened:
        for name, partitions in (("b", 3), ("a", 2), ("c", 1)):
            await opened.create(name, partitions)
        yield opened


def request(*names: str, limit: int = 2000, cursor: tuple[str, int] | None = None) -> Any:
    return Request(
        topics=[Request.TopicRequest(name=name) for name in names],
        response_partition_limit=limit,
        cursor=None if cursor is None else Request.Cursor(topic_name=cursor[0], partition_index=cursor[1]),
    )


def content(answer: Any) -> tuple[list[tuple[str, list[int]]], tuple[str, int] | None]:
    cursor = answer.next_cursor
    return (
        [(topic.name, [p.partition_index for p in topic.partitions]) for topic in answer.topics],
        None if cursor is None else (cursor.topic_name, cursor.partition_index),
    )


async def test_topics_come_in_order_with_leaders_and_ids(stage: Stage) -> None:
    answer = await stage.ask(describe_topic_partitions, request("c", "a"))
    assert content(answer) == ([("a", [0, 1]), ("c", [0])], None)
    topic = answer.topics[0]
    assert (topic.error_code, topic.topic_id) == (0, stage.cluster.image.topics_by_name["a"].topic_id)
    assert topic.topic_authorized_operations == 3576
    partition = topic.partitions[0]
    assert (partition.error_code, partition.leader_id, partition.leader_epoch) == (0, 1, 0)
    assert (partition.replica_nodes, partition.isr_nodes, partition.offline_replicas) == ([1], [1], [])
    assert (partition.eligible_leader_replicas, partition.last_known_elr) == ([], [])


async def test_no_topics_ask_for_all_and_the_broker_bounds_the_page(stage: Stage) -> None:
    answer = await stage.ask(describe_topic_partitions, request())
    assert content(answer) == ([("a", [0, 1]), ("b", [0, 1])], ("b", 2))
    answer = await stage.ask(describe_topic_partitions, request(cursor=("b", 2)))
    assert content(answer) == ([("b", [2]), ("c", [0])], None)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
async def test_pages_of_any_size_add_up_to_everything(stage: Stage, limit: int) -> None:
    cursor: tuple[str, int] | None = None
    seen: list[tuple[str, int]] = []
    for _ in range(10):
        topics, cursor = content(await stage.ask(describe_topic_partitions, request(limit=limit, cursor=cursor)))
        page = [(name, index) for name, indices in topics for index in indices]
        assert 1 <= len(page) <= min(limit, 4)
        seen += page
        if cursor is None:
            break
    assert seen == [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2), ("c", 0)]


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_page_has_at_least_one_partition(stage: Stage, limit: int) -> None:
    assert content(await stage.ask(describe_topic_partitions, request(limit=limit))) == ([("a", [0])], ("a", 1))


async def test_topics_without_an_answer_have_their_error_and_take_no_room(stage: Stage) -> None:
    answer = await stage.ask(describe_topic_partitions, request("a", "a2", "bad name", "b", limit=3))
    assert [(t.name, t.error_code) for t in answer.topics] == [
        ("a", 0),
        ("a2", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ("b", 0),
    ]
    assert content(answer)[1] == ("b", 1)
    answer = await stage.ask(describe_topic_partitions, request("a", "a2", "bad name", "b", cursor=("b", 1)))
    assert [(t.name, t.error_code) for t in answer.topics] == [
        ("b", 0),
        ("bad name", ErrorCode.INVALID_TOPIC_EXCEPTION),
    ]


async def test_a_cursor_to_a_topic_that_was_deleted_goes_on_with_the_next(stage: Stage) -> None:
    assert content(await stage.ask(describe_topic_partitions, request(cursor=("bb", 7)))) == ([("c", [0])], None)


async def test_a_negative_cursor_is_refused(stage: Stage) -> None:
    with pytest.raises(KafkaError) as caught:
        await stage.ask(describe_topic_partitions, request(cursor=("a", -1)))
    assert caught.value.code is ErrorCode.INVALID_REQUEST
