"""The fake keeps the contract too, or tests that use it would prove nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from broker.clock import ManualClock
from tests.metadata.contract import OpenStore, StoreContract
from tests.metadata.memory import MemoryCluster, MemoryStore


class TestMemoryStore(StoreContract):
    @pytest.fixture
    async def open_store(self, clock: ManualClock) -> AsyncIterator[OpenStore]:
        cluster = MemoryCluster(clock=clock)
        opened: list[MemoryStore] = []

        async def open_() -> MemoryStore:
            store = MemoryStore(cluster)
            await store.start()
            opened.append(store)
            return store

        yield open_
        for store in opened:
            await store.close()
