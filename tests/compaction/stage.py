"""A compacted log on a recorded disk, with the broker's side and the worker's side of a compaction in one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

from broker.clock import ManualClock
from broker.compaction.cleaner import CleanedGroup, PartitionPass, PassResult
from broker.compaction.cleaning import ProducerTail
from broker.compaction.plan import PlannedCompaction, plan_partition
from broker.config.topic import TopicConfig
from broker.handlers.compaction_inventory import decided_offset, describe
from broker.partition.driver import Partition
from broker.protocol.batch import BatchHeader, scan_batches
from broker.protocol.private import CleanerSettings
from broker.protocol.records import Record, build_batch, iter_records
from broker.storage.cleaned_segment import check_cleaned
from broker.storage.log import Log
from broker.storage.log_dir import LogDir
from broker.storage.memory_filesystem import MemoryFileSystem
from tests.storage.support import PARTITION, TOPIC_ID, flush, open_log, open_log_dir

CONFIG = TopicConfig(
    cleanup_policy=frozenset(("compact",)),
    segment_bytes=2_000,
    index_interval_bytes=64,
    delete_retention_ms=1_000,
    file_delete_delay_ms=0,
)
SETTINGS = CleanerSettings(
    enabled=True,
    threads=1,
    dedupe_buffer_bytes=1 << 20,
    load_factor=0.9,
    io_buffer_bytes=1 << 20,
    io_bytes_per_second_max=1e12,
    backoff_ms=0,
)
ABORT_KEY, COMMIT_KEY = b"\0\0\0\0", b"\0\0\0\1"
MARKER_VALUE = b"\0\0\0\0\0\0"


@dataclass
class Stage:
    disk: MemoryFileSystem = field(default_factory=MemoryFileSystem)
    clock: ManualClock = field(default_factory=ManualClock)
    config: TopicConfig = CONFIG
    log_dir: LogDir = field(init=False)
    log: Log = field(init=False)
    epoch: int = 0
    """The leader's, of what is appended from now on."""
    undecided: int | None = None
    """Where the oldest open transaction starts, for tests that say so themselves."""

    def __post_init__(self) -> None:
        self.open()
        self._tokens = count(1)

    def open(self) -> Log:
        self.log_dir = open_log_dir(self.disk, config=self.config, clock=self.clock)
        assert not self.log_dir.offline, self.log_dir.offline
        self.log = self.log_dir.create_log(PARTITION, TOPIC_ID, self.config)
        return self.log

    def restart(self, *, clean: bool) -> None:
        self.log_dir.close(clean=clean)
        self.open()

    # Writing ---------------------------------------------------------------------------------------

    def append(self, *pairs: tuple[bytes | None, bytes | None], **options: Any) -> int:
        """One batch of (key, value); its base offset."""
        now = self.clock.wall_ms()
        records = [Record(timestamp=now, key=key, value=value) for key, value in pairs]
        batch = memoryview(build_batch(records, **options))
        origin = "coordinator" if options.get("is_control") else "client"
        return self.log.append_as_leader(batch, leader_epoch=self.epoch, now_ms=now, origin=origin).base_offset

    def marker(self, producer_id: int, *, commit: bool, epoch: int = 0) -> int:
        return self.append(
            (COMMIT_KEY if commit else ABORT_KEY, MARKER_VALUE),
            producer_id=producer_id,
            producer_epoch=epoch,
            is_transactional=True,
            is_control=True,
        )

    def close_segment(self) -> None:
        """Begin a new segment and make the old one durable: only such ones are compacted."""
        if self.log._segments.active.size:
            self.log._roll(self.log.log_end_offset)
        flush(self.log)

    # Compacting ------------------------------------------------------------------------------------

    @property
    def partition(self) -> Partition:
        end = self.log.log_end_offset
        stable = end if self.undecided is None else self.undecided
        return cast(
            Partition,
            SimpleNamespace(
                log=self.log,
                topic_partition=PARTITION,
                topic_id=TOPIC_ID,
                high_watermark=end,
                last_stable_offset=stable,
            ),
        )

    def planned(self, *, on_demand: bool = True) -> PlannedCompaction | None:
        return plan_partition(describe(self.partition), self.clock.wall_ms(), on_demand)

    def compact(
        self,
        settings: CleanerSettings = SETTINGS,
        *,
        producers: Mapping[int, ProducerTail] | None = None,
        before_swap: Callable[[CleanedGroup], None] = lambda group: None,
        on_demand: bool = True,
    ) -> PassResult | None:
        """Passes until the log is clean, as the worker does them; the last one's result, ``None`` if nothing is due."""
        result = None
        while (planned := self.planned(on_demand=on_demand)) is not None:
            result = self.one_pass(planned, settings, producers=producers, before_swap=before_swap)
            if result.is_complete or result.first_dirty_offset == planned.first_dirty_offset:
                break
        return result

    def one_pass(
        self,
        planned: PlannedCompaction,
        settings: CleanerSettings = SETTINGS,
        *,
        producers: Mapping[int, ProducerTail] | None = None,
        before_swap: Callable[[CleanedGroup], None] = lambda group: None,
    ) -> PassResult:
        def swap(group: CleanedGroup) -> None:
            before_swap(group)
            if self.log.first_dirty_offset is None:
                self.log.first_dirty_offset = self.log.log_start_offset
                self.save_progress()
            found = check_cleaned(self.disk, self.log.directory, group.base_offset, group.token, lambda: None)
            assert found == group.facts, "the broker reads what the worker wrote"
            self.log.replace_segments(group.replaced, found, group.token, decided_offset(self.partition))
            self.disk.sync_directory(self.log.directory)

        work = PartitionPass(
            self.disk,
            planned,
            self.producers() if producers is None else producers,
            settings,
            now_ms=self.clock.wall_ms(),
            new_token=lambda: f"{next(self._tokens):x}",
            moved=lambda count: None,
        )
        result = work.run(swap)
        self.log.first_dirty_offset = result.first_dirty_offset
        self.save_progress()
        return result

    def save_progress(self) -> None:
        ticket = self.log_dir.cleaner_ticket()
        ticket.run()
        assert ticket.error is None

    def producers(self) -> dict[int, ProducerTail]:
        return {
            entry.producer_id: ProducerTail(entry.epoch, entry.batches[-1].last_offset if entry.batches else -1)
            for entry in self.log.producer_state.entries()
        }

    # Looking ---------------------------------------------------------------------------------------

    def headers(self) -> list[BatchHeader]:
        return [header for header, _ in self._batches()]

    def records(self) -> list[tuple[int, bytes | None, bytes | None]]:
        """(offset, key, value) of every data record from the log's start on."""
        return [
            (record.offset, record.key, record.value)
            for header, whole in self._batches()
            if not header.is_control
            for record in iter_records(whole)
        ]

    def committed(self) -> list[tuple[int, bytes | None, bytes | None]]:
        """What a reader of committed records sees: (offset, key, value)."""
        found: list[tuple[int, bytes | None, bytes | None]] = []
        open_: dict[int, list[tuple[int, bytes | None, bytes | None]]] = {}
        for header, whole in self._batches():
            records = [(record.offset, record.key, record.value) for record in iter_records(whole)]
            if header.is_control:
                pending = open_.pop(header.producer_id, [])
                if records and records[0][1] == COMMIT_KEY:
                    found += pending
            elif header.is_transactional:
                open_.setdefault(header.producer_id, []).extend(records)
            else:
                found += records
        return sorted(found, key=lambda record: record[0])

    def table(self) -> dict[bytes | None, bytes | None]:
        """What such a reader ends up with from the beginning; tombstones remove."""
        found = {key: value for _, key, value in self.committed()}
        return {key: value for key, value in found.items() if value is not None}

    def copied(self, disk: MemoryFileSystem) -> Log:
        """The log as a replica has it that copies it now, from its start on."""
        copy = open_log(disk, config=self.config)
        for _, whole in self._batches():
            copy.append_as_follower(whole)
        return copy

    def markers(self) -> list[int]:
        return [header.base_offset for header in self.headers() if header.is_control and header.record_count]

    def _batches(self) -> list[tuple[BatchHeader, memoryview]]:
        position, found = self.log.log_start_offset, []
        while position < self.log.log_end_offset:
            buffers = self.log.read(position, 300, upto_offset=self.log.log_end_offset, empty_alone=True)
            assert buffers, f"nothing at {position}, the log ends at {self.log.log_end_offset}"
            for buffer in buffers:
                for at, header in scan_batches(buffer):
                    found.append((header, memoryview(buffer)[at : at + header.size]))
                    position = header.next_offset
        return found

    def file_names(self) -> Sequence[str]:
        return sorted(self.disk.list_directory(self.log.directory))


def small_map(keys: int) -> CleanerSettings:
    """Settings whose map holds about so many keys."""
    return msgspec_replace(SETTINGS, dedupe_buffer_bytes=24 * max(17, keys))


def msgspec_replace(settings: CleanerSettings, **changes: Any) -> CleanerSettings:
    import msgspec

    return msgspec.structs.replace(settings, **changes)


def with_config(**changes: Any) -> TopicConfig:
    return replace(CONFIG, **changes)
