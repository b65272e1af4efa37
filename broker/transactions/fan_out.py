"""Which markers go to which broker next. Pure.

Owns: every decision that still has partitions without a marker, and for each such partition where it stands: *ready* to be
sent to its leader, *in flight*, or *stalled* (no leader, or the last attempt failed) until ``retry``. ``markers.py`` sends
what ``take_requests`` says and reports back; ``driver.py`` completes what ``take_finished`` names.

What must stay true:
- one request per broker at a time, with everything that is ready for it (at most ``MARKERS_PER_REQUEST_MAX`` partitions);
- a partition leaves only with its marker written, or with its topic deleted. A marker may be written twice (the answer was
  lost, the coordinator was replaced): partitions take that as the same marker;
- an answer to something that was meanwhile dropped (another coordinator took over) changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

from broker.errors import ErrorCode
from broker.transactions.events import PreparedTransaction
from broker.types import BrokerId, TopicPartition

MARKERS_PER_REQUEST_MAX = 2_000

Key = int
"""Numbers the additions: a producer may end many transactions with the same id and epoch, and an answer must not be taken
for that of a later one."""
Item = tuple[Key, TopicPartition]

LeaderOf = Callable[[TopicPartition], "BrokerId | None"]
"""The live leader; -1 while there is none; ``None`` when the partition does not exist (any more)."""

WRITTEN = frozenset({ErrorCode.NONE, ErrorCode.INVALID_PRODUCER_EPOCH})
"""INVALID_PRODUCER_EPOCH: the partition has seen a later epoch of this producer. No coordinator gives one out before the
transaction is complete, so this marker was written before, by an operator or an earlier life of the coordinator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerRequest:
    broker_id: BrokerId
    items: tuple[Item, ...]
    transactions: Mapping[Key, PreparedTransaction]


@dataclass(slots=True)
class _Open:
    transaction: PreparedTransaction
    remaining: set[TopicPartition] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class FanOutStatistics:
    transactions: int
    partitions: int
    stalled: int


class FanOut:
    def __init__(self) -> None:
        self._open: dict[Key, _Open] = {}
        self._keys: dict[PreparedTransaction, Key] = {}
        self._next_key = count(1)
        self._ready: deque[Item] = deque()
        self._stalled: list[Item] = []
        self._queues: dict[BrokerId, deque[Item]] = {}
        self._busy: set[BrokerId] = set()
        self._finished: list[PreparedTransaction] = []

    @property
    def has_stalled(self) -> bool:
        return bool(self._stalled)

    def add(self, transaction: PreparedTransaction) -> None:
        """A decision that is committed. Asking twice is harmless."""
        if transaction in self._keys:
            return
        key = self._keys[transaction] = next(self._next_key)
        self._open[key] = _Open(transaction, set(transaction.partitions))
        self._ready.extend((key, partition) for partition in sorted(transaction.partitions))
        if not transaction.partitions:
            self._finish(key)

    def drop_coordinator(self, coordinator: int) -> None:
        """This broker does not lead that partition of ``__transaction_state`` any more, or loads it anew."""
        for transaction in [transaction for transaction in self._keys if transaction.coordinator == coordinator]:
            del self._open[self._keys.pop(transaction)]

    def take_requests(self, leader_of: LeaderOf) -> list[MarkerRequest]:
        """What to send now. Each must be reported back, once, by ``on_answer`` or ``on_unanswered``."""
        self._route(leader_of)
        requests = []
        for broker_id in [broker_id for broker_id in self._queues if broker_id not in self._busy]:
            items = self._take(self._queues[broker_id])
            if not self._queues[broker_id]:
                del self._queues[broker_id]
            if items:
                self._busy.add(broker_id)
                transactions = {key: self._open[key].transaction for key, _ in items}
                requests.append(MarkerRequest(broker_id=broker_id, items=items, transactions=transactions))
        return requests

    def on_answer(self, request: MarkerRequest, errors: Mapping[Item, ErrorCode]) -> None:
        """An item without a code was not answered."""
        self._busy.discard(request.broker_id)
        for item in request.items:
            if errors.get(item) in WRITTEN:
                self._remove(item)
            else:
                self._stalled.append(item)

    def on_unanswered(self, request: MarkerRequest) -> None:
        self._busy.discard(request.broker_id)
        self._stalled += request.items

    def retry(self) -> None:
        """Time has passed or leaders have changed: everything that stalled, and what waits for a broker, is routed anew."""
        stalled, self._stalled = self._stalled, []
        self._ready.extend(stalled)
        for broker_id in [broker_id for broker_id in self._queues if broker_id in self._busy]:
            self._ready.extend(self._queues.pop(broker_id))

    def take_finished(self) -> list[PreparedTransaction]:
        """Decisions all of whose markers are written, each named once."""
        finished, self._finished = self._finished, []
        return finished

    def statistics(self) -> FanOutStatistics:
        return FanOutStatistics(
            transactions=len(self._open),
            partitions=sum(len(entry.remaining) for entry in self._open.values()),
            stalled=len(self._stalled),
        )

    def _route(self, leader_of: LeaderOf) -> None:
        while self._ready:
            item = self._ready.popleft()
            if not self._is_wanted(item):
                continue
            leader = leader_of(item[1])
            if leader is None:
                self._remove(item)
            elif leader < 0:
                self._stalled.append(item)
            else:
                self._queues.setdefault(leader, deque()).append(item)

    def _take(self, queue: deque[Item]) -> tuple[Item, ...]:
        items: list[Item] = []
        while queue and len(items) < MARKERS_PER_REQUEST_MAX:
            item = queue.popleft()
            if self._is_wanted(item):
                items.append(item)
        return tuple(items)

    def _is_wanted(self, item: Item) -> bool:
        entry = self._open.get(item[0])
        return entry is not None and item[1] in entry.remaining

    def _remove(self, item: Item) -> None:
        key, partition = item
        entry = self._open.get(key)
        if entry is None:
            return
        entry.remaining.discard(partition)
        if not entry.remaining:
            self._finish(key)

    def _finish(self, key: Key) -> None:
        transaction = self._open.pop(key).transaction
        del self._keys[transaction]
        self._finished.append(transaction)
