"""What a request costs as the broker's burden grows: log size, partitions, connections, groups.

Each step loads one broker further and measures the same two requests again: a produce of one small record (acks=1, one in
flight) and a fetch of one batch at a random old offset. A flat line is the aim.
"""

from __future__ import annotations

import contextlib
import random
import socket
import statistics
import time
from collections.abc import Iterator

from bench import native, raw
from bench.broker import BrokerUnderTest
from bench.rows import MB, Row
from broker.protocol import messages
from broker.protocol.api import ApiKey

REQUESTS = 2_000
BATCH_BYTES = 16_000
RECORD_BYTES = 1_000
LOG_BYTES = (1 * MB, 10 * MB, 100 * MB, 1_000 * MB, 10_000 * MB)
PARTITIONS = (1, 100, 1_000, 10_000)
CONNECTIONS = (1, 100, 1_000, 9_000)
GROUPS = (1, 100, 1_000, 10_000)
COMMIT_ATTEMPTS_MAX = 50
_COMMIT_VERSION = 7


def growth(scale: float) -> Iterator[Row]:
    yield from _log_size(scale)
    yield from _partitions(scale)
    yield from _connections(scale)
    yield from _groups(scale)


def _log_size(scale: float) -> Iterator[Row]:
    with BrokerUnderTest(OTTLA_ACK_DURABILITY="os") as broker:
        raw.create_topic(broker.port, "grown")
        written = 0
        for size in LOG_BYTES:
            target = int(size * scale) // RECORD_BYTES
            native.produce(
                broker.bootstrap,
                "grown",
                count=max(target - written, 100),
                record_bytes=RECORD_BYTES,
                acks="1",
                batch_size=BATCH_BYTES,
            )
            written = max(target, written + 100)
            yield _row(broker, f"log of {written * RECORD_BYTES // MB:,} MB", "grown", written)


def _partitions(scale: float) -> Iterator[Row]:
    with BrokerUnderTest(OTTLA_ACK_DURABILITY="os") as broker:
        count = 0
        _prepare(broker)
        for step in PARTITIONS:
            while count < int(step * scale):
                more = min(1_000, int(step * scale) - count)
                raw.create_topic(broker.port, f"idle-{count}", partitions=more)
                count += more
            yield _row(broker, f"{count:,} idle partitions")


def _connections(scale: float) -> Iterator[Row]:
    with BrokerUnderTest(OTTLA_ACK_DURABILITY="os") as broker, contextlib.ExitStack() as stack:
        count = 0
        _prepare(broker)
        for step in CONNECTIONS:
            for _ in range(int(step * scale) - count):
                stack.enter_context(socket.create_connection(("127.0.0.1", broker.port)))
                count += 1
            yield _row(broker, f"{count:,} idle connections")


def _groups(scale: float) -> Iterator[Row]:
    with BrokerUnderTest(OTTLA_ACK_DURABILITY="os", OTTLA_OFFSETS_TOPIC_NUM_PARTITIONS="4") as broker:
        count = 0
        _prepare(broker)
        connection = raw.RawConnection(broker.port)
        for step in GROUPS:
            for number in range(count, int(step * scale)):
                _commit(connection, f"group-{number}")
            count = max(count, int(step * scale))
            yield _row(broker, f"{count:,} groups with offsets")
        connection.close()


# Measuring --------------------------------------------------------------------------------------------


def _prepare(broker: BrokerUnderTest, topic: str = "measured") -> None:
    raw.create_topic(broker.port, topic)
    native.produce(broker.bootstrap, topic, count=10_000, record_bytes=RECORD_BYTES, acks="1", batch_size=BATCH_BYTES)


def _row(broker: BrokerUnderTest, name: str, topic: str = "measured", records: int = 10_000) -> Row:
    chance = random.Random(records)
    connection = raw.RawConnection(broker.port)
    try:
        produce = raw.prepare(topic, 100, 200, 1).request
        cpu = broker.cpu_seconds()
        produced = _each(connection, [produce] * REQUESTS)
        fetched = _each(
            connection,
            [raw.fetch_frame(topic, chance.randrange(records), BATCH_BYTES) for _ in range(REQUESTS)],
        )
        cpu = broker.cpu_seconds() - cpu
    finally:
        connection.close()
    return Row(
        name=name,
        figures={
            "produce_us": produced,
            "fetch_us": fetched,
            "cpu_us": cpu / (2 * REQUESTS) * 1e6,
            "rss_mb": broker.rss_mb(),
        },
    )


def _each(connection: raw.RawConnection, requests: list[bytearray]) -> float:
    """Median microseconds from a request to its answer, one at a time."""
    taken = []
    for request in requests:
        began = time.perf_counter()
        connection.send(request)
        connection.receive()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e6


def _commit(connection: raw.RawConnection, group: str) -> None:
    """An offset of a group without members. The first one has the broker create the offsets topic."""
    offset = messages.OffsetCommitRequest
    partition = offset.OffsetCommitRequestPartition(partition_index=0, committed_offset=1, committed_metadata="")
    request = offset(
        group_id=group,
        generation_id_or_member_epoch=-1,
        member_id="",
        topics=[offset.OffsetCommitRequestTopic(name="measured", partitions=[partition])],
    )
    for _ in range(COMMIT_ATTEMPTS_MAX):
        answer = connection.call(ApiKey.OFFSET_COMMIT, _COMMIT_VERSION, request)
        if not answer.topics[0].partitions[0].error_code:
            return
        connection.call(ApiKey.FIND_COORDINATOR, 2, messages.FindCoordinatorRequest(key=group, key_type=0))
        time.sleep(0.1)
    raise RuntimeError(f"{group} cannot commit")
