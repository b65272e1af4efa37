"""Making producer state, and what was aborted, from the batches of a log.

Owns: the replay. Recovery uses it behind the newest snapshot, truncation to come back to an earlier state, a
transaction index that was lost to be made anew, and both of the first for what ended above the high watermark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from broker.protocol.markers import read_marker
from broker.storage.open_transactions import EndedTransaction
from broker.storage.producer_snapshot import ProducerSnapshots
from broker.storage.producer_state import ProducerState
from broker.storage.segment import Segment
from broker.types import Offset, TimestampMs

OnEnded = Callable[[Segment, EndedTransaction], None]


def replay_producers(
    segments: Sequence[Segment],
    state: ProducerState,
    from_offset: Offset,
    now_ms: TimestampMs,
    on_ended: OnEnded | None = None,
) -> None:
    """Bring ``state``, which holds what is before ``from_offset``, up to the end of ``segments``. Raises ``DamageFound``.

    ``on_ended`` is told of every transaction whose marker is met, with the marker's segment.
    """
    for segment in segments:
        if segment.next_offset <= from_offset:
            continue
        position = segment.find(from_offset) if from_offset > segment.base_offset else 0
        for at, header in segment.headers(position):
            if not header.has_producer_id:
                continue
            if not header.is_control:
                state.update(header, header.base_offset, now_ms)
                continue
            marker = read_marker(segment.batch_at(at, header))
            ended = state.end_transaction(header, marker, header.base_offset, now_ms)
            if ended is not None and on_ended is not None:
                on_ended(segment, ended)


def recall_unreplicated(
    segments: Sequence[Segment],
    state: ProducerState,
    found: Offset,
    snapshots: ProducerSnapshots,
    *,
    log_start: Offset,
    high_watermark: Offset,
    now_ms: TimestampMs,
) -> None:
    """``state`` is what the snapshot at ``found`` held, which names open transactions alone. Add those that ended before it
    and above the high watermark, by a replay from an older snapshot. Raises ``DamageFound``."""
    if found <= high_watermark or not state.has_met_markers():
        return
    replayed = ProducerState()
    begin = snapshots.load_newest(replayed, log_start, high_watermark)
    before = [segment for segment in segments if segment.base_offset < found]
    replay_producers(before, replayed, log_start if begin is None else begin, now_ms)
    state.transactions.recall_completed(replayed.transactions, high_watermark, found)


def rebuild_aborted(
    segments: Sequence[Segment], wanted: Segment, snapshots: ProducerSnapshots, log_start: Offset, now_ms: TimestampMs
) -> None:
    """Make the transaction index of ``wanted`` from the log, beginning at the nearest snapshot before it. Raises
    ``DamageFound``; an index that cannot be written now is written later."""
    index = wanted.aborted
    assert index is not None
    index.reset()
    state = ProducerState()
    found = snapshots.load_newest(state, log_start, wanted.base_offset)

    def note(segment: Segment, ended: EndedTransaction) -> None:
        if segment is wanted and ended.aborted:
            index.add(ended, write=False)

    upto = [segment for segment in segments if segment.base_offset <= wanted.base_offset]
    replay_producers(upto, state, log_start if found is None else found, now_ms, note)
