"""One directory of logs: opening it after any kind of stop, creating and deleting partitions, closing it.

Owns: the logs of a broker on one disk, the checkpoints they share, and the verdict on the disk itself
(``failed_reason``: a failed fsync is final). The partition manager calls it on the loop; ``FlushTicket.run``,
``CheckpointTicket.run`` and ``DueDeletions.run`` are the parts meant for a worker thread.

A partition whose data was damaged is in ``offline`` with the reason, not in ``logs``; nothing of it is deleted, and
the others serve. Where another replica has the data, its log is begun anew to be copied from there: the damaged files are
kept in ``stray/``, and a file in the new directory says that the log is incomplete until it is not.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from broker.config.topic import TopicConfig
from broker.errors import ErrorCode, KafkaError
from broker.limits import INDEX_MEMORY_BYTES_MAX, OPEN_SEGMENTS_MAX
from broker.storage.checkpoint_writer import CheckpointTicket, CheckpointWriter
from broker.storage.checkpoints import (
    CLEAN_SHUTDOWN_CONTENT,
    CLEAN_SHUTDOWN_FILE,
    CLEANER_FILE,
    HIGH_WATERMARK_FILE,
    INCOMPLETE_FILE,
    LOG_START_FILE,
    PARTITION_METADATA_FILE,
    RECOVERY_POINT_FILE,
    CheckpointDamaged,
    MetaProperties,
    encode_offsets,
    encode_partition_metadata,
    read_offsets,
)
from broker.storage.deletions import Deletions, DueDeletions
from broker.storage.environment import DISK_FULL_ERRNOS, LogEnvironment
from broker.storage.existence import Existence
from broker.storage.filesystem import DiskUsage, FileSystem
from broker.storage.flush_ticket import SharedSync
from broker.storage.index_cache import IndexCache
from broker.storage.log import Log
from broker.storage.log_dir_opening import (
    LogDirUnusable,
    check_identity,
    deleted_name,
    lock_directory,
    make_durable_directory,
    make_found_durable,
    move_to_stray,
    sort_directories,
    take_clean_shutdown_marker,
)
from broker.storage.open_files import OpenFiles
from broker.storage.recovery import (
    STRAY_DIRECTORY,
    KnownBefore,
    LoadedPartition,
    PartitionDamaged,
    load_partition,
)
from broker.types import TopicId, TopicPartition

logger = logging.getLogger(__name__)

NOTES_MAX = 1_000
DELETE_DELAY_MS = 60_000
"""For a partition whose config is no longer known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogDirStatistics:
    path: str
    log_count: int
    offline_count: int
    size_bytes: int
    open_files: int
    index_memory_bytes: int
    pending_deletions: int
    failed_reason: str


class LogDir:
    def __init__(
        self, path: str, environment: LogEnvironment, existence: Existence, lock: int, meta: MetaProperties
    ) -> None:
        """Use ``LogDir.open``."""
        self.path = path
        self.meta = meta
        self.logs: dict[TopicPartition, Log] = {}
        self.offline: dict[TopicPartition, str] = {}
        self.notes: deque[str] = deque(maxlen=NOTES_MAX)
        """What was found, repaired and given up lately, in words for the operator; also in the process's log."""
        self.stopped_cleanly = False
        """Whether the last process did; ``survival.py`` judges what that means."""
        self._environment = environment
        self._filesystem = environment.filesystem
        self._lock = lock
        self._checkpoints = CheckpointWriter(environment.filesystem, path)
        self.existence = existence
        self._recovery_points: dict[TopicPartition, int] = {}
        self._log_starts: dict[TopicPartition, int] = {}
        self._high_watermarks: dict[TopicPartition, int] = {}
        self._first_dirty: dict[TopicPartition, int] = {}
        self._closed = False
        environment.save_recovery_points = self._save_recovery_points
        environment.save_log_starts = self._save_log_starts
        environment.save_cleaner_offsets = self._save_cleaner_offsets
        environment.partition_damaged = self._partition_damaged

    @classmethod
    def open(
        cls,
        path: str,
        *,
        filesystem: FileSystem,
        clock_wall_ms: Callable[[], int],
        node_id: int,
        cluster_id: str,
        configs: Callable[[TopicPartition], TopicConfig],
        known: Mapping[TopicPartition, TopicId],
        flushes: bool = False,
    ) -> LogDir:
        """Open every known partition, recovering what needs it. ``flushes``: see ``Existence``. Raises ``LogDirUnusable``, ``OSError``."""
        path = os.path.abspath(path)
        make_durable_directory(filesystem, path)
        existence = Existence(filesystem, path, flushes=flushes)
        environment = LogEnvironment(
            filesystem=filesystem,
            files=OpenFiles(filesystem, OPEN_SEGMENTS_MAX),
            indexes=IndexCache(INDEX_MEMORY_BYTES_MAX),
            deletions=Deletions(filesystem),
            clock_wall_ms=clock_wall_ms,
            log_dir_sync=SharedSync(filesystem, path, existence),
        )
        lock = lock_directory(filesystem, path)
        try:
            identity = check_identity(filesystem, path, node_id, cluster_id)
            log_dir = cls(path, environment, existence, lock, identity)
            log_dir._load(configs, known)
        except BaseException:
            environment.files.close_all()
            filesystem.close(lock)
            raise
        return log_dir

    @property
    def filesystem(self) -> FileSystem:
        """For work on this directory's files in a worker thread."""
        return self._filesystem

    @property
    def failed_reason(self) -> str | None:
        """Why nothing may be appended in this directory until a restart; ``None`` while it is well."""
        return self._environment.health.failed_reason

    @failed_reason.setter
    def failed_reason(self, reason: str) -> None:
        self._environment.health.fail(reason)

    def statistics(self) -> LogDirStatistics:
        return LogDirStatistics(
            path=self.path,
            log_count=len(self.logs),
            offline_count=len(self.offline),
            size_bytes=sum(log.size_bytes for log in self.logs.values()),
            open_files=len(self._environment.files),
            index_memory_bytes=self._environment.indexes.total_bytes,
            pending_deletions=len(self._environment.deletions),
            failed_reason=self.failed_reason or "",
        )

    def disk_usage(self) -> DiskUsage:
        return self._filesystem.disk_usage(self.path)

    # Opening ---------------------------------------------------------------------------------------

    def _load(self, configs: Callable[[TopicPartition], TopicConfig], known: Mapping[TopicPartition, TopicId]) -> None:
        try:
            self._recovery_points = read_offsets(self._filesystem, self._file(RECOVERY_POINT_FILE))
            self._log_starts = read_offsets(self._filesystem, self._file(LOG_START_FILE))
            self._high_watermarks = read_offsets(self._filesystem, self._file(HIGH_WATERMARK_FILE))
            self._first_dirty = read_offsets(self._filesystem, self._file(CLEANER_FILE))
        except CheckpointDamaged as error:
            raise LogDirUnusable(
                f"{error}. It says what was durable; restore it, or move it away to have every log scanned."
            ) from error
        clean = self.stopped_cleanly = take_clean_shutdown_marker(self._filesystem, self.path)
        synced = not clean and make_found_durable(self._filesystem, self.path)
        now_ms = self._environment.clock_wall_ms()
        found = sort_directories(self._filesystem, self.path, known, now_ms)
        for leftover in found.leftovers:
            self._environment.deletions.schedule(leftover, now_ms)
        for stray in found.moved_to_stray:
            self._note(f"moved a partition that is not in the metadata to {stray}")
        for partition in found.without_metadata:
            self._write_partition_metadata(found.partitions[partition], known[partition])
        for partition, directory in found.partitions.items():
            self._load_log(partition, directory, configs(partition), clean, synced)
        self.existence.open(known, found.partitions)
        for partition in known.keys() - found.partitions.keys():
            if self._recovery_points.get(partition, 0) > self._log_starts.get(partition, 0):
                self.offline[partition] = (
                    f"Its directory is missing from {self.path}, but everything below offset "
                    f"{self._recovery_points[partition]} was durable."
                )
                self._note(f"{partition} is offline: {self.offline[partition]}")
        self._save_recovery_points()

    def _load_log(
        self, partition: TopicPartition, directory: str, config: TopicConfig, clean: bool, synced: bool
    ) -> None:
        before = KnownBefore(
            recovery_point=self._recovery_points.get(partition, 0),
            log_start_offset=self._log_starts.get(partition),
            clean_shutdown=clean,
            synced=synced,
            high_watermark=self._high_watermarks.get(partition, 0),
            compacted=partition in self._first_dirty,
        )
        try:
            loaded = load_partition(self._environment, directory, before, config, self._environment.clock_wall_ms())
        except PartitionDamaged as damage:
            self.offline[partition] = str(damage)
            self._note(f"{partition} is offline: {damage}")
        except OSError as error:
            self.offline[partition] = f"The disk did not answer: {error}"
            self._note(f"{partition} is offline: {error}")
        else:
            for note in loaded.notes:
                self._note(f"{partition}: {note}")
            log = self._adopt(partition, directory, config, loaded)
            if not clean:
                log.note_created(self._metadata_path(directory))

    def _adopt(self, partition: TopicPartition, directory: str, config: TopicConfig, loaded: LoadedPartition) -> Log:
        log = Log(self._environment, partition, directory, config, loaded)
        log.high_watermark = min(self._high_watermarks.get(partition, 0), log.log_end_offset)
        log.first_dirty_offset = self._first_dirty.get(partition)
        incomplete = self._filesystem.read_file(os.path.join(directory, INCOMPLETE_FILE))
        log.incomplete_reason = "" if incomplete is None else incomplete.decode("utf-8", "replace") or "unknown"
        self.logs[partition] = log
        return log

    # Partitions ------------------------------------------------------------------------------------

    def create_log(self, partition: TopicPartition, topic_id: TopicId, config: TopicConfig) -> Log:
        """A new, empty log; the one that is there if it was created before. Raises ``KafkaError``.

        Nothing is synced here: the log's first flush ticket makes the directory and its files durable.
        """
        if (log := self.logs.get(partition)) is not None:
            return log
        if self.failed_reason is not None:
            raise self._environment.health.error()
        if partition in self.offline:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"The partition is offline: {self.offline[partition]}")
        directory = self._file(str(partition))
        try:
            self._bury()
            if self._filesystem.status(directory) is not None:
                move_to_stray(self._filesystem, self.path, str(partition), self._environment.clock_wall_ms())
            self._filesystem.make_directory(directory)
            self._write_partition_metadata(directory, topic_id)
            self.existence.note_made(partition, topic_id)
            loaded = load_partition(
                self._environment,
                directory,
                KnownBefore(clean_shutdown=True),
                config,
                self._environment.clock_wall_ms(),
            )
        except OSError as error:
            raise KafkaError(
                ErrorCode.KAFKA_STORAGE_ERROR, f"Creating {directory} failed: {error.strerror or error}"
            ) from error
        self._high_watermarks.pop(partition, None)
        self._first_dirty.pop(partition, None)
        log = self._adopt(partition, directory, config, loaded)
        log.note_created(self._metadata_path(directory))
        return log

    def begin_anew(self, partition: TopicPartition, topic_id: TopicId, config: TopicConfig) -> Log:
        """An empty, incomplete log in the place of one that is offline. Raises ``KafkaError``; then it stays offline.

        Durable step by step: after a crash in between the partition is offline as before, or incomplete, never empty and
        believed.
        """
        reason = self.offline[partition]
        if self.failed_reason is not None:
            raise self._environment.health.error()
        damaged, directory = self.logs.get(partition), self._file(str(partition))
        try:
            if damaged is not None:
                damaged.close(clean=False)
            if self._filesystem.status(directory) is not None:
                self._environment.deletions.forget_inside(directory)
                kept = move_to_stray(self._filesystem, self.path, str(partition), self._environment.clock_wall_ms())
                self._filesystem.sync_directory(self._file(STRAY_DIRECTORY))
                self._note(f"{partition} is copied anew from its leader; what there was of it is kept in {kept}")
            self._filesystem.make_directory(directory)
            self._filesystem.replace_file(os.path.join(directory, INCOMPLETE_FILE), reason.encode())
            self._write_partition_metadata(directory, topic_id)
            self._filesystem.sync_file(self._metadata_path(directory))
            self._filesystem.sync_directory(self.path)
            self._forget(partition)
            self.existence.note_made(partition, topic_id)
            self._bury()
            now_ms = self._environment.clock_wall_ms()
            loaded = load_partition(self._environment, directory, KnownBefore(clean_shutdown=True), config, now_ms)
        except OSError as error:
            self.offline[partition] = reason
            raise KafkaError(
                ErrorCode.KAFKA_STORAGE_ERROR, f"Beginning {directory} anew failed: {error.strerror or error}"
            ) from error
        log = self._adopt(partition, directory, config, loaded)
        log.note_created(self._metadata_path(directory))
        return log

    def delete_log(self, partition: TopicPartition) -> None:
        """Give a partition up: gone at once, unlinked after its ``file.delete.delay.ms``. Raises ``OSError``."""
        log = self.logs.get(partition)
        directory = log.directory if log is not None else self._file(str(partition))
        if self._filesystem.status(directory) is not None:
            target = self._file(deleted_name(partition))
            self._filesystem.rename(directory, target)
            delay_ms = log.config.file_delete_delay_ms if log is not None else DELETE_DELAY_MS
            self._environment.deletions.forget_inside(directory)
            self._environment.deletions.schedule(target, self._environment.clock_wall_ms() + delay_ms)
        if log is not None:
            log.close(clean=False)
        self._forget(partition)
        self.existence.forget(partition)

    def _forget(self, partition: TopicPartition) -> None:
        self.logs.pop(partition, None)
        self.offline.pop(partition, None)
        for remembered in (self._recovery_points, self._log_starts, self._high_watermarks, self._first_dirty):
            remembered.pop(partition, None)
        self._checkpoints.note_death()

    @property
    def checkpoints_name_the_dead(self) -> bool:
        """Deleted partitions are still in the checkpoints on the disk: the next one should come soon."""
        return self._checkpoints.name_the_dead

    def _bury(self) -> None:
        """Take deleted partitions out of the checkpoints. A new partition of the same name must never be measured
        against the recovery point of the old one."""
        if self.checkpoints_name_the_dead:
            self.checkpoint_ticket().write()

    def due_deletions(self, now_ms: int) -> DueDeletions | None:
        """What is to be unlinked by now; ``run`` it in a worker thread."""
        return self._environment.deletions.take_due(now_ms)

    def purge_due(self, now_ms: int) -> int:
        """``due_deletions`` run at once; how many were removed."""
        due = self.due_deletions(now_ms)
        if due is None:
            return 0
        problems = due.run()
        for problem in problems:
            self._note(f"not deleted: {problem}")
        return len(due.paths) - len(problems)

    def expire_producers(self, now_ms: int, expiration_ms: int) -> int:
        """Forget idempotent producers silent for ``producer.id.expiration.ms``."""
        return sum(
            log.producer_state.expire(now_ms, expiration_ms) for log in self.logs.values() if len(log.producer_state)
        )

    # Checkpoints -----------------------------------------------------------------------------------

    def checkpoint_ticket(self) -> CheckpointTicket:
        """On the loop: fix the offsets; ``run`` in a worker makes them durable.

        Give it to ``checkpointed`` afterwards. ``Log.save_shortcuts`` belongs between the two: index entries that are missing
        below a recovery point are not made again by a restart. The fresher the recovery points, the less a restart has to scan, and the
        more of the log counts as durable rather than as a tail that may be torn.
        """
        return self._checkpoints.take(self._offsets(), whole=True)

    def checkpointed(self, ticket: CheckpointTicket) -> None:
        """Back on the loop: a disk that failed the ticket has failed for good, unless it was only full."""
        if ticket.error is not None:
            self._judge(ticket.error)

    def checkpoint(self) -> None:
        """``checkpoint_ticket`` run at once."""
        ticket = self.checkpoint_ticket()
        for log in self.logs.values():
            with contextlib.suppress(OSError):  # shortcuts; the next checkpoint tries again
                log.save_shortcuts()
        ticket.run()
        self.checkpointed(ticket)

    def _offsets(self) -> dict[str, bytes]:
        """Offline partitions keep what was known of them: they are not new when they come back."""
        recovery_points = {partition: self._recovery_points.get(partition, 0) for partition in self.offline}
        log_starts = {p: self._log_starts[p] for p in self.offline if p in self._log_starts}
        high_watermarks = {p: self._high_watermarks[p] for p in self.offline if p in self._high_watermarks}
        first_dirty = {p: self._first_dirty[p] for p in self.offline if p in self._first_dirty}
        for partition, log in self.logs.items():
            recovery_points[partition] = log.flushed_offset
            log_starts[partition] = log.log_start_offset
            high_watermarks[partition] = log.high_watermark
            if log.first_dirty_offset is not None:
                first_dirty[partition] = log.first_dirty_offset
        return {
            RECOVERY_POINT_FILE: encode_offsets(recovery_points),
            LOG_START_FILE: encode_offsets(log_starts),
            HIGH_WATERMARK_FILE: encode_offsets(high_watermarks),
            CLEANER_FILE: encode_offsets(first_dirty),
        }

    def _save_recovery_points(self) -> None:
        self._save(RECOVERY_POINT_FILE)

    def _save_log_starts(self) -> None:
        self._save(LOG_START_FILE)

    def _save_cleaner_offsets(self) -> None:
        self._save(CLEANER_FILE)

    def cleaner_ticket(self) -> CheckpointTicket:
        """How far each log was compacted, fixed now; ``run`` it in a worker thread, then ``checkpointed``."""
        return self._checkpoints.take({CLEANER_FILE: self._offsets()[CLEANER_FILE]})

    def _save(self, name: str) -> None:
        try:
            self._checkpoints.take({name: self._offsets()[name]}).write()
        except OSError as error:
            self._judge(error)
            raise

    def _judge(self, error: OSError) -> None:
        """An older checkpoint is safe to recover from, so a full disk is no disaster; a failing one is."""
        if error.errno not in DISK_FULL_ERRNOS:
            self._environment.health.fail(f"writing the checkpoints in {self.path} failed: {error}")

    def _partition_damaged(self, partition: TopicPartition, reason: str) -> None:
        """A running log met damage. It stays in ``logs``, refusing, so that whoever holds it can still ask why."""
        log = self.logs[partition]
        self._recovery_points[partition] = log.flushed_offset
        self._log_starts[partition] = log.log_start_offset
        self._high_watermarks[partition] = log.high_watermark
        if log.first_dirty_offset is not None:
            self._first_dirty[partition] = log.first_dirty_offset
        self.offline[partition] = reason
        self._note(f"{partition} is offline: {reason}")

    # Closing ---------------------------------------------------------------------------------------

    def close(self, *, clean: bool = True) -> None:
        """Release everything. ``clean``: first make it all durable, and say so with the marker if it worked.

        With a partition offline there is no marker: the next start must look at its data again, not trust it. Never
        raises: what went wrong is in ``notes``, and the missing marker says the rest.
        """
        if self._closed:
            return
        self._closed = True
        settled = clean
        for log in self.logs.values():
            try:
                log.close(clean=clean)
            except KafkaError as error:
                settled = False
                self._note(f"{log.topic_partition} was not closed cleanly: {error.message}")
        try:
            if clean and self.failed_reason is None:
                self._checkpoints.take(self._offsets()).write()
                if settled and not self.offline:
                    self._filesystem.replace_file(self._file(CLEAN_SHUTDOWN_FILE), CLEAN_SHUTDOWN_CONTENT)
        except OSError as error:
            self._note(f"the checkpoints could not be written at closing, the next start will scan: {error}")
        finally:
            self._environment.files.close_all()
            self._filesystem.close(self._lock)

    # Paths -----------------------------------------------------------------------------------------

    def _note(self, text: str) -> None:
        self.notes.append(text)
        logger.warning("%s: %s", self.path, text)

    def _file(self, name: str) -> str:
        return os.path.join(self.path, name)

    def _write_partition_metadata(self, directory: str, topic_id: TopicId) -> None:
        self._filesystem.write_file(self._metadata_path(directory), encode_partition_metadata(topic_id))

    @staticmethod
    def _metadata_path(directory: str) -> str:
        return os.path.join(directory, PARTITION_METADATA_FILE)
