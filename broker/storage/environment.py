"""What every log of one log dir shares.

Owns: ``LogEnvironment`` (the file system, the bounds on open files and index memory, pending deletions, the way to
the log dir's checkpoints) and ``DirectoryHealth``, the one switch that stops them all.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field

from broker.errors import ErrorCode, KafkaError
from broker.storage.deletions import Deletions
from broker.storage.filesystem import FileSystem
from broker.storage.flush_ticket import SharedSync
from broker.storage.index_cache import IndexCache
from broker.storage.open_files import OpenFiles
from broker.types import TopicPartition

DISK_FULL_ERRNOS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
"""What a disk may say and still be trusted."""


class DirectoryHealth:
    """Whether the log dir can be trusted. Failing is final: after a failed fsync the kernel may mark pages clean that
    never reached the disk, so only a restart, which reads the disk, may go on."""

    __slots__ = ("failed_reason",)

    def __init__(self) -> None:
        self.failed_reason: str | None = None

    def fail(self, reason: str) -> None:
        """The first reason stays: what follows are its consequences."""
        if self.failed_reason is None:
            self.failed_reason = reason

    def error(self) -> KafkaError:
        return KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"The log dir has failed: {self.failed_reason}")


def _nothing() -> None:
    return None


def _nobody(topic_partition: TopicPartition, reason: str) -> None:
    return None


@dataclass(slots=True)
class LogEnvironment:
    filesystem: FileSystem
    files: OpenFiles
    indexes: IndexCache
    deletions: Deletions
    clock_wall_ms: Callable[[], int]
    log_dir_sync: SharedSync
    health: DirectoryHealth = field(default_factory=DirectoryHealth)
    save_recovery_points: Callable[[], None] = _nothing
    """Writes the recovery points of all logs durably; called before a log is truncated below its own."""
    save_log_starts: Callable[[], None] = _nothing
    """Writes the log start offsets of all logs durably; called before deleted offsets become invisible."""
    save_cleaner_offsets: Callable[[], None] = _nothing
    """Writes durably how far each log was compacted; called before a log is truncated below that."""
    partition_damaged: Callable[[TopicPartition, str], None] = _nobody
    """A read met bytes that are not what was written; the partition has gone offline."""
