"""Compaction of one partition: passes over its log until nothing dirty is left, each group swapped by the broker."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from typing import Any

from broker.client.blocking import Client
from broker.compaction.cleaner import CleanedGroup, PartitionPass, PassResult
from broker.compaction.cleaning import CleaningCounts, ProducerTail
from broker.compaction.plan import PlannedCompaction, plan_partition
from broker.errors import ErrorCode, KafkaError
from broker.jobs.compaction_pace import Pace, Stopped
from broker.protocol.private import CleanerSettings, CompactionInventoryResponse, SwapSegmentsRequest
from broker.storage.cleaned_segment import discard_leftovers
from broker.storage.filesystem import FileSystem
from broker.storage.segment_scan import DamageFound

logger = logging.getLogger(__name__)

PASSES_MAX = 100
"""More distinct keys than that many key maps hold wait for the next run."""
CHANGED_MEANWHILE = frozenset(
    (
        ErrorCode.OPERATION_NOT_ATTEMPTED,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.INCONSISTENT_TOPIC_ID,
    )
)
"""The log is not the one that was planned for any more: the next run looks again."""


@dataclass(slots=True, kw_only=True)
class PartitionOutcome:
    topic: str
    partition: int
    reason: str
    """Why it was due."""
    segments_replaced: int = 0
    segments_written: int = 0
    bytes_before: int = 0
    """Of the replaced segments."""
    bytes_after: int = 0
    records_read: int = 0
    records_kept: int = 0
    tombstones_dropped: int = 0
    first_dirty_offset: int = -1
    why: str = ""
    """Why it ended early, if the log changed meanwhile or could not be read."""
    error: str = ""
    """``why``, when somebody has to look at it."""

    @property
    def name(self) -> str:
        return f"{self.topic}-{self.partition}"

    @property
    def bytes_saved(self) -> int:
        return self.bytes_before - self.bytes_after

    def row(self) -> dict[str, Any]:
        return {
            "topic": self.topic,
            "partition": self.partition,
            "reason": self.reason,
            "segments": self.segments_replaced,
            "segments_written": self.segments_written,
            "bytes_before": self.bytes_before,
            "bytes_after": self.bytes_after,
            "records_read": self.records_read,
            "records_kept": self.records_kept,
            "tombstones_dropped": self.tombstones_dropped,
            "first_dirty_offset": self.first_dirty_offset,
        }

    def refusal(self) -> dict[str, Any]:
        return {"topic": self.topic, "partition": self.partition, "why": self.why}


def compact_partition(
    client: Client,
    filesystem: FileSystem,
    inventory: CompactionInventoryResponse,
    planned: PlannedCompaction,
    pace: Pace,
) -> PartitionOutcome:
    """Raises ``ClientConnectionError`` when the broker is gone. What concerns this partition alone is in the outcome."""
    partition = planned.partition
    outcome = PartitionOutcome(topic=partition.topic, partition=partition.partition, reason=planned.reason)
    try:
        pace.check()
        discard_leftovers(filesystem, partition.directory)
        _passes(client, filesystem, inventory, planned, pace, outcome)
    except Stopped:
        outcome.why = "the run was stopped; what was swapped stays"
    except FileNotFoundError as error:
        outcome.why = f"a file is gone: {error.filename}"
    except DamageFound as damage:
        outcome.why = outcome.error = f"a segment cannot be read, so nothing of it was replaced: {damage}"
    except OSError as error:
        outcome.why = outcome.error = f"the disk did not take or give it: {error}"
    except KafkaError as error:
        outcome.why = error.message
        if error.code not in CHANGED_MEANWHILE:
            outcome.error = error.message
    if outcome.why:
        logger.warning("compaction of %s: %s", outcome.name, outcome.why)
    return outcome


def _passes(
    client: Client,
    filesystem: FileSystem,
    inventory: CompactionInventoryResponse,
    planned: PlannedCompaction,
    pace: Pace,
    outcome: PartitionOutcome,
) -> None:
    assert inventory.settings is not None
    for _ in range(PASSES_MAX):
        result = _pass(client, filesystem, inventory, inventory.settings, planned, pace, outcome)
        if result.is_complete or result.first_dirty_offset <= planned.first_dirty_offset:
            return
        partition = planned.partition
        inventory = client.compaction_inventory([partition.topic], partitions=[partition.partition])
        if not inventory.partitions or inventory.settings is None:
            return
        further = plan_partition(inventory.partitions[0], inventory.sampled_at_ms, on_demand=True)
        if further is None or not further.dirty_bytes:
            return
        planned = further


def _pass(
    client: Client,
    filesystem: FileSystem,
    inventory: CompactionInventoryResponse,
    settings: CleanerSettings,
    planned: PlannedCompaction,
    pace: Pace,
    outcome: PartitionOutcome,
) -> PassResult:
    partition = planned.partition

    def request(**fields: Any) -> SwapSegmentsRequest:
        return SwapSegmentsRequest(
            topic=partition.topic,
            partition=partition.partition,
            topic_id=partition.topic_id,
            incarnation=inventory.incarnation,
            truncations=partition.truncations,
            **fields,
        )

    def swap(group: CleanedGroup) -> None:
        client.swap_segments(
            request(
                token=group.token,
                replaced=list(group.replaced),
                size_bytes=group.facts.size_bytes,
                digest=group.facts.digest,
            )
        )
        outcome.segments_replaced += len(group.replaced)
        outcome.segments_written += 1
        outcome.bytes_before += sum(segment.size_bytes for segment in group.replaced)
        outcome.bytes_after += group.facts.size_bytes

    producers = {
        producer_id: ProducerTail(epoch, last_offset)
        for producer_id, epoch, last_offset in client.active_producers(partition.topic, partition.partition)
    }
    work = PartitionPass(
        filesystem,
        planned,
        producers,
        settings,
        now_ms=inventory.sampled_at_ms,
        new_token=lambda: secrets.token_hex(8),
        moved=pace.moved,
    )
    try:
        result = work.run(swap)
    finally:
        _count(outcome, work.result.counts)
    outcome.first_dirty_offset = result.first_dirty_offset
    client.swap_segments(
        request(
            first_dirty_offset=result.first_dirty_offset,
            bytes_before=result.bytes_before,
            bytes_after=result.bytes_after,
        )
    )
    return result


def _count(outcome: PartitionOutcome, counts: CleaningCounts) -> None:
    outcome.records_read += counts.records_read
    outcome.records_kept += counts.records_kept
    outcome.tombstones_dropped += counts.tombstones_dropped
