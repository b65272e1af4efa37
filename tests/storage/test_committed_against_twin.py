"""A log with transactions against what its batches say naively: last stable offset, aborted lists, visible records."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from broker.clock import ManualClock
from broker.config.topic import TopicConfig
from broker.storage.aborted_transactions import ABORTED_FILE
from broker.storage.log import Log
from broker.storage.log_dir import LogDir
from broker.storage.memory_filesystem import MemoryFileSystem
from tests.storage.committed import append_marker, check_committed
from tests.storage.support import PARTITION, PATH, TOPIC_ID, append, flush, open_log_dir

PRODUCERS = st.integers(1, 4)
DIRECTORY = f"{PATH}/{PARTITION}"


class CommittedMachine(RuleBasedStateMachine):
    @initialize(segment_bytes=st.sampled_from([300, 900, 100_000]))
    def begin(self, segment_bytes: int) -> None:
        self.disk, self.clock = MemoryFileSystem(), ManualClock()
        self.config = TopicConfig(segment_bytes=segment_bytes, index_interval_bytes=64, file_delete_delay_ms=0)
        self.log_dir: LogDir = open_log_dir(self.disk, config=self.config, clock=self.clock)
        self.log: Log = self.log_dir.create_log(PARTITION, TOPIC_ID, self.config)

    def _sequence(self, producer: int) -> int:
        known = {p.producer_id: p.last_sequence for p in self.log.producer_state.producers()}
        return known.get(producer, -1) + 1

    def _is_open(self, producer: int) -> bool:
        return self.log.producer_state.has_open_transaction(producer, 0)

    # Rules -----------------------------------------------------------------------------------------

    @rule(producer=PRODUCERS, count=st.integers(1, 3))
    def write_in_transaction(self, producer: int, count: int) -> None:
        sequence = self._sequence(producer)
        values = [b"x"] * count
        append(self.log, *values, producer_id=producer, producer_epoch=0, base_sequence=sequence, is_transactional=True)

    @rule(producer=PRODUCERS)
    def write_plainly(self, producer: int) -> None:
        if self._is_open(producer):
            append(self.log, b"nobody's")
        else:
            append(self.log, b"y", producer_id=producer, producer_epoch=0, base_sequence=self._sequence(producer))

    @rule(producer=PRODUCERS, commit=st.booleans())
    def end(self, producer: int, commit: bool) -> None:
        append_marker(self.log, producer, commit=commit)

    @rule()
    def roll(self) -> None:
        self.log.roll_if_due(self.clock.wall_ms() + 10**12)

    @rule()
    def make_durable(self) -> None:
        flush(self.log)
        self.log_dir.checkpoint()

    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        self.log.truncate_to(data.draw(st.integers(self.log.log_start_offset, self.log.log_end_offset)))

    @rule(data=st.data())
    def retention(self, data: st.DataObject) -> None:
        self.log.delete_segments_below(data.draw(st.integers(self.log.log_start_offset, self.log.log_end_offset)))

    @rule(clean=st.booleans())
    def restart(self, clean: bool) -> None:
        self.log_dir.close(clean=clean)
        self._open()

    @rule(clean=st.booleans(), data=st.data())
    def restart_without_some_index(self, clean: bool, data: st.DataObject) -> None:
        self.log_dir.close(clean=clean)
        names = [
            name for name in self.disk.list_directory(DIRECTORY) if name.endswith(".txnindex") or name == ABORTED_FILE
        ]
        if names:
            path = f"{DIRECTORY}/{data.draw(st.sampled_from(sorted(names)))}"
            content = bytearray(self.disk.read_file(path) or b"")
            match data.draw(st.sampled_from(["gone", "short", "altered"])):
                case "short" if content:
                    self.disk.write_file(path, content[: data.draw(st.integers(0, len(content) - 1))])
                case "altered" if content:
                    content[data.draw(st.integers(0, len(content) - 1))] ^= 1
                    self.disk.write_file(path, content)
                case _:
                    self.disk.unlink(path)
        self._open()

    def _open(self) -> None:
        self.log_dir = open_log_dir(self.disk, config=self.config, clock=self.clock)
        assert not self.log_dir.offline, self.log_dir.offline
        self.log = self.log_dir.logs[PARTITION]

    def teardown(self) -> None:
        if hasattr(self, "log_dir"):
            self.log_dir.close(clean=False)

    @invariant()
    def what_is_derived_says_what_the_log_says(self) -> None:
        if hasattr(self, "log"):
            middle = (self.log.log_start_offset + self.log.log_end_offset) // 2
            check_committed(self.log, middle)
            check_committed(self.log)


CommittedMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


class TestCommittedAgainstTwin(CommittedMachine.TestCase):  # type: ignore[misc, name-defined]
    """On every push."""


class DeepCommittedMachine(CommittedMachine):
    """The same, at length."""


DeepCommittedMachine.TestCase.settings = settings(
    CommittedMachine.TestCase.settings, max_examples=1_500, stateful_step_count=60
)


@pytest.mark.nightly
@pytest.mark.timeout(3_000)
class TestCommittedAgainstTwinAtLength(DeepCommittedMachine.TestCase):  # type: ignore[misc, name-defined]
    """Every night."""
