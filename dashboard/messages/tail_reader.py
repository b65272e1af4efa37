"""Following a topic's end: one long poll after the other, from where each partition ended when it began.

Being live matters more than being complete: whoever cannot keep up is moved forward, and how many records were left
out is always told. Knows nothing of browsers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from broker import limits
from broker.client.asynchronous import AsyncClient
from broker.client.results import FetchedRecords, Record
from broker.errors import ErrorCode, KafkaError
from dashboard.messages.predicate import Predicate

FETCH_BYTES = 256 * limits.KIB
FETCH_RECORDS_MAX = 500
"""Of one partition in one poll."""
WAIT_MS = 500
"""A poll at the end of the log; also how soon a pause or a new partition is noticed."""
BEHIND_MAX = 2_000
"""A partition further behind than this is moved forward …"""
BEHIND_AFTER = 200
"""… to this many records before its end."""
PARTITIONS_SECONDS = 30.0
LATEST = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class TailBatch:
    records: tuple[Record, ...]
    """Those that match, by time."""
    skipped: int = 0
    """Passed over unread to stay at the end."""
    trouble: str = ""
    """What cannot be read right now, in words."""


class TailReader:
    def __init__(
        self,
        client: AsyncClient,
        topic: str,
        partition: int | None,
        predicate: Predicate,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._topic = topic
        self._partition = partition
        self._predicate = predicate
        self._clock = clock
        self._positions: dict[int, int] = {}
        self._looked_at = float("-inf")

    @property
    def partition_count(self) -> int:
        return len(self._positions)

    async def open(self) -> None:
        """Find the ends to start from. Raises ``KafkaError`` or ``ClientConnectionError``."""
        await self._find_partitions()

    async def next(self) -> TailBatch:
        """The next records, or none after ``WAIT_MS``. Raises ``KafkaError`` or ``ClientConnectionError``."""
        if self._clock() - self._looked_at > PARTITIONS_SECONDS:
            await self._find_partitions()
        found = await self._client.reader.fetch_many(
            self._topic,
            self._positions,
            FETCH_BYTES,
            WAIT_MS,
            records_max=FETCH_RECORDS_MAX,
            skip_damaged=True,
        )
        records: list[Record] = []
        skipped, troubles = 0, []
        for partition, result in found.items():
            if isinstance(result, KafkaError):
                if result.code is ErrorCode.OFFSET_OUT_OF_RANGE:
                    skipped += await self._start_at_end([partition])
                else:
                    troubles.append(f"Partition {partition}: {result.message}")
                continue
            records += (record for record in result.records if self._predicate.matches(record))
            troubles += (f"Partition {partition}: {batch.reason}" for batch in result.damaged)
            skipped += self._advance(partition, result)
        records.sort(key=lambda record: (record.timestamp_ms, record.partition, record.offset))
        return TailBatch(records=tuple(records), skipped=skipped, trouble=" ".join(troubles[:3]))

    def _advance(self, partition: int, fetched: FetchedRecords) -> int:
        """Move on; returns how many records are left out because there are too many."""
        following = fetched.next_offset
        if fetched.high_watermark - following > BEHIND_MAX:
            following = fetched.high_watermark - BEHIND_AFTER
        self._positions[partition] = following
        return following - fetched.next_offset

    async def _find_partitions(self) -> None:
        """Partitions added to the topic are followed from their beginning; at the start, all from their end."""
        first = not self._positions
        topic = await self._client.router.topic(self._topic)
        known = [one.partition for one in topic.partitions if self._partition in (None, one.partition)]
        if not known:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"{self._topic} has no partition {self._partition}.")
        added = [partition for partition in known if partition not in self._positions]
        if first:
            await self._start_at_end(added)
        else:
            self._positions |= dict.fromkeys(added, 0)
        self._looked_at = self._clock()

    async def _start_at_end(self, partitions: list[int]) -> int:
        """Returns how many records that passes over, as far as is known."""
        ends = await self._client.topics.list_offsets(self._topic, dict.fromkeys(partitions, LATEST))
        passed = sum(max(0, ends[one].offset - self._positions.get(one, ends[one].offset)) for one in partitions)
        self._positions |= {one: ends[one].offset for one in partitions}
        return passed
