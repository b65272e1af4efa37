"""When a segment is closed and a new one begun.

Owns: the rules of ``segment.bytes``, ``segment.ms`` with ``segment.jitter.ms``, ``segment.index.bytes`` and the
int32 limits of the formats. Time is measured as Kafka measures it: from the timestamp of the segment's first batch
to the one being appended, so replaying old data rolls as the original did. A quiet segment is closed by the broker's
clock instead, so that retention can reach it.
"""

from __future__ import annotations

from zlib import crc32

from broker.config.topic import TopicConfig
from broker.storage.segment import RELATIVE_OFFSET_MAX, SEGMENT_BYTES_MAX, Segment
from broker.storage.time_index import TimeIndex


def reserve_bytes(config: TopicConfig) -> int:
    """Disk that a new segment sets aside (``preallocate``); 0 for none."""
    return config.segment_bytes if config.preallocate else 0


def lifetime_ms(segment: Segment, config: TopicConfig) -> int:
    """``segment.ms`` less this segment's share of the jitter: the same after a restart, different for its neighbours.

    Compaction works on closed segments only, so ``max.compaction.lag.ms`` bounds the time of an open one.
    """
    segment_ms = config.segment_ms
    if "compact" in config.cleanup_policy:
        segment_ms = min(segment_ms, config.max_compaction_lag_ms)
    jitter_max = min(config.segment_jitter_ms, segment_ms)
    if jitter_max <= 0:
        return segment_ms
    return segment_ms - crc32(segment.file.path.encode()) % (jitter_max + 1)


def roll_timestamp(segment: Segment, config: TopicConfig) -> int | None:
    """A batch with a larger timestamp goes into the next segment; ``None`` if timestamps do not tell."""
    first = segment.first_timestamp()
    return first + lifetime_ms(segment, config) if first >= 0 else None


def is_full(segment: Segment, size: int, last_offset: int, config: TopicConfig) -> bool:
    """Whether ``size`` more bytes ending at ``last_offset`` do not fit a segment that is not empty."""
    end = segment.size + size
    if end > config.segment_bytes or end > SEGMENT_BYTES_MAX or last_offset - segment.base_offset > RELATIVE_OFFSET_MAX:
        return True
    keys = segment.offset_index.keys
    return (
        keys is not None
        and (len(keys) + 1) * TimeIndex.ENTRY_SIZE > config.segment_index_bytes >= 2 * TimeIndex.ENTRY_SIZE
    )


def is_old(segment: Segment, changed_ms: int, now_ms: int, config: TopicConfig) -> bool:
    """Whether a segment begun (or, if that is not known, last changed) at ``changed_ms`` has had its time."""
    return segment.size > 0 and now_ms - changed_ms > lifetime_ms(segment, config)
