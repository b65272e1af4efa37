"""The law of live data: reducing a full sample and every delta equals a fresh full sample."""

import dataclasses
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.telemetry.reduce import SampleGap, reduce
from broker.telemetry.sample import Sample, TelemetryResponse
from broker.telemetry.sampler import Sampler
from broker.types import TopicPartition
from tests.telemetry.fakes import FakeGroups, FakePartition, World
from tests.telemetry.test_sampler import sampler_of

TOPICS = ("a", "b", "c")
Step = Callable[[World], None]

topics = st.sampled_from(TOPICS)
small = st.integers(0, 6)


def create(name: str, number: int) -> Step:
    return lambda world: world.create_topic(name, 1 + number % 3, leader_epoch=number)


def delete(name: str, number: int) -> Step:
    def step(world: World) -> None:
        world.delete_topic(name)
        world.manager.broken.pop(TopicPartition(name, 0), None)

    return step


def on_partitions(act: Callable[[FakePartition, int], None]) -> Callable[[str, int], Step]:
    def of(name: str, number: int) -> Step:
        def step(world: World) -> None:
            for partition in world.manager.held.values():
                if partition.topic_partition.topic == name:
                    act(partition, number)

        return step

    return of


def read(partition: FakePartition, number: int) -> None:
    partition.bytes_out_total += number


def commit(name: str, number: int) -> Step:
    return lambda world: world.groups.commit(f"group-{number % 2}", name, number % 3, number)


def remove_group(name: str, number: int) -> Step:
    return lambda world: world.groups.remove(f"group-{number % 2}")


def break_partition(name: str, number: int) -> Step:
    def step(world: World) -> None:
        key = TopicPartition(name, 0)
        if world.manager.held.pop(key, None) is not None:
            world.manager.broken[key] = f"damaged at {number}"

    return step


steps = st.builds(
    lambda make, name, number: make(name, number),
    st.sampled_from(
        (
            create,
            delete,
            on_partitions(lambda partition, number: partition.append(100 + number)),
            on_partitions(lambda partition, number: partition.move_log_start(number)),
            on_partitions(read),
            on_partitions(lambda partition, number: partition.be_fetched_by(2, at_ms=number, missing=number % 3)),
            commit,
            remove_group,
            break_partition,
        )
    ),
    topics,
    small,
)


@given(st.lists(st.lists(steps, max_size=4), max_size=12))
def test_reducing_every_delta_equals_a_fresh_full_sample(ticks: list[list[Step]]) -> None:
    world = World()
    sampler = sampler_of(world)
    state = reduce(None, sampler.snapshot())
    for changes in ticks:
        for change in changes:
            change(world)
        state = reduce(state, over_the_wire(sampler.tick()))
        assert state == reduce(None, over_the_wire(sampler.snapshot()))
        fresh = reduce(None, newcomer(world).snapshot())
        assert (state.topics, state.partitions, state.groups) == (fresh.topics, fresh.partitions, fresh.groups)


def newcomer(world: World) -> Sampler:
    """A sampler that has seen nothing yet; the other one's view of what changed stays as it is."""
    groups = FakeGroups()
    for group in world.groups.groups.values():
        groups.put(group)
    fresh = World()
    fresh.image, fresh.manager, fresh.groups = world.image, world.manager, groups
    return sampler_of(fresh)


def over_the_wire(sample: Sample) -> Sample:
    encoded = msgspec.msgpack.encode(TelemetryResponse(samples=[sample]))
    return msgspec.msgpack.decode(encoded, type=TelemetryResponse).samples[0]


def test_a_missed_delta_is_a_gap() -> None:
    sampler = sampler_of(World())
    state = reduce(None, sampler.snapshot())
    sampler.tick()
    with pytest.raises(SampleGap, match="here/3 does not follow here/1"):
        reduce(state, sampler.tick())


def test_a_delta_of_another_life_is_a_gap() -> None:
    sampler = sampler_of(World())
    state = dataclasses.replace(reduce(None, sampler.snapshot()), incarnation="before")
    with pytest.raises(SampleGap):
        reduce(state, sampler.tick())


def test_a_delta_without_a_beginning_is_a_gap() -> None:
    with pytest.raises(SampleGap, match="before any full sample"):
        reduce(None, sampler_of(World()).tick())


def test_a_full_sample_is_a_new_beginning_whatever_came_before() -> None:
    world = World()
    world.create_topic("a")
    first = sampler_of(world)
    state = reduce(None, first.snapshot())
    assert reduce(state, sampler_of(World()).snapshot()).topics == {}


def test_reducing_leaves_the_older_state_as_it_was() -> None:
    world = World()
    world.create_topic("a")
    sampler = sampler_of(world)
    before = reduce(None, sampler.snapshot())
    kept = dict(before.partitions)
    world.partition("a").append(1)
    reduce(before, sampler.tick())
    assert before.partitions == kept
