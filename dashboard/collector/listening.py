"""Whom the collector listens to: every broker of the settings, and every other that the cluster's metadata name.

One task per broker turns its source into samples and silences, for whoever gave the ``Ears``. A broker that joined later is
listened to as soon as another one tells of it; one that the metadata have forgotten no more, unless the settings name it. A broker
that does not answer where it was told to be is tried where it says it is, and there and here again in turn.

What must stay true: no address is listened to twice, so that no two tasks take the same samples from each other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from broker.client.addresses import Address
from broker.errors import KafkaError
from broker.telemetry.reduce import SampleGap
from broker.telemetry.sample import Sample

RETRY_SECONDS_MIN = 0.25
RETRY_SECONDS_MAX = 2.0

logger = logging.getLogger("ottla.collector")


class Source(Protocol):
    """Where one broker's samples come from."""

    address: Address

    async def next(self) -> list[Sample]: ...
    def restart(self) -> None: ...
    async def close(self) -> None: ...


Reach = Callable[[Address], Source]


class Ears(Protocol):
    """Who wants to know."""

    def heard(self, sample: Sample) -> None:
        """Raises ``SampleGap`` when a full sample is needed."""

    def missed(self, broker_id: int, trouble: str) -> None:
        """The broker did not answer once more."""


@dataclass(slots=True, eq=False)
class _Listener:
    broker_id: int
    """Expected there, until a sample says who it is."""
    source: Source
    home: Address
    """Where it was first looked for."""
    named: bool
    """By the metadata, and not by the settings."""
    told: bool = False
    """Whether it has answered or failed to."""
    task: asyncio.Task[None] | None = None


class Listening:
    def __init__(self, configured: Iterable[tuple[int, Source]], *, reach: Reach, ears: Ears) -> None:
        """``configured`` name the broker id expected at each; the samples' own id counts once one has come."""
        self._reach = reach
        self._ears = ears
        self._listeners = [_Listener(one, source, source.address, named=False) for one, source in configured]
        self._addresses: Mapping[int, Address] = {}
        """Of registered brokers, as last told."""
        self._tasks: asyncio.TaskGroup | None = None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        for listener in self._listeners:
            self._begin(listener)

    @property
    def complete(self) -> bool:
        """Every broker of the settings has answered or failed to: before that there is nothing true to tell."""
        return all(listener.told for listener in self._listeners if not listener.named)

    def follow(self, addresses: Mapping[int, Address], former: Collection[int]) -> None:
        """What the metadata say now: where registered brokers are, and who was taken out."""
        self._addresses = addresses
        for listener in [one for one in self._listeners if one.named and one.broker_id in former]:
            logger.info("broker %d was taken out of the cluster", listener.broker_id)
            self._listeners.remove(listener)
            if listener.task is not None:
                listener.task.cancel()
        ids = {listener.broker_id for listener in self._listeners}
        taken = {listener.source.address for listener in self._listeners}
        for broker_id, address in addresses.items():
            if broker_id not in ids and address not in taken:
                logger.info("broker %d takes part: listening to it at %s", broker_id, address)
                listener = _Listener(broker_id, self._reach(address), address, named=True)
                self._listeners.append(listener)
                self._begin(listener)

    def _begin(self, listener: _Listener) -> None:
        assert self._tasks is not None, "start first"
        listener.task = self._tasks.create_task(self._listen(listener), name=f"listen {listener.broker_id}")

    async def _listen(self, listener: _Listener) -> None:
        retry_seconds = RETRY_SECONDS_MIN
        answering = True
        try:
            while True:
                try:
                    self._take(listener, await listener.source.next())
                    retry_seconds = RETRY_SECONDS_MIN
                    if not answering:
                        logger.info("broker %d answers again", listener.broker_id)
                    answering = True
                except (OSError, KafkaError, ValueError) as error:
                    if answering:
                        logger.warning("broker %d does not answer: %s", listener.broker_id, error)
                    answering = False
                    listener.told = True
                    self._ears.missed(listener.broker_id, str(error))
                    listener.source.restart()
                    await listener.source.close()
                    await asyncio.sleep(retry_seconds)
                    retry_seconds = min(retry_seconds * 2, RETRY_SECONDS_MAX)
                    self._turn(listener)
        finally:
            await listener.source.close()

    def _take(self, listener: _Listener, samples: list[Sample]) -> None:
        for sample in samples:
            listener.broker_id = sample.broker_id
            try:
                self._ears.heard(sample)
            except SampleGap as error:
                logger.info("asking for a full sample: %s", error)
                listener.source.restart()
                return
            listener.told = True

    def _turn(self, listener: _Listener) -> None:
        """Look for a broker that is not where it was looked for where the metadata say it is, and back at home the next time."""
        here, elsewhere = listener.source.address, self._addresses.get(listener.broker_id, listener.home)
        wanted = elsewhere if here == listener.home else listener.home
        others = {one.source.address for one in self._listeners if one is not listener}
        if wanted != here and wanted not in others:
            listener.source = self._reach(wanted)
