"""The runtime: replies wait for commit, failures throw the shard away, a reload is a replay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from broker.clock import ManualClock
from broker.coordination.decision import Decision
from broker.coordination.driver import CoordinatorRuntime
from broker.errors import ErrorCode, KafkaError
from tests.coordination.fakes import CounterShard, JsonCodec, MemoryLog

Runtime = CoordinatorRuntime[CounterShard, int]


class Bench:
    def __init__(self, **options: object) -> None:
        self.clock = ManualClock()
        self.log = MemoryLog()
        self.steps = 0
        self.unloaded: list[int] = []
        self.runtime: Runtime = CoordinatorRuntime(
            name="counters",
            clock=self.clock,
            new_shard=lambda index: CounterShard(),
            codec=JsonCodec(),
            on_step=self._step,
            on_unloaded=lambda index, shard: self.unloaded.append(shard.total),
            **options,  # type: ignore[arg-type]
        )
        self.runtime.lead(0, self.log, epoch=1)

    def _step(self, index: int, shard: CounterShard) -> None:
        self.steps += 1

    def add(self, number: int) -> asyncio.Future[int]:
        return self.runtime.execute(0, lambda shard, ticket, now_ms: shard.add(number, ticket, now_ms))

    def add_reversibly(self, number: int) -> asyncio.Future[int]:
        return self.runtime.execute(0, lambda shard, ticket, now_ms: shard.add(number, ticket, now_ms), reversible=True)

    def total(self) -> asyncio.Future[int]:
        return self.runtime.read(0, lambda shard: shard.total)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - an event would hide which turn it happened in
                await asyncio.sleep(0)

    async def until_loaded(self) -> None:
        await self.until(lambda: not self.runtime.is_loading(0))


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_reply_comes_when_its_records_are_committed() -> None:
    bench = Bench()
    bench.log.commits_at_once = False
    reply = bench.add(5)
    await turns()
    assert bench.log.values() == [5]
    assert not reply.done()
    bench.log.commit()
    assert await reply == 5


async def test_what_comes_in_one_turn_of_the_loop_is_one_batch() -> None:
    bench = Bench()
    replies = [bench.add(number) for number in (1, 2, 3)]
    assert await asyncio.gather(*replies) == [1, 3, 6]
    assert len(bench.log.batches) == 1


async def test_a_reader_waits_behind_the_last_append() -> None:
    bench = Bench()
    bench.log.commits_at_once = False
    bench.add(5)
    early = bench.total()
    await turns()
    late = bench.total()
    await turns()
    assert not early.done()
    assert not late.done()
    bench.log.commit()
    assert (await early, await late) == (5, 5)


async def test_without_uncommitted_appends_a_reader_is_answered_at_once() -> None:
    bench = Bench()
    await bench.add(5)
    assert bench.total().result() == 5


async def test_a_failed_append_throws_the_shard_away_and_reloads() -> None:
    bench = Bench()
    await bench.add(5)
    bench.log.append_error = KafkaError(ErrorCode.NOT_ENOUGH_REPLICAS)
    reply, reader = bench.add(100), bench.total()
    with pytest.raises(KafkaError) as refused:
        await reply
    assert refused.value.code is ErrorCode.COORDINATOR_NOT_AVAILABLE
    with pytest.raises(KafkaError):
        await reader
    with pytest.raises(KafkaError) as loading:
        bench.total()
    assert loading.value.code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    bench.log.append_error = None
    await bench.until_loaded()
    assert await bench.total() == 5
    assert bench.unloaded == [105]


async def test_a_reversible_operation_is_refused_without_a_reload_while_nothing_can_be_written() -> None:
    bench = Bench()
    await bench.add(5)
    bench.log.append_error = KafkaError(ErrorCode.NOT_ENOUGH_REPLICAS)
    for _ in range(3):
        with pytest.raises(KafkaError) as refused:
            await bench.add_reversibly(100)
        assert refused.value.code is ErrorCode.COORDINATOR_NOT_AVAILABLE
        assert await bench.total() == 5
    bench.log.append_error = None
    assert await bench.add_reversibly(1) == 6
    assert bench.unloaded == []


async def test_a_refusal_nobody_could_foresee_throws_the_shard_away_also_then() -> None:
    bench = Bench()
    await bench.add(5)
    bench.log.append_error = KafkaError(ErrorCode.NOT_ENOUGH_REPLICAS)
    bench.log.announces_refusals = False
    with pytest.raises(KafkaError):
        await bench.add_reversibly(100)
    bench.log.append_error = None
    await bench.until_loaded()
    assert await bench.total() == 5


async def test_a_shard_whose_appends_go_on_failing_is_read_again_after_longer_and_longer_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        if seconds:
            pauses.append(seconds)
        await sleep(0)

    bench = Bench()
    await bench.add(5)
    monkeypatch.setattr(asyncio, "sleep", noted)
    bench.log.append_error = KafkaError(ErrorCode.NOT_ENOUGH_REPLICAS)
    for _ in range(9):
        with pytest.raises(KafkaError):
            await bench.add(100)
        await bench.until_loaded()
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    bench.log.append_error = None
    assert await bench.add(1) == 6
    bench.log.append_error = KafkaError(ErrorCode.NOT_ENOUGH_REPLICAS)
    with pytest.raises(KafkaError):
        await bench.add(100)
    await bench.until_loaded()
    assert len(pauses) == 8


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.NOT_COORDINATOR),
        (ErrorCode.FENCED_LEADER_EPOCH, ErrorCode.NOT_COORDINATOR),
        (ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.NOT_COORDINATOR),
        (ErrorCode.NOT_ENOUGH_REPLICAS, ErrorCode.COORDINATOR_NOT_AVAILABLE),
        (ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.COORDINATOR_NOT_AVAILABLE),
    ],
)
async def test_clients_are_told_where_to_ask_again(failure: ErrorCode, told: ErrorCode) -> None:
    bench = Bench()
    bench.log.append_error = KafkaError(failure)
    with pytest.raises(KafkaError) as refused:
        await bench.add(1)
    assert refused.value.code is told


async def test_an_append_that_breaks_does_not_block_the_seat(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    await bench.add(5)
    with pytest.raises(KafkaError) as refused:
        await bench.add(object())  # type: ignore[arg-type] - no codec knows it
    assert refused.value.code is ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert "append broke" in caplog.text
    await bench.until_loaded()
    assert await bench.add(1) == 6


async def test_a_failed_commit_reloads_and_keeps_what_is_in_the_log() -> None:
    bench = Bench()
    bench.log.commits_at_once = False
    reply = bench.add(5)
    await turns()
    bench.log.fail_commits(KafkaError(ErrorCode.KAFKA_STORAGE_ERROR))
    with pytest.raises(KafkaError) as refused:
        await reply
    assert refused.value.code is ErrorCode.NOT_COORDINATOR
    await bench.until_loaded()
    reader = bench.total()
    await turns()
    assert not reader.done(), "the record found in the log is not committed yet"
    bench.log.commit()
    assert await reader == 5


async def test_a_lost_leadership_answers_everybody_and_the_next_leader_replays() -> None:
    bench = Bench()
    await bench.add(5)
    bench.log.commits_at_once = False
    reply = bench.add(6)
    await turns()
    bench.runtime.resign(0)
    with pytest.raises(KafkaError) as refused:
        await reply
    assert refused.value.code is ErrorCode.NOT_COORDINATOR
    with pytest.raises(KafkaError) as gone:
        bench.total()
    assert gone.value.code is ErrorCode.NOT_COORDINATOR
    bench.log.commit()
    bench.runtime.lead(0, bench.log, epoch=2)
    await bench.until_loaded()
    assert await bench.total() == 11


async def test_a_newer_epoch_replaces_the_seat_and_an_older_one_is_ignored() -> None:
    bench = Bench()
    await bench.add(5)
    other = MemoryLog()
    bench.runtime.lead(0, other, epoch=1)
    assert await bench.total() == 5
    bench.runtime.lead(0, other, epoch=2)
    await bench.until_loaded()
    assert await bench.total() == 0


async def test_while_loading_nothing_is_answered() -> None:
    bench = Bench()
    await bench.add(5)
    bench.runtime.lead(0, bench.log, epoch=2)
    with pytest.raises(KafkaError) as refused:
        bench.add(1)
    assert refused.value.code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    await bench.until_loaded()
    assert await bench.add(1) == 6


async def test_loading_is_retried_until_the_log_can_be_read(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    await bench.add(5)
    bench.log.read_error = KafkaError(ErrorCode.KAFKA_STORAGE_ERROR)
    bench.runtime.lead(0, bench.log, epoch=2)
    await bench.until(lambda: "cannot be loaded" in caplog.text)
    bench.log.read_error = None
    await bench.until_loaded()
    assert await bench.total() == 5


async def test_a_broken_invariant_is_loud_and_costs_the_shard_not_the_process() -> None:
    bench = Bench()
    await bench.add(5)

    def broken(shard: CounterShard, ticket: int, now_ms: int) -> Decision[int]:
        shard.total = 999
        raise AssertionError("broken")

    with pytest.raises(AssertionError):
        bench.runtime.execute(0, broken)
    await bench.until_loaded()
    assert await bench.total() == 5


async def test_a_commit_that_takes_too_long_is_not_promised_but_may_still_come() -> None:
    bench = Bench(commit_timeout_ms=1)
    bench.log.commits_at_once = False
    reply = bench.add(5)
    await asyncio.sleep(0)
    bench.clock.advance(10)
    with pytest.raises(KafkaError) as refused:
        await asyncio.wait_for(reply, 5)
    assert refused.value.code is ErrorCode.COORDINATOR_NOT_AVAILABLE
    bench.log.commit()
    await turns()
    assert await bench.total() == 5


async def test_a_timer_only_produces_records() -> None:
    bench = Bench(stall_ms=0)
    await bench.runtime.execute(0, partial(_remind, 1_000))
    bench.clock.advance(999)
    bench.runtime.run_timers()
    assert await bench.total() == 0
    bench.clock.advance(1)
    bench.runtime.run_timers()
    assert await bench.total() == 1
    assert bench.log.values() == [1]


async def test_timers_go_with_their_seat() -> None:
    bench = Bench(stall_ms=0)
    await bench.runtime.execute(0, partial(_remind, 1_000))
    bench.runtime.resign(0)
    bench.runtime.lead(0, bench.log, epoch=2)
    bench.clock.advance(1_000)
    bench.runtime.run_timers()
    assert await bench.total() == 0


async def test_after_a_stall_timers_are_put_off_once_so_that_received_requests_come_first() -> None:
    bench = Bench(stall_ms=500)
    await bench.runtime.execute(0, partial(_remind, 1_000))
    bench.clock.advance(3_000)
    bench.runtime.run_timers()
    assert await bench.total() == 0
    bench.clock.advance(2_000)
    bench.runtime.run_timers()
    assert await bench.total() == 1


async def test_a_timer_fires_by_itself() -> None:
    bench = Bench()
    bench.clock = ManualClock()
    await bench.runtime.execute(0, partial(_remind, 0))
    await bench.until(lambda: bench.log.values() == [1])


async def test_closing_writes_what_was_gathered() -> None:
    bench = Bench()
    reply = bench.add(5)
    await bench.runtime.close()
    assert bench.log.values() == [5]
    assert await reply == 5
    assert bench.runtime.seats() == []


async def test_a_client_that_hung_up_is_nobodys_problem() -> None:
    bench = Bench()
    bench.log.commits_at_once = False
    reply = bench.add(5)
    await turns()
    reply.cancel()
    bench.log.commit()
    assert await bench.total() == 5


async def test_statistics_tell_how_a_seat_is_doing() -> None:
    bench = Bench()
    bench.log.commits_at_once = False
    bench.add(5)
    await turns()
    (seat,) = bench.runtime.statistics()
    assert (seat.index, seat.epoch, seat.loading, seat.uncommitted_appends) == (0, 1, False, 1)
    bench.log.commit()


def _remind(delay_ms: int, shard: CounterShard, ticket: int, now_ms: int) -> Decision[int]:
    return shard.remind(delay_ms, ticket, now_ms)


async def test_with_a_linger_records_of_several_turns_are_one_batch() -> None:
    bench = Bench(linger_ms=20)
    first = bench.add(1)
    await turns()
    second = bench.add(2)
    assert bench.log.batches == []
    assert await asyncio.gather(first, second) == [1, 3]
    assert len(bench.log.batches) == 1


async def test_a_log_is_loaded_in_reads_of_the_size_configured() -> None:
    bench = Bench(load_bytes=77)
    sizes = []
    await bench.add(1)
    read = bench.log.read

    def noting(offset: int, max_bytes: int) -> object:
        sizes.append(max_bytes)
        return read(offset, max_bytes)

    bench.log.read = noting  # type: ignore[method-assign,assignment]
    bench.runtime.lead(0, bench.log, epoch=2)
    await bench.until_loaded()
    assert sizes == [77]
