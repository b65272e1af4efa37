"""Recompression off the event loop: a few threads, so that a broker full of large batches still answers others.

Owned by the composition, used by Produce. The threads hold no broker state: bytes in, bytes out. Their number bounds how
many batches are open in memory at once (``DECOMPRESSED_BYTES_MAX`` each, twice over).
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from broker.partition.recompression import Target, recompress
from broker.types import Buffer

THREADS = 2


class Recompressor:
    __slots__ = ("_pool",)

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="recompress")

    async def recompress(self, records: Buffer, target: Target) -> bytearray:
        """Raises ``KafkaError``. Its threads are started by the first call."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, recompress, records, target)

    async def stop(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
