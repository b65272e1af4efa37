"""A topic made anew under the same name is another topic: what groups had read of the old one is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.broker_process import BrokerProcess
from tests.support.topics import create_topic, delete_topic, topic_id_of
from tests.support.wait import wait_until
from tests.support.wire import Wire

pytestmark = pytest.mark.interop

GROUP = "readers"


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path, OTTLA_OFFSETS_TOPIC_NUM_PARTITIONS="4") as process:
        yield process


@pytest.fixture
def wire(own_broker: BrokerProcess) -> Iterator[Wire]:
    with Wire(own_broker.port) as connection:
        wait_for_coordinator(connection)
        yield connection


def wait_for_coordinator(wire: Wire) -> None:
    request = m.FindCoordinatorRequest(key_type=0, coordinator_keys=[GROUP])
    wait_until(lambda: wire.call(ApiKey.FIND_COORDINATOR, 4, request).coordinators[0].error_code == 0, "a coordinator")
    wait_until(lambda: fetch_by_name(wire, "none") is not None, "a loaded group")


def commit(wire: Wire, topic: bytes | str, offset: int, *, retention_ms: int = -1) -> int:
    """By id in v10, by name in v9, by name with a retention in v4; the partition's error."""
    version = 10 if isinstance(topic, bytes) else 9 if retention_ms < 0 else 4
    request = m.OffsetCommitRequest
    partition = request.OffsetCommitRequestPartition(
        partition_index=0, committed_offset=offset, committed_metadata="here"
    )
    identity: dict[str, Any] = {"topic_id": topic} if isinstance(topic, bytes) else {"name": topic}
    message = request(
        group_id=GROUP,
        generation_id_or_member_epoch=-1,
        retention_time=retention_ms,
        topics=[request.OffsetCommitRequestTopic(**identity, partitions=[partition])],
    )
    answer = wire.call(ApiKey.OFFSET_COMMIT, version, message)
    return answer.topics[0].partitions[0].error_code


def fetched(wire: Wire, version: int, **topic: Any) -> Any:
    request = m.OffsetFetchRequest
    topics = [request.OffsetFetchRequestTopics(**topic, partition_indexes=[0])]
    message = request(groups=[request.OffsetFetchRequestGroup(group_id=GROUP, topics=topics)])
    return wire.call(ApiKey.OFFSET_FETCH, version, message).groups[0]


def fetch_by_name(wire: Wire, topic: str) -> int | None:
    group = fetched(wire, 9, name=topic)
    if group.error_code:
        return None
    return group.topics[0].partitions[0].committed_offset


def fetch_by_id(wire: Wire, topic_id: bytes) -> tuple[int, int]:
    (partition,) = fetched(wire, 10, topic_id=topic_id).topics[0].partitions
    return partition.error_code, partition.committed_offset


def recreate(wire: Wire, topic: str) -> bytes:
    delete_topic(wire, topic)
    request = m.CreateTopicsRequest
    creation = request.CreatableTopic(name=topic, num_partitions=1, replication_factor=1)
    answer = wire.call(ApiKey.CREATE_TOPICS, 7, request(timeout=10_000, topics=[creation]))
    assert answer.topics[0].error_code == 0
    return answer.topics[0].topic_id


def test_offsets_are_committed_and_fetched_by_topic_id(wire: Wire) -> None:
    topic = create_topic(wire)
    topic_id = topic_id_of(wire, topic)
    assert commit(wire, topic_id, 7) == 0
    assert fetch_by_id(wire, topic_id) == (0, 7)
    assert fetch_by_name(wire, topic) == 7
    assert commit(wire, bytes([9] * 16), 7) == ErrorCode.UNKNOWN_TOPIC_ID
    assert fetch_by_id(wire, bytes([9] * 16)) == (ErrorCode.UNKNOWN_TOPIC_ID, -1)


@pytest.mark.parametrize("how", ["by id", "by name", "by name with a retention"])
def test_a_recreated_topic_has_lost_its_offsets(wire: Wire, how: str) -> None:
    topic = create_topic(wire)
    old_id = topic_id_of(wire, topic)
    committed_as: bytes | str = old_id if how == "by id" else topic
    assert commit(wire, committed_as, 7, retention_ms=3_600_000 if "retention" in how else -1) == 0
    new_id = recreate(wire, topic)
    assert new_id != old_id
    assert fetch_by_name(wire, topic) == -1
    assert fetch_by_id(wire, new_id) == (0, -1)
    assert fetch_by_id(wire, old_id) == (ErrorCode.UNKNOWN_TOPIC_ID, -1)
    assert commit(wire, old_id, 8) == ErrorCode.UNKNOWN_TOPIC_ID
    assert commit(wire, new_id, 3) == 0
    assert fetch_by_id(wire, new_id) == (0, 3)


def test_they_are_gone_for_good_after_a_crash(own_broker: BrokerProcess, wire: Wire) -> None:
    topic, other = create_topic(wire), create_topic(wire)
    commit(wire, topic, 7)
    commit(wire, other, 5)
    recreate(wire, topic)
    own_broker.kill()
    own_broker.start()
    with Wire(own_broker.port) as again:
        wait_for_coordinator(again)
        assert fetch_by_name(again, topic) == -1
        assert fetch_by_name(again, other) == 5
