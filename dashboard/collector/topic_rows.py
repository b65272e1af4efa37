"""A topic's row from those of its partitions. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from broker.telemetry.sample import TopicSample
from dashboard.live.replication_rows import PartitionRow
from dashboard.live.state import TopicRow


def topic_row(
    sample: TopicSample, rows: list[PartitionRow], group_count: int, worst: tuple[int, str] | None
) -> TopicRow:
    records = [row.records for row in rows]
    held = [row for row in rows if row.held_since_ms >= 0]
    return TopicRow(
        name=sample.name,
        topic_id=sample.topic_id,
        internal=sample.internal,
        partition_count=sample.partition_count,
        replication_factor=sample.replication_factor,
        size_bytes=_size(rows),
        records=sum(count for count in records if count is not None) if rows and None not in records else None,
        bytes_in_rate=_sum(row.bytes_in_rate for row in rows),
        bytes_out_rate=_sum(row.bytes_out_rate for row in rows),
        records_in_rate=_sum(row.records_in_rate for row in rows),
        last_record_ms=max((row.last_record_ms for row in rows), default=-1),
        producers=sum(row.producers for row in rows),
        offline=sum(row.offline for row in rows),
        offline_reason=next((row.offline_reason for row in rows if row.offline_reason), ""),
        under_replicated=sum(row.under_replicated and not row.offline for row in rows),
        under_min_isr=sum(row.under_min_isr for row in rows),
        reassigning=sum(row.reassigning for row in rows),
        led_elsewhere=sum(row.led_elsewhere for row in rows),
        min_isr=sample.min_insync_replicas if sample.min_insync_replicas > 0 else None,
        missing=sorted({broker for row in rows for broker in row.missing}),
        held=len(held),
        held_records=sum(row.held_records for row in held),
        held_since_ms=min((row.held_since_ms for row in held), default=-1),
        group_count=group_count,
        worst_group=worst[1] if worst is not None else "",
        worst_lag=worst[0] if worst is not None else None,
        cleanup_policy=sample.configs.get("cleanup.policy", ""),
        source=rows[0].source if rows else -1,
    )


def _sum(rates: Iterable[float | None]) -> float | None:
    """Of the known ones; unknown when none is."""
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None


def _size(rows: list[PartitionRow]) -> int | None:
    """Of the partitions that have told; unknown when none has."""
    known = [row.size_bytes for row in rows if row.size_bytes is not None]
    return sum(known) if known else None
