"""What retention wants deleted, from a list of segments and the time. Pure.

Owns Kafka's rules (``UnifiedLog.deleteOldSegments``); used by the Celery task to make a plan, by
``manage.py retention`` to show it, and once more by the broker to judge a request against its live state.

- Only whole segments, only a prefix of the log, never past the high watermark.
- ``cleanup.policy`` must include ``delete``; a limit of -1 deletes nothing.
- ``retention.ms``: a segment goes when its largest record timestamp is older than the limit; a segment whose
  records carry no timestamp is judged by its file's modification time. The first segment that stays protects all
  after it, even older ones.
- ``retention.bytes``: from the oldest on, a segment goes while the log without it still holds at least the limit.
- The active segment goes by the same rules, unless it is empty; the broker starts a new one first. An expired
  topic that nobody writes to is emptied, as in Kafka.

Both rules act as Kafka applies them: time first, then size on what is left. Each rule is one number of a segment, from
which ``forecast.py`` also tells when it will act: ``kept_until_ms`` and ``missing_bytes``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from broker.protocol.private import PartitionInventory, RetentionAction, SegmentInfo

BY_TIME: Final = "retention.ms"
BY_SIZE: Final = "retention.bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDeletion:
    """One rule's effect on one partition."""

    topic: str
    partition: int
    new_log_start_offset: int
    reason: str
    """``retention.ms`` or ``retention.bytes``."""
    segments: int
    bytes: int
    oldest_offset: int
    newest_timestamp_ms: int
    """Largest timestamp that would go; -1 when the records carry none."""

    def action(self) -> RetentionAction:
        return RetentionAction(
            topic=self.topic,
            partition=self.partition,
            new_log_start_offset=self.new_log_start_offset,
            reason=self.reason,
        )


def plan(partitions: Iterable[PartitionInventory], now_ms: int) -> list[PlannedDeletion]:
    """Everything retention wants at ``now_ms``, by topic and partition; time before size for each."""
    ordered = sorted(partitions, key=lambda inventory: (inventory.topic, inventory.partition))
    return [deletion for inventory in ordered for deletion in plan_partition(inventory, now_ms)]


def plan_partition(inventory: PartitionInventory, now_ms: int) -> list[PlannedDeletion]:
    if not deletes(inventory):
        return []
    expired = _prefix(inventory, inventory.segments, _is_expired(inventory.retention_ms, now_ms))
    remaining = inventory.segments[len(expired) :]
    excess = _prefix(inventory, remaining, _is_excess(inventory.retention_bytes, remaining))
    rules = ((BY_TIME, expired), (BY_SIZE, excess))
    return [_deletion(inventory, reason, segments) for reason, segments in rules if segments]


def allowed_log_start(inventory: PartitionInventory, now_ms: int) -> int:
    """How far the rules let the log start move now: the bound that the broker holds a request to."""
    return max(
        (deletion.new_log_start_offset for deletion in plan_partition(inventory, now_ms)),
        default=inventory.log_start_offset,
    )


def deletes(inventory: PartitionInventory) -> bool:
    """Whether retention acts on the partition at all."""
    return "delete" in policies(inventory)


def policies(inventory: PartitionInventory) -> list[str]:
    return [policy for policy in inventory.cleanup_policy.replace(" ", "").split(",") if policy]


def newest_ms(segment: SegmentInfo) -> int:
    """What a segment's age is counted from."""
    return segment.max_timestamp_ms if segment.max_timestamp_ms >= 0 else segment.last_modified_ms


def kept_until_ms(segment: SegmentInfo, retention_ms: int) -> int | None:
    """``retention.ms`` lets the segment go only after this time; ``None``: never."""
    return newest_ms(segment) + retention_ms if retention_ms >= 0 else None


def missing_bytes(bytes_behind: int, retention_bytes: int) -> int | None:
    """How much more the log has to hold behind a segment before ``retention.bytes`` lets it go (0 or less: now);
    ``None``: never."""
    return retention_bytes - bytes_behind if retention_bytes >= 0 else None


def is_held(segment: SegmentInfo, high_watermark: int) -> bool:
    """Whether no rule may touch it, whatever its age and size: empty and active, or not replicated as a whole."""
    return (segment.active and segment.size_bytes == 0) or segment.end_offset > high_watermark


Predicate = Callable[[SegmentInfo], bool]


def _prefix(inventory: PartitionInventory, segments: Sequence[SegmentInfo], goes: Predicate) -> Sequence[SegmentInfo]:
    count = 0
    for segment in segments:
        if is_held(segment, inventory.high_watermark) or not goes(segment):
            break
        count += 1
    return segments[:count]


def _is_expired(retention_ms: int, now_ms: int) -> Predicate:
    def expired(segment: SegmentInfo) -> bool:
        until_ms = kept_until_ms(segment, retention_ms)
        return until_ms is not None and now_ms > until_ms

    return expired


def _is_excess(retention_bytes: int, segments: Sequence[SegmentInfo]) -> Predicate:
    """Stateful on purpose: it is asked about each segment once, oldest first."""
    bytes_behind = sum(segment.size_bytes for segment in segments)

    def superfluous(segment: SegmentInfo) -> bool:
        nonlocal bytes_behind
        bytes_behind -= segment.size_bytes
        missing = missing_bytes(bytes_behind, retention_bytes)
        return missing is not None and missing <= 0

    return superfluous


def _deletion(inventory: PartitionInventory, reason: str, segments: Sequence[SegmentInfo]) -> PlannedDeletion:
    return PlannedDeletion(
        topic=inventory.topic,
        partition=inventory.partition,
        new_log_start_offset=segments[-1].end_offset,
        reason=reason,
        segments=len(segments),
        bytes=sum(segment.size_bytes for segment in segments),
        oldest_offset=segments[0].base_offset,
        newest_timestamp_ms=max(segment.max_timestamp_ms for segment in segments),
    )
