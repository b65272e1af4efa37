"""What a sample tells of the control plane, of partitions nobody leads, and how soon it tells."""

import asyncio
import dataclasses

from broker.clock import ManualClock
from broker.cluster.image import BrokerState, PartitionImage
from broker.cluster.records import ControllerElection
from broker.telemetry import sampler as module
from broker.telemetry.sample import ElectionSample
from broker.types import TopicPartition
from tests.telemetry.fakes import World
from tests.telemetry.test_sampler import after, sampler_of


def world_of(**image: object) -> World:
    world = World()
    world.create_topic("orders", 1)
    world.image = dataclasses.replace(world.image, **image)  # type: ignore[arg-type]
    return world


def place(world: World, **placed: object) -> None:
    """Give partition 0 of orders other replicas, another leader …"""
    topic = world.image.topics_by_name["orders"]
    defaults = {"leader": 1, "leader_epoch": 3, "isr": (1,), "replicas": (1,), "partition_epoch": 7}
    partition = PartitionImage(**{**defaults, **placed})  # type: ignore[arg-type]
    world._replace_topics({"orders": dataclasses.replace(topic, partitions=(partition,))})


def test_elections_and_registrations_are_told_once_and_again_when_they_change() -> None:
    elections = (ControllerElection(epoch=1, broker_id=2, at_ms=5, cause="first"),)
    world = world_of(controller_epoch=1, controller_since_ms=5, controller_history=elections)
    sampler = sampler_of(world)
    control = sampler.snapshot().control
    assert control is not None
    assert (control.controller_epoch, control.elected_at_ms) == (1, 5)
    assert control.elections == [ElectionSample(epoch=1, broker_id=2, at_ms=5, cause="first")]
    assert [(one.id, one.live, one.incarnation) for one in control.brokers] == [(1, True, "one")]
    known = world.image.brokers[1]
    assert (control.brokers[0].internal_host, control.brokers[0].internal_port) == (
        known.internal_host,
        known.internal_port,
    )
    assert sampler.tick().control is None
    gone = BrokerState(state="decommissioned", since_ms=8, host="10.0.0.2", port=9092, left_at_ms=9)
    world.image = dataclasses.replace(world.image, brokers_state={2: gone})
    told = sampler.tick().control
    assert told is not None
    assert [(one.id, one.live, one.state, one.left_at_ms) for one in told.brokers] == [
        (1, True, "", -1),
        (2, False, "decommissioned", 9),
    ]
    assert sampler.snapshot().control == told


def test_a_partition_carries_why_it_changed_and_where_it_goes() -> None:
    world = world_of()
    place(world, isr=(1, 2), replicas=(1, 2, 3), adding=(3,), removing=(2,), cause="reassigning", changed_at_ms=44)
    told = sampler_of(world).snapshot().partitions[0]
    assert (told.partition_epoch, told.adding, told.removing) == (7, [3], [2])
    assert (told.cause, told.changed_at_ms) == ("reassigning", 44)


def test_the_controller_speaks_for_partitions_that_nobody_leads() -> None:
    world = world_of()
    world.manager.held.clear()
    place(world, leader=-1, isr=(), replicas=(2, 3), elr=(3,), last_known_leader=2, cause="leader_failed")
    told = sampler_of(world).snapshot().partitions
    assert [(one.partition, one.leader, one.elr, one.log_end_offset) for one in told] == [(0, -1, [3], -1)]


def test_a_broker_that_is_not_controller_speaks_for_its_own_only() -> None:
    world = world_of()
    world.manager.held.clear()
    place(world, leader=-1, isr=(), replicas=(2, 3))
    world.image = dataclasses.replace(world.image, controller_id=2)
    assert sampler_of(world).snapshot().partitions == []


def test_what_the_controller_spoke_for_goes_when_somebody_leads_it() -> None:
    world = world_of()
    world.manager.held.clear()
    place(world, leader=-1, isr=(), replicas=(2, 3))
    sampler = sampler_of(world)
    sampler.snapshot()
    place(world, leader=3, isr=(3,), replicas=(2, 3))
    assert sampler.tick().removed_partitions == [TopicPartition("orders", 0)]


def test_the_limit_in_force_is_the_topics_own_or_the_brokers() -> None:
    world = world_of()
    world.create_topic("audit", **{"min.insync.replicas": "2"})
    sampler = sampler_of(world)
    assert {topic.name: topic.min_insync_replicas for topic in sampler.snapshot().topics} == {"orders": 1, "audit": 2}
    world.config = dataclasses.replace(world.config, min_insync_replicas=3)
    assert [(topic.name, topic.min_insync_replicas) for topic in sampler.tick().topics] == [("orders", 3)]


async def test_a_change_that_people_wait_for_does_not_wait_for_the_second() -> None:
    world = world_of()
    sampler = sampler_of(world, ManualClock(), interval_ms=60_000)
    await sampler.start()
    try:
        first = (await sampler.poll(after(sampler, -1))).samples[0]
        waiting = asyncio.create_task(sampler.poll(after(sampler, first.seq, 20_000)))
        await asyncio.sleep(0)
        place(world, leader=1, leader_epoch=4)
        sampler.hurry()
        async with asyncio.timeout(module.HURRY_SECONDS + 10):
            answer = await waiting
        assert [one.partitions[0].leader_epoch for one in answer.samples] == [4]
    finally:
        await sampler.stop()
