"""A follower with real logs, and a leader with real logs behind a connection that exists only in memory.

``FakeLeader`` answers as the Fetch handler does for replicas: incremental sessions, a long poll that an append or the next
request ends, diverging epochs, the log end as limit. What a follower may be told wrongly is scripted on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from broker.clock import SystemClock
from broker.cluster.image import BrokerImage, ClusterImage, ImageDelta
from broker.config.topic import TopicConfig
from broker.errors import ErrorCode, KafkaError
from broker.partition.driver import Partition
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.fetch import (
    FetchPartition,
    FetchPartitionResult,
    FetchRequest,
    decode_fetch,
    encode_fetch_response,
)
from broker.protocol.header import parse_request_header
from broker.replication.driver import Replication
from broker.replication.ports import FrameReceiver, SourceUnreachable
from broker.storage.log import Log
from broker.storage.memory_filesystem import MemoryFileSystem
from broker.types import TopicPartition
from tests.partition.stage import NODE, Stage, image_of, partition_image, topic_image
from tests.storage.support import open_log_dir
from tests.support.topics import batch
from tests.support.wait import eventually

LEADER = 2
EPOCH = 5
NOW_MS = 1_700_000_000_000
Key = tuple[bytes, int]


class FakeLeader:
    def __init__(self, broker_id: int = LEADER) -> None:
        self.id = broker_id
        self.logs: dict[Key, Log] = {}
        self.names: dict[Key, TopicPartition] = {}
        self.high_watermarks: dict[Key, int] = {}
        self.epoch = EPOCH
        self.requests: list[FetchRequest] = []
        self.connections: list[FakeConnection] = []
        self.reachable = True
        self.refusal: Callable[[Key], ErrorCode] = lambda key: ErrorCode.NONE
        self.request_error = ErrorCode.NONE
        self.keeps_sessions = True
        self._log_dir = open_log_dir(MemoryFileSystem(), known={})

    def add(self, partition: Partition) -> Log:
        key = partition.topic_id, partition.topic_partition.partition
        log = self._log_dir.create_log(partition.topic_partition, partition.topic_id, TopicConfig())
        log.begin_epoch(self.epoch)
        self.logs[key] = log
        self.names[key] = partition.topic_partition
        return log

    def append(self, log: Log, *values: bytes, epoch: int | None = None, committed: bool = True) -> None:
        records = memoryview(bytearray(batch(*values, timestamp=NOW_MS)))
        log.append_as_leader(records, leader_epoch=self.epoch if epoch is None else epoch, now_ms=NOW_MS)
        if committed:
            self.commit(log)
        self.wake()

    def commit(self, log: Log) -> None:
        key = next(key for key, known in self.logs.items() if known is log)
        self.high_watermarks[key] = log.log_end_offset

    def wake(self) -> None:
        for connection in self.connections:
            connection.look()

    def lose_connections(self) -> None:
        for connection in tuple(self.connections):
            connection.lose("reset")

    async def connect(
        self, host: str, port: int, receiver: FrameReceiver, *, receive_buffer_bytes: int
    ) -> FakeConnection:
        await asyncio.sleep(0)
        if not self.reachable:
            raise SourceUnreachable("nobody listens")
        connection = FakeConnection(self, receiver)
        self.connections.append(connection)
        return connection

    def result(self, key: Key, entry: FetchPartition) -> FetchPartitionResult:
        log, error = self.logs.get(key), self.refusal(key)
        if log is None:
            error = ErrorCode.UNKNOWN_TOPIC_ID
        if error:
            return FetchPartitionResult(entry.partition, int(error), -1, -1, -1, None, ())
        assert log is not None
        diverging, records = None, []
        if entry.last_fetched_epoch >= 0:
            epoch, end = log.end_offset_for_epoch(entry.last_fetched_epoch)
            if epoch < entry.last_fetched_epoch or end < entry.fetch_offset:
                diverging = epoch, end
        if diverging is None:
            try:
                records = log.read(
                    entry.fetch_offset, entry.max_bytes, upto_offset=log.log_end_offset, empty_alone=True
                )
            except KafkaError as refused:
                return FetchPartitionResult(entry.partition, int(refused.code), -1, -1, -1, None, ())
        return FetchPartitionResult(
            entry.partition,
            0,
            self.high_watermarks.get(key, 0),
            -1,
            log.log_start_offset,
            None,
            records,
            diverging_epoch=diverging,
        )


class FakeConnection:
    """One session; answers arrive in a later turn of the loop, as they do from a socket."""

    def __init__(self, leader: FakeLeader, receiver: FrameReceiver) -> None:
        self.leader = leader
        self.receiver = receiver
        self.session: dict[Key, FetchPartition] = {}
        self.told: dict[Key, tuple[int, int]] = {}
        self.parked: tuple[int, int, int] | None = None
        """(version, correlation id, epoch) of the request that waits."""
        self.trimmed = 0
        self.lost = False

    def send(self, frame: bytes) -> None:
        _, version, correlation_id, _, at = parse_request_header(memoryview(frame)[4:])
        fetch = decode_fetch(version, memoryview(frame)[4 + at :])
        self.leader.requests.append(fetch)
        self.look(hurry=True)
        if self.leader.request_error:
            error, self.leader.request_error = self.leader.request_error, ErrorCode.NONE
            self._answer(encode_fetch_response(version, correlation_id, 0, int(error), 0, ()))
            return
        if fetch.session_epoch == 0:
            self.session.clear()
            self.told.clear()
        for _, topic_id, entries in fetch.topics:
            for entry in entries:
                assert topic_id is not None
                self.session[topic_id, entry.partition] = entry
                self.told.pop((topic_id, entry.partition), None) if fetch.session_epoch == 0 else None
        for _, topic_id, indexes in fetch.forgotten:
            for index in indexes:
                assert topic_id is not None
                del self.session[topic_id, index]
        self.parked = version, correlation_id, fetch.session_epoch
        self.look()

    def look(self, *, hurry: bool = False) -> None:
        if self.parked is None:
            return
        version, correlation_id, epoch = self.parked
        topics: dict[bytes, list[FetchPartitionResult]] = {}
        for key, entry in self.session.items():
            result = self.leader.result(key, entry)
            marks = result.high_watermark, result.log_start_offset
            if result.records or result.error_code or result.diverging_epoch or self.told.get(key) != marks:
                self.told[key] = marks
                topics.setdefault(key[0], []).append(result)
        if topics or hurry or epoch == 0:
            self.parked = None
            session_id = 9 if self.leader.keeps_sessions else 0
            results = [(None, topic_id, found) for topic_id, found in topics.items()]
            self._answer(encode_fetch_response(version, correlation_id, 0, 0, session_id, results))

    def _answer(self, pieces: list) -> None:
        frame = bytearray(b"".join(bytes(piece) for piece in pieces))
        asyncio.get_running_loop().call_soon(self._deliver, frame)

    def _deliver(self, frame: bytearray) -> None:
        if not self.lost:
            self.receiver.on_frame(memoryview(frame)[4:])
            frame[:] = b"\xff" * len(frame)  # the memory is received into again

    def close(self, reason: str) -> None:
        self.lose(reason)

    def lose(self, reason: str) -> None:
        if not self.lost:
            self.lost = True
            self.leader.connections.remove(self)
            self.receiver.on_lost(reason)

    def trim(self) -> None:
        self.trimmed += 1


class FakePeers:
    """ListOffsets of the leader."""

    def __init__(self, leader: FakeLeader) -> None:
        self.leader = leader

    async def request(self, broker_id: int, api_key: int, api_version: int, message: object) -> object:
        assert (broker_id, api_key) == (self.leader.id, ApiKey.LIST_OFFSETS)
        topic = message.topics[0]  # type: ignore[attr-defined]
        entry = topic.partitions[0]
        key = next(k for k, name in self.leader.names.items() if name == (topic.name, entry.partition_index))
        log = self.leader.logs[key]
        r = m.ListOffsetsResponse
        found = r.ListOffsetsPartitionResponse(
            partition_index=entry.partition_index,
            offset=log.log_start_offset if entry.timestamp == -2 else log.log_end_offset,
        )
        return r(topics=[r.ListOffsetsTopicResponse(name=topic.name, partitions=[found])])


def broker_image(broker_id: int, *, port: int = 1, incarnation: str = "now", epoch: int = 11) -> BrokerImage:
    return BrokerImage(
        id=broker_id,
        host="h",
        port=port,
        internal_host="h",
        internal_port=port,
        rack=None,
        incarnation=incarnation,
        epoch=epoch,
    )


class Following:
    """Broker 1, which follows broker 2 in every partition of one topic."""

    def __init__(self, partitions: int = 1, **environment: str) -> None:
        self.stage = Stage(**environment)
        self.leader = FakeLeader()
        image = partition_image(leader=LEADER, epoch=EPOCH, replicas=(LEADER, NODE))
        shown = image_of(topic_image("orders", *[image] * partitions))
        self.image = replace(shown, brokers={NODE: broker_image(NODE), LEADER: broker_image(LEADER)})
        self.stage.show(self.image)
        self.replication = Replication(
            node_id=NODE,
            cluster=self,
            config=lambda: self.stage.config,
            clock=SystemClock(),
            loop=asyncio.get_running_loop(),
            connect=self.leader.connect,
            peers=FakePeers(self.leader),
            partitions=self.stage.manager,
        )
        self.partitions: list[Partition] = []
        self.leader_logs: list[Log] = []
        for index in range(partitions):
            partition = self.stage.manager.find("orders", index)
            assert partition is not None
            self.partitions.append(partition)
            self.leader_logs.append(self.leader.add(partition))

    def follow(self, *indexes: int, epoch: int = EPOCH) -> None:
        for index in indexes or range(len(self.partitions)):
            self.replication.on_follow(self.partitions[index], LEADER, epoch)

    def show(self, image: ClusterImage) -> None:
        delta = ImageDelta(old=self.image, new=image)
        self.image = image
        self.replication.apply(delta)

    async def caught_up(self, *indexes: int, seconds: float = 20.0) -> None:
        for index in indexes or range(len(self.partitions)):
            own, leader = self.partitions[index].log, self.leader_logs[index]
            await eventually(
                lambda own=own, leader=leader: own.log_end_offset == leader.log_end_offset, seconds=seconds
            )

    async def close(self) -> None:
        await self.replication.stop()
        await self.stage.close()


def contents(log: Log) -> bytes:
    """Every byte of the log from its start."""
    found = bytearray()
    offset = log.log_start_offset
    while offset < log.log_end_offset:
        pieces = log.read(offset, 1 << 20, upto_offset=log.log_end_offset, empty_alone=True)
        piece = b"".join(bytes(piece) for piece in pieces)
        found += piece
        offset = _end_of(piece)
    return bytes(found)


def _end_of(piece: bytes) -> int:
    from broker.protocol.batch import scan_batches

    return list(scan_batches(piece))[-1][1].next_offset
