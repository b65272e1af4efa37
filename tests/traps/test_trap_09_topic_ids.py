"""Trap 9: where requests carry topic ids, the id is the topic. A topic made anew under the same name is another one: who still
asks with the old id is told so, and an old producer cannot write into it."""

from __future__ import annotations

import pytest

from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.topics import batch, create_topic, delete_topic, fetch, fetch_request, produce, topic_id_of
from tests.support.wire import Wire
from tests.traps.member import find_coordinator, new_name


def recreate(wire: Wire, topic: str) -> bytes:
    """The id it had."""
    old_id = topic_id_of(wire, topic)
    delete_topic(wire, topic)
    r = m.CreateTopicsRequest
    again = r.CreatableTopic(name=topic, num_partitions=1, replication_factor=1)
    assert wire.call(ApiKey.CREATE_TOPICS, 5, r(timeout=10_000, topics=[again])).topics[0].error_code == 0
    return old_id


@pytest.fixture
def topic(wire: Wire) -> str:
    name = create_topic(wire)
    produce(wire, name, batch(b"first life"))
    return name


def test_an_unknown_id_is_an_unknown_id_and_not_an_unknown_topic(wire: Wire) -> None:
    nobody = b"\x07" * 16
    assert produce(wire, nobody, batch(b"x"), version=13).error_code == ErrorCode.UNKNOWN_TOPIC_ID
    assert fetch(wire, nobody, version=13).error_code == ErrorCode.UNKNOWN_TOPIC_ID
    r = m.MetadataRequest
    request = r(topics=[r.MetadataRequestTopic(name=None, topic_id=nobody)])
    assert wire.call(ApiKey.METADATA, 12, request).topics[0].error_code == ErrorCode.UNKNOWN_TOPIC_ID
    d = m.DeleteTopicsRequest
    request = d(topics=[d.DeleteTopicState(name=None, topic_id=nobody)], timeout=1_000)
    assert wire.call(ApiKey.DELETE_TOPICS, 6, request).responses[0].error_code == ErrorCode.UNKNOWN_TOPIC_ID


def test_an_unknown_id_is_told_to_those_who_commit_and_fetch_offsets(wire: Wire) -> None:
    nobody, group_id = b"\x07" * 16, new_name("ids")
    find_coordinator(wire, group_id)
    c = m.OffsetCommitRequest
    entry = c.OffsetCommitRequestPartition(partition_index=0, committed_offset=1, committed_metadata=None)
    commit = c(group_id=group_id, topics=[c.OffsetCommitRequestTopic(topic_id=nobody, partitions=[entry])])
    (committed,) = wire.call(ApiKey.OFFSET_COMMIT, 10, commit).topics
    r = m.OffsetFetchRequest
    topics = [r.OffsetFetchRequestTopics(topic_id=nobody, partition_indexes=[0])]
    asked = r(groups=[r.OffsetFetchRequestGroup(group_id=group_id, topics=topics)])
    (group,) = wire.call(ApiKey.OFFSET_FETCH, 10, asked).groups
    (fetched,) = group.topics
    assert (group.error_code, committed.topic_id, fetched.topic_id) == (0, nobody, nobody)
    for (answer,) in (committed.partitions, fetched.partitions):
        assert answer.error_code == ErrorCode.UNKNOWN_TOPIC_ID


def test_a_session_is_told_that_its_topic_is_another_one_now(wire: Wire, topic: str) -> None:
    opened = wire.call(ApiKey.FETCH, 13, fetch_request(topic_id_of(wire, topic), session_epoch=0))
    old_id = recreate(wire, topic)
    r = m.FetchRequest
    request = r(max_wait=0, min_bytes=1, max_bytes=1 << 20, session_id=opened.session_id, session_epoch=1, topics=[])
    (told,) = wire.call(ApiKey.FETCH, 13, request).responses
    assert (told.topic_id, told.partitions[0].error_code) == (old_id, ErrorCode.INCONSISTENT_TOPIC_ID)


def test_a_topic_made_anew_has_another_id_and_is_empty(wire: Wire, topic: str) -> None:
    old_id = recreate(wire, topic)
    new_id = topic_id_of(wire, topic)
    assert new_id not in (old_id, bytes(16))
    assert fetch(wire, new_id, version=13).high_watermark == 0


def test_an_old_producer_cannot_write_into_it_nor_an_old_consumer_read_from_it(wire: Wire, topic: str) -> None:
    old_id = recreate(wire, topic)
    assert produce(wire, old_id, batch(b"late"), version=13).error_code == ErrorCode.UNKNOWN_TOPIC_ID
    assert fetch(wire, old_id, version=13).error_code == ErrorCode.UNKNOWN_TOPIC_ID
    assert fetch(wire, topic, version=12).high_watermark == 0


def test_a_topic_is_found_and_deleted_by_its_id(wire: Wire, topic: str) -> None:
    topic_id = topic_id_of(wire, topic)
    r = m.MetadataRequest
    (found,) = wire.call(ApiKey.METADATA, 12, r(topics=[r.MetadataRequestTopic(name=None, topic_id=topic_id)])).topics
    assert (found.error_code, found.name) == (0, topic)
    d = m.DeleteTopicsRequest
    request = d(topics=[d.DeleteTopicState(name=None, topic_id=topic_id)], timeout=10_000)
    (deleted,) = wire.call(ApiKey.DELETE_TOPICS, 6, request).responses
    assert (deleted.error_code, deleted.name, deleted.topic_id) == (0, topic, topic_id)
