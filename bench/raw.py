"""Load from a raw pipelined socket client, so that the broker is what is measured and not a client library.

One blocking connection, requests prepared once and patched with a correlation id, a window of requests in
flight. Nothing is decoded but the error code.
"""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

from broker.protocol import codec, header, messages
from broker.protocol.api import ApiKey
from broker.protocol.records import Record, build_batch
from broker.types import ZERO_TOPIC_ID

_LENGTH = struct.Struct(">i")
_CORRELATION_AT = 8
_PRODUCE_VERSION = 9
_FETCH_VERSION = 12
_CREATE_VERSION = 5
FETCH_BYTES = 1 << 20
_BATCH_OVERHEAD = 61
_RECORD_OVERHEAD = 10
"""Length, attributes, deltas and header count of a record without key: at most this many bytes below 64 KB."""
_ERROR_CODE = struct.Struct(">h")


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    records: int
    megabytes: float
    seconds: float
    requests: int

    @property
    def mb_per_second(self) -> float:
        return self.megabytes / self.seconds

    @property
    def records_per_second(self) -> float:
        return self.records / self.seconds

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.seconds


def frame(api_key: ApiKey, version: int, body: bytes) -> bytearray:
    """A request frame with its length; the correlation id (at byte 8) is patched per send."""
    head = header.request_header(api_key, version, 0, "ottla-bench")
    return bytearray(_LENGTH.pack(len(head) + len(body)) + head + body)


class RawConnection:
    """A blocking socket that sends prepared frames and receives whole responses into one reused buffer."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(1 << 20)
        self._correlation_id = 0

    def close(self) -> None:
        self._socket.close()

    def send(self, request: bytearray) -> None:
        self._correlation_id = (self._correlation_id + 1) & 0x7FFFFFFF
        _LENGTH.pack_into(request, _CORRELATION_AT, self._correlation_id)
        self._socket.sendall(request)

    def receive(self) -> memoryview:
        """The next response without its length prefix; valid until the next call."""
        self._receive_exactly(4)
        size = _LENGTH.unpack_from(self._buffer, 0)[0]
        if size > len(self._buffer):
            self._buffer = bytearray(size)
        self._receive_exactly(size)
        return memoryview(self._buffer)[:size]

    def call(self, api_key: ApiKey, version: int, request: Any) -> Any:
        """One request message, its response message."""
        self.send(frame(api_key, version, codec.encode_request(api_key, version, request)))
        answer = self.receive()
        at = header.skip_response_header(api_key, version, answer)[1]
        return codec.decode_response(api_key, version, bytes(answer[at:]))

    def _receive_exactly(self, size: int) -> None:
        view, at = memoryview(self._buffer), 0
        while at < size:
            count = self._socket.recv_into(view[at:size])
            if not count:
                raise ConnectionError("the broker closed the connection")
            at += count


def create_topic(port: int, name: str, partitions: int = 1, replicas: int = 1) -> None:
    """Create a topic and wait for the answer. Raises ``RuntimeError`` with the broker's error code."""
    topic = messages.CreateTopicsRequest.CreatableTopic(
        name=name, num_partitions=partitions, replication_factor=replicas, assignments=[], configs=[]
    )
    request = messages.CreateTopicsRequest(topics=[topic], timeout=30_000, validate_only=False)
    connection = RawConnection(port)
    try:
        response = connection.call(ApiKey.CREATE_TOPICS, _CREATE_VERSION, request)
    finally:
        connection.close()
    if response.topics[0].error_code:
        raise RuntimeError(f"create {name}: error {response.topics[0].error_code}")


def delete_topics(port: int, *, prefix: str) -> None:
    """Delete every topic whose name begins so."""
    connection = RawConnection(port)
    try:
        metadata = connection.call(ApiKey.METADATA, 4, messages.MetadataRequest(topics=None))
        names = [topic.name for topic in metadata.topics if topic.name.startswith(prefix)]
        request = messages.DeleteTopicsRequest(topic_names=names, timeout=30_000)
        connection.call(ApiKey.DELETE_TOPICS, 3, request)
    finally:
        connection.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One batch of equal records and the request that carries it."""

    request: bytearray
    records: int
    payload_bytes: int
    batch_bytes: int


def prepare(topic: str, record_bytes: int, batch_bytes: int, acks: int) -> Load:
    value = bytes(range(256)) * (record_bytes // 256 + 1)
    count = max(1, (batch_bytes - _BATCH_OVERHEAD) // (record_bytes + _RECORD_OVERHEAD))
    now_ms = time.time_ns() // 1_000_000
    batch = build_batch([Record(timestamp=now_ms, value=value[:record_bytes])] * count)
    produce = messages.ProduceRequest
    partition = produce.PartitionProduceData(index=0, records=batch)
    request = produce(
        transactional_id=None,
        acks=acks,
        timeout=30_000,
        topic_data=[produce.TopicProduceData(name=topic, partition_data=[partition])],
    )
    body = codec.encode_request(ApiKey.PRODUCE, _PRODUCE_VERSION, request)
    return Load(
        request=frame(ApiKey.PRODUCE, _PRODUCE_VERSION, body),
        records=count,
        payload_bytes=count * record_bytes,
        batch_bytes=len(batch),
    )


def produce(port: int, topic: str, load: Load, *, requests: int) -> Throughput:
    """Pipelined produce to partition 0 with at most 8 MiB or 64 requests in flight. Raises on an error code."""
    window = max(2, min(64, (8 << 20) // len(load.request)))
    connection = RawConnection(port)
    # Header v1, one topic, one partition: the error code stands at a fixed place.
    error_at = 4 + 1 + 1 + 1 + len(topic.encode()) + 1 + 4

    def receive() -> None:
        (code,) = _ERROR_CODE.unpack_from(connection.receive(), error_at)
        if code:
            raise RuntimeError(f"produce to {topic}: error {code}")

    try:
        began = time.monotonic()
        for sent in range(requests):
            if sent >= window:
                receive()
            connection.send(load.request)
        for _ in range(min(window, requests)):
            receive()
        seconds = time.monotonic() - began
    finally:
        connection.close()
    return Throughput(
        records=requests * load.records,
        megabytes=requests * load.payload_bytes / 1e6,
        seconds=seconds,
        requests=requests,
    )


def fetch_frame(topic: str, offset: int, max_bytes: int) -> bytearray:
    fetch = messages.FetchRequest
    partition = fetch.FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=max_bytes)
    request = fetch(
        replica_id=-1,
        max_wait=1_000,
        min_bytes=1,
        max_bytes=max_bytes,
        session_epoch=-1,
        topics=[fetch.FetchTopic(topic=topic, topic_id=ZERO_TOPIC_ID, partitions=[partition])],
    )
    return frame(ApiKey.FETCH, _FETCH_VERSION, codec.encode_request(ApiKey.FETCH, _FETCH_VERSION, request))


def fetch(port: int, topic: str, load: Load, *, batches: int) -> Throughput:
    """Fetch what ``produce`` wrote, 1 MiB at a time. All batches are equal, so the next offset is known beforehand and
    one request is always under way while an answer is received."""
    per_fetch = max(1, FETCH_BYTES // load.batch_bytes)
    offsets = range(0, batches * load.records, per_fetch * load.records)
    connection = RawConnection(port)
    received = 0
    try:
        began = time.monotonic()
        connection.send(fetch_frame(topic, offsets[0], FETCH_BYTES))
        for offset in offsets[1:]:
            connection.send(fetch_frame(topic, offset, FETCH_BYTES))
            received += len(connection.receive())
        received += len(connection.receive())
        seconds = time.monotonic() - began
    finally:
        connection.close()
    if received < batches * load.batch_bytes:
        raise RuntimeError(f"fetch of {topic}: {received} of {batches * load.batch_bytes} bytes")
    return Throughput(records=batches * load.records, megabytes=received / 1e6, seconds=seconds, requests=len(offsets))


def tiny_requests(port: int, *, count: int) -> Throughput:
    """ApiVersions v3 pipelined 32 deep: the fixed cost of a request."""
    request = frame(
        ApiKey.API_VERSIONS,
        3,
        codec.encode_request(
            ApiKey.API_VERSIONS,
            3,
            messages.ApiVersionsRequest(client_software_name="bench", client_software_version="1"),
        ),
    )
    connection = RawConnection(port)
    try:
        began = time.monotonic()
        for sent in range(count):
            if sent >= 32:
                connection.receive()
            connection.send(request)
        for _ in range(min(32, count)):
            connection.receive()
        seconds = time.monotonic() - began
    finally:
        connection.close()
    return Throughput(records=0, megabytes=0.0, seconds=seconds, requests=count)
