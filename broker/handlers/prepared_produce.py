"""A produce request of which something has to happen before it can be appended: it waits, and its connection with it.

Used by ``produce.py``; the preparations are asking the transaction coordinator (``transactional_produce.py``) and putting
batches into the topic's codec (``recompressing_produce.py``). While they run the request is ``exclusive``: the
producer's next request on this connection starts after this one has appended, so sequences stay in order. What is
appended later is a copy of the frame, which counts as waiting input (``queued.max.request.bytes``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from broker.handlers.context import Request, Services
from broker.handlers.produce import Append, ParkedProduce, Place, append_all
from broker.handlers.reply import CloseConnection
from broker.protocol.produce import ProduceRequest, decode_produce

logger = logging.getLogger(__name__)


class Preparation(Protocol):
    async def prepare(self, produce: ProduceRequest) -> None:
        """Have ready what the request's append needs. Refusals are the append's to raise, per partition."""


class PreparedProduce(ParkedProduce):
    """Prepares first, appends then, and from there on waits like any other."""

    __slots__ = ("_append", "_preparations", "_preparing", "_results")

    def __init__(
        self, request: Request, services: Services, preparations: Sequence[Preparation], append: Append
    ) -> None:
        """Raises ``CloseConnection`` when too much waits already."""
        self._results: list = []
        size = len(request.body)
        services.connections.hold(size)
        body = memoryview(bytearray(request.body))
        super().__init__(request, self._results, services, 0.0, acks=0)
        self.exclusive = True
        self._preparations = preparations
        self._append = append
        self._preparing = asyncio.get_running_loop().create_task(self._prepare_and_append(body))
        self._preparing.add_done_callback(self._prepared)
        self._preparing.add_done_callback(lambda task: services.connections.let_go(size))

    async def _prepare_and_append(self, body: memoryview) -> None:
        services = self._services
        produce = decode_produce(self._request.api_version, body)
        self.acks = produce.acks
        for preparation in self._preparations:
            await preparation.prepare(produce)
        appended: list[Place] = []
        failed = append_all(
            produce,
            self._request,
            services,
            None,
            self._append,
            services.clock.wall_ms(),
            self._results,
            appended,
        )
        self.settle_order()
        if produce.acks == 0:
            if failed:
                self.fail(CloseConnection("an acks=0 produce failed"))
            else:
                self.resolve(None)
            return
        for place in appended:
            self.park(*place)
        if self.waiting:
            self.deadline = services.clock.monotonic() + produce.timeout_ms / 1_000
            services.partitions.watch_deadline(self)
        else:
            self.finish()

    def _prepared(self, task: asyncio.Task[None]) -> None:
        """Our own fault ends the connection: nobody knows how much of the request was appended."""
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a produce request failed", exc_info=error)
            self.fail(CloseConnection(f"a produce request failed: {error}"))

    def abandon(self) -> None:
        self._preparing.cancel()
        super().abandon()
