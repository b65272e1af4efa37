"""Reading a page of records out of many partitions, within a budget.

Each partition is a stream of matching records in reading order; the streams are merged by timestamp, so a page shows
what was written at about the same time however the records are spread. Reading stops at the page's limit, at the end
of what existed when it began, or when the budget is spent; what has been passed over is remembered exactly, so
the next page continues there and shows nothing twice.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from broker import limits
from broker.client.results import DamagedBatch, FetchedRecords, ListedOffset, Record
from dashboard.gateway import GatewayError
from dashboard.messages.predicate import Predicate

RECORDS_MAX = 100_000
BYTES_MAX = 64 * limits.MIB
SECONDS_MAX = 4.0
FETCH_BYTES = limits.MIB
CHUNK_RECORDS_MAX = 2_000
FIRST_WINDOW_RECORDS = 4
"""Reading backwards begins small: a few records of a megabyte must not spend the whole budget."""
WINDOW_GROWTH = 4
EARLIEST, LATEST = -2, -1


class Source(Protocol):
    """What reading needs of the gateway. Both raise ``GatewayError``."""

    def list_offsets(self, topic: str, positions: Mapping[int, int]) -> dict[int, ListedOffset]: ...

    def fetch(self, topic: str, partition: int, offset: int, max_bytes: int, records_max: int) -> FetchedRecords: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    topic: str
    partitions: tuple[int, ...]
    limit: int
    goes_back: bool
    starts: Mapping[int, int] | None = None
    """Offsets to start at; ``None`` starts at the end (going back) or the beginning."""
    predicate: Predicate = field(default_factory=Predicate)


@dataclass(slots=True)
class Budget:
    """What may still be read. ``clock`` is monotonic seconds."""

    clock: Callable[[], float] = time.monotonic
    records: int = RECORDS_MAX
    size: int = BYTES_MAX
    seconds: float = SECONDS_MAX
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()

    @property
    def elapsed(self) -> float:
        return self.clock() - self.began

    @property
    def spent(self) -> str:
        """Which bound has been reached, in words; empty while there is some left."""
        if self.records <= 0:
            return f"{RECORDS_MAX:,} records"
        if self.size <= 0:
            return f"{BYTES_MAX // limits.MIB} MiB"
        return f"{self.seconds:g} seconds" if self.elapsed >= self.seconds else ""

    def take(self, fetched: FetchedRecords) -> None:
        self.records -= max(1, len(fetched.records))
        self.size -= sum(record.size_bytes for record in fetched.records)


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    partition: int
    batch: DamagedBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A partition that could not be read, and the broker's reason."""

    partition: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What a partition holds, and the part of it this page covers: ``low`` ≤ offset < ``high``."""

    start: int
    end: int
    low: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    records: tuple[Record, ...]
    """In reading order: descending when going back."""
    spans: Mapping[int, Span]
    damaged: tuple[Damage, ...]
    troubles: tuple[Trouble, ...]
    scanned_records: int
    scanned_bytes: int
    elapsed_seconds: float
    stopped_by: str
    """The bound of the budget that ended it early; empty when it found what was asked for, or all there is."""

    @property
    def lows(self) -> dict[int, int]:
        return {partition: span.low for partition, span in self.spans.items()}

    @property
    def highs(self) -> dict[int, int]:
        return {partition: span.high for partition, span in self.spans.items()}

    @property
    def has_older(self) -> bool:
        return any(span.low > span.start for span in self.spans.values())

    @property
    def has_newer(self) -> bool:
        return any(span.high < span.end for span in self.spans.values())

    @property
    def is_empty(self) -> bool:
        """Not one record is kept in these partitions."""
        return all(span.start >= span.end for span in self.spans.values())


def read(source: Source, request: Request, budget: Budget | None = None) -> Reading:
    """Raises ``GatewayError`` when not even the offsets can be had; trouble with one partition is in the result."""
    budget = budget or Budget()
    bounds, unknown = _bounds(source, request, budget)
    streams = [_Stream(source, request, budget, partition, *bounds[partition]) for partition in bounds]
    records: list[Record] = []
    while len(records) < request.limit:
        _fill(streams, budget)
        ready = [stream for stream in streams if stream.found]
        if not ready:
            break
        chosen = max(ready, key=_rank_back) if request.goes_back else min(ready, key=_rank_forward)
        records.append(chosen.take())
    return Reading(
        records=tuple(records),
        spans={stream.partition: stream.span() for stream in streams},
        damaged=tuple(sorted((one for stream in streams for one in stream.damaged), key=_place)),
        troubles=(
            *unknown,
            *(Trouble(partition=stream.partition, reason=stream.trouble) for stream in streams if stream.trouble),
        ),
        scanned_records=sum(stream.scanned_records for stream in streams),
        scanned_bytes=sum(stream.scanned_bytes for stream in streams),
        elapsed_seconds=budget.elapsed,
        stopped_by=budget.spent if len(records) < request.limit and any(not s.ended for s in streams) else "",
    )


def _bounds(source: Source, request: Request, budget: Budget) -> tuple[dict[int, tuple[int, int]], list[Trouble]]:
    """(first offset, end) of every partition that tells. One that is offline must not hide the others, so a refusal of
    all together is asked again one by one; raises when none tells."""

    def ask(partitions: tuple[int, ...]) -> dict[int, tuple[int, int]]:
        earliest = source.list_offsets(request.topic, dict.fromkeys(partitions, EARLIEST))
        latest = source.list_offsets(request.topic, dict.fromkeys(partitions, LATEST))
        return {one: (earliest[one].offset, latest[one].offset) for one in partitions}

    try:
        return ask(request.partitions), []
    except GatewayError as refused:
        if refused.unreachable or len(request.partitions) == 1:
            raise
    found: dict[int, tuple[int, int]] = {}
    troubles: list[Trouble] = []
    for partition in request.partitions:
        if budget.spent:
            troubles.append(Trouble(partition=partition, reason="There was no time left to ask for it."))
            continue
        try:
            found |= ask((partition,))
        except GatewayError as error:
            troubles.append(Trouble(partition=partition, reason=str(error)))
            if error.unreachable:
                raise
    if not found:
        raise GatewayError(troubles[0].reason)
    return found, troubles


def _fill(streams: list[_Stream], budget: Budget) -> None:
    """Until every stream has a record to offer or is at its end: one step each in turn, so that a partition without
    matches does not spend what the others need."""
    while not budget.spent:
        waiting = [stream for stream in streams if not stream.found and not stream.ended]
        if not waiting:
            return
        for stream in waiting:
            if budget.spent:
                return
            stream.step()


def _rank_back(stream: _Stream) -> tuple[int, int]:
    return stream.found[0].timestamp_ms, -stream.partition


def _rank_forward(stream: _Stream) -> tuple[int, int]:
    return stream.found[0].timestamp_ms, stream.partition


def _place(damage: Damage) -> tuple[int, int]:
    return damage.partition, damage.batch.base_offset


class _Stream:
    """One partition, read in one direction in pieces."""

    def __init__(self, source: Source, request: Request, budget: Budget, partition: int, start: int, end: int) -> None:
        self.partition = partition
        self.found: deque[Record] = deque()
        """Matching records not taken yet, in reading order."""
        self.damaged: list[Damage] = []
        self.trouble = ""
        self.scanned_records = 0
        self.scanned_bytes = 0
        self._source = source
        self._request = request
        self._budget = budget
        self._start, self._end = start, end
        given = None if request.starts is None else request.starts.get(partition)
        fallback = end if request.goes_back else start
        self._origin = min(max(fallback if given is None else given, start), end)
        self._position = self._origin
        """Going back: everything from here on has been read. Else: the next offset to read."""
        self._window = FIRST_WINDOW_RECORDS

    @property
    def ended(self) -> bool:
        if self.trouble:
            return True
        return self._position <= self._start if self._request.goes_back else self._position >= self._end

    def take(self) -> Record:
        return self.found.popleft()

    def span(self) -> Span:
        """Records found but not taken belong to the next page."""
        if self._request.goes_back:
            low = self.found[0].offset + 1 if self.found else self._position
            return Span(start=self._start, end=self._end, low=low, high=self._origin)
        high = self.found[0].offset if self.found else self._position
        return Span(start=self._start, end=self._end, low=self._origin, high=high)

    def step(self) -> None:
        try:
            if self._request.goes_back:
                self._step_back()
            else:
                self._step_forward()
        except GatewayError as error:
            self.trouble = str(error)

    def _step_forward(self) -> None:
        wanted = CHUNK_RECORDS_MAX if self._request.predicate else self._request.limit
        fetched = self._fetch(self._position, wanted)
        self._keep(record for record in fetched.records if record.offset < self._end)
        if fetched.next_offset <= self._position:
            raise GatewayError("The broker gave nothing although there should be records.")
        self._position = min(fetched.next_offset, self._end)

    def _step_back(self) -> None:
        """Read the window below the position forwards, then offer it backwards."""
        upper, lower = self._position, max(self._start, self._position - self._window)
        window: list[Record] = []
        at, size = lower, 0
        while at < upper:
            if at > lower and self._budget.spent:
                # The window's newest records were not reached: it does not count.
                return
            fetched = self._fetch(at, upper - at)
            window += (record for record in fetched.records if record.offset < upper)
            size += sum(record.size_bytes for record in fetched.records)
            if fetched.next_offset <= at:
                raise GatewayError("The broker gave nothing although there should be records.")
            at = fetched.next_offset
        self._keep(reversed(window))
        self._position = lower
        if size < FETCH_BYTES:
            self._window = min(self._window * WINDOW_GROWTH, CHUNK_RECORDS_MAX)
        elif size > WINDOW_GROWTH * FETCH_BYTES:
            self._window = max(1, self._window // WINDOW_GROWTH)

    def _fetch(self, offset: int, records_max: int) -> FetchedRecords:
        fetched = self._source.fetch(
            self._request.topic, self.partition, offset, FETCH_BYTES, min(records_max, CHUNK_RECORDS_MAX)
        )
        self._budget.take(fetched)
        self.scanned_records += len(fetched.records)
        self.scanned_bytes += sum(record.size_bytes for record in fetched.records)
        for batch in fetched.damaged:
            damage = Damage(partition=self.partition, batch=batch)
            if damage not in self.damaged:
                self.damaged.append(damage)
        return fetched

    def _keep(self, records: Iterable[Record]) -> None:
        for record in records:
            if self._request.predicate.matches(record):
                self.found.append(record)
