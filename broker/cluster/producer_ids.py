"""Producer ids, each given out once in the life of a cluster.

A broker takes blocks of ids from the metadata store by compare-and-set and gives them out one by one. What is left of a
block when the broker stops is lost: there are enough.
"""

from __future__ import annotations

import asyncio

from broker.cluster import records
from broker.errors import ErrorCode, KafkaError
from broker.metadata.store import (
    Absent,
    MetadataStore,
    Precondition,
    PreconditionFailed,
    StoreUnavailable,
    Transaction,
    VersionIs,
)

BLOCK_SIZE = 1_000
PRODUCER_ID_MAX = 2**63 - 1
ATTEMPTS_MAX = 20
"""Times a block is tried for again after another broker took it."""


class ProducerIds:
    def __init__(self, store: MetadataStore) -> None:
        self._store = store
        self._block = range(0)
        self._refill: asyncio.Task[None] | None = None
        """One for all who wait."""

    async def allocate(self) -> int:
        """Raises ``KafkaError`` COORDINATOR_NOT_AVAILABLE, which clients retry, while no block can be had."""
        while not self._block:
            if self._refill is None:
                self._refill = asyncio.create_task(self._take_block())
                self._refill.add_done_callback(self._on_refilled)
            await asyncio.shield(self._refill)
        producer_id, self._block = self._block[0], self._block[1:]
        return producer_id

    async def _take_block(self) -> None:
        for _ in range(ATTEMPTS_MAX):
            try:
                first = await self._take_block_once()
            except PreconditionFailed:
                continue
            except StoreUnavailable as error:
                raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, str(error)) from error
            self._block = range(first, first + BLOCK_SIZE)
            return
        raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, "Too many concurrent requests for producer ids.")

    async def _take_block_once(self) -> int:
        entry = await self._store.get(records.PRODUCER_IDS)
        first = 0
        unchanged: Precondition = Absent(records.PRODUCER_IDS)
        if entry is not None:
            first = records.decode(entry.key, entry.value, records.ProducerIdsRecord).next_producer_id
            unchanged = VersionIs(entry.key, entry.version)
        if first > PRODUCER_ID_MAX - BLOCK_SIZE:
            raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, "There are no producer ids left.")
        record = records.ProducerIdsRecord(next_producer_id=first + BLOCK_SIZE)
        await self._store.commit(
            Transaction(preconditions=(unchanged,), puts={records.PRODUCER_IDS: records.encode(record)})
        )
        return first

    def _on_refilled(self, task: asyncio.Task[None]) -> None:
        self._refill = None
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody waiting is no reason to complain
