"""One scripted life of a log on a recording disk, and what must be true of every crash along it.

``Story`` drives a real ``LogDir`` and writes down, beside the disk's journal, what had been promised by when: which
records were flushed, how far the log start had moved. ``check_image`` recovers one image and holds it against the
promise in force when the disk stopped.
"""

from __future__ import annotations

import errno
import os
import random
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field

from broker.clock import ManualClock
from broker.config.topic import TopicConfig
from broker.errors import KafkaError
from broker.protocol.batch import scan_batches
from broker.protocol.records import iter_records
from broker.storage.log import Log
from broker.storage.log_dir import LogDir
from broker.storage.memory_filesystem import MemoryFileSystem
from tests.storage.committed import append_marker, check_committed
from tests.storage.support import PARTITION, TOPIC_ID, append, flush, open_log_dir

CONFIG = TopicConfig(segment_bytes=900, index_interval_bytes=64, file_delete_delay_ms=0)
PRODUCER = 5
TRANSACTIONAL = (6, 7)
MARKER_VALUE = bytes(6)
"""Version and coordinator epoch, both 0."""


@dataclass(frozen=True, slots=True)
class Promise:
    """In force from journal position ``since`` on."""

    since: int
    flushed_offset: int
    log_start_offset: int


@dataclass
class Story:
    disk: MemoryFileSystem = field(default_factory=MemoryFileSystem)
    clock: ManualClock = field(default_factory=ManualClock)
    written: dict[int, set[bytes]] = field(default_factory=dict)
    """Every value ever written at an offset: more than one only after a truncation."""
    promises: list[Promise] = field(default_factory=lambda: [Promise(0, 0, 0)])
    log_dir: LogDir = field(init=False)
    log: Log = field(init=False)
    epoch: int = 0

    def tell(self) -> None:
        """Appends, flushes, rolls, retention, delete records, a truncation, a clean restart, another life."""
        self.log_dir = open_log_dir(self.disk, config=CONFIG, clock=self.clock)
        self.log = self.log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
        for number in range(8):
            self.append(number, epoch=0)
            if number % 3 == 2:
                self.flush()
        self.log_dir.checkpoint()
        for number in range(8, 20):
            self.append(number, epoch=1 + number // 15)
            self.write_in_transaction(number, TRANSACTIONAL[number % 2], epoch=1 + number // 15)
            if number % 3 == 0:
                self.end(TRANSACTIONAL[number % 2], commit=number % 2 == 1, epoch=1 + number // 15)
            if number % 4 == 0:
                self.flush()
        self.flush()
        self.log_dir.checkpoint()
        self.log.delete_segments_below(7)
        self.promise()
        self.log_dir.purge_due(self.clock.wall_ms())
        self.log.advance_log_start(9)
        self.promise()
        for number in range(20, 24):
            self.append(number, epoch=3)
            self.write_in_transaction(number, TRANSACTIONAL[0], epoch=3)
            self.end(TRANSACTIONAL[0], commit=False, epoch=3)
        self.truncate(37)
        for number in range(30, 34):
            self.append(number, epoch=5)
        self.flush()
        self.log_dir.close(clean=True)
        self.log_dir = open_log_dir(self.disk, config=CONFIG, clock=self.clock)
        self.log = self.log_dir.logs[PARTITION]
        for number in range(40, 54):
            self.append(number, epoch=6)
            if number % 4 == 0:
                self.write_in_transaction(number, TRANSACTIONAL[1], epoch=6)
                self.end(TRANSACTIONAL[1], commit=False, epoch=6)
        self.flush()
        self.write_in_transaction(53, TRANSACTIONAL[0], epoch=6)
        self.append(54, epoch=6)

    def tell_at_random(self, choose: random.Random, steps: int, *, faults: bool = False) -> None:
        """Another life, in any order; with ``faults`` on a disk that fails now and then."""
        self.log_dir = open_log_dir(self.disk, config=CONFIG, clock=self.clock)
        self.log = self.log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
        for number in range(steps):
            if faults and choose.random() < 0.05:
                self.disk.fault = one_fault(choose)
            try:
                self._anything(choose, number)
            except (KafkaError, OSError):
                assert faults
                self.disk.fault = None
                if self.log_dir.failed_reason or self.log.offline_reason or choose.random() < 0.2:
                    self.restart(clean=False)
        self.disk.fault = None

    def _anything(self, choose: random.Random, number: int) -> None:
        event = choose.random()
        if event < 0.6:
            self.epoch += choose.random() < 0.1
            match choose.randrange(4):
                case 0:
                    self.write_in_transaction(number, choose.choice(TRANSACTIONAL), epoch=self.epoch)
                case 1:
                    self.end(choose.choice(TRANSACTIONAL), commit=choose.random() < 0.3, epoch=self.epoch)
                case _:
                    self.append(number, epoch=self.epoch)
        elif event < 0.75:
            self.flush()
        elif event < 0.80:
            self.log_dir.checkpoint()
        elif event < 0.84:
            self.log.roll_if_due(self.clock.wall_ms() + 10**12)
        elif event < 0.88:
            self.log.delete_segments_below(choose.randint(self.log.log_start_offset, self.log.flushed_offset))
            self.promise()
        elif event < 0.91:
            self.log.advance_log_start(choose.randint(self.log.log_start_offset, self.log.flushed_offset))
            self.promise()
        elif event < 0.94:
            self.epoch += 1
            self.truncate(choose.randint(self.log.log_start_offset, self.log.log_end_offset))
        elif event < 0.96:
            self.log_dir.purge_due(self.clock.wall_ms())
        else:
            self.restart(clean=choose.random() < 0.5)

    def restart(self, *, clean: bool) -> None:
        self.log_dir.close(clean=clean)
        self.disk.fault = None
        self.log_dir = open_log_dir(self.disk, config=CONFIG, clock=self.clock)
        assert not self.log_dir.offline, self.log_dir.offline
        self.log = self.log_dir.logs[PARTITION]
        self.promise()

    def append(self, number: int, *, epoch: int) -> None:
        """What fails may still be found after a crash: it was never acknowledged, but it was written."""
        values = [b"%d/%d" % (number, index) for index in range(1 + number % 2)]
        for index, value in enumerate(values):
            self.written.setdefault(self.log.log_end_offset + index, set()).add(value)
        append(
            self.log,
            *values,
            leader_epoch=epoch,
            producer_id=PRODUCER,
            producer_epoch=epoch,
            base_sequence=self._next_sequence(epoch),
        )

    def write_in_transaction(self, number: int, producer: int, *, epoch: int) -> None:
        value = b"%d of %d" % (number, producer)
        self.written.setdefault(self.log.log_end_offset, set()).add(value)
        append(
            self.log,
            value,
            leader_epoch=epoch,
            producer_id=producer,
            producer_epoch=0,
            base_sequence=self._next_sequence(0, producer),
            is_transactional=True,
        )

    def end(self, producer: int, *, commit: bool, epoch: int) -> None:
        self.written.setdefault(self.log.log_end_offset, set()).add(MARKER_VALUE)
        append_marker(self.log, producer, commit=commit, leader_epoch=epoch)

    def _next_sequence(self, epoch: int, producer: int = PRODUCER) -> int:
        for known in self.log.producer_state.producers():
            if (known.producer_id, known.producer_epoch) == (producer, epoch):
                return known.last_sequence + 1
        return 0

    def flush(self) -> None:
        flush(self.log)
        self.promise()

    def truncate(self, offset: int) -> None:
        """From its first change on, only what it leaves is promised."""
        since, flushed, start = len(self.disk.journal), self.log.flushed_offset, self.log.log_start_offset
        try:
            self.log.truncate_to(offset)
        except (KafkaError, OSError):
            self.promises.append(Promise(since, start, start))
            raise
        left = min(flushed, self.log.log_end_offset)
        self.promises.append(Promise(since, left, self.log.log_start_offset))

    def promise(self) -> None:
        self.promises.append(Promise(len(self.disk.journal), self.log.flushed_offset, self.log.log_start_offset))

    def promise_at(self, position: int) -> Promise:
        index = bisect_right([promise.since for promise in self.promises], position) - 1
        return self.promises[index]


def one_fault(choose: random.Random) -> Callable[[str, str], None]:
    """Fail one of the next operations, once."""
    countdown = choose.randint(0, 6)
    number = choose.choice([errno.EIO, errno.ENOSPC])

    def fault(operation: str, path: str) -> None:
        nonlocal countdown
        countdown -= 1
        if countdown == -1:
            raise OSError(number, os.strerror(number), path)

    return fault


def check_image(story: Story, image: MemoryFileSystem, position: int) -> None:
    """Recover the image as a new broker process would, twice, and hold it against what was promised."""
    promise = story.promise_at(position)
    log_dir = open_log_dir(image, config=CONFIG)
    assert not log_dir.offline, log_dir.offline
    log = log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    contents = _check_log(story, log, promise)
    append(log, b"life goes on", leader_epoch=9)
    flush(log)
    log_dir.close(clean=True)
    again = open_log_dir(image, config=CONFIG)
    assert not again.offline, again.offline
    assert _contents(again.logs[PARTITION])[:-1] == contents
    assert again.logs[PARTITION].producer_state.producers() == log.producer_state.producers()


def _check_log(story: Story, log: Log, promise: Promise) -> list[tuple[int, bytes | None]]:
    assert log.log_end_offset >= promise.flushed_offset, "an acknowledged record is gone"
    assert log.log_start_offset >= promise.log_start_offset, "a deleted record is back"
    assert log.flushed_offset == log.log_end_offset, "what recovery found is durable when it returns"
    contents = _contents(log)
    assert [offset for offset, _ in contents] == list(range(log.log_start_offset, log.log_end_offset))
    for offset, value in contents:
        assert value in story.written[offset], f"offset {offset} holds {value!r}"
    _check_epochs_and_producers(log)
    return contents


def _contents(log: Log) -> list[tuple[int, bytes | None]]:
    found: list[tuple[int, bytes | None]] = []
    position = log.log_start_offset
    while buffers := log.read(position, 300, upto_offset=log.log_end_offset):
        for buffer in buffers:
            found += [(r.offset, r.value) for r in iter_records(buffer) if r.offset >= position]
        position = found[-1][0] + 1
    return found


def _check_epochs_and_producers(log: Log) -> None:
    """What is derived from the log says what the log says."""
    last_sequence = {}
    position = log.log_start_offset
    while buffers := log.read(position, 1 << 20, upto_offset=log.log_end_offset):
        for buffer in buffers:
            for _, header in scan_batches(buffer):
                assert log.epoch_at(max(header.base_offset, log.log_start_offset)) == header.leader_epoch
                if not header.is_control:
                    last_sequence[header.producer_id] = header.producer_epoch, header.last_sequence
                position = header.next_offset
    assert log.latest_epoch == (log.epochs()[-1][0] if log.epochs() else -1)
    known = {p.producer_id: (p.producer_epoch, p.last_sequence) for p in log.producer_state.producers()}
    for producer_id, newest in last_sequence.items():
        assert known[producer_id] == newest
    check_committed(log)
