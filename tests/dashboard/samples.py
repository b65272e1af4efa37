"""Hand-built telemetry: what a small broker would say. Every value is a keyword, so a test shows only what matters."""

from __future__ import annotations

from typing import Any

from broker.telemetry.sample import (
    BrokerSample,
    GroupSample,
    MemberSample,
    OffsetSample,
    PartitionSample,
    Sample,
    TopicSample,
)
from dashboard.collector.pipeline import Pipeline
from dashboard.collector.publisher import Plan
from dashboard.live.state import AlertRow
from dashboard.live.store import MemoryStore

START_MS = 1_800_000_000_000


def topic(name: str, partitions: int = 1, **values: Any) -> TopicSample:
    return TopicSample(name=name, topic_id=f"id-{name}", partition_count=partitions, **values)


def partition(name: str, number: int = 0, *, records: int = 0, start: int = 0, **values: Any) -> PartitionSample:
    """A healthy partition led by broker 1 that keeps the offsets ``start`` to ``start + records``."""
    end = start + records
    defaults: dict[str, Any] = {
        "leader": 1,
        "leader_epoch": 0,
        "replicas": [1],
        "isr": [1],
        "log_start_offset": start,
        "high_watermark": end,
        "log_end_offset": end,
        "flushed_offset": end,
        "size_bytes": records * 100,
        "segment_count": 1,
        "bytes_in_total": end * 100,
        "records_in_total": end,
        "last_record_ms": START_MS if records else -1,
    }
    return PartitionSample(topic=name, partition=number, **{**defaults, **values})


def member(name: str, *assignment: tuple[str, int], **values: Any) -> MemberSample:
    return MemberSample(member_id=f"{name}-1", client_id=name, host="10.0.0.7", assignment=list(assignment), **values)


def offset(name: str, number: int, committed: int, **values: Any) -> OffsetSample:
    return OffsetSample(topic=name, partition=number, committed=committed, committed_at_ms=START_MS, **values)


def group(
    name: str, *, members: tuple[MemberSample, ...] = (), offsets: tuple[OffsetSample, ...] = (), **values: Any
) -> GroupSample:
    defaults: dict[str, Any] = {
        "state": "Stable" if members else "Empty",
        "protocol_type": "consumer",
        "protocol": "range",
        "generation": 1,
        "coordinator": 1,
        "leader": members[0].member_id if members else "",
    }
    return GroupSample(group_id=name, members=list(members), offsets=list(offsets), **{**defaults, **values})


def sample(
    seq: int,
    *,
    at_ms: int | None = None,
    full: bool = False,
    broker_id: int = 1,
    incarnation: str = "first",
    broker: dict[str, Any] | None = None,
    controller_id: int = 1,
    **values: Any,
) -> Sample:
    """One per second unless told otherwise."""
    return Sample(
        broker_id=broker_id,
        incarnation=incarnation,
        seq=seq,
        sampled_at_ms=START_MS + seq * 1000 if at_ms is None else at_ms,
        full=full,
        cluster_id="test-cluster",
        controller_id=controller_id,
        broker=BrokerSample(
            id=broker_id,
            **{
                "host": "127.0.0.1",
                "port": 9091 + broker_id,
                "is_controller": broker_id == 1,
                "started_at_ms": START_MS - 60_000,
                "rss_bytes": 50_000_000,
                "disk_free_bytes": 10**11,
                "disk_total_bytes": 10**12,
                **(broker or {}),
            },
        ),
        **values,
    )


class Bench:
    """The collector's pipeline on a store in memory."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.pipeline = Pipeline()
        self.model = self.pipeline.model
        self.overview = self.pipeline.overview
        self.store = store if store is not None else MemoryStore()
        self.pipeline.begin(last_seq=self.store.seq, now_ms=START_MS)
        self.facts: list[AlertRow] = []
        self.now_ms = START_MS

    def feed(self, *samples: Sample) -> None:
        for one in samples:
            self.pipeline.fold(one)
            self.now_ms = max(self.now_ms, one.sampled_at_ms)

    def step(self, watched: set[str] | frozenset[str] = frozenset(), now_ms: int | None = None) -> Plan:
        """Derive, plan and write; what the driver would send is in the returned plan."""
        plan = self.pipeline.step(set(watched), self.facts, self.now_ms if now_ms is None else now_ms)
        self.store.write(plan.write)
        return plan
