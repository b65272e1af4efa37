"""What a log dir must satisfy before its logs are opened: identity, lock, and what belongs where.

Owns: ``meta.properties``, the lock, the clean-shutdown marker, and sorting the directories found into partitions,
strays and leftovers. Metadata may be lost or wrong; data is never deleted because of that: a partition nobody knows
moves to ``stray/``.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from broker import faultpoints
from broker.storage.checkpoints import (
    CLEAN_SHUTDOWN_FILE,
    CLEANER_FILE,
    HIGH_WATERMARK_FILE,
    LOG_START_FILE,
    META_PROPERTIES_FILE,
    RECOVERY_POINT_FILE,
    MetaProperties,
    read_partition_metadata,
)
from broker.storage.existence import LOST_FILE, MADE_DIRECTORY
from broker.storage.filesystem import FileSystem
from broker.storage.recovery import STRAY_DIRECTORY
from broker.types import TopicId, TopicPartition, format_topic_id, new_topic_id

logger = logging.getLogger(__name__)

LOCK_FILE = ".lock"
DELETE_SUFFIX = "-delete"
_PARTITION_DIRECTORY = re.compile(r"([a-zA-Z0-9._-]+)-(\d{1,10})")


class LogDirUnusable(Exception):
    """The log dir must not be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The directories of a log dir, sorted."""

    partitions: dict[TopicPartition, str]
    leftovers: list[str]
    """Given up by an earlier process, to be removed."""
    moved_to_stray: list[str]
    without_metadata: list[TopicPartition]
    """Their ``partition.metadata`` did not survive the crash that followed their creation."""


def make_durable_directory(filesystem: FileSystem, path: str) -> None:
    """Create the log dir with its parents, each new name synced: what is flushed inside must be found again."""
    missing = []
    parent = path
    while filesystem.status(parent) is None:
        missing.append(parent)
        parent = os.path.dirname(parent)
    if missing:
        filesystem.make_directory(path)
        for created in missing:
            filesystem.sync_directory(os.path.dirname(created))


def lock_directory(filesystem: FileSystem, path: str) -> int:
    descriptor = filesystem.lock(os.path.join(path, LOCK_FILE))
    if descriptor is None:
        raise LogDirUnusable(f"{path} is in use by another broker process. Stop it, or choose another log.dirs.")
    return descriptor


def check_identity(filesystem: FileSystem, path: str, node_id: int, cluster_id: str) -> MetaProperties:
    """Read who the directory belongs to, or claim a new one. Raises ``LogDirUnusable``."""
    file = os.path.join(path, META_PROPERTIES_FILE)
    content = filesystem.read_file(file)
    if content is None:
        claimed = MetaProperties(cluster_id=cluster_id, node_id=node_id, directory_id=format_topic_id(new_topic_id()))
        filesystem.replace_file(file, claimed.encode())
        return claimed
    try:
        meta = MetaProperties.decode(content)
    except ValueError as error:
        raise LogDirUnusable(f"{file} cannot be read ({error}). Restore it before starting.") from error
    if meta.cluster_id != cluster_id:
        raise LogDirUnusable(
            f"{path} belongs to cluster {meta.cluster_id}, this broker to {cluster_id}. Its metadata store or its "
            f"log.dirs is the wrong one; nothing was changed."
        )
    if meta.node_id != node_id:
        raise LogDirUnusable(
            f"{path} belongs to broker {meta.node_id}, this is broker {node_id}. Its node.id or its log.dirs is the "
            f"wrong one; nothing was changed."
        )
    return meta


def take_clean_shutdown_marker(filesystem: FileSystem, path: str) -> bool:
    """Whether the last process stopped cleanly. The marker is gone, durably, before anything is written."""
    marker = os.path.join(path, CLEAN_SHUTDOWN_FILE)
    if filesystem.read_file(marker) is None:
        return False
    filesystem.unlink(marker)
    filesystem.sync_directory(path)
    return True


def make_found_durable(filesystem: FileSystem, path: str) -> bool:
    """What a killed process left may be seen now and gone after a power cut; nothing is built on it before that is settled.

    One sync for everything, since two for each log were most of the time a start takes. False: that failed, and each log
    has to see to itself, so that one that cannot be written does not keep the others from being opened.
    """
    try:
        filesystem.sync_all(path)
    except OSError as error:
        logger.warning("%s: not everything could be synced at once: %s", path, error)
        for name in (RECOVERY_POINT_FILE, LOG_START_FILE, HIGH_WATERMARK_FILE, CLEANER_FILE, LOST_FILE):
            filesystem.sync_file(os.path.join(path, name))
        filesystem.sync_directory(os.path.join(path, MADE_DIRECTORY))
        filesystem.sync_directory(path)
        return False
    return True


def sort_directories(filesystem: FileSystem, path: str, known: Mapping[TopicPartition, TopicId], now_ms: int) -> Found:
    partitions: dict[TopicPartition, str] = {}
    leftovers: list[str] = []
    strays: list[str] = []
    without_metadata: list[TopicPartition] = []
    for name in sorted(filesystem.list_directory(path)):
        full = os.path.join(path, name)
        if name.endswith(".tmp"):
            filesystem.unlink(full)
            continue
        if name.endswith(DELETE_SUFFIX):
            leftovers.append(full)
            continue
        match = _PARTITION_DIRECTORY.fullmatch(name)
        if match is None or not _is_directory(filesystem, full):
            continue
        partition = TopicPartition(match[1], int(match[2]))
        topic_id = read_partition_metadata(filesystem, full)
        if partition not in known or str(partition) != name or topic_id not in (None, known[partition]):
            if faultpoints.DELETE_STRAY:
                filesystem.remove_tree(full)
                continue
            strays.append(move_to_stray(filesystem, path, name, now_ms))
            continue
        if topic_id is None:
            without_metadata.append(partition)
        partitions[partition] = full
    if strays:
        filesystem.sync_directory(os.path.join(path, STRAY_DIRECTORY))
        filesystem.sync_directory(path)
    return Found(partitions=partitions, leftovers=leftovers, moved_to_stray=strays, without_metadata=without_metadata)


def move_to_stray(filesystem: FileSystem, path: str, name: str, now_ms: int) -> str:
    """Move a partition's directory out of the way, under a name that says when; returns its new path."""
    stray = os.path.join(path, STRAY_DIRECTORY)
    filesystem.make_directory(stray)
    target, attempt = os.path.join(stray, f"{name}.{now_ms}"), 0
    while filesystem.status(target) is not None:
        attempt += 1
        target = os.path.join(stray, f"{name}.{now_ms}.{attempt}")
    filesystem.rename(os.path.join(path, name), target)
    return target


def deleted_name(topic_partition: TopicPartition) -> str:
    """A name nobody else has and that any file system takes: long topic names are cut, as Kafka does."""
    suffix = f"-{topic_partition.partition}.{new_topic_id().hex()}{DELETE_SUFFIX}"
    return topic_partition.topic[: 255 - len(suffix)] + suffix


def _is_directory(filesystem: FileSystem, path: str) -> bool:
    status = filesystem.status(path)
    return status is not None and status.is_directory
