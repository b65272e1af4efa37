"""What a log consists of, and how its failures reach callers.

Owns: the parts and numbers of one log (``LogState``, the base that ``log_append.py`` and ``log.py`` build on) and the
values it hands out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from broker.config.topic import TopicConfig
from broker.errors import ErrorCode, KafkaError
from broker.storage.aborted_transactions import AbortedTransactions
from broker.storage.environment import DISK_FULL_ERRNOS, LogEnvironment
from broker.storage.log_reader import LogReader
from broker.storage.log_segments import LogSegments
from broker.storage.producer_replay import rebuild_aborted
from broker.storage.recovery import LoadedPartition
from broker.storage.segment import Segment
from broker.storage.segment_scan import DamageFound
from broker.storage.timestamp_search import TimestampSearch
from broker.storage.unflushed import Unflushed
from broker.types import NO_TIMESTAMP, TopicPartition


class LogAppend(NamedTuple):
    """The outcome of an append. Of a duplicate: where the original is; nothing was written."""

    base_offset: int
    last_offset: int
    log_append_time_ms: int
    """-1 under CreateTime."""
    duplicate: bool
    record_count: int
    byte_count: int
    max_timestamp_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LastCompaction:
    """The last pass of compaction over a log since the broker started."""

    at_ms: int = NO_TIMESTAMP
    bytes_before: int = 0
    bytes_after: int = 0


NEVER_COMPACTED = LastCompaction()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStatistics:
    log_start_offset: int
    log_end_offset: int
    flushed_offset: int
    size_bytes: int
    segment_count: int
    last_record_ms: int
    producers: int
    offline_reason: str


class LogState:
    __slots__ = (
        "_aborted",
        "_config",
        "_environment",
        "_epochs",
        "_epochs_saved",
        "_health",
        "_latest_epoch",
        "_reader",
        "_roll_timestamp",
        "_search",
        "_segments",
        "_snapshots",
        "_unflushed",
        "directory",
        "first_dirty_offset",
        "flushed_offset",
        "high_watermark",
        "incomplete_reason",
        "last_compaction",
        "last_record_ms",
        "log_end_offset",
        "log_start_offset",
        "offline_reason",
        "producer_state",
        "size_bytes",
        "topic_partition",
        "truncations",
    )

    def __init__(
        self,
        environment: LogEnvironment,
        topic_partition: TopicPartition,
        directory: str,
        config: TopicConfig,
        loaded: LoadedPartition,
    ) -> None:
        self.topic_partition = topic_partition
        self.directory = directory
        self.log_start_offset = loaded.log_start_offset
        self.log_end_offset = self.flushed_offset = loaded.log_end_offset
        self.high_watermark = 0
        """Owned by the partition; the log dir only saves it in ``replication-offset-checkpoint``."""
        self.first_dirty_offset: int | None = None
        """Everything below was compacted; ``None``: nothing ever was. Owned by the log dir and compaction."""
        self.last_compaction = NEVER_COMPACTED
        self.truncations = 0
        """How often the log was cut since it was opened."""
        self.producer_state = loaded.producers
        self.offline_reason: str | None = None
        self.incomplete_reason = ""
        """Why this log was begun anew and is not yet what it was: nobody may rely on it. Empty for all others."""
        self.size_bytes = sum(segment.size for segment in loaded.segments)
        self._environment = environment
        self._health = environment.health
        self._config = config
        self._segments = LogSegments(environment, loaded.segments)
        self._reader = LogReader(environment, self._segments)
        self._search = TimestampSearch(environment, self._segments)
        self._unflushed = Unflushed(environment)
        self._epochs = loaded.epochs
        self._epochs_saved = loaded.epochs_saved
        self._latest_epoch = loaded.epochs.latest
        self._snapshots = loaded.snapshots
        self._aborted = AbortedTransactions(self._segments, loaded.aborted_saved, self._rebuild_aborted)
        self._roll_timestamp: int | None = None
        """Batches with a larger timestamp start a new segment; ``None``: to be computed."""
        self.last_record_ms = self._segments.last_record_ms()
        """Largest record timestamp of the newest segment with records, and since; -1 if there is none."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.topic_partition}, {self.log_start_offset}..{self.log_end_offset})"

    @property
    def config(self) -> TopicConfig:
        return self._config

    @config.setter
    def config(self, config: TopicConfig) -> None:
        self._config = config
        self._roll_timestamp = None

    @property
    def gaps_allowed(self) -> bool:
        """Whether offsets may be missing: compaction took them, or may, also if the policy is another one by now."""
        return self.first_dirty_offset is not None or "compact" in self._config.cleanup_policy

    @property
    def segment_count(self) -> int:
        return len(self._segments)

    @property
    def latest_epoch(self) -> int:
        return self._latest_epoch

    def statistics(self) -> LogStatistics:
        return LogStatistics(
            log_start_offset=self.log_start_offset,
            log_end_offset=self.log_end_offset,
            flushed_offset=self.flushed_offset,
            size_bytes=self.size_bytes,
            segment_count=len(self._segments),
            last_record_ms=self.last_record_ms,
            producers=len(self.producer_state),
            offline_reason=self.offline_reason or self.incomplete_reason,
        )

    def _rebuild_aborted(self, segment: Segment) -> None:
        now_ms = self._environment.clock_wall_ms()
        rebuild_aborted(self._segments.all(), segment, self._snapshots, self.log_start_offset, now_ms)

    # Failure ---------------------------------------------------------------------------------------

    @property
    def is_closed_to_writing(self) -> bool:
        """Nothing will be appended before a restart or a repair: the partition is offline, or its disk has failed."""
        return self._health.failed_reason is not None or self.offline_reason is not None

    def _refuse_if_unwell(self) -> None:
        if self._health.failed_reason is not None or self.offline_reason is not None:
            raise self._refusal()

    def _refusal(self) -> KafkaError:
        if self._health.failed_reason is not None:
            return self._health.error()
        return KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"The partition is offline: {self.offline_reason}")

    def _storage_error(self, problem: DamageFound | OSError) -> KafkaError:
        """Bytes that are not what was written take the partition offline; an I/O error is this call's alone, except
        that a later fsync will tell."""
        if isinstance(problem, DamageFound):
            if self.offline_reason is None:
                self._go_offline(str(problem))
            return self._refusal()
        return KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"The disk did not answer: {problem.strerror or problem}")

    def _go_offline(self, reason: str) -> None:
        self.offline_reason = reason
        self._environment.partition_damaged(self.topic_partition, reason)

    @contextlib.contextmanager
    def _storage_errors(self, *, final: bool = False) -> Iterator[None]:
        """``final``: what fails halfway leaves memory and disk apart, so only opening the log again may go on."""
        try:
            yield
        except (DamageFound, OSError) as problem:
            error = self._storage_error(problem)
            if final and isinstance(problem, OSError) and problem.errno not in DISK_FULL_ERRNOS:
                self._health.fail(f"changing {self.directory} failed: {problem}")
            if final and self.offline_reason is None:
                self._go_offline(error.message)
            raise error from problem
