"""Numbered samples and the long poll that serves them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from broker import limits
from broker.clock import ManualClock
from broker.partition.state import FollowerState
from broker.protocol.private import TelemetryRequest
from broker.replication.driver import SourceStatistics
from broker.telemetry.reduce import BrokerState, reduce
from broker.telemetry.sample import SourceSample
from broker.telemetry.sampler import LISTENER_GONE_SECONDS, Sampler
from tests.support.wait import eventually
from tests.telemetry.fakes import World


def sampler_of(world: World, clock: ManualClock | None = None, *, interval_ms: int = 1) -> Sampler:
    return Sampler(
        node_id=1,
        incarnation="here",
        clock=clock or ManualClock(),
        cluster=world,
        partitions=world.manager,  # type: ignore[arg-type]
        groups=world.groups,
        transactions=world.transactions,
        replication=world.replication,
        network=lambda: world.network,
        log_dir="/logs",
        ack_durability="flush",
        store="sqlite",
        interval_ms=interval_ms,
    )


@pytest.fixture
async def running() -> AsyncIterator[tuple[World, ManualClock, Sampler]]:
    world, clock = World(), ManualClock()
    world.create_topic("orders", 2)
    sampler = sampler_of(world, clock)
    await sampler.start()
    yield world, clock, sampler
    await sampler.stop()


def after(sampler: Sampler, seq: int, wait_ms: int = 5_000) -> TelemetryRequest:
    return TelemetryRequest(incarnation=sampler.incarnation, seq=seq, max_wait_ms=wait_ms)


def test_a_snapshot_holds_everything() -> None:
    world = World()
    world.create_topic("orders", 2, **{"retention.ms": "5"})
    world.partition("orders").append(1_000)
    world.groups.commit("readers", "orders", 0, 0)
    sample = sampler_of(world).snapshot()
    assert sample.full
    assert (sample.seq, sample.incarnation, sample.cluster_id, sample.controller_id) == (1, "here", "cluster", 1)
    assert [(topic.name, topic.partition_count, topic.configs) for topic in sample.topics] == [
        ("orders", 2, {"retention.ms": "5"})
    ]
    assert [(p.partition, p.high_watermark, p.leader, p.isr) for p in sample.partitions] == [
        (0, 1, 1, [1]),
        (1, 0, 1, [1]),
    ]
    assert sample.groups[0].offsets[0].record_timestamp_ms == 1_000
    broker = sample.broker
    assert (broker.id, broker.port, broker.connections, broker.requests_total) == (1, 9092, 3, 5)
    assert (broker.records_in_total, broker.bytes_in_total, broker.fsync_rounds_total) == (1, 10, 7)
    assert broker.is_controller
    assert broker.rss_bytes > 1_000_000
    assert broker.cpu_seconds > 0


def test_a_delta_holds_only_what_changed() -> None:
    world = World()
    world.create_topic("orders", 3)
    sampler = sampler_of(world)
    sampler.tick()
    world.partition("orders", 1).append(5)
    sample = sampler.tick()
    assert not sample.full
    assert [(entry.topic, entry.partition) for entry in sample.partitions] == [("orders", 1)]
    assert sample.topics == []
    assert sample.groups == []


def test_an_idle_broker_still_sends_a_small_sign_of_life() -> None:
    world, clock = World(), ManualClock()
    world.create_topic("orders", 1_000)
    sampler = sampler_of(world, clock)
    sampler.tick()
    clock.advance(1_000)
    sample = sampler.tick()
    assert (sample.topics, sample.partitions, sample.groups) == ([], [], [])
    assert sample.sampled_at_ms == clock.wall_ms()


def test_reads_alone_are_a_change() -> None:
    world = World()
    world.create_topic("orders")
    sampler = sampler_of(world)
    sampler.tick()
    world.partition("orders").bytes_out_total += 50
    sample = sampler.tick()
    assert [entry.bytes_out_total for entry in sample.partitions] == [50]
    assert sample.broker.bytes_out_total == 50


def test_counters_of_the_broker_outlive_a_deleted_topic() -> None:
    world = World()
    world.create_topic("orders")
    world.partition("orders").append(1)
    sampler = sampler_of(world)
    sampler.tick()
    world.delete_topic("orders")
    sample = sampler.tick()
    assert sample.removed_topics == ["orders"]
    assert sample.removed_partitions == [("orders", 0)]
    assert sample.broker.records_in_total == 1
    world.create_topic("orders")
    world.partition("orders").append(1)
    assert sampler.tick().broker.records_in_total == 2


def test_an_offline_partition_is_shown_with_its_reason_until_it_is_back() -> None:
    world = World()
    world.create_topic("orders")
    partition = world.manager.held.popitem()
    world.manager.broken[partition[0]] = "CRC mismatch"
    sampler = sampler_of(world)
    assert [entry.offline_reason for entry in sampler.tick().partitions] == ["CRC mismatch"]
    assert sampler.tick().partitions == []
    world.manager.broken.clear()
    world.manager.held[partition[0]] = partition[1]
    sample = sampler.tick()
    assert [entry.offline_reason for entry in sample.partitions] == [""]
    assert sample.removed_partitions == []


def test_a_partition_listed_as_offline_and_as_here_counts_as_here_until_it_is_gone() -> None:
    world = World()
    world.create_topic("orders")
    key, partition = next(iter(world.manager.held.items()))
    world.manager.broken[key] = "CRC mismatch"
    sampler = sampler_of(world)
    assert [entry.offline_reason for entry in sampler.tick().partitions] == [""]
    del world.manager.held[key]
    assert [entry.offline_reason for entry in sampler.tick().partitions] == ["CRC mismatch"]
    world.manager.held[key] = partition
    assert [entry.offline_reason for entry in sampler.tick().partitions] == [""]


def test_a_new_leader_epoch_is_a_change_of_the_partition() -> None:
    world = World()
    world.create_topic("orders")
    sampler = sampler_of(world)
    sampler.tick()
    world.create_topic("orders", leader_epoch=1)
    assert [entry.leader_epoch for entry in sampler.tick().partitions] == [1]


async def test_the_first_poll_gets_a_full_sample_at_once(running: tuple[World, ManualClock, Sampler]) -> None:
    _, _, sampler = running
    assert sampler.asleep
    response = await sampler.poll(TelemetryRequest())
    assert [sample.full for sample in response.samples] == [True]
    assert not sampler.asleep


async def test_a_poll_waits_for_the_next_sample(running: tuple[World, ManualClock, Sampler]) -> None:
    world, _, sampler = running
    (full,) = (await sampler.poll(TelemetryRequest())).samples
    world.partition("orders").append(9)
    response = await sampler.poll(after(sampler, full.seq))
    assert response.samples[0].seq == full.seq + 1
    assert not response.samples[0].full
    assert response.samples[0].partitions[0].high_watermark == 1


async def test_a_poll_whose_time_is_up_gets_nothing() -> None:
    world = World()
    sampler = sampler_of(world, interval_ms=60_000)
    (full,) = (await sampler.poll(TelemetryRequest())).samples
    assert (await sampler.poll(after(sampler, full.seq, wait_ms=1))).samples == []


async def test_a_reader_that_lags_gets_every_delta_it_missed() -> None:
    sampler = sampler_of(World(), interval_ms=60_000)
    (full,) = (await sampler.poll(TelemetryRequest())).samples
    for _ in range(3):
        sampler.tick()
    samples = (await sampler.poll(after(sampler, full.seq))).samples
    assert [sample.seq for sample in samples] == [full.seq + 1, full.seq + 2, full.seq + 3]


async def test_a_reader_that_lags_too_far_gets_a_full_sample() -> None:
    sampler = sampler_of(World(), interval_ms=60_000)
    (full,) = (await sampler.poll(TelemetryRequest())).samples
    for _ in range(limits.SAMPLE_HISTORY_MAX + 1):
        sampler.tick()
    (sample,) = (await sampler.poll(after(sampler, full.seq))).samples
    assert sample.full
    assert sample.seq == full.seq + limits.SAMPLE_HISTORY_MAX + 1


@pytest.mark.parametrize(("incarnation", "seq"), [("before", 1), ("here", 99), ("here", -1), ("", 0)])
async def test_an_unknown_position_gets_a_full_sample(incarnation: str, seq: int) -> None:
    sampler = sampler_of(World(), interval_ms=60_000)
    await sampler.poll(TelemetryRequest())
    (sample,) = (await sampler.poll(TelemetryRequest(incarnation=incarnation, seq=seq))).samples
    assert sample.full


async def test_nothing_is_sampled_while_nobody_listens(running: tuple[World, ManualClock, Sampler]) -> None:
    _, clock, sampler = running
    (full,) = (await sampler.poll(TelemetryRequest())).samples
    clock.advance(int(LISTENER_GONE_SECONDS * 1_000) + 1)
    await eventually(lambda: sampler.asleep)
    seq = sampler.snapshot().seq
    await asyncio.sleep(0.02)  # twenty sample intervals
    assert sampler.snapshot().seq == seq
    (sample,) = (await sampler.poll(after(sampler, seq))).samples
    assert sample.full
    assert sample.seq > full.seq


async def test_many_listeners_are_served_by_one_sample(running: tuple[World, ManualClock, Sampler]) -> None:
    _, _, sampler = running
    (full,) = (await sampler.poll(TelemetryRequest())).samples
    answers = await asyncio.gather(*(sampler.poll(after(sampler, full.seq)) for _ in range(20)))
    assert {answer.samples[0].seq for answer in answers} == {full.seq + 1}


async def test_a_failing_source_does_not_end_the_sampler(
    running: tuple[World, ManualClock, Sampler], caplog: pytest.LogCaptureFixture
) -> None:
    world, _, sampler = running
    (full,) = (await sampler.poll(TelemetryRequest())).samples
    good, world.groups = world.groups, None  # type: ignore[assignment]
    sampler._groups = world.groups
    await eventually(lambda: "sampling failed" in caplog.text)
    sampler._groups = world.groups = good
    assert (await sampler.poll(after(sampler, full.seq))).samples


def test_the_reducer_follows_the_samples() -> None:
    world = World()
    world.create_topic("orders", 2)
    sampler = sampler_of(world)
    state: BrokerState = reduce(None, sampler.snapshot())
    world.partition("orders", 1).append(4)
    state = reduce(state, sampler.tick())
    assert state == reduce(None, sampler.snapshot())


def test_open_transactions_are_counted_with_the_age_of_the_oldest() -> None:
    world = World()
    sampler = sampler_of(world)
    quiet = sampler.snapshot().broker
    assert (quiet.transactional_ids, quiet.transactions_open, quiet.oldest_transaction_ms) == (1, 0, -1)
    world.transactions.starts = [5_000, 3_000]
    sampler.tick()
    busy = sampler.snapshot().broker
    assert (busy.transactional_ids, busy.transactions_open, busy.oldest_transaction_ms) == (3, 2, 3_000)


def test_followers_are_told_with_what_they_have_and_since_when_they_lack_something() -> None:
    world, clock = World(), ManualClock()
    world.create_topic("orders")
    sampler = sampler_of(world, clock)
    partition = world.partition("orders")
    partition.append(1_000)
    now_ms = int(clock.monotonic() * 1_000)
    partition.be_fetched_by(3, at_ms=now_ms - 400, missing=1)
    partition.be_fetched_by(2, at_ms=now_ms)
    sample = sampler.tick()
    assert sample.partitions[0].followers == [(2, 1, 0), (3, 0, clock.wall_ms() - 400)]
    assert (sample.partitions[0].replica_bytes_out_total, sample.broker.replica_bytes_out_total) == (20, 20)
    assert sample.broker.bytes_out_total == 0
    clock.advance(1_000)
    assert sampler.tick().partitions == [], "nothing moved"
    partition.be_fetched_by(3, at_ms=now_ms + 500, missing=1)
    assert sampler.tick().partitions[0].followers == [(2, 1, 0), (3, 0, clock.wall_ms() - 500)]
    partition.state.followers[4] = FollowerState()
    assert sampler.tick().partitions[0].followers[2] == (4, -1, -1)


def test_partitions_that_lack_replicas_are_counted_where_they_are_led() -> None:
    world = World()
    world.create_topic("orders", 2)
    world.create_topic("bills")
    for partition in world.manager.held.values():
        partition.state.min_insync_replicas = 2
    sampler = sampler_of(world)
    world.place("orders", isr=(1, 2))
    world.place("bills", isr=(2,), leader=2)

    def counts() -> tuple[int, int, int]:
        broker = sampler.tick().broker
        return broker.under_replicated, broker.under_min_isr, broker.isr_changes_total

    assert counts() == (2, 0, 0)
    world.place("orders", isr=(1,))
    assert counts() == (2, 2, 2)
    world.place("orders", isr=(1, 2, 3))
    assert counts() == (0, 0, 4)
    world.place("orders", isr=(1,))
    assert counts() == (2, 2, 6)
    world.delete_topic("orders")
    assert counts() == (0, 0, 6)


def test_it_tells_whom_the_broker_copies_from() -> None:
    world = World()
    world.replication.sources.append(
        SourceStatistics(
            broker_id=2, connected=True, partitions=3, catching_up=1, bytes_total=5, fetches_total=6, failures_total=7
        )
    )
    broker = sampler_of(world).snapshot().broker
    assert broker.sources == [
        SourceSample(
            broker_id=2, connected=True, partitions=3, catching_up=1, bytes_total=5, fetches_total=6, failures_total=7
        )
    ]
    assert broker.replica_throttled_ms_total == 7


def test_what_a_follower_lacks_and_a_log_that_is_copied_anew_are_news() -> None:
    world = World()
    world.create_topic("orders", 1)
    sampler = sampler_of(world)
    sampler.snapshot()
    partition = world.partition("orders")
    partition.lag = 40
    partition.log.incomplete_reason = "a bit had flipped"
    (sample,) = sampler.tick().partitions
    assert (sample.lag, sample.offline_reason) == (40, "a bit had flipped")
    assert sampler.tick().partitions == []
