"""The collector's loop with scripted brokers, a store in memory and no network."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from broker.client.addresses import Address
from broker.telemetry.sample import ControlSample, RegistrationSample, Sample
from dashboard.collector import driver, listening
from dashboard.collector.driver import Collector
from dashboard.live.state import AlertRow, BrokerRow, Frame, HeadRow
from dashboard.live.store import MemoryLiveStore, MemoryStore, StoreError, Write
from dashboard.pages.words import broker_condition
from tests.dashboard.samples import START_MS, partition, sample, topic

PATIENCE_SECONDS = 10.0


class ScriptedSource:
    """Hands out what the test puts in; an exception in the script is a broken connection."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.script: asyncio.Queue[Sample | Exception] = asyncio.Queue()
        self.asked = 0
        self.restarts = 0
        self.closes = 0
        self._broken = False

    def break_off(self) -> None:
        """The connection breaks, and so does every other until ``mend``."""
        self._broken = True
        self.script.put_nowait(OSError("reset by peer"))

    def mend(self) -> None:
        self._broken = False

    async def next(self) -> list[Sample]:
        self.asked += 1
        if self._broken and self.script.empty():
            raise OSError("refused")
        item = await self.script.get()
        if isinstance(item, Exception):
            raise item
        return [item]

    def restart(self) -> None:
        self.restarts += 1

    async def close(self) -> None:
        self.closes += 1


def address_of(broker_id: int) -> Address:
    return Address("127.0.0.1", 19_091 + broker_id)


class FailingStore(MemoryLiveStore):
    """Refuses writes while ``down``."""

    down = False

    async def write(self, write: Write) -> int:
        if self.down:
            raise StoreError("The live store does not answer: test")
        return await super().write(write)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "FRAME_MS", 5)
    monkeypatch.setattr(driver, "PULSE_MS", 20)
    monkeypatch.setattr(driver, "STORE_RETRY_SECONDS", 0.005)
    monkeypatch.setattr(listening, "RETRY_SECONDS_MIN", 0.005)
    monkeypatch.setattr(listening, "RETRY_SECONDS_MAX", 0.01)
    monkeypatch.setattr(driver, "SILENCE_MS", 30)


class World:
    def __init__(self, brokers: int = 1) -> None:
        self.sources = [ScriptedSource(address_of(index + 1)) for index in range(brokers)]
        self.reached: dict[Address, ScriptedSource] = {}
        """Sources that were opened because of what the metadata tell."""
        self.memory = MemoryStore()
        self.store = FailingStore(self.memory)
        self.sent: list[Frame] = []
        self.facts: Sequence[AlertRow] = ()

    def reach(self, address: Address) -> ScriptedSource:
        return self.reached.setdefault(address, ScriptedSource(address))

    async def send(self, frame: Frame) -> None:
        self.sent.append(frame)

    async def gather_facts(self) -> Sequence[AlertRow]:
        return self.facts

    def head(self) -> HeadRow | None:
        row = self.memory.read(["cluster"]).rows("cluster").get("head")
        return row if isinstance(row, HeadRow) else None

    def broker(self, broker_id: int = 1) -> BrokerRow | None:
        row = self.memory.read(["cluster"]).rows("cluster").get(f"broker:{broker_id}")
        return row if isinstance(row, BrokerRow) else None

    async def next_pulse(self) -> None:
        made_at = self.memory.read([]).pulse.made_at_ms
        await self.until(lambda: self.memory.read([]).pulse.made_at_ms > made_at)

    async def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"never happened; head: {self.head()}"
            await asyncio.sleep(0.002)


@asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    collector = Collector(
        [(index + 1, source) for index, source in enumerate(world.sources)],
        reach=world.reach,
        store=world.store,
        send=world.send,
        gather_facts=world.gather_facts,
    )
    task = asyncio.create_task(collector.run())
    try:
        yield world
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert all(source.closes for source in (*world.sources, *world.reached.values()))


def first() -> Sample:
    return sample(1, full=True, topics=[topic("orders")], partitions=[partition("orders", records=7)])


async def test_a_sample_becomes_a_snapshot() -> None:
    async with running(World()) as world:
        world.sources[0].script.put_nowait(first())
        await world.until(lambda: world.head() is not None)
        assert world.head().topics == 1
        assert "topics" in world.memory.values


async def test_nothing_is_published_before_every_broker_answered_or_failed() -> None:
    async with running(World(brokers=2)) as world:
        world.sources[0].script.put_nowait(first())
        await asyncio.sleep(0.05)
        assert world.head() is None
        world.sources[1].script.put_nowait(OSError("refused"))
        await world.until(lambda: world.head() is not None)
        assert world.head().brokers == 2
        assert world.broker(2).trouble == "refused"


async def test_frames_go_only_to_who_watches() -> None:
    async with running(World()) as world:
        world.sources[0].script.put_nowait(first())
        await world.until(world.head)
        assert world.sent == []
        world.memory.watches = {"topics": time.time() + 60}
        world.sources[0].script.put_nowait(sample(2, partitions=[partition("orders", records=9)]))
        await world.until(lambda: world.sent)
        assert {frame.scope for frame in world.sent} == {"topics"}


async def test_a_broker_that_breaks_off_is_shown_as_silent_and_comes_back() -> None:
    async with running(World()) as world:
        [source] = world.sources
        source.script.put_nowait(first())
        await world.until(world.head)
        source.break_off()
        await world.until(lambda: not world.broker().online)
        assert world.head().level == "bad"
        assert source.restarts > 0
        source.mend()
        source.script.put_nowait(sample(1, full=True, incarnation="second"))
        await world.until(lambda: world.broker().online)


async def test_a_delta_out_of_step_asks_for_a_full_sample() -> None:
    async with running(World()) as world:
        [source] = world.sources
        source.script.put_nowait(first())
        source.script.put_nowait(sample(9))
        await world.until(lambda: source.restarts == 1)
        source.script.put_nowait(sample(10, full=True))
        await world.until(lambda: world.head() and world.head().topics == 0)


async def test_a_store_in_trouble_only_delays() -> None:
    world = World()
    world.store.down = True
    async with running(world):
        world.sources[0].script.put_nowait(first())
        await asyncio.sleep(0.05)
        assert world.head() is None
        world.store.down = False
        await world.until(world.head)
        assert world.head().topics == 1


async def test_a_store_that_lost_everything_is_filled_again() -> None:
    async with running(World()) as world:
        world.sources[0].script.put_nowait(first())
        await world.until(lambda: "topic:orders" in world.memory.values)
        world.memory.values.clear()
        world.memory.seq = 0
        await world.until(lambda: {"topics", "groups", "topic:orders"} <= set(world.memory.values))


async def test_facts_become_alerts() -> None:
    world = World()
    world.facts = [AlertRow(name="worker-missing", title="No worker seen")]
    async with running(world):
        world.sources[0].script.put_nowait(first())
        await world.until(lambda: "alert:worker-missing" in world.memory.read(["cluster"]).rows("cluster"))


async def test_the_pulse_goes_on_while_nothing_moves() -> None:
    async with running(World()) as world:
        world.sources[0].script.put_nowait(first())
        await world.until(world.head)
        await world.next_pulse()


# Brokers that come and go ---------------------------------------------------------------------------


def telling(seq: int, *brokers: RegistrationSample, broker_id: int = 1, **values: Any) -> Sample:
    """A sample of broker ``broker_id`` with these registrations."""
    control = ControlSample(controller_epoch=1, brokers=list(brokers))
    return sample(seq, broker_id=broker_id, control=control, **values)


def living(broker_id: int, *, at: Address | None = None) -> RegistrationSample:
    host, port = at or address_of(broker_id)
    return RegistrationSample(id=broker_id, live=True, internal_host=host, internal_port=port)


def away(broker_id: int) -> RegistrationSample:
    return RegistrationSample(id=broker_id, left_at_ms=START_MS)


async def test_a_broker_that_joins_later_is_listened_to_where_the_metadata_say_it_is() -> None:
    async with running(World()) as world:
        [source] = world.sources
        source.script.put_nowait(telling(1, living(1), full=True))
        await world.until(world.head)
        assert world.reached == {}, "the broker of the settings is listened to once"
        source.script.put_nowait(telling(2, living(1), living(2)))
        await world.until(lambda: address_of(2) in world.reached)
        assert world.broker(2) is None, "neither up nor down"
        world.reached[address_of(2)].script.put_nowait(telling(1, living(1), living(2), broker_id=2, full=True))
        await world.until(lambda: world.broker(2) and world.broker(2).online)
        assert world.head().brokers_online == 2


async def test_a_broker_whose_session_ended_is_said_to_have_left_and_is_still_asked() -> None:
    async with running(World(brokers=2)) as world:
        one, two = world.sources
        one.script.put_nowait(telling(1, living(1), living(2), full=True))
        two.script.put_nowait(telling(1, living(1), living(2), broker_id=2, full=True))
        await world.until(world.head)
        one.script.put_nowait(telling(2, living(1), away(2), revision=2))
        two.break_off()
        await world.until(lambda: world.broker(2).live is False and not world.broker(2).online)
        assert broker_condition(world.broker(2)) == "left the cluster"
        assert "alert:broker-silent:2" in world.memory.read(["cluster"]).rows("cluster")
        two.mend()
        two.script.put_nowait(sample(1, broker_id=2, full=True, incarnation="second"))
        await world.until(lambda: world.broker(2) and world.broker(2).online)


async def test_a_broker_that_was_taken_out_is_asked_no_more_and_raises_no_alarm() -> None:
    async with running(World()) as world:
        [source] = world.sources
        source.script.put_nowait(telling(1, living(1), living(2), full=True))
        await world.until(lambda: address_of(2) in world.reached)
        two = world.reached[address_of(2)]
        two.script.put_nowait(telling(1, living(1), living(2), broker_id=2, full=True))
        await world.until(lambda: world.broker(2) and world.broker(2).online)
        two.break_off()
        await world.until(lambda: not world.broker(2).online)
        source.script.put_nowait(telling(2, living(1), revision=2))
        await world.until(lambda: world.broker(2).state == "decommissioned")
        await world.next_pulse()
        asked = two.asked
        await world.next_pulse()
        assert two.asked == asked
        assert world.head().brokers == 1
        assert "alert:broker-silent:2" not in world.memory.read(["cluster"]).rows("cluster")


async def test_a_broker_that_moved_is_found_again() -> None:
    moved = Address("10.0.0.9", 19_099)
    async with running(World(brokers=2)) as world:
        one, two = world.sources
        one.script.put_nowait(telling(1, living(1), living(2, at=moved), full=True))
        two.break_off()
        await world.until(lambda: moved in world.reached)
        world.reached[moved].script.put_nowait(sample(1, broker_id=2, full=True))
        await world.until(lambda: world.broker(2) and world.broker(2).online)
