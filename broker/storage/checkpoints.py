"""The small text files of a log dir and of a partition, in Kafka's forms.

Owns: reading and writing offset checkpoints (version 0: count, then ``topic partition offset`` lines),
``partition.metadata`` (version 0) and ``meta.properties`` (version 1). Every writer replaces the file atomically
and durably, except where the caller says otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from broker.storage.filesystem import FileSystem
from broker.storage.text_lines import decode_lines, encode_lines
from broker.types import TopicId, TopicPartition, format_topic_id, parse_topic_id

RECOVERY_POINT_FILE = "recovery-point-offset-checkpoint"
HIGH_WATERMARK_FILE = "replication-offset-checkpoint"
CLEANER_FILE = "cleaner-offset-checkpoint"
LOG_START_FILE = "log-start-offset-checkpoint"
PARTITION_METADATA_FILE = "partition.metadata"
INCOMPLETE_FILE = "incomplete"
"""In a partition's directory, with the reason in words: the log is being copied anew and must not be led yet."""
META_PROPERTIES_FILE = "meta.properties"
CLEAN_SHUTDOWN_FILE = ".kafka_cleanshutdown"
CLEAN_SHUTDOWN_CONTENT = b'{"version":0,"brokerEpoch":-1}'


class CheckpointDamaged(ValueError):
    """A file that was replaced atomically does not read back: somebody else wrote it, or the disk lies."""


def encode_offsets(offsets: Mapping[TopicPartition, int]) -> bytes:
    return encode_lines(f"{topic} {partition} {offset}" for (topic, partition), offset in sorted(offsets.items()))


def decode_offsets(content: bytes) -> dict[TopicPartition, int]:
    """Raises ``ValueError`` for anything but a whole version 0 file."""
    offsets: dict[TopicPartition, int] = {}
    for line in decode_lines(content):
        topic, partition, offset = line.split(" ")
        offsets[TopicPartition(topic, int(partition))] = int(offset)
    return offsets


def read_offsets(filesystem: FileSystem, path: str) -> dict[TopicPartition, int]:
    """A missing file is empty: the log dir is new. Raises ``CheckpointDamaged``."""
    content = filesystem.read_file(path)
    if content is None:
        return {}
    try:
        return decode_offsets(content)
    except ValueError as error:
        raise CheckpointDamaged(f"{path} cannot be read: {error}") from error


def encode_partition_metadata(topic_id: TopicId) -> bytes:
    return f"version: 0\ntopic_id: {format_topic_id(topic_id)}".encode()


def read_partition_metadata(filesystem: FileSystem, directory: str) -> TopicId | None:
    """The topic id the directory belongs to; ``None`` if it is not known (a crash before its first flush)."""
    content = filesystem.read_file(os.path.join(directory, PARTITION_METADATA_FILE))
    fields = _fields(content or b"", ": ")
    if fields.get("version") != "0":
        return None
    try:
        return parse_topic_id(fields.get("topic_id", ""))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaProperties:
    """Who a log dir belongs to."""

    cluster_id: str
    node_id: int
    directory_id: str
    """URL-safe base64 of 16 random bytes: names the directory even when it is moved."""

    def encode(self) -> bytes:
        return (
            f"#\ncluster.id={self.cluster_id}\ndirectory.id={self.directory_id}\nnode.id={self.node_id}\nversion=1\n"
        ).encode()

    @classmethod
    def decode(cls, content: bytes) -> MetaProperties:
        """Raises ``ValueError``."""
        fields = _fields(content, "=")
        if fields.get("version") != "1":
            raise ValueError(f"unknown version {fields.get('version')!r}")
        missing = [name for name in ("cluster.id", "node.id") if name not in fields]
        if missing:
            raise ValueError(f"{' and '.join(missing)} missing")
        return cls(
            cluster_id=fields["cluster.id"],
            node_id=int(fields["node.id"]),
            directory_id=fields.get("directory.id", ""),
        )


def _fields(content: bytes, separator: str) -> dict[str, str]:
    lines = content.decode("utf-8", "replace").splitlines()
    parts = (line.partition(separator) for line in lines if not line.startswith("#"))
    return {name.strip(): value.strip() for name, found, value in parts if found}
