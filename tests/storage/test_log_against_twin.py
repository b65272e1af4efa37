"""The log against a naive twin: a list of records that never forgets what it may not forget."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from broker.clock import ManualClock
from broker.config.topic import TopicConfig
from broker.errors import ErrorCode, KafkaError
from broker.partition.recompression import Target, recompress
from broker.protocol.batch import COMPRESSION_NAMES
from broker.protocol.records import iter_records
from broker.storage.log import Log
from broker.storage.log_dir import LogDir
from broker.storage.memory_filesystem import MemoryFileSystem
from tests.storage.support import NOW_MS, PARTITION, TOPIC_ID, batch, flush, open_log_dir, read_all

PRODUCER = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """One batch of the twin."""

    base_offset: int
    values: tuple[bytes, ...]
    timestamps: tuple[int, ...]
    epoch: int
    first_sequence: int | None
    sent: bytes

    @property
    def next_offset(self) -> int:
        return self.base_offset + len(self.values)


class LogMachine(RuleBasedStateMachine):
    """Every rule does the same to both; the invariant compares all that can be asked."""

    @initialize(
        segment_bytes=st.sampled_from([300, 1_000, 100_000]),
        index_interval_bytes=st.sampled_from([0, 100, 4_096]),
        segment_ms=st.sampled_from([50, 10**9]),
        preallocate=st.booleans(),
    )
    def begin(self, segment_bytes: int, index_interval_bytes: int, segment_ms: int, preallocate: bool) -> None:
        self.config = TopicConfig(
            segment_bytes=segment_bytes,
            index_interval_bytes=index_interval_bytes,
            segment_ms=segment_ms,
            preallocate=preallocate,
        )
        self.disk = MemoryFileSystem()
        self.clock = ManualClock()
        self.entries: list[Entry] = []
        self.start = 0
        self.end = 0
        self.epoch = 0
        self.sequence = 0
        self.counter = 0
        self.log_dir = self._open()
        self.log: Log = self.log_dir.create_log(PARTITION, TOPIC_ID, self.config)

    def _open(self) -> LogDir:
        return open_log_dir(self.disk, config=self.config, clock=self.clock)

    # Rules -----------------------------------------------------------------------------------------

    @rule(
        size=st.integers(0, 120),
        skews=st.lists(st.integers(-100, 100), min_size=1, max_size=4),
        idempotent=st.booleans(),
        codec=st.sampled_from(COMPRESSION_NAMES),
        stored_as=st.none() | st.integers(0, 4),
    )
    def append(self, size: int, skews: list[int], idempotent: bool, codec: str, stored_as: int | None) -> None:
        """``stored_as``: the codec that ``compression.type`` asks for."""
        self.counter += 1
        count = len(skews)
        values = tuple(b"%d.%d." % (self.counter, index) + b"x" * size for index in range(count))
        timestamps = tuple(NOW_MS + skew for skew in skews)
        options = {}
        if idempotent:
            options = {"producer_id": PRODUCER, "producer_epoch": 0, "base_sequence": self.sequence}
        data = batch(*values, timestamps=timestamps, compression=codec, **options)
        if stored_as is not None:
            data = recompress(data, Target(codec=stored_as, level=max(1, stored_as)))
        sent = bytes(data)
        if len(data) > self.config.segment_bytes:
            with pytest.raises(KafkaError) as refused:
                self.log.append_as_leader(data, leader_epoch=self.epoch, now_ms=NOW_MS)
            assert refused.value.code == ErrorCode.RECORD_LIST_TOO_LARGE
            return
        result = self.log.append_as_leader(data, leader_epoch=self.epoch, now_ms=NOW_MS)
        assert (result.base_offset, result.last_offset) == (self.end, self.end + count - 1)
        first = self.sequence if idempotent else None
        if self.config.message_timestamp_type == "LogAppendTime":
            assert result.log_append_time_ms == NOW_MS
            timestamps = (NOW_MS,) * count
        self.entries.append(Entry(self.end, values, timestamps, self.epoch, first, sent))
        self.sequence += count if idempotent else 0
        self.end += count

    @rule(back=st.integers(0, 4))
    def repeat_a_batch(self, back: int) -> None:
        """One of the producer's last five batches comes again, as a retry does."""
        mine = [entry for entry in self.entries if entry.first_sequence is not None]
        if len(mine) <= back:
            return
        entry = mine[-1 - back]
        known = next((e for e in self.log.producer_state.entries() if e.producer_id == PRODUCER), None)
        if known is None or known.last_sequence != self.sequence - 1 or back >= len(known.batches):
            return
        result = self.log.append_as_leader(entry.sent, leader_epoch=self.epoch, now_ms=NOW_MS)
        assert (result.duplicate, result.base_offset) == (True, entry.base_offset)

    @rule(kind=st.sampled_from(("CreateTime", "LogAppendTime")))
    def change_whose_time_counts(self, kind: str) -> None:
        self.config = replace(self.config, message_timestamp_type=kind)
        self.log.config = self.config

    @rule()
    def new_epoch(self) -> None:
        self.epoch += 1

    @rule()
    def roll(self) -> None:
        self.log.roll_if_due(self.clock.wall_ms() + 10**12)

    @rule()
    def flush(self) -> None:
        flush(self.log)
        assert self.log.flushed_offset == self.end

    @rule()
    def checkpoint(self) -> None:
        self.log_dir.checkpoint()

    @rule(data=st.data())
    def read_from_anywhere(self, data: st.DataObject) -> None:
        offset = data.draw(st.integers(self.start, self.end))
        upto = data.draw(st.sampled_from(sorted({entry.next_offset for entry in self.entries} | {self.end})))
        max_bytes = data.draw(st.integers(0, 2_000))
        buffers = self.log.read(offset, max_bytes, upto_offset=upto)
        records = [record for buffer in buffers for record in iter_records(buffer)]
        expected = [entry for entry in self.entries if entry.next_offset > offset and entry.next_offset <= upto]
        if offset >= upto or not expected:
            assert records == []
            return
        assert records[0].offset == expected[0].base_offset
        found = [(record.offset, record.value) for record in records]
        everything = [(e.base_offset + i, value) for e in expected for i, value in enumerate(e.values)]
        assert found == everything[: len(found)]
        assert sum(map(len, buffers)) <= max_bytes or len(records) == len(expected[0].values)

    @rule(data=st.data())
    def retention(self, data: st.DataObject) -> None:
        target = data.draw(st.integers(self.start, self.end))
        ends = [segment.end_offset for segment in self.log.segments() if segment.size_bytes]
        self.log.delete_segments_below(target)
        self.start = max([self.start, *(end for end in ends if end <= target)])

    @rule(data=st.data())
    def delete_records(self, data: st.DataObject) -> None:
        self.start = data.draw(st.integers(self.start, self.end))
        self.log.advance_log_start(self.start)

    @precondition(lambda self: self.entries)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        target = data.draw(st.integers(self.start, self.end))
        self.log.truncate_to(target)
        kept = [entry for entry in self.entries if entry.next_offset <= target]
        whole = kept[-1].next_offset if kept else 0
        if whole < self.start:
            # The batch that holds the log start is cut in two: what is below it was deleted anyway.
            whole = self.start
        self.end = min(self.end, whole) if target < self.end else self.end
        self.entries = [entry for entry in self.entries if entry.next_offset <= self.end]
        mine = [entry for entry in self.entries if entry.first_sequence is not None and entry.next_offset > self.start]
        known = {p.producer_id: p.last_sequence for p in self.log.producer_state.producers()}
        if mine and mine[-1].first_sequence is not None:
            self.sequence = mine[-1].first_sequence + len(mine[-1].values)
        else:
            self.sequence = known.get(PRODUCER, self.sequence - 1) + 1

    @rule(clean=st.booleans())
    def restart(self, clean: bool) -> None:
        """A process that is killed leaves everything it wrote: the page cache outlives it."""
        self.log_dir.close(clean=clean)
        self.log_dir = self._open()
        assert not self.log_dir.offline
        self.log = self.log_dir.logs[PARTITION]
        assert self.log.flushed_offset == self.end

    # What must be equal ----------------------------------------------------------------------------

    @invariant()
    def the_log_and_its_twin_agree(self) -> None:
        if not hasattr(self, "log"):
            return
        log = self.log
        assert (log.log_start_offset, log.log_end_offset) == (self.start, self.end)
        assert log.flushed_offset <= log.log_end_offset
        expected = [
            (entry.base_offset + index, value, entry.timestamps[index])
            for entry in self.entries
            for index, value in enumerate(entry.values)
            if entry.base_offset + index >= self.start
        ]
        records = read_all(log, max_bytes=700)
        assert [(record.offset, record.value, record.timestamp) for record in records] == expected
        assert log.size_bytes == sum(segment.size_bytes for segment in log.segments())
        for offset, _, _ in expected[:: max(1, len(expected) // 4)]:
            entry = next(e for e in self.entries if e.next_offset > offset)
            assert log.epoch_at(offset) == entry.epoch
        self._compare_search(log, expected)
        self._compare_epochs(log)

    def _compare_search(self, log: Log, expected: list[tuple[int, bytes, int]]) -> None:
        for target in (0, NOW_MS - 50, NOW_MS, NOW_MS + 50, NOW_MS + 1_000):
            found = log.offset_for_timestamp(target)
            wanted = next(((offset, time) for offset, _, time in expected if time >= target), None)
            assert (found[:2] if found else None) == wanted
        newest = max((time for _, _, time in expected), default=None)
        found = log.max_timestamp()
        wanted = next(((offset, time) for offset, _, time in expected if time == newest), None)
        assert (found[:2] if found else None) == wanted

    def _compare_epochs(self, log: Log) -> None:
        """Where an epoch ended is where the next one that wrote anything began."""
        for epoch in range(self.epoch + 2):
            wrote = [entry for entry in self.entries if entry.epoch <= epoch and entry.next_offset > self.start]
            later = [entry for entry in self.entries if entry.epoch > epoch and entry.next_offset > self.start]
            if wrote and later:
                assert log.end_offset_for_epoch(epoch) == (wrote[-1].epoch, later[0].base_offset)

    def teardown(self) -> None:
        if hasattr(self, "log_dir"):
            self.log_dir.close(clean=False)


LogMachine.TestCase.settings = settings(
    max_examples=50,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


class TestLogAgainstTwin(LogMachine.TestCase):  # type: ignore[misc, name-defined]
    """On every push."""


class DeepLogMachine(LogMachine):
    """The same, at length."""


DeepLogMachine.TestCase.settings = settings(LogMachine.TestCase.settings, max_examples=2_000, stateful_step_count=80)


@pytest.mark.nightly
@pytest.mark.timeout(3_000)
class TestLogAgainstTwinAtLength(DeepLogMachine.TestCase):  # type: ignore[misc, name-defined]
    """Every night."""
