"""Transactions as an operator sees them: whose, how old, and whom they hold back. Pure.

Joins what nobody tells in one answer: the coordinators' list of transactional ids, the producers that have something open
in a partition, where readers of committed records stop, and where groups stand.

A transaction *hangs* when a partition has it open and its coordinator does not: then nobody will ever end it, and readers of
committed records wait there for ever. A transaction that begins or ends while the answers come in looks the same for a
moment, so one counts as hanging only when its producer has been silent for ``HANGING_MS``.

The order of questions matters: coordinators first, partitions afterwards. A transaction that ends in between is then open
without holding anybody, and never the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from broker.client.results import ProducerDescription, TransactionDescription, TransactionListing
from broker.types import TopicPartition
from dashboard.collector.alerts import HELD_LONG_MS
from dashboard.live.base import Level

HANGING_MS = 10_000
STUCK_MS = 15_000
"""Markers are written within a second or so: an end that takes this long waits for something."""

OPEN_STATES = frozenset({"Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence"})
STATE_WORDS = {
    "Empty": ("idle", "nothing yet"),
    "Ongoing": ("good", "open"),
    "PrepareCommit": ("good", "committing"),
    "PrepareAbort": ("good", "aborting"),
    "PrepareEpochFence": ("good", "being fenced"),
    "CompleteCommit": ("idle", "committed"),
    "CompleteAbort": ("idle", "aborted"),
    "Dead": ("idle", "expired"),
}

Producers: TypeAlias = Mapping[str, Sequence[ProducerDescription]]
"""By topic: the producers with something open in one of its partitions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Of one partition."""

    last_stable: int
    high_watermark: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One partition a transaction has written to."""

    topic_partition: TopicPartition
    first_offset: int
    """Where it begins here; -1 when the partition does not know of it (yet, or any more)."""
    ends: Ends | None
    groups: Sequence[str] = ()
    """Groups that have read up to where readers of committed records stop, and wait there."""
    producer: ProducerDescription | None = None

    @property
    def is_first(self) -> bool:
        """Whether it is this transaction that the readers wait for."""
        return self.ends is not None and self.first_offset >= 0 and self.first_offset == self.ends.last_stable

    @property
    def waiting(self) -> int:
        """Records behind the point where readers of committed records stop because of this transaction."""
        if not self.is_first or self.ends is None:
            return 0
        return max(0, self.ends.high_watermark - self.ends.last_stable)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionView:
    transactional_id: str
    """Empty when it hangs and no coordinator knows whose it was."""
    producer_id: int
    producer_epoch: int
    coordinator: int
    state: str
    start_ms: int
    """-1 when unknown; of a hanging one the last write."""
    timeout_ms: int
    held: Sequence[Held] = ()
    hanging: bool = False

    @property
    def is_open(self) -> bool:
        return self.hanging or self.state in OPEN_STATES

    @property
    def waiting(self) -> int:
        return sum(one.waiting for one in self.held)

    @property
    def groups(self) -> list[str]:
        return sorted({group for one in self.held if one.is_first for group in one.groups})

    @property
    def word(self) -> str:
        return "hanging" if self.hanging else STATE_WORDS.get(self.state, ("unknown", self.state.lower()))[1]

    @property
    def overdue_ms(self) -> int:
        """When its coordinator aborts it by itself; -1: never, or nothing is open."""
        if self.hanging or self.state != "Ongoing" or self.start_ms < 0 or self.timeout_ms <= 0:
            return -1
        return self.start_ms + self.timeout_ms

    def level(self, now_ms: int) -> Level:
        if self.hanging:
            return "bad"
        if (
            self.is_open
            and self.state != "Ongoing"
            and 0 <= self.start_ms < now_ms - STUCK_MS - max(0, self.timeout_ms)
        ):
            return "warn"
        if self.overdue_ms >= 0 and now_ms - self.overdue_ms > STUCK_MS:
            return "warn"
        return STATE_WORDS.get(self.state, ("unknown", ""))[0]  # type: ignore[return-value]


Kind: TypeAlias = Literal["open", "hanging", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Everything known, hanging ones first, then open ones from the oldest on, then the others by id."""

    transactions: Sequence[TransactionView]
    now_ms: int

    @property
    def open(self) -> list[TransactionView]:
        return [one for one in self.transactions if one.is_open]

    @property
    def hanging(self) -> list[TransactionView]:
        return [one for one in self.transactions if one.hanging]

    @property
    def waiting(self) -> int:
        return sum(one.waiting for one in self.transactions)

    @property
    def oldest(self) -> TransactionView | None:
        known = [one for one in self.open if one.start_ms >= 0]
        return min(known, key=lambda one: one.start_ms, default=None)

    @property
    def held_long(self) -> list[TransactionView]:
        """What holds readers back for longer than an alert waits."""
        return [one for one in self.open if one.waiting and 0 <= one.start_ms <= self.now_ms - HELD_LONG_MS]

    def find(self, transactional_id: str) -> TransactionView | None:
        return next(
            (one for one in self.transactions if one.transactional_id == transactional_id and not one.hanging), None
        )

    def find_hanging(self, producer_id: int) -> TransactionView | None:
        return next((one for one in self.hanging if one.producer_id == producer_id), None)


def survey(
    listings: Iterable[TransactionListing],
    described: Mapping[str, TransactionDescription],
    producers: Producers,
    ends: Mapping[TopicPartition, Ends],
    committed: Mapping[TopicPartition, Mapping[str, int]],
    now_ms: int,
) -> Survey:
    """``committed``: where the groups stand that read a partition, by group."""
    opened = {
        (TopicPartition(topic, one.partition), one.producer_id): one
        for topic, found in producers.items()
        for one in found
        if one.transaction_start_offset >= 0
    }
    known = [_view(listing, described.get(listing.transactional_id), opened, ends, committed) for listing in listings]
    claimed = {(held.topic_partition, one.producer_id) for one in known if one.is_open for held in one.held}
    orphans = {
        key: one for key, one in opened.items() if key not in claimed and one.last_timestamp_ms < now_ms - HANGING_MS
    }
    names = {one.producer_id: one.transactional_id for one in known}
    hanging = _hanging(orphans, names, ends, committed)
    ordered = sorted(known, key=lambda one: (not one.is_open, one.start_ms if one.is_open else 0, one.transactional_id))
    return Survey(transactions=[*hanging, *ordered], now_ms=now_ms)


def _view(
    listing: TransactionListing,
    found: TransactionDescription | None,
    opened: Mapping[tuple[TopicPartition, int], ProducerDescription],
    ends: Mapping[TopicPartition, Ends],
    committed: Mapping[TopicPartition, Mapping[str, int]],
) -> TransactionView:
    if found is None:
        return TransactionView(
            transactional_id=listing.transactional_id,
            producer_id=listing.producer_id,
            producer_epoch=-1,
            coordinator=listing.coordinator,
            state=listing.state,
            start_ms=-1,
            timeout_ms=-1,
        )
    return TransactionView(
        transactional_id=found.transactional_id,
        producer_id=found.producer_id,
        producer_epoch=found.producer_epoch,
        coordinator=found.coordinator,
        state=found.state,
        start_ms=found.start_ms,
        timeout_ms=found.timeout_ms,
        held=[_held(key, opened.get((key, found.producer_id)), ends, committed) for key in found.partitions],
    )


def _held(
    key: TopicPartition,
    producer: ProducerDescription | None,
    ends: Mapping[TopicPartition, Ends],
    committed: Mapping[TopicPartition, Mapping[str, int]],
) -> Held:
    stops = ends.get(key)
    waits = [
        group
        for group, offset in committed.get(key, {}).items()
        if stops is not None and offset == stops.last_stable < stops.high_watermark
    ]
    return Held(
        topic_partition=key,
        first_offset=producer.transaction_start_offset if producer is not None else -1,
        ends=stops,
        groups=sorted(waits),
        producer=producer,
    )


def _hanging(
    orphans: Mapping[tuple[TopicPartition, int], ProducerDescription],
    names: Mapping[int, str],
    ends: Mapping[TopicPartition, Ends],
    committed: Mapping[TopicPartition, Mapping[str, int]],
) -> list[TransactionView]:
    by_producer: dict[int, TransactionView] = {}
    for (key, producer_id), producer in sorted(orphans.items()):
        was = by_producer.get(producer_id)
        held = _held(key, producer, ends, committed)
        if was is not None:
            by_producer[producer_id] = replace(
                was, held=[*was.held, held], start_ms=min(was.start_ms, producer.last_timestamp_ms)
            )
            continue
        by_producer[producer_id] = TransactionView(
            transactional_id=names.get(producer_id, ""),
            producer_id=producer_id,
            producer_epoch=producer.producer_epoch,
            coordinator=-1,
            state="",
            start_ms=producer.last_timestamp_ms,
            timeout_ms=-1,
            held=[held],
            hanging=True,
        )
    return sorted(by_producer.values(), key=lambda one: one.start_ms)
