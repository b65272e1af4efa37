"""Whatever a leader's log goes through, a copy made from what it sends knows the same, also after a crash.

Bytes, epochs, producers, open and aborted transactions, and where times are: nothing of it is sent, all of it follows from the
batches, in whatever pieces they come and whatever segments they land in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.config.topic import TopicConfig
from broker.protocol.batch import scan_batches
from broker.protocol.markers import build_marker
from broker.storage.log import Log
from broker.storage.memory_filesystem import MemoryFileSystem
from tests.storage.support import NOW_MS, PARTITION, TOPIC_ID, batch, open_log_dir

LEADER_CONFIG = TopicConfig(segment_bytes=700, index_interval_bytes=64)
FOLLOWER_CONFIG = TopicConfig(segment_bytes=1_500, index_interval_bytes=64)


@dataclass(frozen=True)
class Write:
    """``producer`` 0 has no id. A transaction is ended by the next ``End`` of its producer."""

    count: int
    producer: int
    transactional: bool
    ago_ms: int


@dataclass(frozen=True)
class End:
    producer: int
    commit: bool


@dataclass(frozen=True)
class Elect:
    """A newer epoch of the same leader."""


@dataclass(frozen=True)
class Delete:
    records: int


@dataclass(frozen=True)
class Copy:
    max_bytes: int


writes = st.builds(
    Write,
    count=st.integers(1, 4),
    producer=st.integers(0, 2),
    transactional=st.booleans(),
    ago_ms=st.integers(0, 5_000),
)
events = st.one_of(
    writes,
    writes,
    st.builds(End, producer=st.integers(1, 2), commit=st.booleans()),
    st.builds(Elect),
    st.builds(Delete, records=st.integers(1, 6)),
    st.builds(Copy, max_bytes=st.sampled_from((1, 200, 100_000))),
)


class Pair:
    def __init__(self) -> None:
        self.leader = open_log_dir(MemoryFileSystem(), config=LEADER_CONFIG).create_log(
            PARTITION, TOPIC_ID, LEADER_CONFIG
        )
        self.disk = MemoryFileSystem()
        self.directory = open_log_dir(self.disk, config=FOLLOWER_CONFIG)
        self.follower = self.directory.create_log(PARTITION, TOPIC_ID, FOLLOWER_CONFIG)
        self.epoch = 0
        self.sequences = [0, 0, 0]
        self.open: set[int] = set()
        self.leader.begin_epoch(0)
        self.deleted = False
        """A copy cannot know what was deleted before it came by: producers and transactions that began there."""

    def apply(self, event: object) -> None:
        if isinstance(event, Write):
            self._write(event)
        elif isinstance(event, End):
            self._end(event)
        elif isinstance(event, Elect):
            self.epoch += 1
            self.leader.begin_epoch(self.epoch)
        elif isinstance(event, Delete):
            self.deleted = True
            self.leader.advance_log_start(min(self.leader.log_start_offset + event.records, self.leader.log_end_offset))
        elif isinstance(event, Copy):
            self.copy(event.max_bytes)

    def _write(self, event: Write) -> None:
        options: dict[str, Any] = {}
        if event.producer:
            transactional = event.transactional or event.producer in self.open
            options = {
                "producer_id": event.producer,
                "producer_epoch": 0,
                "base_sequence": self.sequences[event.producer],
                "is_transactional": transactional,
            }
            self.sequences[event.producer] += event.count
            if transactional:
                self.open.add(event.producer)
        values = [b"v" * (20 * number) for number in range(event.count)]
        records = batch(
            *values, timestamps=[NOW_MS - event.ago_ms + number for number in range(event.count)], **options
        )
        self.leader.append_as_leader(memoryview(records), leader_epoch=self.epoch, now_ms=NOW_MS)

    def _end(self, event: End) -> None:
        self.open.discard(event.producer)
        marker = build_marker(
            producer_id=event.producer,
            producer_epoch=0,
            coordinator_epoch=1,
            commit=event.commit,
            timestamp_ms=NOW_MS,
        )
        self.leader.append_as_leader(memoryview(marker), leader_epoch=self.epoch, now_ms=NOW_MS, origin="coordinator")

    def copy(self, max_bytes: int) -> bool:
        """One answer to a fetch; whether it brought anything."""
        leader, follower = self.leader, self.follower
        if follower.log_end_offset < leader.log_start_offset:
            follower.restart_at(leader.log_start_offset)
        pieces = leader.read(follower.log_end_offset, max_bytes, upto_offset=leader.log_end_offset, empty_alone=True)
        records = b"".join(bytes(piece) for piece in pieces)
        if records:
            first = next(scan_batches(records))[1]
            if first.base_offset < follower.log_end_offset:
                follower.restart_at(first.base_offset)
            follower.append_as_follower(memoryview(records))
        if leader.log_start_offset > follower.log_start_offset:
            follower.advance_log_start(min(leader.log_start_offset, follower.log_end_offset))
        return bool(records)


def knowledge(log: Log, start: int, *, all_of_it: bool) -> dict[str, object]:
    """What can be asked of a log from ``start`` on."""
    records: list[bytes] = []
    offset = start
    while offset < log.log_end_offset:
        pieces = log.read(offset, 1 << 20, upto_offset=log.log_end_offset, empty_alone=True)
        joined = b"".join(bytes(piece) for piece in pieces)
        batches = list(scan_batches(joined))
        records += [joined[at : at + header.size] for at, header in batches]
        offset = batches[-1][1].next_offset
    transactional = {
        "undecided": log.producer_state.transactions.first_undecided(),
        "aborted": log.aborted_transactions(start, [b"".join(records)]) if records else (),
        "sequences": {p.producer_id: p.last_sequence for p in log.producer_state.producers()},
    }
    return (transactional if all_of_it else {}) | {
        "range": (log.log_start_offset, log.log_end_offset),
        "records": records,
        "epochs": [log.epoch_at(offset) for offset in range(start, log.log_end_offset)],
        "times": [log.offset_for_timestamp(NOW_MS - ago_ms) for ago_ms in range(0, 5_200, 650)],
        "newest": log.max_timestamp(),
    }


@settings(deadline=None)
@given(story=st.lists(events, max_size=40))
def test_a_copy_knows_what_its_leader_knows(story: list[object]) -> None:
    pair = Pair()
    for event in story:
        pair.apply(event)
    while pair.copy(300):
        pass
    start, all_of_it = pair.leader.log_start_offset, not pair.deleted
    wanted = knowledge(pair.leader, start, all_of_it=all_of_it)
    assert knowledge(pair.follower, start, all_of_it=all_of_it) == wanted

    pair.directory.close(clean=False)
    again = open_log_dir(pair.disk, config=FOLLOWER_CONFIG)
    assert not again.offline
    assert knowledge(again.logs[PARTITION], start, all_of_it=all_of_it) == wanted
