"""Which rule will delete each segment, and when. Pure.

Owns: the future of ``plan.py``'s rules, and no rule of its own. A segment of a partition goes

- by time, once ``kept_until_ms`` has passed for it and everything before it is gone or has expired too;
- by size, once ``missing_bytes`` more have been written behind it;

whichever comes first, so ``gone(i) = min(size(i), max(time(i), gone(i - 1)))``. When a size is reached depends on how
fast the log grows: without a rate it is only told in bytes. The active segment is judged as it is now: what is written to
it later keeps it longer.

Retention acts in rounds, so a segment goes with the first round after its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from broker.protocol.private import PartitionInventory, SegmentInfo
from broker.retention.plan import BY_SIZE, BY_TIME, deletes, is_held, kept_until_ms, missing_bytes, policies

Rule: TypeAlias = Literal["retention.ms", "retention.bytes", "compaction", ""]
"""Empty: nothing ever deletes it as things are."""

NEVER_MS = 2**63 - 1
"""Where a time would lie beyond what a timestamp can say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of one segment if nothing but the log's growth changes."""

    segment: SegmentInfo
    rule: Rule
    """The one that acts first; with ``compaction`` records go one by one and never the segment as a whole."""
    at_ms: int | None
    """When ``rule`` lets it go; ``None`` when no time can be told."""
    by_time_ms: int | None
    """When its own age is reached, whatever is before it; ``None`` without a limit."""
    missing_bytes: int | None
    """What ``retention.bytes`` still waits for; 0 when nothing more, ``None`` without a limit."""
    waits_for_earlier: bool
    """Old enough before an earlier segment is: only a prefix of the log is ever deleted."""
    held: bool
    """No rule may touch it now: it is empty and active, or not yet replicated as a whole."""

    def is_due(self, now_ms: int) -> bool:
        return not self.held and self.at_ms is not None and self.at_ms < now_ms


def forecast(inventory: PartitionInventory, now_ms: int, bytes_rate: float | None) -> list[Fate]:
    """A fate for every segment, oldest first. ``bytes_rate`` is how many bytes a second the log grows by now."""
    if not deletes(inventory):
        rule: Rule = "compaction" if "compact" in policies(inventory) else ""
        return [_kept(segment, rule, inventory.high_watermark) for segment in inventory.segments]
    behind = _bytes_behind(inventory.segments)
    fates: list[Fate] = []
    gone_before_ms = 0
    held_before = False
    for segment, bytes_behind in zip(inventory.segments, behind, strict=True):
        own_ms = _bounded(kept_until_ms(segment, inventory.retention_ms))
        missing = missing_bytes(bytes_behind, inventory.retention_bytes)
        time_ms = NEVER_MS if own_ms is None else max(own_ms, gone_before_ms)
        size_ms = _reached_ms(missing, now_ms, bytes_rate)
        rule, at_ms = _first(time_ms, size_ms, limited=missing is not None)
        held_before = held_before or is_held(segment, inventory.high_watermark)
        fates.append(
            Fate(
                segment=segment,
                rule=rule,
                at_ms=at_ms,
                by_time_ms=own_ms,
                missing_bytes=None if missing is None else max(0, missing),
                waits_for_earlier=rule == BY_TIME and own_ms is not None and own_ms < time_ms,
                held=held_before,
            )
        )
        gone_before_ms = min(time_ms, size_ms)
    return fates


def _kept(segment: SegmentInfo, rule: Rule, high_watermark: int) -> Fate:
    return Fate(
        segment=segment,
        rule=rule,
        at_ms=None,
        by_time_ms=None,
        missing_bytes=None,
        waits_for_earlier=False,
        held=is_held(segment, high_watermark),
    )


def _bytes_behind(segments: Sequence[SegmentInfo]) -> list[int]:
    total = sum(segment.size_bytes for segment in segments)
    behind = []
    for segment in segments:
        total -= segment.size_bytes
        behind.append(total)
    return behind


def _bounded(at_ms: int | None) -> int | None:
    return None if at_ms is None or at_ms >= NEVER_MS else at_ms


def _reached_ms(missing: int | None, now_ms: int, bytes_rate: float | None) -> int:
    """When so much more has been written; ``NEVER_MS`` when that cannot be told."""
    if missing is None:
        return NEVER_MS
    if missing <= 0:
        return now_ms - 1
    if not bytes_rate or bytes_rate <= 0:
        return NEVER_MS
    return min(NEVER_MS, now_ms + int(missing / bytes_rate * 1000))


def _first(time_ms: int, size_ms: int, *, limited: bool) -> tuple[Rule, int | None]:
    if time_ms == NEVER_MS and size_ms == NEVER_MS:
        return (BY_SIZE, None) if limited else ("", None)
    return (BY_TIME, time_ms) if time_ms <= size_ms else (BY_SIZE, size_ms)
