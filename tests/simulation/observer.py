"""What must be true inside the brokers at every moment, looked at many times a second."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator

from broker.partition.driver import Partition
from broker.protocol.batch import scan_batches
from tests.simulation.cluster import Cluster
from tests.simulation.history import History

LOOK_SECONDS = 0.05
COMPARE_EVERY = 20
"""Looks between two comparisons of the logs themselves."""


class Observer:
    def __init__(self, cluster: Cluster, history: History) -> None:
        self._cluster = cluster
        self._history = history
        self._leaders: dict[tuple[str, int], int] = {}
        """(partition, leader epoch) → leader"""
        self._watermarks: dict[tuple[str, int, int], int] = {}
        """(partition, leader epoch, life of the leader) → high watermark"""

    async def watch(self) -> None:
        looks = 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()
            looks += 1
            if looks % COMPARE_EVERY == 0 and self._history.trust_reads:
                self.compare()

    def look(self) -> None:
        for broker_id, partition in self._partitions():
            state, log = partition.state, partition.log
            name = str(partition.topic_partition)
            stable = partition.last_stable_offset
            if not log.log_start_offset <= stable <= state.high_watermark <= log.log_end_offset:
                self._violate(
                    f"{name} on {broker_id}: start {log.log_start_offset}, last stable {stable}, "
                    f"high watermark {state.high_watermark}, end {log.log_end_offset}"
                )
            if log.flushed_offset > log.log_end_offset:
                self._violate(f"{name} on {broker_id}: flushed {log.flushed_offset} of {log.log_end_offset}")
            if state.is_leader:
                self._look_at_leader(name, broker_id, partition)

    def _look_at_leader(self, name: str, broker_id: int, partition: Partition) -> None:
        state = partition.state
        leader = self._leaders.setdefault((name, state.leader_epoch), broker_id)
        if leader != broker_id:
            self._violate(f"{name}: brokers {leader} and {broker_id} lead epoch {state.leader_epoch}")
        life = self._cluster.nodes[broker_id].lives
        before = self._watermarks.get((name, state.leader_epoch, life), 0)
        if state.high_watermark < before:
            self._violate(
                f"{name}: in epoch {state.leader_epoch} the high watermark of broker {broker_id} went from {before} to "
                f"{state.high_watermark}"
            )
        self._watermarks[name, state.leader_epoch, life] = state.high_watermark

    def compare(self, *, whole: bool = False) -> None:
        """Replicas are equal as far as both know it to be committed; ``whole``: to their ends."""
        first: dict[str, tuple[int, Partition]] = {}
        for broker_id, partition in self._partitions():
            name = str(partition.topic_partition)
            if name not in first:
                first[name] = broker_id, partition
                continue
            other_id, other = first[name]
            if whole and partition.log.log_end_offset != other.log.log_end_offset:
                self._violate(
                    f"{name}: ends at {other.log.log_end_offset} on {other_id}, "
                    f"at {partition.log.log_end_offset} on {broker_id}"
                )
            end = min(partition.state.high_watermark, other.state.high_watermark)
            if digest(partition, end) != digest(other, end):
                self._violate(f"{name}: brokers {other_id} and {broker_id} differ below {end}")

    def _partitions(self) -> Iterator[tuple[int, Partition]]:
        for broker_id, broker in self._cluster.brokers().items():
            for partition in broker.partitions.partitions():
                if partition.log.offline_reason is None:
                    yield broker_id, partition

    def _violate(self, what: str) -> None:
        self._history.violate(what)


def digest(partition: Partition, end: int) -> int:
    """Of the batches below ``end``, epochs included."""
    log, found = partition.log, 0
    offset = log.log_start_offset
    while offset < end:
        pieces = log.read(offset, 1 << 20, upto_offset=end, at_least_one=True, empty_alone=True)
        whole = b"".join(pieces)
        if not whole:
            break
        found = zlib.crc32(whole, found)
        offset = _next_offset(whole)
    return found


def _next_offset(whole: bytes) -> int:
    *_, (_, last) = scan_batches(whole)
    return last.next_offset
