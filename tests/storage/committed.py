"""What a reader of committed data must see, found out naively, and what it does see with what the log tells it."""

from __future__ import annotations

from broker.protocol.batch import BatchHeader, scan_batches
from broker.protocol.markers import EndTransactionMarker, build_marker, read_marker
from broker.storage.log import Log, LogAppend
from tests.storage.support import NOW_MS

Batches = list[tuple[BatchHeader, EndTransactionMarker | None]]


def append_marker(
    log: Log, producer: int, *, commit: bool, producer_epoch: int = 0, leader_epoch: int = 0, coordinator_epoch: int = 0
) -> LogAppend:
    marker = build_marker(
        producer_id=producer,
        producer_epoch=producer_epoch,
        coordinator_epoch=coordinator_epoch,
        commit=commit,
        timestamp_ms=NOW_MS,
    )
    return log.append_as_leader(memoryview(marker), leader_epoch=leader_epoch, now_ms=NOW_MS, origin="coordinator")


def batches_of(log: Log) -> Batches:
    """Every batch of the log, with what its marker says."""
    found: Batches = []
    position = log.log_start_offset
    while buffers := log.read(position, 1 << 20, upto_offset=log.log_end_offset):
        for buffer in buffers:
            for at, header in scan_batches(buffer):
                found.append((header, read_marker(buffer, at) if header.is_control else None))
                position = header.next_offset
    return found


def naive_last_stable(batches: Batches, end: int) -> int:
    """Where the first transactional batch lies that no marker follows."""
    ended: set[int] = set()
    stable = end
    for header, marker in reversed(batches):
        if marker is not None:
            ended.add(header.producer_id)
        elif header.is_transactional and header.record_count and header.producer_id not in ended:
            stable = header.base_offset
    return stable


def naive_visible(batches: Batches, upto_offset: int) -> list[int]:
    """Base offsets of the data below ``upto_offset`` that is in no transaction, or in a committed one."""
    outcome: dict[int, bool] = {}
    visible = []
    for header, marker in reversed(batches):
        if marker is not None:
            outcome[header.producer_id] = marker.commit
        elif (
            header.record_count
            and header.base_offset < upto_offset
            and (not header.is_transactional or outcome.get(header.producer_id, False))
        ):
            visible.append(header.base_offset)
    return visible[::-1]


def last_stable_of(log: Log) -> int:
    """With everything replicated."""
    first = log.producer_state.transactions.first_unstable(log.log_end_offset)
    return log.log_end_offset if first is None else max(first, log.log_start_offset)


def visible_of(log: Log, start: int, max_bytes: int = 300) -> list[int]:
    """The same as a client sees it that reads by small fetches and drops what it is told to drop."""
    stable = last_stable_of(log)
    visible = []
    position = start
    aborted: set[int] = set()
    while buffers := log.read(position, max_bytes, upto_offset=stable):
        waiting = list(log.aborted_transactions(position, buffers))
        assert [first for _, first in waiting] == sorted(first for _, first in waiting)
        aborted.clear()  # each answer names all that reach into it
        for buffer in buffers:
            for at, header in scan_batches(buffer):
                while waiting and waiting[0][1] <= header.last_offset:
                    aborted.add(waiting.pop(0)[0])
                marker = read_marker(buffer, at) if header.is_control else None
                if marker is not None and not marker.commit:
                    aborted.discard(header.producer_id)
                dropped = header.is_transactional and header.producer_id in aborted
                if header.record_count and not header.is_control and not dropped:
                    visible.append(header.base_offset)
                position = header.next_offset
        assert not waiting, "a transaction was named that does not reach into the answer"
    return visible


def check_committed(log: Log, start: int | None = None) -> None:
    """What is derived from the log about transactions says what the log says."""
    batches = batches_of(log)
    stable = naive_last_stable(batches, log.log_end_offset)
    told = last_stable_of(log)
    # A transaction whose first batches were deleted begins at the log's start, or at what is left of it.
    assert told == stable or told == log.log_start_offset < stable
    first = log.log_start_offset if start is None else start
    expected = [base for base in naive_visible(batches, told) if base >= first]
    seen = [base for base in visible_of(log, first) if base >= first]
    assert seen == expected
