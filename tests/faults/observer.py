"""Asks every broker, again and again, what it says of each partition: log start, last stable offset, high watermark.

One thread per broker, because a broker that hangs must not keep the others from being asked. A broker counts as having
answered only if it did so as the leader, under the epoch that it named itself in the same breath: each request carries
that epoch, so that two brokers which both answer under one epoch are two leaders and nothing else.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.faults.recorder import Recorder
from tests.support.wire import Wire

PERIOD_SECONDS = 0.5
TIMEOUT_SECONDS = 2.0
EARLIEST, LATEST = -2, -1
UNCOMMITTED, COMMITTED = 0, 1


class Observer:
    """``with Observer(directory, {1: ("127.0.0.1", 9092)}, ["topic"]): ...``"""

    def __init__(self, directory: Path, brokers: Mapping[int, tuple[str, int]], topics: Iterable[str]) -> None:
        self._topics = tuple(topics)
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._watch, args=(Recorder(directory, f"observer-{broker}"), broker, address), daemon=True
            )
            for broker, address in brokers.items()
        ]

    def __enter__(self) -> Observer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(10 * TIMEOUT_SECONDS)

    def _watch(self, recorder: Recorder, broker: int, address: tuple[str, int]) -> None:
        while not self._ended.wait(PERIOD_SECONDS):
            # A broker that is down, hangs or is cut off has nothing to say.
            with (
                contextlib.suppress(OSError, EOFError),
                Wire(address[1], timeout=TIMEOUT_SECONDS, host=address[0]) as wire,
            ):
                while not self._ended.wait(PERIOD_SECONDS):
                    self._look(wire, recorder, broker)
        recorder.close()

    def _look(self, wire: Wire, recorder: Recorder, broker: int) -> None:
        request = m.MetadataRequest
        names = [request.MetadataRequestTopic(name=topic) for topic in self._topics]
        for topic in wire.call(ApiKey.METADATA, 9, request(topics=names)).topics:
            for partition in topic.partitions:
                if partition.leader_id == broker:
                    key = f"{topic.name}-{partition.partition_index}"
                    index = recorder.invoke("observe", key=key)
                    epoch = partition.leader_epoch
                    answers = [
                        self._offset(wire, topic.name, partition.partition_index, epoch, timestamp, isolation)
                        for timestamp, isolation in (
                            (EARLIEST, UNCOMMITTED),
                            (LATEST, COMMITTED),
                            (LATEST, UNCOMMITTED),
                        )
                    ]
                    if any(answer is None for answer in answers):
                        recorder.complete(index, "observe", "fail")
                        continue
                    log_start, last_stable, high_watermark = answers
                    recorder.complete(
                        index,
                        "observe",
                        "ok",
                        key=key,
                        broker=broker,
                        leader_epoch=epoch,
                        log_start=log_start,
                        last_stable=last_stable,
                        high_watermark=high_watermark,
                    )

    @staticmethod
    def _offset(wire: Wire, topic: str, partition: int, epoch: int, timestamp: int, isolation: int) -> int | None:
        r = m.ListOffsetsRequest
        wanted = r.ListOffsetsPartition(partition_index=partition, current_leader_epoch=epoch, timestamp=timestamp)
        request = r(
            replica_id=-1,
            isolation_level=isolation,
            topics=[r.ListOffsetsTopic(name=topic, partitions=[wanted])],
        )
        answer = wire.call(ApiKey.LIST_OFFSETS, 6, request).topics[0].partitions[0]
        return answer.offset if answer.error_code == 0 else None
