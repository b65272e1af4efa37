"""Which leader epoch wrote which part of the log (KIP-101, KIP-279).

Owns: the ordered (epoch, start offset) entries of one partition and their file ``leader-epoch-checkpoint``
(version 0, Kafka's text form). The log assigns an epoch with the first batch it writes under it; truncation by
epoch asks ``end_offset``.

What must stay true: epochs and start offsets both strictly increase. An epoch may be said to begin earlier than it did, never
later: a diverged replica that is told too late an end keeps what is no part of the log, one that is told too early an end
copies something twice. Hence compaction keeps the first batch of an epoch, and the first epoch begins with the log. The file is written without fsync when an
epoch starts; the flush ticket that makes the epoch's first batch durable syncs the file too, and a damaged file is
rebuilt from the batch headers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise

from broker.storage.text_lines import decode_lines, encode_lines
from broker.types import NO_EPOCH, NO_OFFSET

LEADER_EPOCH_FILE = "leader-epoch-checkpoint"


class LeaderEpochs:
    __slots__ = ("_epochs", "_starts")

    def __init__(self, entries: list[tuple[int, int]] | None = None) -> None:
        self._epochs = [epoch for epoch, _ in entries or ()]
        self._starts = [start for _, start in entries or ()]

    @property
    def latest(self) -> int:
        return self._epochs[-1] if self._epochs else NO_EPOCH

    def entries(self) -> list[tuple[int, int]]:
        return list(zip(self._epochs, self._starts, strict=True))

    def assign(self, epoch: int, start_offset: int) -> bool:
        """The batch at ``start_offset`` carries ``epoch``; true if that begins a new entry.

        An older epoch cannot begin behind a newer one, and two epochs cannot begin at one offset: the entries
        that the new one contradicts go, as in Kafka.
        """
        if epoch < 0 or (self._epochs and epoch == self._epochs[-1]):
            return False
        while self._epochs and (self._epochs[-1] >= epoch or self._starts[-1] >= start_offset):
            self._epochs.pop()
            self._starts.pop()
        self._epochs.append(epoch)
        self._starts.append(start_offset)
        return True

    def learn(self, epoch: int, start_offset: int) -> bool:
        """``assign`` for a batch found in the log: only an epoch newer than all known ones says something new."""
        return epoch > self.latest and self.assign(epoch, start_offset)

    def end_offset(self, epoch: int, log_end_offset: int) -> tuple[int, int]:
        """The largest known epoch ≤ ``epoch`` and where it ends; (-1, -1) if ``epoch`` is newer than all known."""
        if epoch < 0 or not self._epochs or epoch > self._epochs[-1]:
            return NO_EPOCH, NO_OFFSET
        if epoch == self._epochs[-1]:
            return epoch, log_end_offset
        after = bisect_right(self._epochs, epoch)
        if after == 0:
            return epoch, self._starts[0]
        return self._epochs[after - 1], self._starts[after]

    def epoch_at(self, offset: int) -> int:
        """The epoch that wrote ``offset``; -1 if unknown."""
        index = bisect_right(self._starts, offset) - 1
        return self._epochs[index] if index >= 0 else NO_EPOCH

    def truncate_from_end(self, end_offset: int) -> bool:
        """Forget epochs that begin at or above ``end_offset``; true if there were any."""
        keep = bisect_left(self._starts, end_offset)
        changed = keep < len(self._epochs)
        del self._epochs[keep:]
        del self._starts[keep:]
        return changed

    def truncate_from_start(self, start_offset: int) -> bool:
        """Forget epochs that end at or below ``start_offset``; the one it falls into begins there from now on."""
        drop = bisect_right(self._starts, start_offset) - 1
        if drop < 0 or (drop == 0 and self._starts[0] == start_offset):
            return False
        del self._epochs[:drop]
        del self._starts[:drop]
        self._starts[0] = start_offset
        return True

    def reach_back_to(self, start_offset: int) -> None:
        """The first epoch begins where the log does: what was compacted away before its first batch is of no other."""
        if self._starts and self._starts[0] > start_offset:
            self._starts[0] = start_offset

    def clear(self) -> None:
        self._epochs.clear()
        self._starts.clear()

    def encode(self) -> bytes:
        return encode_lines(f"{epoch} {start}" for epoch, start in self.entries())

    @classmethod
    def decode(cls, content: bytes) -> LeaderEpochs:
        """Raises ``ValueError`` for anything but a whole version 0 file with increasing entries."""
        entries = [(int(epoch), int(start)) for epoch, start in (line.split(" ") for line in decode_lines(content))]
        for before, after in pairwise(entries):
            if before[0] >= after[0] or before[1] >= after[1]:
                raise ValueError(f"entry {after} does not follow {before}")
        return cls(entries)
