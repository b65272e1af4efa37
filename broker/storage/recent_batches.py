"""The batches before a snapshot that the snapshot has no room for.

Kafka's format keeps one batch of each producer, and producers have up to five in flight: whoever asks again for all of them,
because the leader died before it answered, must find all of them known. So whatever begins with a snapshot looks for the
others in what the log holds just before it. Used by recovery and by truncation; a look that fails is given up, as the
format's own limit is all that it overcomes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from broker.limits import PRODUCER_BATCHES_CACHED
from broker.protocol.batch import BatchHeader
from broker.storage.producer_state import ProducerBatch, ProducerState
from broker.storage.segment import Segment
from broker.storage.segment_scan import DamageFound
from broker.storage.sparse_index import IndexDamaged
from broker.types import Offset

RECALL_BYTES = 256 * 1024
"""Of the log before a snapshot; what a producer may have in flight is rarely more."""


def recall_recent_batches(segments: Sequence[Segment], state: ProducerState, found: Offset) -> None:
    """``state`` is what the snapshot at ``found`` held."""
    entries = {entry.producer_id: entry for entry in state.entries() if entry.batches}
    if not entries:
        return
    recent: dict[int, deque[ProducerBatch]] = {}
    try:
        for header in _before(segments, found):
            entry = entries.get(header.producer_id)
            if entry is not None and entry.epoch == header.producer_epoch and not header.is_control:
                batches = recent.setdefault(header.producer_id, deque(maxlen=PRODUCER_BATCHES_CACHED))
                batches.append(
                    ProducerBatch(
                        header.base_sequence,
                        header.last_sequence,
                        header.base_offset,
                        header.last_offset,
                        header.max_timestamp,
                    )
                )
    except (DamageFound, IndexDamaged):
        return
    for producer_id, batches in recent.items():
        known = entries[producer_id].batches
        if known[-1].last_offset == batches[-1].last_offset:
            entries[producer_id].batches = batches


def _before(segments: Sequence[Segment], end: Offset) -> Iterator[BatchHeader]:
    """The batches of the last ``RECALL_BYTES`` before ``end``, or a few more, in order."""
    left, places = RECALL_BYTES, []
    for segment in reversed(segments):
        if segment.base_offset >= end or not segment.size:
            continue
        stop = segment.size if segment.next_offset <= end else segment.find(end)
        begin = segment.offset_index.before_position(stop - left).position if stop > left else 0
        places.append((segment, begin, stop))
        left -= stop - begin
        if left <= 0:
            break
    for segment, begin, stop in reversed(places):
        for position, header in segment.headers(begin):
            if position >= stop:
                break
            yield header
