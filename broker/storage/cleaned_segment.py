"""The files of a segment while compaction replaces it: their names, writing them, and checking them.

Owns Kafka's two suffixes and what they mean to a start after a crash:

    <base>.log.<token>.cleaned     being written, by a worker outside the broker; worth nothing
    <base>.log.swap                complete and durable: it *is* the log from ``base`` to its last batch's end

The token is new for every attempt, so a worker that was given up for dead never writes into a file somebody else made.
``segment_swap.py`` moves files from one state to the next.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crc32c import crc32c

from broker.protocol.batch import HEADER, BatchHeader, read_header
from broker.storage.filesystem import FileSystem
from broker.storage.index_cache import IndexCache
from broker.storage.offset_index import OffsetIndex
from broker.storage.segment import (
    INDEX_SUFFIX,
    LOG_SUFFIX,
    TIME_INDEX_SUFFIX,
    TRANSACTION_INDEX_SUFFIX,
    segment_path,
)
from broker.storage.segment_scan import scan_checked
from broker.storage.time_index import TimeIndex
from broker.types import NO_TIMESTAMP, Buffer

CLEANED_SUFFIX = ".cleaned"
SWAP_SUFFIX = ".swap"
BESIDE_THE_LOG = (INDEX_SUFFIX, TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX)
ALL_SUFFIXES = (*BESIDE_THE_LOG, LOG_SUFFIX)
"""The log comes last: whatever state it is in, the others have reached."""
_TOKEN = re.compile(r"[0-9a-f]{1,32}")
_UNBOUNDED = 2**62
BATCHES_BETWEEN_PAUSES = 200
"""Less than a millisecond of work that holds the interpreter."""


def cleaned_path(directory: str, base_offset: int, suffix: str, token: str) -> str:
    return f"{segment_path(directory, base_offset, suffix)}.{token}{CLEANED_SUFFIX}"


def is_token(token: str) -> bool:
    return _TOKEN.fullmatch(token) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanedFacts:
    """What a cleaned log holds."""

    size_bytes: int
    end_offset: int
    digest: int
    """CRC-32C over the batch headers, in order."""


class CleanedSegment:
    """A cleaned segment that is being written. Call ``finish``, or ``discard``."""

    def __init__(
        self,
        filesystem: FileSystem,
        directory: str,
        base_offset: int,
        token: str,
        *,
        index_interval_bytes: int,
        buffer_bytes: int,
    ) -> None:
        """Raises ``OSError``."""
        self.base_offset = base_offset
        self.size = 0
        self._filesystem = filesystem
        self._directory = directory
        self._token = token
        self._interval = index_interval_bytes
        self._buffer_bytes = buffer_bytes
        cache = IndexCache(_UNBOUNDED)
        self._offset_index = OffsetIndex(self._path(INDEX_SUFFIX), base_offset, filesystem, cache)
        self._time_index = TimeIndex(self._path(TIME_INDEX_SUFFIX), base_offset, filesystem, cache)
        self._offset_index.reset()
        self._time_index.reset()
        self._since_index = 0
        self._newest = (NO_TIMESTAMP, base_offset)
        self._digest = 0
        self._end_offset = base_offset
        self._pieces: list[Buffer] = []
        self._pending = 0
        self._fd = filesystem.open(self._path(LOG_SUFFIX), create=True)

    def _path(self, suffix: str) -> str:
        return cleaned_path(self._directory, self.base_offset, suffix, self._token)

    @property
    def digest(self) -> int:
        return self._digest

    @property
    def end_offset(self) -> int:
        return self._end_offset

    @property
    def index_bytes(self) -> int:
        """Of the larger of the two indexes."""
        return max(self._offset_index.memory_bytes(), self._time_index.memory_bytes())

    def append(self, batch: Buffer) -> None:
        """One whole batch, which follows what is there. It must stay as it is until it is written."""
        header = read_header(batch)
        assert header.base_offset >= self._end_offset, "offsets only grow"
        if header.max_timestamp > self._newest[0]:
            self._newest = (header.max_timestamp, header.last_offset)
        if self._since_index > self._interval:
            self._offset_index.append(header.last_offset, self.size)
            self._time_index.append_if_newer(*self._newest)
            self._since_index = 0
        self._since_index += header.size
        self._digest = add_to_digest(self._digest, header)
        self.size += header.size
        self._end_offset = header.next_offset
        self._pieces.append(batch)
        self._pending += header.size
        if self._pending >= self._buffer_bytes:
            self._write()

    def _write(self) -> None:
        pieces, self._pieces, self._pending = self._pieces, [], 0
        rest = memoryview(b"".join(pieces))
        while rest:
            rest = rest[self._filesystem.writev(self._fd, (rest,)) :]

    def finish(self, transaction_index: bytes) -> CleanedFacts:
        """Write the rest and make all of it durable, names included. Raises ``OSError``."""
        self._write()
        self._filesystem.datasync(self._fd)
        self._time_index.append_if_newer(*self._newest)
        self._offset_index.flush()
        self._time_index.flush()
        if transaction_index:
            self._filesystem.write_file(self._path(TRANSACTION_INDEX_SUFFIX), transaction_index)
        for suffix in BESIDE_THE_LOG:
            self._filesystem.sync_file(self._path(suffix))
        self.close()
        self._filesystem.sync_directory(self._directory)
        return CleanedFacts(size_bytes=self.size, end_offset=self._end_offset, digest=self._digest)

    def close(self) -> None:
        if self._fd >= 0:
            self._filesystem.close(self._fd)
            self._fd = -1

    def discard(self) -> None:
        self.close()
        discard_cleaned(self._filesystem, self._directory, self.base_offset, self._token)


def discard_cleaned(filesystem: FileSystem, directory: str, base_offset: int, token: str) -> None:
    for suffix in ALL_SUFFIXES:
        filesystem.unlink(cleaned_path(directory, base_offset, suffix, token))


def discard_leftovers(filesystem: FileSystem, directory: str) -> None:
    """Remove what earlier attempts left: only for who knows that no other attempt is under way."""
    for name in filesystem.list_directory(directory):
        if name.endswith(CLEANED_SUFFIX):
            filesystem.unlink(os.path.join(directory, name))


def check_cleaned(
    filesystem: FileSystem, directory: str, base_offset: int, token: str, pause: Callable[[], None]
) -> CleanedFacts:
    """Read a cleaned log as a stranger's: every batch whole, valid, in order. And make sure that it is durable.

    For a worker thread; ``pause`` is called often, so that it can let others run. Raises ``DamageFound`` and ``OSError``;
    touches nothing but these files.
    """
    path = cleaned_path(directory, base_offset, LOG_SUFFIX, token)
    fd = filesystem.open(path)
    try:
        size = filesystem.size(fd)
        digest, end_offset = 0, base_offset
        batches = scan_checked(filesystem, fd, 0, size, base_offset, gaps_allowed=True)
        for count, (_, header) in enumerate(batches, start=1):
            if count % BATCHES_BETWEEN_PAUSES == 0:
                pause()
            digest = add_to_digest(digest, header)
            end_offset = header.next_offset
        filesystem.datasync(fd)
    finally:
        filesystem.close(fd)
    for suffix in BESIDE_THE_LOG:
        filesystem.sync_file(cleaned_path(directory, base_offset, suffix, token))
    return CleanedFacts(size_bytes=size, end_offset=end_offset, digest=digest)


def add_to_digest(digest: int, header: BatchHeader) -> int:
    """A batch's header holds the checksum of the rest, so headers in order stand for the whole log."""
    return crc32c(HEADER.pack(*header), digest)


def replaced_names(base_offsets: Sequence[int], directory: str) -> list[str]:
    """The files of replaced segments in the order they are given up: the first segment's log goes last of all."""
    ordered = [*sorted(base_offsets)[1:], min(base_offsets)]
    return [segment_path(directory, base, suffix) for base in ordered for suffix in ALL_SUFFIXES]
