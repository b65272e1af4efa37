"""Which replicas a log dir ever held, and which of them it lost.

A known partition without a directory has two explanations: it was placed here a moment before the process died and was
never made, or it was made and somebody took it away. The first has nothing that it could lack, the second must not be
believed. Owns what tells them apart, whatever the crash:

- ``made/<topic id>-<partition>``: an empty file for each replica whose directory was made here. Where only what is flushed is
  acknowledged, the log's first flush ticket writes it, when the directory is durable: a power cut that takes a directory which
  nothing was ever flushed to must not leave the file. Elsewhere it is written before anything is appended, and synced by
  that ticket: a process that is killed may have acknowledged what was never flushed.
- ``lost-replicas``: those that were made and are gone, written durably before anything is made in their place. An empty
  directory looks like a replica; an entry here says that it is none, in every later life of the broker, until it is in
  sync again. Version line, then ``<topic id>-<partition>`` a line.

A log dir without ``made/`` is new, or of a version that did not write it: of what is missing in it everything counts as
lost. Only giving a replica up removes its file: one that is unknown today may be known again when the right metadata is
back, and its directory is in ``stray/`` by then.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Mapping

from broker.storage.filesystem import FileSystem
from broker.types import TopicId, TopicPartition, format_topic_id

MADE_DIRECTORY = "made"
LOST_FILE = "lost-replicas"
_VERSION = "version=0"


class Existence:
    __slots__ = ("_filesystem", "_flushes", "_lost_path", "_made_path", "_names", "_unmarked", "lost")

    def __init__(self, filesystem: FileSystem, log_dir: str, *, flushes: bool = False) -> None:
        """``flushes``: only what is flushed is acknowledged here."""
        self._filesystem = filesystem
        self._flushes = flushes
        self._unmarked: list[str] = []
        """Whose files wait for the directories to be durable."""
        self._made_path = os.path.join(log_dir, MADE_DIRECTORY)
        self._lost_path = os.path.join(log_dir, LOST_FILE)
        self._names: dict[TopicPartition, str] = {}
        """Of those known here."""
        self.lost: frozenset[TopicPartition] = frozenset()

    def open(self, known: Mapping[TopicPartition, TopicId], found: Collection[TopicPartition]) -> None:
        """Compare what is known with the directories ``found``. Raises ``OSError``."""
        filesystem = self._filesystem
        self._names = {partition: _name(topic_id, partition) for partition, topic_id in known.items()}
        remembers = filesystem.status(self._made_path) is not None
        made = frozenset(filesystem.list_directory(self._made_path) if remembers else ())
        lost = self._read_lost()
        missing = {
            partition
            for partition, name in self._names.items()
            if partition not in found and (name in made or not remembers)
        }
        self.lost = frozenset(partition for partition, name in self._names.items() if name in lost)
        self._write_lost(self.lost | missing)
        filesystem.make_directory(self._made_path)
        unnoted = [name for partition in found if (name := self._names[partition]) not in made]
        for name in unnoted:
            self._mark(name)
        if unnoted or not remembers:
            filesystem.sync_directory(self._made_path)
            filesystem.sync_directory(os.path.dirname(self._made_path))

    def note_made(self, partition: TopicPartition, topic_id: TopicId) -> None:
        """Its directory is there, and nothing in it. Raises ``OSError``."""
        name = self._names[partition] = _name(topic_id, partition)
        if self._flushes:
            self._unmarked.append(name)
        else:
            self._mark(name)

    def take_unmarked(self) -> list[str]:
        """In a worker thread, before the names in the log dir are synced; then give them to ``mark``."""
        taken, self._unmarked = self._unmarked, []
        return taken

    def mark(self, names: Iterable[str]) -> None:
        """In a worker thread: durably, with what was written before. Raises ``OSError``."""
        for name in names:
            self._mark(name)
        self._filesystem.sync_directory(self._made_path)

    def _mark(self, name: str) -> None:
        self._filesystem.write_file(os.path.join(self._made_path, name), b"")

    def forget(self, partition: TopicPartition) -> None:
        """It was given up. Raises ``OSError``."""
        self._write_lost(self.lost - {partition})
        name = self._names.pop(partition, None)
        if name is not None:
            self._unmarked = [other for other in self._unmarked if other != name]
            self._filesystem.unlink(os.path.join(self._made_path, name))

    def note_recovered(self, partitions: Iterable[TopicPartition]) -> None:
        """They are in sync again. If it cannot be written, it is only not known after a restart."""
        with contextlib.suppress(OSError):
            self._write_lost(self.lost.difference(partitions))

    def _read_lost(self) -> frozenset[str]:
        content = self._filesystem.read_file(self._lost_path)
        lines = [] if content is None else content.decode("utf-8", "replace").splitlines()
        if not lines:
            return frozenset()
        if lines[0] != _VERSION:
            return frozenset(self._names.values())  # of a later version: at least these may be meant
        return frozenset(lines[1:])

    def _write_lost(self, lost: frozenset[TopicPartition]) -> None:
        if lost == self.lost:
            return
        self.lost = lost
        if lost:
            names = sorted(self._names[partition] for partition in lost)
            self._filesystem.replace_file(self._lost_path, "\n".join((_VERSION, *names, "")).encode())
        else:
            self._filesystem.unlink(self._lost_path)


def _name(topic_id: TopicId, partition: TopicPartition) -> str:
    return f"{format_topic_id(topic_id)}-{partition.partition}"
