"""A partition in memory that fails when told to, and a shard small enough to be obvious."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence

from broker.coordination.decision import Decision, Ticket, TimerKey
from broker.errors import KafkaError
from broker.types import Buffer


class MemoryLog:
    """Appends commit when ``commit`` is called, or at once while ``commits_at_once``."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, bytes]] = []
        self.start_offset = 0
        self.end_offset = 0
        self.batch_bytes_max = 1_000
        self.commits_at_once = True
        self.append_error: KafkaError | None = None
        self.announces_refusals = True
        self.read_error: KafkaError | None = None
        self.committed = 0
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def refusal(self) -> KafkaError | None:
        return self.append_error if self.announces_refusals else None

    def append(self, batch: bytearray, now_ms: int) -> int:
        if self.append_error is not None:
            raise self.append_error
        self.batches.append((self.end_offset, bytes(batch)))
        self.end_offset += len(json.loads(batch))
        if self.commits_at_once:
            self.committed = self.end_offset
        return self.end_offset - 1

    def wait_committed(self, offset: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.committed > offset:
            future.set_result(None)
        else:
            self._waiters.append((offset, future))
        return future

    def commit(self) -> None:
        self.committed = self.end_offset
        waiters, self._waiters = self._waiters, []
        for _, future in waiters:
            future.set_result(None)

    def fail_commits(self, error: KafkaError) -> None:
        waiters, self._waiters = self._waiters, []
        for _, future in waiters:
            future.set_exception(error)

    def read(self, offset: int, max_bytes: int) -> Sequence[Buffer]:
        if self.read_error is not None:
            raise self.read_error
        return [json.dumps([base, json.loads(batch)]).encode() for base, batch in self.batches if base >= offset][:1]

    def values(self) -> list[object]:
        return [value for _, batch in self.batches for value in json.loads(batch)]


class JsonCodec:
    def encode(self, records: Sequence[object], now_ms: int, batch_bytes_max: int) -> Iterator[bytearray]:
        yield bytearray(json.dumps(list(records)).encode())

    def decode(self, pieces: Sequence[Buffer], from_offset: int) -> Iterator[tuple[int, object | None]]:
        for piece in pieces:
            base, values = json.loads(bytes(piece))
            yield from ((base + place, value) for place, value in enumerate(values))


class CounterShard:
    """Adds up the numbers in its log. ``on_timer`` adds one more."""

    def __init__(self) -> None:
        self.total = 0
        self.loaded_at: int | None = None

    def replay(self, record: int) -> None:
        self.total += record if isinstance(record, int) else 0

    def on_loaded(self, now_ms: int) -> Decision[int]:
        self.loaded_at = now_ms
        return Decision()

    def on_timer(self, key: TimerKey, now_ms: int) -> Decision[int]:
        return Decision(records=[1])

    def add(self, number: int, ticket: Ticket, now_ms: int) -> Decision[int]:
        return Decision(records=[number], replies=[(ticket, self.total + number if isinstance(number, int) else None)])

    def remind(self, delay_ms: int, ticket: Ticket, now_ms: int) -> Decision[int]:
        return Decision(replies=[(ticket, None)], timers={("bell",): delay_ms})
