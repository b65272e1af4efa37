"""A session tells what full fetches would tell: whatever happens to partitions in between, nothing is kept back.

The naive twin is a full fetch without a session at the same positions, made right before each incremental one.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import KafkaError
from broker.handlers import fetch as handler
from broker.handlers.context import ConnectionInfo, Request
from broker.partition.fetch_session_cache import FetchSessionCache
from broker.protocol import codec
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.header import skip_response_header
from broker.protocol.records import iter_records
from broker.quotas.driver import Quotas
from tests.partition.stage import Stage, image_of, partition_image, topic_image

PARTITIONS = 4
TOPIC = "orders"

indexes = st.integers(0, PARTITIONS - 1)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), indexes, st.integers(1, 3)),
        st.tuples(st.just("delete_records"), indexes, st.integers(0, 4)),
        st.tuples(st.just("seek"), indexes, st.integers(-1, 8)),
        st.tuples(st.just("add"), indexes, st.integers(0, 3)),
        st.tuples(st.just("forget"), indexes),
        st.tuples(st.just("new_leader_epoch"), indexes),
        st.tuples(st.just("lose_leadership"), indexes),
        st.tuples(st.just("recreate")),
        st.tuples(st.just("delete")),
        *[st.tuples(st.just("poll"), st.sampled_from((1, 50 << 20)))] * 4,
    ),
    min_size=3,
    max_size=30,
)


class Reader:
    """A client in the manner of Java's: positions, and what it believes of each partition."""

    def __init__(self, stage: Stage, version: int) -> None:
        self.stage = stage
        self.version = version
        self.services: Any = SimpleNamespace(
            partitions=stage.manager,
            config=stage.config,
            clock=stage.clock,
            cluster=stage,
            quotas=Quotas(stage.clock),
            fetch_sessions=FetchSessionCache(slots=10, new_id=iter(range(5, 500)).__next__),
        )
        self.positions: dict[int, int] = {}
        self.sent: dict[int, int] = {}
        self.believed: dict[int, tuple[int, int, int]] = {}
        self.session_id = 0
        self.epoch = 0
        self.topic_id = b"\x01" * 16

    def ask(self, positions: dict[int, int], forgotten: set[int], session: tuple[int, int], max_bytes: int) -> Any:
        r = m.FetchRequest
        name = {"topic_id": self.topic_id} if self.version >= 13 else {"topic": TOPIC}
        entries = [
            r.FetchPartition(partition=index, fetch_offset=offset, partition_max_bytes=1 << 20)
            for index, offset in positions.items()
        ]
        message = r(
            max_wait=0,
            min_bytes=1,
            max_bytes=max_bytes,
            session_id=session[0],
            session_epoch=session[1],
            topics=[r.FetchTopic(**name, partitions=entries)] if entries else [],
            forgotten_topics_data=[r.ForgottenTopic(**name, partitions=sorted(forgotten))] if forgotten else [],
        )
        body = memoryview(codec.encode_request(ApiKey.FETCH, self.version, message))
        request = Request(ApiKey.FETCH, self.version, 1, None, body, ConnectionInfo(1, "h", 1, "client"))
        frame = b"".join(handler.handle_raw(request, self.services))[4:]
        _, at = skip_response_header(ApiKey.FETCH, self.version, frame)
        return codec.decode_response(ApiKey.FETCH, self.version, frame[at:])

    def full(self, max_bytes: int = 50 << 20) -> dict[int, Any]:
        answer = self.ask(self.positions, set(), (0, -1), max_bytes)
        return {part.partition_index: part for topic in answer.responses for part in topic.partitions}

    def poll(self, max_bytes: int) -> dict[int, Any]:
        """One request of the session; a new session where the broker knows it no more."""
        changed = {index: at for index, at in self.positions.items() if self.sent.get(index) != at}
        forgotten = self.sent.keys() - self.positions.keys()
        if self.epoch == 0:
            changed = dict(self.positions)
        answer = self.ask(changed, set(forgotten), (self.session_id, self.epoch), max_bytes)
        assert answer.error_code == 0
        self.sent = dict(self.positions)
        self.session_id = answer.session_id
        self.epoch = self.epoch + 1 if answer.session_id else 0
        if not self.positions:
            self.believed.clear()
        told = {part.partition_index: part for topic in answer.responses for part in topic.partitions}
        for index, part in told.items():
            self.believed[index] = (part.error_code, part.high_watermark, part.log_start_offset)
            for record in iter_records(part.records or b""):
                self.positions[index] = max(self.positions[index], record.offset + 1)
        return told


def change(stage: Stage, reader: Reader, step: tuple[Any, ...], life: list[int]) -> None:
    match step:
        case ("append", index, count):
            stage.append(*[b"v"] * count, topic=TOPIC, index=index)
        case ("delete_records", index, offset):
            partition = stage.partition(TOPIC, index)
            partition.log.advance_log_start(min(offset, partition.high_watermark))
            partition.wake_fetch_waiters()
        case ("seek", index, offset):
            if index in reader.positions:
                reader.positions[index] = offset
        case ("add", index, offset):
            reader.positions.setdefault(index, offset)
        case ("forget", index):
            reader.positions.pop(index, None)
            reader.believed.pop(index, None)
        case ("new_leader_epoch", index) | ("lose_leadership", index):
            topic = stage.image.topics_by_name[TOPIC]
            before = topic.partitions[index]
            leader = 2 if step[0] == "lose_leadership" else 1
            after = partition_image(
                leader=leader, epoch=before.leader_epoch + 1, replicas=(1, 2), isr=(leader,), version=life[0]
            )
            partitions = (*topic.partitions[:index], after, *topic.partitions[index + 1 :])
            stage.show(image_of(replace(topic, partitions=partitions)))
        case ("recreate",):
            stage.show(image_of())
            stage.show(image_of(new_topic(life[0] % 200 + 2)))
        case ("delete",):
            stage.show(image_of())


def new_topic(number: int) -> Any:
    return topic_image(TOPIC, *[partition_image()] * PARTITIONS, number=number)


def check(full: dict[int, Any], told: dict[int, Any], reader: Reader) -> None:
    for index, expected in full.items():
        if expected.error_code:
            # A session that knew the topic says of its id what happened to it.
            assert told[index].error_code == expected.error_code or expected.error_code == 100
            assert told[index].error_code != 0
        elif expected.records:
            assert bytes(told[index].records or b"") == bytes(expected.records)
        assert expected.error_code or reader.believed[index] == (
            0,
            expected.high_watermark,
            expected.log_start_offset,
        )


@pytest.mark.parametrize("version", [7, 12, 13, 17])
@settings(max_examples=40)
@given(steps=steps)
def test_a_session_keeps_nothing_back(version: int, steps: list[tuple[Any, ...]]) -> None:
    async def scenario() -> None:
        stage = Stage(OTTLA_ACK_DURABILITY="os")
        stage.show(image_of(new_topic(1)))
        reader = Reader(stage, version)
        reader.positions = {0: 0, 1: 0}
        try:
            for number, step in enumerate(steps, start=1):
                if step[0] == "poll" and step[1] > 1:
                    full = reader.full()
                    check(full, reader.poll(step[1]), reader)
                elif step[0] == "poll":
                    reader.poll(step[1])
                else:
                    try:
                        change(stage, reader, step, [number])
                    except (KafkaError, KeyError):
                        continue  # the topic is deleted, or the partition is led elsewhere
            full = reader.full()
            check(full, reader.poll(50 << 20), reader)
        finally:
            await stage.close()

    asyncio.run(scenario())


def test_every_partition_gets_its_turn_however_little_fits_an_answer() -> None:
    async def scenario() -> None:
        stage = Stage(OTTLA_ACK_DURABILITY="os")
        stage.show(image_of(new_topic(1)))
        try:
            reader = Reader(stage, 12)
            reader.positions = dict.fromkeys(range(PARTITIONS), 0)
            for _ in range(3):
                for index in range(PARTITIONS):
                    stage.append(b"x" * 100, topic=TOPIC, index=index)
            turns = [[index for index, part in reader.poll(1).items() if part.records] for _ in range(2 * PARTITIONS)]
            assert turns == [[0], [1], [2], [3]] * 2
        finally:
            await stage.close()

    asyncio.run(scenario())
