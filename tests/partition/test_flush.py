"""Group commit: one round at a time, everything that waits shares the next one, failure is final."""

from __future__ import annotations

import asyncio
import threading

import pytest

from broker.partition.flush import FlushScheduler


class Ticket:
    def __init__(self, offset: int, gate: threading.Event | None = None, error: OSError | None = None) -> None:
        self.offset = offset
        self._gate = gate
        self._error = error

    def run(self) -> None:
        if self._gate is not None:
            assert self._gate.wait(5)
        if self._error is not None:
            raise self._error


class Disk:
    """A flushable whose log end moves by hand."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.end = 0
        self.flushed = 0
        self.rounds: list[int] = []
        self.gate = gate
        self.error: OSError | None = None

    def flush_ticket(self):
        return Ticket(self.end, self.gate, self.error) if self.end > self.flushed else None

    def on_flushed(self, ticket) -> None:
        self.flushed = ticket.offset
        self.rounds.append(ticket.offset)


@pytest.fixture
async def failures() -> list[str]:
    return []


@pytest.fixture
async def scheduler(failures):
    scheduler = FlushScheduler(asyncio.get_running_loop(), on_failed=failures.append)
    yield scheduler
    scheduler.close()


async def test_appends_of_one_turn_share_one_round(scheduler) -> None:
    disk = Disk()
    for end in range(1, 11):
        disk.end = end
        scheduler.request(disk)
    await scheduler.wait_idle()
    assert disk.rounds == [10]
    assert scheduler.statistics().rounds_total == 1


async def test_appends_during_a_round_share_the_next_one(scheduler) -> None:
    gate = threading.Event()
    disk, other = Disk(gate), Disk()
    disk.end = 1
    scheduler.request(disk)
    await asyncio.sleep(0)
    for end in (2, 3, 4):
        disk.end = other.end = end
        scheduler.request(disk)
        scheduler.request(other)
    gate.set()
    await scheduler.wait_idle()
    assert disk.rounds == [1, 4]
    assert other.rounds == [4]
    assert scheduler.statistics().rounds_total == 2


async def test_nothing_to_flush_is_no_round(scheduler) -> None:
    scheduler.request(Disk())
    await scheduler.wait_idle()
    assert scheduler.statistics().rounds_total == 0


async def test_a_failed_fsync_is_final(scheduler, failures) -> None:
    disk = Disk()
    disk.end, disk.error = 1, OSError(5, "Input/output error")
    scheduler.request(disk)
    await scheduler.wait_idle()
    assert disk.flushed == 0
    assert failures == ["[Errno 5] Input/output error"]
    disk.error = None
    scheduler.request(disk)
    await scheduler.wait_idle()
    await asyncio.sleep(0)
    assert disk.flushed == 0, "what the kernel may have dropped must never be called durable"


async def test_a_forgotten_partition_is_not_flushed(scheduler) -> None:
    disk = Disk()
    disk.end = 1
    scheduler.request(disk)
    scheduler.forget(disk)
    await scheduler.wait_idle()
    assert disk.rounds == []


async def test_many_partitions_share_a_round_whichever_thread_syncs_them(scheduler) -> None:
    disks = [Disk() for _ in range(50)]
    for end, disk in enumerate(disks, start=1):
        disk.end = end
        scheduler.request(disk)
    await scheduler.wait_idle()
    assert [disk.rounds for disk in disks] == [[end] for end in range(1, 51)]
    assert (scheduler.statistics().rounds_total, scheduler.statistics().tickets_total) == (1, 50)


async def test_one_failure_among_many_fails_the_round(scheduler, failures) -> None:
    disks = [Disk() for _ in range(20)]
    for disk in disks:
        disk.end = 1
        scheduler.request(disk)
    disks[13].error = OSError(28, "No space left on device")
    await scheduler.wait_idle()
    assert len(failures) == 1
    assert all(disk.flushed == 0 for disk in disks)
