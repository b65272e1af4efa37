"""Fetch sessions (KIP-227) against a running broker, by plain frames."""

from __future__ import annotations

import time
from typing import Any

import pytest

from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.records import iter_records
from tests.support.broker_process import BrokerProcess
from tests.support.topics import batch, create_topic, delete_topic, produce, topic_id_of
from tests.support.wire import Wire

PARTITIONS = 3


@pytest.fixture
def topic(wire: Wire) -> str:
    name = create_topic(wire, partitions=PARTITIONS)
    for index in range(PARTITIONS):
        produce(wire, name, batch(b"first"), partition=index)
    return name


class Session:
    """A client's side of one session: it counts the epoch and sends what it is told to."""

    def __init__(self, wire: Wire, topic: str | bytes, *, version: int = 12) -> None:
        self.wire, self.topic, self.version = wire, topic, version
        self.id, self.epoch = 0, 0

    def request(
        self, positions: dict[int, int] | None = None, *, forget: tuple[int, ...] = (), max_wait: int = 0, **fields: Any
    ) -> Any:
        r = m.FetchRequest
        name = {"topic_id": self.topic} if isinstance(self.topic, bytes) else {"topic": self.topic}
        entries = [
            r.FetchPartition(partition=index, fetch_offset=offset, partition_max_bytes=1 << 20)
            for index, offset in (positions or {}).items()
        ]
        fields = {"min_bytes": 1, "max_bytes": 50 << 20, "session_id": self.id, "session_epoch": self.epoch} | fields
        return r(
            topics=[r.FetchTopic(**name, partitions=entries)] if entries else [],
            forgotten_topics_data=[r.ForgottenTopic(**name, partitions=list(forget))] if forget else [],
            max_wait=max_wait,
            **fields,
        )

    def poll(self, positions: dict[int, int] | None = None, **fields: Any) -> Any:
        self.wire.request(ApiKey.FETCH, self.version, self.request(positions, **fields))
        return self.answer()

    def answer(self) -> Any:
        _, answer = self.wire.answer(ApiKey.FETCH, self.version)
        if answer.error_code == 0:
            self.id, self.epoch = answer.session_id, self.epoch + 1
        return answer


def told(answer: Any) -> dict[int, list[int]]:
    """Partition → offsets of the records it was answered with."""
    assert answer.error_code == 0
    return {
        part.partition_index: [record.offset for record in iter_records(part.records or b"")]
        for topic in answer.responses
        for part in topic.partitions
    }


@pytest.fixture(params=[7, 11, 12, 13, 18])
def session(request: pytest.FixtureRequest, wire: Wire, topic: str) -> Session:
    """At the end of every partition; everything has been told."""
    version: int = request.param
    session = Session(wire, topic_id_of(wire, topic) if version >= 13 else topic, version=version)
    assert told(session.poll(dict.fromkeys(range(PARTITIONS), 0))) == {0: [0], 1: [0], 2: [0]}
    assert session.id > 0
    assert told(session.poll(dict.fromkeys(range(PARTITIONS), 1))) == {}
    return session


def test_only_a_partition_with_news_is_answered(session: Session, topic: str) -> None:
    produce(session.wire, topic, batch(b"second"), partition=1)
    assert told(session.poll()) == {1: [1]}
    assert told(session.poll({1: 2})) == {}


def test_a_position_that_is_not_sent_again_is_the_one_sent_last(session: Session, topic: str) -> None:
    produce(session.wire, topic, batch(b"second"), partition=1)
    assert told(session.poll()) == {1: [1]}
    assert told(session.poll()) == {1: [1]}


def test_a_seek_back_reads_again(session: Session) -> None:
    assert told(session.poll({2: 0})) == {2: [0]}


def test_a_moved_log_start_is_told_without_records(session: Session, topic: str) -> None:
    r = m.DeleteRecordsRequest
    entry = r.DeleteRecordsTopic(name=topic, partitions=[r.DeleteRecordsPartition(partition_index=0, offset=1)])
    session.wire.call(ApiKey.DELETE_RECORDS, 1, r(topics=[entry], timeout=10_000))
    answer = session.poll()
    assert told(answer) == {0: []}
    assert answer.responses[0].partitions[0].log_start_offset == 1
    assert told(session.poll()) == {}


def test_a_forgotten_partition_is_not_answered_and_one_added_is(session: Session, topic: str) -> None:
    assert told(session.poll(forget=(0, 1))) == {}
    for index in range(PARTITIONS):
        produce(session.wire, topic, batch(b"second"), partition=index)
    assert told(session.poll()) == {2: [1]}
    assert told(session.poll({0: 0, 2: 2})) == {0: [0, 1]}


def test_a_session_without_partitions_ends(session: Session) -> None:
    answer = session.poll(forget=(0, 1, 2))
    assert (answer.error_code, answer.session_id, answer.responses) == (0, 0, [])


def test_an_error_is_told_at_every_poll_and_the_partition_again_when_it_is_over(session: Session) -> None:
    for _ in range(2):
        answer = session.poll({1: 99}, max_wait=20_000)
        parts = answer.responses[0].partitions
        assert [(part.partition_index, part.error_code) for part in parts] == [(1, ErrorCode.OFFSET_OUT_OF_RANGE)]
    assert told(session.poll({1: 1})) == {1: []}, "its high watermark is told anew"
    assert told(session.poll()) == {}


def test_a_poll_waits_for_the_first_news_of_any_partition(session: Session, topic: str, broker_process) -> None:
    began = time.monotonic()
    session.wire.request(ApiKey.FETCH, session.version, session.request(max_wait=20_000))
    with Wire(broker_process.port) as producer:
        produce(producer, topic, batch(b"second"), partition=2)
    assert told(session.answer()) == {2: [1]}
    assert time.monotonic() - began < 10


def test_a_poll_without_news_ends_empty_and_keeps_the_session(session: Session, topic: str) -> None:
    assert told(session.poll(max_wait=100)) == {}
    produce(session.wire, topic, batch(b"second"), partition=0)
    assert told(session.poll(max_wait=100)) == {0: [1]}


def test_a_poll_waits_for_min_bytes_over_all_its_partitions(session: Session, topic: str, broker_process) -> None:
    session.wire.request(ApiKey.FETCH, session.version, session.request(max_wait=20_000, min_bytes=700))
    with Wire(broker_process.port) as producer:
        for index in range(PARTITIONS):
            produce(producer, topic, batch(b"x" * 250), partition=index)
    assert told(session.answer()) == {0: [1], 1: [1], 2: [1]}


def test_a_wrong_epoch_and_an_unknown_session_are_refused_and_the_right_epoch_goes_on(session: Session) -> None:
    assert session.poll(session_epoch=session.epoch + 1).error_code == ErrorCode.INVALID_FETCH_SESSION_EPOCH
    assert session.poll(session_epoch=session.epoch - 1).error_code == ErrorCode.INVALID_FETCH_SESSION_EPOCH
    assert session.poll(session_id=session.id ^ 1).error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    assert told(session.poll()) == {}


@pytest.mark.parametrize("epoch", [0, -1])
def test_a_full_fetch_with_the_id_of_a_session_ends_that_one(session: Session, epoch: int) -> None:
    old_id = session.id
    answer = session.poll({0: 0}, session_epoch=epoch)
    assert told(answer) == {0: [0]}
    assert (answer.session_id != 0) == (epoch == 0)
    assert session.poll(session_id=old_id, session_epoch=3).error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_names_and_ids_are_not_mixed_in_a_session(session: Session, topic: str) -> None:
    session.version = 12 if session.version >= 13 else 13
    assert session.poll().error_code == ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR


def test_the_session_of_a_closed_connection_goes_on_over_another(session: Session, topic: str, broker_process) -> None:
    session.wire.request(ApiKey.FETCH, session.version, session.request(max_wait=20_000))
    session.epoch += 1
    with Wire(broker_process.port) as second:
        session.wire, first = second, session.wire
        assert told(session.poll()) == {}
        _, superseded = first.answer(ApiKey.FETCH, session.version)
        assert superseded.error_code == ErrorCode.INVALID_FETCH_SESSION_EPOCH
        produce(second, topic, batch(b"second"), partition=0)
        assert told(session.poll()) == {0: [1]}


def test_a_deleted_topic_ends_the_poll_with_an_error_and_a_new_one_of_its_name_is_another(
    session: Session, topic: str, broker_process
) -> None:
    session.wire.request(ApiKey.FETCH, session.version, session.request(max_wait=20_000))
    with Wire(broker_process.port) as other:
        delete_topic(other, topic)
        codes = {part.error_code for part in session.answer().responses[0].partitions}
        assert codes == {ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}
        r = m.CreateTopicsRequest
        again = r.CreatableTopic(name=topic, num_partitions=PARTITIONS, replication_factor=1)
        other.call(ApiKey.CREATE_TOPICS, 5, r(timeout=10_000, topics=[again]))
    codes = {part.error_code for topic in session.poll().responses for part in topic.partitions}
    by_id = session.version >= 13
    assert codes == {ErrorCode.INCONSISTENT_TOPIC_ID if by_id else ErrorCode.OFFSET_OUT_OF_RANGE}


def test_before_version_7_there_are_no_sessions(wire: Wire, topic: str) -> None:
    session = Session(wire, topic, version=6)
    assert told(session.poll({0: 0})) == {0: [0]}
    assert session.id == 0


def test_a_broker_out_of_slots_answers_without_a_session(tmp_path) -> None:
    slots = {"OTTLA_MAX_INCREMENTAL_FETCH_SESSION_CACHE_SLOTS": "1"}
    with BrokerProcess(tmp_path, OTTLA_ACK_DURABILITY="os", **slots) as broker, Wire(broker.port) as wire:
        topic = create_topic(wire)
        produce(wire, topic, batch(b"first"))
        first, second = Session(wire, topic), Session(wire, topic)
        assert told(first.poll({0: 0})) == told(second.poll({0: 0})) == {0: [0]}
        assert (first.id > 0, second.id) == (True, 0)
        first.poll({0: 0}, session_epoch=-1)
        second.epoch = 0
        assert told(second.poll({0: 0})) == {0: [0]}
        assert second.id > 0
