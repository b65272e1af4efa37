"""Long polls in a partition with transactions: who is told of what, and when."""

from __future__ import annotations

import pytest

from broker.partition.driver import Partition
from tests.partition.stage import Stage, image_of, topic_image
from tests.support.topics import batch

READ_UNCOMMITTED, READ_COMMITTED = 0, 1


class Poll:
    def __init__(self) -> None:
        self.told: list[int] = []

    def on_data(self, byte_count: int) -> None:
        self.told.append(byte_count)

    def take(self) -> list[int]:
        told, self.told = self.told, []
        return told


@pytest.fixture
async def stage():
    stage = Stage(OTTLA_ACK_DURABILITY="os")
    stage.show(image_of(topic_image("orders")))
    yield stage
    await stage.close()


def write(stage: Stage, producer: int = -1, sequence: int = 0) -> int:
    """The size of a batch appended: transactional if it has a producer."""
    data = batch(
        b"x",
        timestamp=stage.clock.wall_ms(),
        producer_id=producer,
        producer_epoch=0,
        base_sequence=sequence,
        is_transactional=producer >= 0,
    )
    stage.partition().append(memoryview(data), acks=-1, now_ms=stage.clock.wall_ms())
    return len(data)


def end(stage: Stage, producer: int, *, commit: bool = True) -> int:
    """The size of a marker."""
    return (
        stage.partition()
        .append_transaction_marker(
            producer_id=producer,
            producer_epoch=0,
            coordinator_epoch=0,
            commit=commit,
            now_ms=stage.clock.wall_ms(),
        )
        .byte_count
    )


def polls(partition: Partition) -> tuple[Poll, Poll]:
    committed, uncommitted = Poll(), Poll()
    partition.add_fetch_waiter(committed, READ_COMMITTED)
    partition.add_fetch_waiter(uncommitted, READ_UNCOMMITTED)
    return committed, uncommitted


async def test_without_transactions_both_are_told_the_bytes(stage: Stage) -> None:
    committed, uncommitted = polls(stage.partition())
    size = write(stage)

    assert (committed.take(), uncommitted.take()) == ([size], [size])


async def test_a_reader_of_committed_data_is_woken_by_the_marker_and_not_by_the_data(stage: Stage) -> None:
    committed, uncommitted = polls(stage.partition())
    first, second = write(stage, 7), write(stage, 7, 1)
    assert (committed.take(), uncommitted.take()) == ([0, 0], [first, second])

    marker = end(stage, 7)

    assert (committed.take(), uncommitted.take()) == ([-1], [marker])
    size = write(stage)
    assert committed.take() == [size]


async def test_the_end_of_one_transaction_tells_nothing_while_an_older_one_is_open(stage: Stage) -> None:
    write(stage, 7)
    write(stage, 8)
    committed, _ = polls(stage.partition())

    end(stage, 8)
    assert committed.take() == [0]
    end(stage, 7, commit=False)
    assert committed.take() == [-1]


async def test_a_poll_that_comes_while_a_transaction_is_open_is_told_when_it_ends(stage: Stage) -> None:
    write(stage, 7)
    committed, _ = polls(stage.partition())
    end(stage, 7)

    assert committed.take() == [-1]


async def test_who_left_is_not_told_and_who_comes_again_starts_anew(stage: Stage) -> None:
    committed, _ = polls(stage.partition())
    stage.partition().remove_fetch_waiter(committed)
    write(stage, 7)
    assert committed.take() == []

    stage.partition().add_fetch_waiter(committed, READ_COMMITTED)
    stage.partition().add_fetch_waiter(committed, READ_UNCOMMITTED)
    size = write(stage, 7, 1)

    assert committed.take() == [size]
