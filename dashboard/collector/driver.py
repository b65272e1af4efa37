"""The collector process: listens to every broker, derives, writes, publishes.

One task per broker (``listening.py``) feeds the model; one task publishes at most every ``FRAME_MS`` and at least every
``PULSE_MS``; one task asks the database now and then for what brokers cannot know. All on one event loop, so the
model has one owner and no lock. A store that does not answer delays publishing and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from broker.telemetry.sample import Sample
from dashboard.collector.listening import Listening, Reach, Source
from dashboard.collector.pipeline import Pipeline
from dashboard.live.state import EVENTS, AlertRow, Frame
from dashboard.live.store import LiveStore, StoreError

FRAME_MS = 250
PULSE_MS = 1_000
STORE_RETRY_SECONDS = 1.0
SILENCE_MS = 3_000
"""A broker that has said nothing for this long does not answer; a single late answer is not worth an alarm."""
FACTS_SECONDS = 5.0

logger = logging.getLogger("ottla.collector")


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Collector:
    def __init__(
        self,
        sources: Sequence[tuple[int, Source]],
        *,
        reach: Reach,
        store: LiveStore,
        send: Callable[[Frame], Awaitable[None]],
        gather_facts: Callable[[], Awaitable[Sequence[AlertRow]]],
        clock: Callable[[], int] = wall_ms,
    ) -> None:
        """``sources``: of the brokers of the settings. ``reach`` opens one for a broker that only the metadata name."""
        self._listening = Listening(sources, reach=reach, ears=self)
        self._store = store
        self._send = send
        self._gather_facts = gather_facts
        self._clock = clock
        self._pipeline = Pipeline()
        self._facts: Sequence[AlertRow] = ()
        self._heard_ms: dict[int, int] = {}
        self._dirty = asyncio.Event()
        self._written_seq = 0

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._listening.start(tasks)
            tasks.create_task(self._publish_forever(), name="publish")
            tasks.create_task(self._gather_forever(), name="facts")

    # Listening -------------------------------------------------------------------------------------

    def heard(self, sample: Sample) -> None:
        self._pipeline.fold(sample)
        self._heard_ms[sample.broker_id] = self._clock()
        self._dirty.set()

    def missed(self, broker_id: int, trouble: str) -> None:
        heard_ms = self._heard_ms.get(broker_id, -1)
        if heard_ms < 0 or self._clock() - heard_ms >= SILENCE_MS:
            self._pipeline.model.silent(broker_id, since_ms=heard_ms, trouble=trouble)
            self._dirty.set()

    # Publishing ------------------------------------------------------------------------------------

    async def _publish_forever(self) -> None:
        while True:
            try:
                async with asyncio.timeout(PULSE_MS / 1000):
                    await self._dirty.wait()
            except TimeoutError:
                pass
            self._dirty.clear()
            if self._listening.complete:
                await self._publish_once()
            await asyncio.sleep(FRAME_MS / 1000)

    async def _publish_once(self) -> None:
        """One coalesced step; a store in trouble means everything is written anew once it is back."""
        try:
            now_ms = self._clock()
            if not self._pipeline.begun:
                earlier = (await self._store.read([EVENTS])).rows(EVENTS)
                self._pipeline.begin(last_seq=await self._store.last_seq(), now_ms=now_ms, events=earlier)
            plan = self._pipeline.step(await self._store.watched(now_ms / 1000), self._facts, now_ms)
            found_seq = await self._store.write(plan.write)
            if not plan.write.clear and found_seq != self._written_seq:
                logger.info("the live store lost its state or has another writer: writing all of it")
                self._pipeline.forget()
                self._dirty.set()
            self._written_seq = plan.write.seq
            for frame in plan.frames:
                await self._send(frame)
            self._listening.follow(self._pipeline.model.addresses, self._pipeline.model.former)
        except StoreError as error:
            logger.warning("cannot publish: %s", error)
            self._pipeline.forget()
            await asyncio.sleep(STORE_RETRY_SECONDS)

    # What brokers cannot know ----------------------------------------------------------------------

    async def _gather_forever(self) -> None:
        while True:
            facts = await self._gather_facts()
            if list(facts) != list(self._facts):
                self._facts = facts
                self._dirty.set()
            await asyncio.sleep(FACTS_SECONDS)
