"""The files of a log directory, for tools that only look: names, kinds, and a file system that cannot write."""

from __future__ import annotations

import os
import re
from enum import Enum

from broker.storage.aborted_transactions import ABORTED_FILE
from broker.storage.checkpoints import (
    CLEANER_FILE,
    HIGH_WATERMARK_FILE,
    LOG_START_FILE,
    META_PROPERTIES_FILE,
    PARTITION_METADATA_FILE,
    RECOVERY_POINT_FILE,
)
from broker.storage.filesystem import RealFileSystem
from broker.storage.leader_epochs import LEADER_EPOCH_FILE
from broker.types import TopicPartition

_DATA_FILE = re.compile(r"(\d{20})\.(\w+)")
_PARTITION_DIRECTORY = re.compile(r"([a-zA-Z0-9._-]+)-(\d+)")


class FileKind(Enum):
    LOG = "log"
    OFFSET_INDEX = "index"
    TIME_INDEX = "timeindex"
    TRANSACTION_INDEX = "txnindex"
    SNAPSHOT = "snapshot"
    EPOCHS = "leader epochs"
    ABORTED = "aborted transactions"
    OFFSETS = "offsets"
    PARTITION_METADATA = "partition metadata"
    META_PROPERTIES = "meta properties"


_BY_NAME = {
    LEADER_EPOCH_FILE: FileKind.EPOCHS,
    ABORTED_FILE: FileKind.ABORTED,
    RECOVERY_POINT_FILE: FileKind.OFFSETS,
    HIGH_WATERMARK_FILE: FileKind.OFFSETS,
    LOG_START_FILE: FileKind.OFFSETS,
    CLEANER_FILE: FileKind.OFFSETS,
    PARTITION_METADATA_FILE: FileKind.PARTITION_METADATA,
    META_PROPERTIES_FILE: FileKind.META_PROPERTIES,
}
_BY_SUFFIX = {
    kind.value: kind
    for kind in (
        FileKind.LOG,
        FileKind.OFFSET_INDEX,
        FileKind.TIME_INDEX,
        FileKind.TRANSACTION_INDEX,
        FileKind.SNAPSHOT,
    )
}


def kind_of(path: str) -> tuple[FileKind, int] | None:
    """What a file is, and the offset in its name (0 without one); ``None`` for a file that is none of Kafka's."""
    name = os.path.basename(path)
    if name in _BY_NAME:
        return _BY_NAME[name], 0
    match = _DATA_FILE.fullmatch(name)
    if match is None or match[2] not in _BY_SUFFIX:
        return None
    return _BY_SUFFIX[match[2]], int(match[1])


def partition_of(directory: str) -> TopicPartition | None:
    """The partition a directory is named after; ``None`` for deleted ones, ``stray`` and everything else."""
    match = _PARTITION_DIRECTORY.fullmatch(os.path.basename(os.path.normpath(directory)))
    return None if match is None else TopicPartition(match[1], int(match[2]))


class ReadOnlyFiles(RealFileSystem):
    """For looking at files that a broker may be writing, or that belong to somebody else."""

    @staticmethod
    def open(path: str, *, create: bool = False) -> int:
        assert not create
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
