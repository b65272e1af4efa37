"""What a poll costs a consumer of many partitions of which one is active: with a fetch session, and without one.

The consumer is at the end of every partition; before each poll one record is produced to the same one. A full fetch asks
for all partitions each time, an incremental one only for what moved.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

from bench import raw
from bench.broker import BrokerUnderTest
from bench.rows import Row
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

PARTITIONS = (10, 100, 1_000, 5_000)
POLLS = 300
VERSION = 12


def fetch_sessions(scale: float) -> Iterator[Row]:
    with BrokerUnderTest(OTTLA_ACK_DURABILITY="os") as broker:
        for partitions in PARTITIONS:
            topic = f"fetched-{partitions}"
            raw.create_topic(broker.port, topic, partitions=partitions)
            produce = raw.prepare(topic, 100, 200, 1).request
            for name, incremental in (("full fetch", False), ("incremental fetch", True)):
                polls = max(20, int(POLLS * scale))
                micros, cpu = _poll(broker, topic, partitions, produce, polls, incremental=incremental)
                yield Row(
                    name=f"{name}, {partitions:,} partitions, one active", figures={"fetch_us": micros, "cpu_us": cpu}
                )


def _poll(
    broker: BrokerUnderTest, topic: str, partitions: int, produce: bytearray, polls: int, *, incremental: bool
) -> tuple[float, float]:
    """Median microseconds of a poll, and the broker's CPU for a poll and the produce before it."""
    connection = raw.RawConnection(broker.port)
    positions = dict.fromkeys(range(partitions), 0)
    try:
        session, epoch, taken = 0, 0, []
        active = 0
        cpu = broker.cpu_seconds()
        for number in range(polls + 2):
            if number == 2:
                # By now a session knows that there is nothing new in any of the others.
                cpu = broker.cpu_seconds()
            connection.send(produce)
            connection.receive()
            asked = {0: active} if incremental and session else positions | {0: active}
            began = time.perf_counter()
            answer = connection.call(
                ApiKey.FETCH, VERSION, _request(topic, asked, session, epoch if incremental else -1)
            )
            taken.append(time.perf_counter() - began)
            session, epoch = answer.session_id, epoch + 1
            (part,) = [part for found in answer.responses for part in found.partitions if part.records]
            active = part.high_watermark
        return statistics.median(taken[2:]) * 1e6, (broker.cpu_seconds() - cpu) / polls * 1e6
    finally:
        connection.close()


def _request(topic: str, positions: dict[int, int], session: int, epoch: int) -> Any:
    r = m.FetchRequest
    entries = [r.FetchPartition(partition=p, fetch_offset=o, partition_max_bytes=1 << 20) for p, o in positions.items()]
    return r(
        max_wait=500,
        min_bytes=1,
        max_bytes=50 << 20,
        session_id=session if epoch > 0 else 0,
        session_epoch=epoch,
        topics=[r.FetchTopic(topic=topic, partitions=entries)],
    )
