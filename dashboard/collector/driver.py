"""The collector process: listens to every broker, derives, writes, publishes.

One task per broker feeds the model; one task publishes at most every ``FRAME_MS`` and at least every
``PULSE_MS``; one task asks the database now and then for what brokers cannot know. All on one event loop, so the
model has one owner and no lock. A store that does not answer delays publishing and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from broker.errors import KafkaError
from broker.telemetry.reduce import SampleGap
from broker.telemetry.sample import Sample
from dashboard.collector.pipeline import Pipeline
from dashboard.live.state import EVENTS, AlertRow, Frame
from dashboard.live.store import LiveStore, StoreError

FRAME_MS = 250
PULSE_MS = 1_000
RETRY_SECONDS_MIN = 0.25
RETRY_SECONDS_MAX = 2.0
SILENCE_MS = 3_000
"""A broker that has said nothing for this long does not answer; a single late answer is not worth an alarm."""
FACTS_SECONDS = 5.0

logger = logging.getLogger("ottla.collector")


class Source(Protocol):
    """Where one broker's samples come from."""

    async def next(self) -> list[Sample]: ...
    def restart(self) -> None: ...
    async def close(self) -> None: ...


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Collector:
    def __init__(
        self,
        sources: Sequence[tuple[int, Source]],
        *,
        store: LiveStore,
        send: Callable[[Frame], Awaitable[None]],
        gather_facts: Callable[[], Awaitable[Sequence[AlertRow]]],
        clock: Callable[[], int] = wall_ms,
    ) -> None:
        """``sources`` name the broker id expected at each; the samples' own id counts once one has come."""
        self._sources = sources
        self._store = store
        self._send = send
        self._gather_facts = gather_facts
        self._clock = clock
        self._pipeline = Pipeline()
        self._facts: Sequence[AlertRow] = ()
        self._heard_ms: dict[int, int] = {}
        self._dirty = asyncio.Event()
        self._written_seq = 0
        self._waiting_for = {broker_id for broker_id, _ in sources}
        """Brokers that have neither answered nor failed yet: before that there is nothing true to publish."""

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for broker_id, source in self._sources:
                tasks.create_task(self._listen(broker_id, source), name=f"listen {broker_id}")
            tasks.create_task(self._publish_forever(), name="publish")
            tasks.create_task(self._gather_forever(), name="facts")

    # Listening -------------------------------------------------------------------------------------

    async def _listen(self, broker_id: int, source: Source) -> None:
        retry_seconds = RETRY_SECONDS_MIN
        answering = True
        try:
            while True:
                try:
                    samples = await source.next()
                    broker_id = self._fold(broker_id, source, samples)
                    retry_seconds = RETRY_SECONDS_MIN
                    if not answering:
                        logger.info("broker %d answers again", broker_id)
                    answering = True
                except (OSError, KafkaError, ValueError) as error:
                    if answering:
                        logger.warning("broker %d does not answer: %s", broker_id, error)
                    answering = False
                    self._note_silence(broker_id, str(error))
                    source.restart()
                    await source.close()
                    await asyncio.sleep(retry_seconds)
                    retry_seconds = min(retry_seconds * 2, RETRY_SECONDS_MAX)
        finally:
            await source.close()

    def _fold(self, broker_id: int, source: Source, samples: list[Sample]) -> int:
        for sample in samples:
            broker_id = sample.broker_id
            try:
                self._pipeline.fold(sample)
            except SampleGap as error:
                logger.info("asking for a full sample: %s", error)
                source.restart()
                return broker_id
            self._heard_ms[broker_id] = self._clock()
            self._waiting_for.discard(broker_id)
        if samples:
            self._dirty.set()
        return broker_id

    def _note_silence(self, broker_id: int, trouble: str) -> None:
        heard_ms = self._heard_ms.get(broker_id, -1)
        self._waiting_for.discard(broker_id)
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
            if not self._waiting_for:
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
        except StoreError as error:
            logger.warning("cannot publish: %s", error)
            self._pipeline.forget()
            await asyncio.sleep(RETRY_SECONDS_MAX / 2)

    # What brokers cannot know ----------------------------------------------------------------------

    async def _gather_forever(self) -> None:
        while True:
            facts = await self._gather_facts()
            if list(facts) != list(self._facts):
                self._facts = facts
                self._dirty.set()
            await asyncio.sleep(FACTS_SECONDS)
