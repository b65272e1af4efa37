"""librdkafka at its own speed: the library inside confluent-kafka, called a batch at a time.

confluent-kafka's Python loop costs more per record than any broker does, so it would measure itself. Here the same shared
library is driven through ctypes with calls that handle thousands of records: producing hands over an array of messages,
consuming lets the library count them. Nothing per record happens in Python.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ctypes import POINTER, Structure, c_char_p, c_int, c_int32, c_int64, c_size_t, c_void_p
from functools import lru_cache
from pathlib import Path
from typing import Any

import confluent_kafka

from bench.raw import Throughput

BATCH_RECORDS = 10_000
FLUSH_MS_MAX = 300_000
SILENT_POLLS_MAX = 100
NEW_TOPIC_SECONDS_MAX = 10.0
PRODUCER, CONSUMER = 0, 1
_COPY = 2
_ANY_PARTITION = -1
_BEGINNING = -2
_NO_CONSUMER_CLOSE = 8
_QUEUE_FULL = -184


class Message(Structure):
    """``rd_kafka_message_t``."""

    _fields_ = [
        ("err", c_int),
        ("topic", c_void_p),
        ("partition", c_int32),
        ("payload", c_void_p),
        ("len", c_size_t),
        ("key", c_void_p),
        ("key_len", c_size_t),
        ("offset", c_int64),
        ("private", c_void_p),
    ]


class TopicPartition(Structure):
    """``rd_kafka_topic_partition_t``."""

    _fields_ = [
        ("topic", c_char_p),
        ("partition", c_int32),
        ("offset", c_int64),
        ("metadata", c_void_p),
        ("metadata_size", c_size_t),
        ("opaque", c_void_p),
        ("err", c_int),
        ("private", c_void_p),
    ]


class TopicPartitionList(Structure):
    """``rd_kafka_topic_partition_list_t``."""

    _fields_ = [("count", c_int), ("size", c_int), ("items", POINTER(TopicPartition))]


_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "conf_new": (c_void_p, []),
    "conf_set": (c_int, [c_void_p, c_char_p, c_char_p, c_char_p, c_size_t]),
    "new": (c_void_p, [c_int, c_void_p, c_char_p, c_size_t]),
    "destroy_flags": (None, [c_void_p, c_int]),
    "topic_new": (c_void_p, [c_void_p, c_char_p, c_void_p]),
    "topic_destroy": (None, [c_void_p]),
    "produce_batch": (c_int, [c_void_p, c_int32, c_int, POINTER(Message), c_int]),
    "poll": (c_int, [c_void_p, c_int]),
    "flush": (c_int, [c_void_p, c_int]),
    "poll_set_consumer": (c_int, [c_void_p]),
    "queue_get_consumer": (c_void_p, [c_void_p]),
    "queue_destroy": (None, [c_void_p]),
    "topic_partition_list_new": (POINTER(TopicPartitionList), [c_int]),
    "topic_partition_list_add": (POINTER(TopicPartition), [POINTER(TopicPartitionList), c_char_p, c_int32]),
    "topic_partition_list_destroy": (None, [POINTER(TopicPartitionList)]),
    "assign": (c_int, [c_void_p, POINTER(TopicPartitionList)]),
    "subscribe": (c_int, [c_void_p, POINTER(TopicPartitionList)]),
    "position": (c_int, [c_void_p, POINTER(TopicPartitionList)]),
    "consumer_close": (c_int, [c_void_p]),
    "consume_callback_queue": (c_int, [c_void_p, c_int, c_void_p, c_void_p]),
    "query_watermark_offsets": (
        c_int,
        [c_void_p, c_char_p, c_int32, POINTER(c_int64), POINTER(c_int64), c_int],
    ),
    "version_str": (c_char_p, []),
}

LOG_ERRORS = 3
"""Of syslog: the library's greetings would stand between the rows."""


@lru_cache(maxsize=1)
def library() -> Any:
    """The functions above, without their ``rd_kafka_`` prefix."""
    (path,) = (Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs").glob("librdkafka*.so*")
    loaded = ctypes.CDLL(str(path))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(loaded, f"rd_kafka_{name}")
        function.restype, function.argtypes = result, arguments
        setattr(loaded, name, function)
    return loaded


class Client:
    """One ``rd_kafka_t``. Raises ``RuntimeError`` with the library's words."""

    def __init__(self, kind: int, properties: dict[str, Any]) -> None:
        self._kind = kind
        error = ctypes.create_string_buffer(512)
        conf = library().conf_new()
        for name, value in {"log_level": LOG_ERRORS, **properties}.items():
            if library().conf_set(conf, name.encode(), str(value).encode(), error, len(error)):
                raise RuntimeError(error.value.decode())
        self.handle = library().new(kind, conf, error, len(error))
        if not self.handle:
            raise RuntimeError(error.value.decode())

    def close(self) -> None:
        library().destroy_flags(self.handle, _NO_CONSUMER_CLOSE if self._kind == CONSUMER else 0)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def written(self, topic: str, partitions: int) -> int:
        """Records in the first ``partitions`` partitions, as the broker tells them. Waits for a topic made just now."""
        total = 0
        low, high = c_int64(), c_int64()
        deadline = time.monotonic() + NEW_TOPIC_SECONDS_MAX
        for partition in range(partitions):
            while code := library().query_watermark_offsets(
                self.handle, topic.encode(), partition, ctypes.byref(low), ctypes.byref(high), 30_000
            ):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"watermarks of {topic}-{partition}: error {code}")
                time.sleep(0.05)
            total += high.value - low.value
        return total


def produce(
    bootstrap: str, topic: str, *, count: int, record_bytes: int, partitions: int = 1, **properties: Any
) -> Throughput:
    """``count`` records from an idle producer to the last acknowledgement. What arrived is counted by the broker."""
    settings = {
        "bootstrap.servers": bootstrap,
        "linger.ms": 5,
        "queue.buffering.max.messages": 2_000_000,
        "queue.buffering.max.kbytes": 1_000_000,
        "message.timeout.ms": FLUSH_MS_MAX,
    }
    payload = ctypes.create_string_buffer(bytes(97 + index % 26 for index in range(record_bytes)), record_bytes)
    messages = (Message * BATCH_RECORDS)()
    for message in messages:
        message.payload, message.len = ctypes.addressof(payload), record_bytes
    rd = library()
    with Client(PRODUCER, settings | {name.replace("_", "."): value for name, value in properties.items()}) as client:
        before = client.written(topic, partitions)
        handle = rd.topic_new(client.handle, topic.encode(), None)
        began = time.monotonic()
        left = count
        while left:
            accepted = rd.produce_batch(
                handle, 0 if partitions == 1 else _ANY_PARTITION, _COPY, messages, min(left, BATCH_RECORDS)
            )
            if not accepted and messages[0].err != _QUEUE_FULL:
                raise RuntimeError(f"librdkafka refuses a record of {record_bytes} bytes: error {messages[0].err}")
            left -= accepted
            rd.poll(client.handle, 0 if accepted else 5)
        unsent = rd.flush(client.handle, FLUSH_MS_MAX)
        seconds = time.monotonic() - began
        written = client.written(topic, partitions) - before
        rd.topic_destroy(handle)
    if unsent or written != count:
        raise RuntimeError(f"{written} of {count} records arrived at {topic}")
    return Throughput(records=count, megabytes=count * record_bytes / 1e6, seconds=seconds, requests=0)


def consume(bootstrap: str, topic: str, *, count: int, record_bytes: int, partitions: int = 1) -> Throughput:
    """Read ``count`` records from the beginning by assignment."""
    return _consume(bootstrap, topic, count, record_bytes, partitions, group=None)


def consume_as_group(
    bootstrap: str, topic: str, *, count: int, record_bytes: int, partitions: int, group: str
) -> Throughput:
    """The same as the only member of a new group, joining included."""
    return _consume(bootstrap, topic, count, record_bytes, partitions, group=group)


def _consume(
    bootstrap: str, topic: str, count: int, record_bytes: int, partitions: int, group: str | None
) -> Throughput:
    rd = library()
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": group or "bench",
        "enable.auto.commit": "false",
        "auto.offset.reset": "earliest",
    }
    with Client(CONSUMER, settings) as client, _partitions(topic, range(partitions)) as everything:
        rd.poll_set_consumer(client.handle)
        queue = rd.queue_get_consumer(client.handle)
        client.written(topic, partitions)  # connect first: the library waits half a second before it asks for leaders
        began = time.monotonic()
        if group is None:
            rd.assign(client.handle, everything)
        else:
            with _partitions(topic, [_ANY_PARTITION]) as wanted:
                rd.subscribe(client.handle, wanted)
        handed_over = quiet = got = 0
        while quiet < SILENT_POLLS_MAX:
            taken = rd.consume_callback_queue(queue, 100, _nothing(), None)
            handed_over += max(taken, 0)
            quiet = 0 if taken > 0 else quiet + 1
            # Its own events are handed over like records, so only the positions tell.
            if handed_over >= count and (got := _consumed(client, everything)) >= count:
                break
        seconds = time.monotonic() - began
        if group is not None:
            rd.consumer_close(client.handle)
        rd.queue_destroy(queue)
    if got < count:
        raise RuntimeError(f"{got} of {count} records were read from {topic}")
    return Throughput(records=got, megabytes=got * record_bytes / 1e6, seconds=seconds, requests=0)


@contextmanager
def _partitions(topic: str, indexes: Iterable[int]) -> Iterator[Any]:
    wanted = library().topic_partition_list_new(0)
    for index in indexes:
        library().topic_partition_list_add(wanted, topic.encode(), index).contents.offset = _BEGINNING
    yield wanted
    library().topic_partition_list_destroy(wanted)


def _consumed(client: Client, partitions: Any) -> int:
    """Records before the positions, of topics that begin at 0."""
    if library().position(client.handle, partitions):
        return 0
    found = partitions.contents
    return sum(max(found.items[index].offset, 0) for index in range(found.count))


@lru_cache(maxsize=1)
def _nothing() -> c_void_p:
    """A C function that may be called with a message and does nothing to it: the library counts, we need not look."""
    return ctypes.cast(ctypes.CDLL(None).labs, c_void_p)
