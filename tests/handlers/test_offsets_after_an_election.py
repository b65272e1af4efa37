"""ListOffsets of a leader whose followers have not confirmed yet what its log holds (KIP-207), and of replicas."""

from __future__ import annotations

import pytest

from broker.errors import ErrorCode
from broker.handlers import list_offsets
from broker.handlers.context import ConnectionInfo, Request
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.handlers.replica_stage import LeaderStage
from tests.partition.stage import partition_image, topic_image

LATEST, EARLIEST, MAX_TIMESTAMP = -1, -2, -3


@pytest.fixture
async def stage():
    """Elected with three records, one of which it knows to be committed."""
    stage = LeaderStage()
    stage.show_topics(topic_image("orders", partition_image(replicas=(1,))))
    stage.append(b"a")
    stage.show_topics(topic_image("orders", partition_image(replicas=(1, 2), epoch=1, version=1)))
    stage.append(b"b", b"c")
    stage.show_topics(topic_image("orders", partition_image(replicas=(1, 2), epoch=2, version=2)))
    yield stage
    await stage.close()


def ask(stage: LeaderStage, timestamp: int, *, version: int = 7, replica: int = -1, listener: str = "client"):
    r = m.ListOffsetsRequest
    entry = r.ListOffsetsPartition(partition_index=0, timestamp=timestamp)
    message = r(replica_id=replica, topics=[r.ListOffsetsTopic(name="orders", partitions=[entry])])
    connection = ConnectionInfo(1, "127.0.0.1", 1, listener, authenticated=True)
    request = Request(ApiKey.LIST_OFFSETS, version, 1, None, memoryview(b""), connection)
    [topic] = list_offsets.handle(request, message, stage.services).topics
    [partition] = topic.partitions
    return partition


def confirm(stage: LeaderStage) -> None:
    stage.fetch([(b"\1" * 16, 3, {})], max_wait=0)


async def test_the_latest_offset_is_not_told_before_it_cannot_go_back(stage) -> None:
    assert ask(stage, LATEST).error_code == ErrorCode.OFFSET_NOT_AVAILABLE
    assert ask(stage, LATEST, version=4).error_code == ErrorCode.LEADER_NOT_AVAILABLE
    confirm(stage)
    found = ask(stage, LATEST)
    assert (found.error_code, found.offset) == (0, 3)


async def test_times_that_are_found_below_the_high_watermark_are_told_and_others_are_not(stage) -> None:
    first = stage.clock.wall_ms()
    found = ask(stage, first)
    assert (found.error_code, found.offset) == (0, 0)
    assert ask(stage, first + 1).error_code == ErrorCode.OFFSET_NOT_AVAILABLE
    assert ask(stage, MAX_TIMESTAMP).error_code == ErrorCode.OFFSET_NOT_AVAILABLE
    confirm(stage)
    assert ask(stage, MAX_TIMESTAMP).offset == 2


async def test_the_beginning_is_always_known(stage) -> None:
    assert (ask(stage, EARLIEST).error_code, ask(stage, EARLIEST).offset) == (0, 0)


async def test_a_replica_sees_the_log_end_and_only_on_the_internal_listener(stage) -> None:
    assert ask(stage, LATEST, replica=2, listener="internal").offset == 3
    assert ask(stage, LATEST, replica=2).error_code == ErrorCode.OFFSET_NOT_AVAILABLE


async def test_a_follower_sends_clients_to_the_leader(stage) -> None:
    stage.show_topics(topic_image("orders", partition_image(leader=2, replicas=(1, 2), epoch=3, version=3)))
    assert ask(stage, LATEST).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
