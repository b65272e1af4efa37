"""The coordinator is killed at every single step of every transaction; a client goes on asking as real ones do.

A step is an append, its commit, or a marker in a partition: before the decision, between decision and answer, in the middle
of the markers, before the completion. Whatever the step: what was answered stands, every partition gets its marker, all of
them say the same, and no id is left in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from broker.errors import ErrorCode, KafkaError
from broker.transactions.metadata import VERSION_2
from tests.transactions.world import CLICKS, ID, World

TRANSACTIONS = (True, False, True)
"""Decisions of one run."""
STEPS_MAX = 200
ASK_AGAIN = frozenset(
    {
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.CONCURRENT_TRANSACTIONS,
    }
)
T = TypeVar("T")


class Client:
    """A producer that repeats what was not answered. The broker is started again whenever it is dead."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.crashes = 0

    async def insist(self, request: Callable[[], Awaitable[T]]) -> T:
        async with asyncio.timeout(10):
            while True:
                asking = asyncio.ensure_future(request())
                while not asking.done() and not self._world.dead:  # noqa: ASYNC110 - death is no event, it is looked for
                    await asyncio.sleep(0)
                if self._world.dead:
                    asking.cancel()
                    await asyncio.gather(asking, return_exceptions=True)
                    await self.revive()
                    continue
                try:
                    return await asking
                except KafkaError as error:
                    if error.code not in ASK_AGAIN:
                        raise
                await asyncio.sleep(0)

    async def revive(self) -> None:
        self.crashes += 1
        await self._world.crash()


async def run(dies_after: int, version: int) -> tuple[int, int]:
    """Three transactions with a death after so many steps; returns how many steps and deaths it took."""
    async with World(brokers=2) as world:
        world.create("clicks", [1, 2, 1, 2])
        await world.coordinator.find(ID)
        client = Client(world)
        world.dies_after = dies_after
        producer = await client.insist(world.init)
        epochs = []
        for commit in TRANSACTIONS:
            current = producer

            async def add(current: tuple[int, int] = current) -> ErrorCode:
                code = await world.add(current, version=version)
                if code in ASK_AGAIN:
                    raise KafkaError(code)
                return code

            assert await client.insist(add) is ErrorCode.NONE
            producer = await client.insist(
                lambda current=current, commit=commit: world.end(current, commit=commit, version=version)  # type: ignore[misc]
            )
            epochs.append(producer[1])
            await settled(world, client, "CompleteCommit" if commit else "CompleteAbort")
            for partition in CLICKS:
                said = {mark.commit for mark in world.marks[partition] if mark.producer_epoch == epochs[-1]}
                assert said == {commit}, f"{partition} after {dies_after} steps"
            if version < VERSION_2:
                world.marks.clear()
        if version >= VERSION_2:
            assert epochs == sorted(set(epochs))
        return world.steps, client.crashes


async def settled(world: World, client: Client, state: str) -> None:
    """Markers and completion may still be under way when the producer is answered."""

    async def reached() -> None:
        if await world.state() != state:
            raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)

    await client.insist(reached)


@pytest.mark.parametrize("version", [0, VERSION_2])
async def test_a_death_at_any_step_loses_nothing_and_leaves_nothing_stuck(version: int) -> None:
    steps, _ = await run(STEPS_MAX, version)
    assert 20 < steps < STEPS_MAX, "the story has no room for deaths"
    deaths = [(await run(dies_after, version))[1] for dies_after in range(steps)]
    assert sum(deaths) >= steps - 2, "the last steps may come after the story's end"
    assert max(deaths) == 1
