"""Has others lead what this broker turns out not to have: a log that was found damaged, or a whole failed log directory.

Owns: what was reported already. Reports are repeated until they succeed, and until there is nothing left that somebody could
do about it; the decision is ``isr_changes.decide_loss``. A partition that comes to rely on a lost replica again (elected
meanwhile, by whoever did not know) is reported again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection

from broker.errors import KafkaError
from broker.types import TopicId

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5

Lost = Collection[tuple[TopicId, int]] | None
"""``None``: everything."""


class LossReports:
    def __init__(self, look: Callable[[], Lost], report: Callable[[Lost], Awaitable[Collection[object]]]) -> None:
        """``look``: what is missing at the moment, by (topic id, partition)."""
        self._look = look
        self._report = report
        self._reported: Lost = ()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch(), name="cluster-losses")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            lost = self._look()
            relieved: Collection[object] = ()
            if lost == self._reported:
                continue
            if lost is None or lost:
                try:
                    relieved = await self._report(lost)
                except KafkaError as error:
                    log.warning("metadata: lost replicas could not be reported, will retry: %s", error)
                    continue
                if relieved:
                    log.error(
                        "metadata: %d replicas of this broker are lost, others lead where they can", len(relieved)
                    )
            self._reported = () if relieved else lost
