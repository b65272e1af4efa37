"""``manage.py console_consumer`` and ``consumer_perf``: read partitions from given offsets on, in no group.

Owns: the loop around the client's long polls and the reasons to end it. The order of partitions turns from poll to
poll, because a broker fills its answer from the front and the first partition would starve the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from broker.client.asynchronous import AsyncClient
from broker.client.results import FetchedRecords
from broker.client.router import MISROUTED
from broker.client.topics import EARLIEST, LATEST
from broker.commandline.outcome import CommandFailed, WrongUse
from broker.commandline.record_text import ReadRecord
from broker.commandline.signals import unless_stopped
from broker.errors import ErrorCode, KafkaError
from broker.limits import MIB
from broker.types import NO_OFFSET

POLL_WAIT_MS = 500
RETRY_SECONDS = 0.2
RETRIES_MAX = 50
"""Ten seconds without a leader; then it is said aloud."""
FETCH_BYTES = 4 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Reasons to end, each ``None`` for never."""

    records_max: int | None = None
    idle_ms: int | None = None
    """Without any record for so long."""
    at_end: bool = False
    """Where the logs ended when reading began."""


@dataclass(slots=True, kw_only=True)
class Consumed:
    records: int = 0
    bytes: int = 0
    """Keys, values and headers."""
    reached_end: bool = False
    """With ``Limits.at_end``: everything up to there was read."""


Handle = Callable[[ReadRecord], None]
Polled = Callable[[float, int], None]
"""Told of each poll: seconds it took, records it brought."""


async def start_positions(
    client: AsyncClient, topic: str, partitions: Iterable[int] | None, where: str | int, from_ms: int | None
) -> dict[int, int]:
    """Where to begin in each partition: ``earliest``, ``latest``, an offset, or the first record not older than
    ``from_ms``. A number before 0 counts back from the end, as ``-5`` for the last five records."""
    count = len((await client.router.topic(topic)).partitions)
    chosen = sorted(set(range(count) if partitions is None else partitions))
    absent = [partition for partition in chosen if not 0 <= partition < count]
    if absent:
        raise WrongUse(f"topic {topic!r} has {count} partition(s), no {', '.join(map(str, absent))}")
    if from_ms is not None:
        found = await client.topics.list_offsets(topic, dict.fromkeys(chosen, from_ms))
        ends = await client.topics.list_offsets(topic, dict.fromkeys(chosen, LATEST))
        return {p: ends[p].offset if found[p].offset == NO_OFFSET else found[p].offset for p in chosen}
    if isinstance(where, int) and where >= 0:
        return dict.fromkeys(chosen, where)
    starts = await client.topics.list_offsets(topic, dict.fromkeys(chosen, EARLIEST))
    if where == "earliest":
        return {p: starts[p].offset for p in chosen}
    ends = await client.topics.list_offsets(topic, dict.fromkeys(chosen, LATEST))
    back = where if isinstance(where, int) else 0
    return {p: max(starts[p].offset, ends[p].offset + back) for p in chosen}


async def consume_partitions(
    client: AsyncClient,
    topic: str,
    positions: Mapping[int, int],
    limits: Limits,
    handle: Handle,
    stopping: asyncio.Event,
    *,
    read_committed: bool = False,
    note_damage: Callable[[str], None] | None = None,
    polled: Polled = lambda seconds, records: None,
    fetch_bytes: int = FETCH_BYTES,
) -> Consumed:
    """Until a limit or ``stopping``. Raises ``CommandFailed`` for an offset that does not exist, ``KafkaError`` and
    ``ClientConnectionError``. With ``note_damage`` batches that cannot be opened are told to it and passed over."""
    consumed = Consumed()
    offsets = dict(positions)
    ends = await _ends(client, topic, offsets, read_committed) if limits.at_end else {}
    offsets = {p: offset for p, offset in offsets.items() if not limits.at_end or offset < ends[p]}
    last_record, failures = time.monotonic(), 0
    while offsets and not stopping.is_set():
        began = time.monotonic()
        left = None if limits.records_max is None else limits.records_max - consumed.records
        if left is not None and left <= 0:
            break
        try:
            results = await unless_stopped(
                client.reader.fetch_many(
                    topic,
                    offsets,
                    fetch_bytes,
                    POLL_WAIT_MS if limits.idle_ms is None else min(POLL_WAIT_MS, limits.idle_ms),
                    read_committed=read_committed,
                    records_max=left,
                    skip_damaged=note_damage is not None,
                ),
                stopping,
            )
            found = _usable(topic, results or {}, offsets)
            failures = 0
        except KafkaError as error:
            failures += 1
            if error.code not in MISROUTED or failures > RETRIES_MAX:
                raise
            await unless_stopped(asyncio.sleep(RETRY_SECONDS), stopping)
            continue
        before = consumed.records
        for partition, fetched in found.items():
            for damaged in fetched.damaged if note_damage is not None else ():
                assert note_damage is not None
                note_damage(f"{topic}-{partition}: passed over offset {damaged.base_offset}: {damaged.reason}")
            offsets[partition] = _hand_over(fetched, limits, ends.get(partition), consumed, handle)
        if consumed.records > before:
            last_record = time.monotonic()
        polled(time.monotonic() - began, consumed.records - before)
        if limits.at_end:
            offsets = {p: offset for p, offset in offsets.items() if offset < ends[p]}
        if limits.idle_ms is not None and (time.monotonic() - last_record) * 1000 >= limits.idle_ms:
            break
        offsets = _turned(offsets)
    consumed.reached_end = limits.at_end and not offsets
    return consumed


def _hand_over(fetched: FetchedRecords, limits: Limits, end: int | None, consumed: Consumed, handle: Handle) -> int:
    """The offset to go on with."""
    for record in fetched.records:
        if end is not None and record.offset >= end:
            return record.offset
        if limits.records_max is not None and consumed.records >= limits.records_max:
            return record.offset
        handle(record)
        consumed.records += 1
        consumed.bytes += record.size_bytes
    return fetched.next_offset


def _usable(
    topic: str, results: Mapping[int, FetchedRecords | KafkaError], offsets: Mapping[int, int]
) -> dict[int, FetchedRecords]:
    found: dict[int, FetchedRecords] = {}
    failed: KafkaError | None = None
    for partition, result in results.items():
        if isinstance(result, FetchedRecords):
            found[partition] = result
        elif result.code is ErrorCode.OFFSET_OUT_OF_RANGE:
            raise CommandFailed(f"{topic}-{partition} has no offset {offsets[partition]}: it is out of range")
        else:
            failed = result
    if failed is not None and (not found or failed.code not in MISROUTED):
        raise failed
    return found


async def _ends(client: AsyncClient, topic: str, offsets: Iterable[int], read_committed: bool) -> dict[int, int]:
    listed = await client.topics.list_offsets(topic, dict.fromkeys(offsets, LATEST), read_committed=read_committed)
    return {partition: one.offset for partition, one in listed.items()}


def _turned(offsets: dict[int, int]) -> dict[int, int]:
    first = next(iter(offsets), None)
    if first is not None:
        offsets[first] = offsets.pop(first)
    return offsets
