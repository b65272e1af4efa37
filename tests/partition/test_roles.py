"""Leader, follower, neither: who is told what, in which order, when an image changes a partition's role."""

from __future__ import annotations

import pytest

from broker.errors import ErrorCode, KafkaError
from broker.types import TopicPartition
from tests.partition.stage import Stage, image_of, partition_image, topic_image
from tests.partition.test_driver import Waiter
from tests.support.wait import eventually

ORDERS = TopicPartition("orders", 0)


class Listener:
    """Coordinator and replication at once, so that their order is seen."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def take(self) -> list[tuple[object, ...]]:
        told, self.told = self.told, []
        return told

    def on_became_leader(self, partition) -> None:
        self.told.append(("leads", partition.leader_epoch))

    def on_resigned(self, topic_partition) -> None:
        self.told.append(("resigned", topic_partition))

    def on_follow(self, partition, leader_id, leader_epoch) -> None:
        assert not partition.state.is_leader
        self.told.append(("follows", leader_id, leader_epoch))

    def on_stop_following(self, topic_partition) -> None:
        self.told.append(("stops", topic_partition))


@pytest.fixture
async def stage():
    stage = Stage(OTTLA_ACK_DURABILITY="os")
    yield stage
    await stage.close()


@pytest.fixture
def listener(stage) -> Listener:
    listener = Listener()
    stage.manager.listen("orders", listener)
    stage.manager.listen_replication(listener)
    return listener


def show(stage: Stage, *, settled: bool = True, **partition) -> None:
    partition.setdefault("replicas", (1, 2, 3))
    stage.show(image_of(topic_image("orders", partition_image(**partition)), settled=settled))


async def test_a_follower_follows_and_every_new_epoch_is_told(stage, listener) -> None:
    show(stage, leader=2, epoch=4)
    show(stage, leader=3, epoch=5)
    show(stage, leader=3, epoch=5, isr=(3,), version=2)
    assert listener.take() == [("follows", 2, 4), ("follows", 3, 5)]


async def test_replication_that_comes_later_hears_of_what_is_followed_already(stage) -> None:
    show(stage, leader=2, epoch=4)
    listener = Listener()
    stage.manager.listen_replication(listener)
    assert listener.take() == [("follows", 2, 4)]


async def test_replication_lets_go_before_the_partition_is_led(stage, listener) -> None:
    show(stage, leader=2, epoch=4)
    listener.take()
    show(stage, leader=1, epoch=5)
    assert listener.take() == [("stops", ORDERS), ("leads", 5)]


async def test_coordinators_let_go_before_the_partition_is_followed(stage, listener) -> None:
    show(stage, leader=1, epoch=4, isr=(1,))
    listener.take()
    show(stage, leader=2, epoch=5)
    assert listener.take() == [("resigned", ORDERS), ("follows", 2, 5)]


async def test_without_a_leader_nobody_is_followed(stage, listener) -> None:
    show(stage, leader=2, epoch=4)
    listener.take()
    show(stage, leader=-1, epoch=5, isr=(2,))
    assert listener.take() == [("stops", ORDERS)]


async def test_a_deleted_partition_is_followed_no_more(stage, listener) -> None:
    show(stage, leader=2, epoch=4)
    listener.take()
    stage.show(image_of())
    assert listener.take() == [("resigned", ORDERS), ("stops", ORDERS)]


async def test_a_replica_that_moves_elsewhere_is_followed_no_more(stage, listener) -> None:
    show(stage, leader=2, epoch=4)
    listener.take()
    show(stage, leader=2, epoch=4, replicas=(2, 3), version=7)
    assert ("stops", ORDERS) in listener.take()
    assert stage.manager.find("orders", 0) is None


async def test_a_broker_whose_session_ended_leads_no_more_but_does_not_lead_before_it_is_back(stage, listener) -> None:
    show(stage, leader=1, epoch=4, isr=(1,))
    waiter = Waiter()
    show(stage, leader=1, epoch=4, isr=(1, 2), version=1)
    append = stage.append(b"a")
    assert stage.partition().park(append.last_offset, waiter, 0)
    show(stage, leader=2, epoch=5, version=2, settled=False)
    assert waiter.told == [(0, ErrorCode.NOT_LEADER_OR_FOLLOWER)]
    show(stage, leader=1, epoch=6, version=3, settled=False)
    with pytest.raises(KafkaError):
        stage.partition()
    show(stage, leader=1, epoch=6, version=3)
    assert stage.partition().leader_epoch == 6


async def test_a_new_leader_starts_with_the_high_watermark_it_knew_as_a_follower(stage, listener) -> None:
    show(stage, leader=1, epoch=0, replicas=(1,), isr=(1,))
    stage.append(b"a", b"b", b"c", b"d")
    partition = stage.partition()
    show(stage, leader=2, epoch=1, isr=(1, 2), version=1)
    partition.state.on_truncated(2)
    show(stage, leader=1, epoch=2, isr=(1, 2), version=2)
    assert partition.high_watermark == 2
    assert not partition.state.offsets_are_settled


async def test_a_reassignment_gives_the_leader_other_followers_in_the_same_epoch(stage, listener) -> None:
    show(stage, leader=1, epoch=4, replicas=(1, 2), isr=(1, 2))
    show(stage, leader=1, epoch=4, replicas=(1, 2, 3), isr=(1, 2), version=1)
    assert set(stage.partition().state.followers) == {2, 3}
    show(stage, leader=1, epoch=4, replicas=(1, 3), isr=(1,), version=2)
    assert set(stage.partition().state.followers) == {3}


async def test_a_shrunken_in_sync_set_tells_producers_but_not_coordinators(stage, listener) -> None:
    topic = topic_image("orders", partition_image(replicas=(1, 2, 3)), min_insync_replicas="2")
    stage.show(image_of(topic))
    append = stage.append(b"a")
    producer, coordinator = Waiter(), Waiter(patient=True)
    partition = stage.partition()
    assert partition.park(append.last_offset, producer, 0)
    assert partition.park(append.last_offset, coordinator, 0)
    stage.show(
        image_of(
            topic_image("orders", partition_image(replicas=(1, 2, 3), isr=(1,), version=1), min_insync_replicas="2")
        )
    )
    assert producer.told == [(0, ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND)]
    assert coordinator.told == []
    with pytest.raises(KafkaError) as refused:
        stage.append(b"b")
    assert refused.value.code is ErrorCode.NOT_ENOUGH_REPLICAS
    stage.append(b"b", acks=1)


async def test_in_sync_sets_are_looked_at_by_the_clock_and_proposed(stage, listener) -> None:
    proposals = []

    class Proposer:
        def propose(self, partition, proposal) -> None:
            proposals.append((partition.topic_partition, proposal.isr))

    stage.manager.propose_isr_through(Proposer())
    show(stage, leader=1, epoch=0)
    stage.append(b"a")
    stage.manager._on_tick()
    for _ in range(stage.config.replica_lag_time_max_ms // 1_000):
        stage.clock.advance(1_000)
        stage.manager._on_tick()
    assert proposals == []
    stage.clock.advance(1_000)
    stage.manager._on_tick()
    assert proposals == [(ORDERS, frozenset({1}))]


async def test_a_broker_that_was_stopped_drops_nobody_for_it(stage, listener) -> None:
    proposals = []

    class Proposer:
        def propose(self, partition, proposal) -> None:
            proposals.append(proposal)

    stage.manager.propose_isr_through(Proposer())
    show(stage, leader=1, epoch=0)
    stage.append(b"a")
    stage.manager._on_tick()
    stage.clock.advance(10 * stage.config.replica_lag_time_max_ms)
    stage.manager._on_tick()
    assert proposals == []


async def test_who_wants_one_copy_on_the_disk_does_not_wait_for_others_to_have_it(stage, listener) -> None:
    config = {"min_insync_replicas": "2", "flush_messages": "1"}
    stage.show(image_of(topic_image("orders", partition_image(replicas=(1, 2), isr=(1,)), **config)))
    append = stage.append(b"a", acks=1)
    partition, waiter = stage.partition(), Waiter()
    assert partition.flush_is_forced
    assert partition.park_until_flushed(append.last_offset, waiter, 3)
    await eventually(lambda: waiter.told == [(3, ErrorCode.NONE)])
    assert partition.high_watermark == 0
    assert not partition.park_until_flushed(append.last_offset, waiter, 4)
