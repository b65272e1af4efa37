"""What clients tried and were told, and what must be true of it. One ``History`` per run; every violation is kept.

Anomalies are found from two sides: here from what clients saw, and in ``observer.py`` from inside the brokers.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

Partition = tuple[str, int]


@dataclass
class History:
    sent: dict[Partition, dict[bytes, None]] = field(default_factory=lambda: defaultdict(dict))
    """Values that a producer tried to write, in its order."""
    acknowledged: dict[Partition, dict[bytes, int]] = field(default_factory=lambda: defaultdict(dict))
    """Value → offset."""
    seen: dict[Partition, dict[int, bytes]] = field(default_factory=lambda: defaultdict(dict))
    """Offset → value, as readers of everything saw it."""
    owners: dict[tuple[Partition, int], bytes] = field(default_factory=dict)
    """(partition, offset) → value that was acknowledged there."""
    violations: list[str] = field(default_factory=list)
    trust_reads: bool = True
    """Whether what was read, but acknowledged to nobody, has to stay: not when the power fails."""

    def violate(self, what: str) -> None:
        self.violations.append(what)

    def on_sent(self, partition: Partition, value: bytes) -> None:
        self.sent[partition][value] = None

    def on_acknowledged(self, partition: Partition, value: bytes, offset: int) -> None:
        known = self.acknowledged[partition].setdefault(value, offset)
        if known != offset:
            self.violate(f"{partition}: {value!r} was acknowledged at {known} and at {offset}")
        owner = self.owners.setdefault((partition, offset), value)
        if owner != value:
            self.violate(f"{partition}: offset {offset} was acknowledged to {owner!r} and to {value!r}")

    def on_read(self, partition: Partition, offset: int, value: bytes) -> None:
        if value not in self.sent[partition]:
            self.violate(f"{partition}: {value!r} at {offset} was never written")
        before = self.seen[partition].setdefault(offset, value)
        if before != value:
            if self.trust_reads:
                self.violate(f"{partition}: offset {offset} was read as {before!r} and as {value!r}")
            self.seen[partition][offset] = value

    # At the end -------------------------------------------------------------------------------------

    def judge_log(self, partition: Partition, log: list[tuple[int, bytes]]) -> None:
        """``log``: what is in the partition at the end, (offset, value)."""
        by_offset = dict(log)
        for value, offset in self.acknowledged[partition].items():
            found = by_offset.get(offset)
            if found != value:
                self.violate(f"{partition}: {value!r} was acknowledged at {offset}, where there is {found!r}")
        self.judge_reads(partition, log)
        self._judge_order(partition, log)

    def judge_reads(self, partition: Partition, log: list[tuple[int, bytes]]) -> None:
        """What was read is there."""
        by_offset = dict(log)
        if self.trust_reads:
            for offset, value in self.seen[partition].items():
                if by_offset.get(offset) != value:
                    self.violate(
                        f"{partition}: {value!r} was read at {offset}, where there is {by_offset.get(offset)!r}"
                    )

    def _judge_order(self, partition: Partition, log: list[tuple[int, bytes]]) -> None:
        """Values are ``producer:number``; each producer's are there once and in its order, without a gap."""
        latest: dict[bytes, int] = {}
        for offset, value in log:
            if value not in self.sent[partition]:
                self.violate(f"{partition}: {value!r} at {offset} was never written")
            producer, _, number = value.rpartition(b":")
            expected = latest.get(producer, -1) + 1
            if int(number) != expected:
                self.violate(f"{partition}: {value!r} at {offset} where number {expected} of its producer was due")
            latest[producer] = int(number)
