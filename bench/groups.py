"""Large groups and many groups: what joining, staying and looking at them costs.

A dashboard listens all the while, as it does in an installation, so the sampling of groups is part of every figure. CPU is
the broker's; the members live in the process of the benchmark.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from bench import raw
from bench.broker import BrokerUnderTest
from bench.group_client import (
    DESCRIBE_VERSION,
    LIST_VERSION,
    TOPIC,
    Connection,
    Member,
    wait_for_coordinator,
)
from bench.rows import Row
from broker.client.asynchronous import AsyncClient
from broker.config.broker import INTERNAL_PORT_OFFSET
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

MEMBERS = 1_000
GROUPS = 10_000
CONNECTIONS = 1_000
"""That the 10,000 groups share."""
INITIAL_DELAY_MS = 3_000
HEARTBEAT_SECONDS = 3.0
COMMIT_SECONDS = 5.0
STEADY_SECONDS = 9.0
ASKED = 30
DESCRIBED = 100
SLICE_SECONDS = 0.05
LOAD_ATTEMPTS_MAX = 10_000


def groups(scale: float) -> Iterator[Row]:
    yield from _one_large_group(max(int(MEMBERS * scale), 2))
    yield from _many_groups(max(int(GROUPS * scale), CONNECTIONS))


# One large group --------------------------------------------------------------------------------------


def _one_large_group(count: int) -> Iterator[Row]:
    with BrokerUnderTest(OTTLA_GROUP_INITIAL_REBALANCE_DELAY_MS=str(INITIAL_DELAY_MS)) as broker:
        raw.create_topic(broker.port, TOPIC)
        yield from uvloop.run(_collect(_large_group(broker, count)))


async def _large_group(broker: BrokerUnderTest, count: int) -> AsyncIterator[Row]:
    async with _watched(broker), _connections(broker.port, count + 1) as connections:
        await wait_for_coordinator(connections[0], "large")
        *members, late = [Member(connection, "large") for connection in connections]
        yield await _measured(
            broker,
            f"{count:,} members join a group (first wait {INITIAL_DELAY_MS // 1000} s)",
            lambda: _all(member.meet() for member in members),
        )

        async def one_more() -> None:
            joining = asyncio.ensure_future(late.meet())
            await _hear_of_it(members)
            await _all([joining, *(member.meet() for member in members)])

        yield await _measured(broker, f"one more joins: {count:,} members rebalance", one_more)

        async def one_less() -> None:
            await late.leave()
            await _all(member.meet() for member in members)

        yield await _measured(broker, f"one leaves: {count:,} members rebalance", one_less)
        yield await _steady(broker, f"{count:,} members, a heartbeat each {HEARTBEAT_SECONDS:g} s", members)
        yield await _flood(broker, f"heartbeats of {count:,} members, as fast as they go", members)
        yield await _asked(broker, f"DescribeGroups of {count:,} members", connections[0], _describe(["large"]))


async def _hear_of_it(members: list[Member]) -> None:
    """Heartbeats until the members are told of the new round."""
    while True:
        answers = await asyncio.gather(*(member.heartbeat() for member in members))
        if all(answer[-2:] == b"\x00\x1b" for answer in answers):
            return


# Many groups ------------------------------------------------------------------------------------------


def _many_groups(count: int) -> Iterator[Row]:
    with BrokerUnderTest() as broker:
        raw.create_topic(broker.port, TOPIC)
        yield from uvloop.run(_collect(_small_groups(broker, count)))
        broker.stop()
        broker.start()
        began = time.monotonic()
        cpu = broker.cpu_seconds()
        uvloop.run(_loaded(broker.port))
        yield Row(
            name=f"{count:,} groups are loaded after a restart",
            figures={
                "seconds": time.monotonic() - began,
                "cpu_s": broker.cpu_seconds() - cpu,
                "rss_mb": broker.rss_mb(),
            },
        )


async def _small_groups(broker: BrokerUnderTest, count: int) -> AsyncIterator[Row]:
    async with _watched(broker), _connections(broker.port, CONNECTIONS) as connections:
        await wait_for_coordinator(connections[0], "group-0")
        members = [Member(connections[number % CONNECTIONS], f"group-{number}") for number in range(count)]

        async def form(place: int) -> None:
            for member in members[place::CONNECTIONS]:
                await member.meet()
                await member.commit()

        yield await _measured(
            broker,
            f"{count:,} groups form, one member each, and commit",
            lambda: _all(form(place) for place in range(CONNECTIONS)),
        )
        name = f"{count:,} groups, a heartbeat each {HEARTBEAT_SECONDS:g} s, a commit each {COMMIT_SECONDS:g} s"
        yield await _steady(broker, name, members, commits=True)
        yield await _asked(broker, f"ListGroups, {count:,} groups", connections[0], _list)
        ids = [member.group for member in members[:DESCRIBED]]
        yield await _asked(broker, f"DescribeGroups, {len(ids)} of {count:,}", connections[0], _describe(ids))


async def _loaded(port: int) -> None:
    connection = await Connection.open(port)
    try:
        for _ in range(LOAD_ATTEMPTS_MAX):
            if not (await _list(connection)).error_code:
                return
            await asyncio.sleep(0.005)
        raise RuntimeError("the groups are not loaded")
    finally:
        connection.close()


# Measuring --------------------------------------------------------------------------------------------


async def _measured(broker: BrokerUnderTest, name: str, action: Callable[[], Awaitable[None]]) -> Row:
    cpu, began = broker.cpu_seconds(), time.monotonic()
    await action()
    seconds = time.monotonic() - began
    return Row(
        name=name,
        figures={"seconds": seconds, "cpu_s": broker.cpu_seconds() - cpu, "rss_mb": broker.rss_mb()},
    )


async def _steady(broker: BrokerUnderTest, name: str, members: list[Member], *, commits: bool = False) -> Row:
    """Everybody at its own moment, evenly spread; latency is of every answer."""
    cpu, began = broker.cpu_seconds(), time.monotonic()
    taken: list[float] = []
    waiting: set[asyncio.Future[bytes]] = set()

    def sent(future: asyncio.Future[bytes]) -> None:
        at = time.perf_counter()
        waiting.add(future)
        future.add_done_callback(lambda done: (taken.append(time.perf_counter() - at), waiting.discard(done)))

    beats = commits_sent = 0
    while (passed := time.monotonic() - began) < STEADY_SECONDS:
        for _ in range(int(passed / HEARTBEAT_SECONDS * len(members)) - beats):
            sent(members[beats % len(members)].heartbeat())
            beats += 1
        for _ in range(int(passed / COMMIT_SECONDS * len(members)) - commits_sent if commits else 0):
            sent(members[commits_sent % len(members)].commit())
            commits_sent += 1
        await asyncio.sleep(SLICE_SECONDS)
    await asyncio.gather(*waiting)
    seconds = time.monotonic() - began
    cpu = broker.cpu_seconds() - cpu
    return Row(
        name=name,
        figures={
            "requests_s": len(taken) / seconds,
            "cpu_percent": cpu / seconds * 100,
            "cpu_us": cpu / len(taken) * 1e6,
            **_percentiles(taken),
            "rss_mb": broker.rss_mb(),
        },
    )


async def _flood(broker: BrokerUnderTest, name: str, members: list[Member]) -> Row:
    cpu, began = broker.cpu_seconds(), time.monotonic()
    count = 0
    while time.monotonic() - began < STEADY_SECONDS / 3:
        await asyncio.gather(*(member.heartbeat() for member in members))
        count += len(members)
    seconds = time.monotonic() - began
    return Row(
        name=name,
        figures={"requests_s": count / seconds, "cpu_us": (broker.cpu_seconds() - cpu) / count * 1e6},
    )


async def _asked(
    broker: BrokerUnderTest, name: str, connection: Connection, ask: Callable[[Connection], Awaitable[object]]
) -> Row:
    taken = []
    cpu = broker.cpu_seconds()
    for _ in range(ASKED):
        began = time.perf_counter()
        await ask(connection)
        taken.append(time.perf_counter() - began)
    return Row(name=name, figures=_percentiles(taken) | {"cpu_us": (broker.cpu_seconds() - cpu) / ASKED * 1e6})


async def _list(connection: Connection) -> Any:
    return await connection.call(ApiKey.LIST_GROUPS, LIST_VERSION, m.ListGroupsRequest())


def _describe(group_ids: list[str]) -> Callable[[Connection], Awaitable[object]]:
    request = m.DescribeGroupsRequest(groups=group_ids, include_authorized_operations=False)
    return lambda connection: connection.call(ApiKey.DESCRIBE_GROUPS, DESCRIBE_VERSION, request)


def _percentiles(taken: list[float]) -> dict[str, float]:
    ordered = sorted(taken)
    return {
        "p50_ms": statistics.median(ordered) * 1000,
        "p99_ms": ordered[int(len(ordered) * 0.99)] * 1000,
        "max_ms": ordered[-1] * 1000,
    }


async def _all(actions: object) -> None:
    await asyncio.gather(*actions)  # type: ignore[misc]


async def _collect(rows: AsyncIterator[Row]) -> list[Row]:
    return [row async for row in rows]


@asynccontextmanager
async def _connections(port: int, count: int) -> AsyncIterator[list[Connection]]:
    connections = [await Connection.open(port) for _ in range(count)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


@asynccontextmanager
async def _watched(broker: BrokerUnderTest) -> AsyncIterator[None]:
    """Polls telemetry all the while, as the dashboard's collector does."""
    secret = bytes.fromhex((broker.home / "cluster_secret").read_text().strip())
    async with AsyncClient(f"127.0.0.1:{broker.port + INTERNAL_PORT_OFFSET}", secret) as client:

        async def poll() -> None:
            incarnation, seq = "", -1
            while True:
                answer = await client.internal.telemetry(incarnation, seq)
                for sample in answer.samples:
                    incarnation, seq = sample.incarnation, sample.seq

        task = asyncio.ensure_future(poll())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
