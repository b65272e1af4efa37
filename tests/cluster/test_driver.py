from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random

import pytest

from broker.clock import ManualClock
from broker.cluster import driver as driver_module
from broker.cluster import producer_ids, records
from broker.cluster.config_changes import ConfigChange, ResourceChange
from broker.cluster.decision import NewPartitions, NewTopic
from broker.cluster.driver import ClusterDriver
from broker.cluster.image import ClusterImage, ImageDelta
from broker.cluster.isr_changes import IsrProposal
from broker.config.broker import BrokerConfig
from broker.errors import ErrorCode, KafkaError
from broker.metadata.sqlite import SqliteStore
from broker.metadata.store import Snapshot, StoreUnavailable, Transaction
from broker.types import ZERO_TOPIC_ID
from tests.cluster.builders import topic
from tests.metadata.memory import MemoryCluster, MemoryStore

Open = Callable[..., Awaitable[ClusterDriver]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def shared(clock: ManualClock) -> MemoryCluster:
    return MemoryCluster(clock=clock)


@pytest.fixture
async def opened() -> AsyncIterator[list[ClusterDriver]]:
    drivers: list[ClusterDriver] = []
    yield drivers
    for driver in drivers:
        await driver.stop()


@pytest.fixture
def open_driver(shared: MemoryCluster, clock: ManualClock, opened: list[ClusterDriver]) -> Open:
    async def open_(
        broker_id: int = 1, incarnation: str | None = None, register: bool = True, **config: object
    ) -> ClusterDriver:
        driver = ClusterDriver(
            MemoryStore(shared),
            BrokerConfig.from_environment({}, node_id=broker_id, broker_heartbeat_interval_ms=100, **config),
            incarnation=incarnation or f"incarnation-{broker_id}",
            clock=clock,
            random=Random(broker_id),
        )
        opened.append(driver)
        await driver.start()
        if register:
            await driver.register()
        return driver

    return open_


def store_of(driver: ClusterDriver) -> MemoryStore:
    assert isinstance(driver._store, MemoryStore)
    return driver._store


async def until(driver: ClusterDriver, condition: Callable[[ClusterImage], bool]) -> ClusterImage:
    async with asyncio.timeout(20):
        while not condition(driver.image):
            await driver._advanced.wait()
    return driver.image


# Life ----------------------------------------------------------------------------------------------------


async def test_a_first_broker_becomes_a_cluster_of_one(open_driver: Open) -> None:
    driver = await open_driver(broker_rack="r")
    image = driver.image
    assert len(image.cluster_id) == 22
    assert list(image.brokers) == [1]
    assert (image.brokers[1].host, image.brokers[1].port, image.brokers[1].rack) == ("127.0.0.1", 9092, "r")
    assert image.brokers[1].internal_port == 19092
    assert driver.is_controller
    assert image.is_settled(1)
    assert driver.statistics().registered


async def test_before_it_registers_a_broker_knows_the_cluster_but_is_not_in_it(open_driver: Open) -> None:
    driver = await open_driver(register=False)
    assert driver.image.cluster_id
    assert not driver.image.brokers
    assert not driver.statistics().registered


async def test_ports_the_system_chose_are_registered_as_they_are(open_driver: Open) -> None:
    driver = await open_driver(register=False)
    await driver.register(port=4711, internal_port=4712, internal_host="0.0.0.0")
    registered = driver.image.brokers[1]
    assert (registered.port, registered.internal_port, registered.internal_host) == (4711, 4712, "127.0.0.1")


async def test_brokers_of_one_store_see_each_other_and_one_controller(open_driver: Open) -> None:
    first, second = await open_driver(1), await open_driver(2)
    await until(first, lambda image: image.is_settled(2))
    assert list(first.image.brokers) == list(second.image.brokers) == [1, 2]
    assert first.image.controller_id == second.image.controller_id == 1
    assert first.image.cluster_id == second.image.cluster_id


async def test_a_second_broker_of_the_same_id_is_refused(open_driver: Open) -> None:
    await open_driver(1)
    with pytest.raises(KafkaError, match="A broker with id 1 is already running") as caught:
        await open_driver(1)
    assert caught.value.code is ErrorCode.DUPLICATE_BROKER_REGISTRATION


async def test_when_the_controller_stops_another_takes_over_under_a_higher_epoch(open_driver: Open) -> None:
    first, second = await open_driver(1), await open_driver(2)
    await first.create_topics([NewTopic(name="a", assignments=((0, (1,)), (1, (2,))))])
    await first.stop()
    image = await until(second, lambda image: image.controller_id == 2 and 1 not in image.incarnations)
    assert image.controller_epoch == 2
    assert [p.leader for p in image.topics_by_name["a"].partitions] == [-1, 2]


async def test_a_killed_broker_comes_back_under_a_higher_leader_epoch(open_driver: Open) -> None:
    first = await open_driver(1)
    await first.create_topics([topic("a", 2)])
    store_of(first).kill()
    again = await open_driver(1, incarnation="second life")
    partitions = again.image.topics_by_name["a"].partitions
    assert [(p.leader, p.leader_epoch) for p in partitions] == [(1, 1), (1, 1)]
    assert again.image.controller_epoch == 2


async def test_a_broker_that_lost_its_session_registers_again_as_another_incarnation(
    open_driver: Open, clock: ManualClock
) -> None:
    first, second = await open_driver(1), await open_driver(2)
    await first.create_topics([NewTopic(name="a", assignments=((0, (1,)),))])
    store_of(first).unavailable = True
    clock.advance(10_000)
    session = second._registration.session
    assert session is not None
    await second._store.renew_session(session)
    await until(second, lambda image: list(image.brokers) == [2] and image.controller_id == 2)
    await until(second, lambda image: image.topics_by_name["a"].partitions[0].leader == -1)
    store_of(first).unavailable = False
    image = await until(second, lambda image: image.is_settled(1))
    assert image.brokers[1].incarnation == "incarnation-1.1"
    await until(second, lambda image: image.topics_by_name["a"].partitions[0].leader == 1)


async def test_a_deposed_controller_cannot_write(open_driver: Open, shared: MemoryCluster) -> None:
    driver = await open_driver(1)
    stale = driver_module.controller.decide_leadership(
        driver_module.fold(driver.image, driver_module.Commit(revision=driver.image.revision, deletes=("brokers/1",))),
        (),
        config=driver.config,
        now_ms=1,
    )
    assert stale is not None
    epoch = records.encode(records.ControllerEpochRecord(epoch=2, broker_id=2))
    shared.write({records.CONTROLLER_EPOCH: epoch}, [], {})
    with pytest.raises(driver_module.PreconditionFailed):
        await driver._store.commit(stale)


# Admin requests ------------------------------------------------------------------------------------------


async def test_a_request_is_answered_when_the_image_shows_it_and_subscribers_have_acted(open_driver: Open) -> None:
    driver = await open_driver()
    seen: list[tuple[list[str], list[str]]] = []
    driver.subscribe(lambda d: seen.append(([t.name for t in d.created_topics], [t.name for t in d.deleted_topics])))
    (result,) = await driver.create_topics([topic("a", 3)])
    assert result.error is None
    assert driver.image.topics_by_name["a"].topic_id == result.topic_id
    assert seen == [(["a"], [])]
    await driver.delete_topics([("a", ZERO_TOPIC_ID)])
    assert "a" not in driver.image.topics_by_name
    assert seen == [(["a"], []), ([], ["a"])]


async def test_validate_only_decides_and_writes_nothing(open_driver: Open) -> None:
    driver = await open_driver()
    revision = driver.image.revision
    (good, bad) = await driver.create_topics([topic("a"), topic("b", factor=2)], validate_only=True)
    assert good.error is None
    assert bad.error is not None
    await driver.create_topics([topic("c")])
    assert list(driver.image.topics_by_name) == ["c"]
    assert driver.image.revision == revision + 1


async def test_partitions_and_configs_change_through_any_broker(open_driver: Open) -> None:
    first, second = await open_driver(1), await open_driver(2)
    await first.create_topics([topic("a")])
    await until(second, lambda image: "a" in image.topics_by_name)
    await second.create_partitions([NewPartitions(name="a", total_count=3)])
    assert len(second.image.topics_by_name["a"].partitions) == 3
    change = ResourceChange(type=2, name="a", changes=(ConfigChange(name="retention.ms", value="5"),))
    (result,) = await second.alter_configs([change])
    assert result.error is None
    image = await until(first, lambda image: image.topics_by_name["a"].configs == {"retention.ms": "5"})
    assert len(image.topics_by_name["a"].partitions) == 3


async def test_a_dynamic_broker_config_is_in_force_before_the_answer(open_driver: Open) -> None:
    driver = await open_driver()
    seen: list[int] = []
    driver.subscribe(lambda _: seen.append(driver.config.message_max_bytes))
    change = ResourceChange(type=4, name="", changes=(ConfigChange(name="message.max.bytes", value="77"),))
    await driver.alter_configs([change])
    assert driver.config.message_max_bytes == 77
    assert seen == [77]


async def test_of_requests_that_race_for_one_name_exactly_one_wins(open_driver: Open) -> None:
    drivers = [await open_driver(1), await open_driver(2)]
    await until(drivers[0], lambda image: image.is_settled(2))
    results = await asyncio.gather(*(drivers[i % 2].create_topics([topic("a")]) for i in range(8)))
    codes = [None if result.error is None else result.error.code for (result,) in results]
    assert sorted(codes, key=str) == sorted([None] + [ErrorCode.TOPIC_ALREADY_EXISTS] * 7, key=str)


async def test_concurrent_changes_of_one_topic_are_all_kept(open_driver: Open) -> None:
    drivers = [await open_driver(1), await open_driver(2)]
    await drivers[0].create_topics([topic("a")])
    await until(drivers[1], lambda image: "a" in image.topics_by_name)
    names = ["retention.ms", "segment.ms", "flush.ms", "file.delete.delay.ms", "delete.retention.ms"]
    await asyncio.gather(
        *(
            drivers[i % 2].alter_configs(
                [ResourceChange(type=2, name="a", changes=(ConfigChange(name=name, value="9"),))]
            )
            for i, name in enumerate(names)
        )
    )
    await until(drivers[0], lambda image: image.topics_by_name["a"].configs == dict.fromkeys(names, "9"))


async def test_without_the_store_admin_requests_fail_and_the_image_stays(open_driver: Open) -> None:
    driver = await open_driver()
    await driver.create_topics([topic("a")])
    store_of(driver).unavailable = True
    results = await driver.create_topics([topic("a"), topic("b")])
    codes = [result.error and result.error.code for result in results]
    assert codes == [ErrorCode.TOPIC_ALREADY_EXISTS, ErrorCode.REQUEST_TIMED_OUT], "each has its own"
    with pytest.raises(KafkaError) as caught:
        await driver.set_broker_state(1, "draining")
    assert caught.value.code is ErrorCode.REQUEST_TIMED_OUT
    assert list(driver.image.topics_by_name) == ["a"]
    store_of(driver).unavailable = False
    (result,) = await driver.create_topics([topic("b")])
    assert result.error is None


async def test_a_broker_that_fell_behind_the_change_log_reads_a_snapshot(
    open_driver: Open, shared: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "STORE_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(driver_module, "VISIBILITY_SECONDS", 0.01)
    driver = await open_driver()
    other = await open_driver(2)
    await until(driver, lambda image: image.is_settled(2))
    deltas: list[ImageDelta] = []
    driver.subscribe(deltas.append)
    store_of(driver).unavailable = True
    await other.create_topics([NewTopic(name="a", assignments=((0, (2,)),))])
    await other.create_topics([NewTopic(name="b", assignments=((0, (2,)),))])
    shared.compact()
    store_of(driver).unavailable = False
    await until(driver, lambda image: image.topics_by_name.keys() == {"a", "b"})
    assert [sorted(t.name for t in d.created_topics) for d in deltas if d.created_topics] == [["a", "b"]]


async def test_losing_the_store_again_while_reading_the_snapshot_does_not_end_the_following(
    open_driver: Open, shared: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "STORE_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(driver_module, "VISIBILITY_SECONDS", 0.01)
    driver, other = await open_driver(), await open_driver(2)
    await until(driver, lambda image: image.is_settled(2))
    store = store_of(driver)
    read, refused = store.range, []

    async def once_unavailable(prefix: str = "") -> Snapshot:
        if not refused:
            refused.append(prefix)
            raise StoreUnavailable("again")
        return await read(prefix)

    monkeypatch.setattr(store, "range", once_unavailable)
    store.unavailable = True
    await other.create_topics([NewTopic(name="a", assignments=((0, (2,)),))])
    shared.compact()
    store.unavailable = False
    await until(driver, lambda image: "a" in image.topics_by_name)
    assert refused


async def test_a_controller_whose_commit_is_slow_to_come_back_stays_on_duty(
    open_driver: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.cluster.duty.STORE_RETRY_SECONDS", 0.01)
    driver = await open_driver()
    wait, late = driver._duty._wait_revision, []

    async def too_late(revision: int) -> None:
        late.append(revision)
        if len(late) == 1:
            raise KafkaError(ErrorCode.REQUEST_TIMED_OUT)
        await wait(revision)

    monkeypatch.setattr(driver._duty, "_wait_revision", too_late)
    other = await open_driver(2)
    await until(driver, lambda image: image.is_settled(2))
    assert late
    await other.stop()


async def test_a_subscriber_that_fails_does_not_cut_off_the_others(
    open_driver: Open, caplog: pytest.LogCaptureFixture
) -> None:
    driver = await open_driver()
    seen: list[ImageDelta] = []

    def faulty(delta: ImageDelta) -> None:
        raise ZeroDivisionError

    driver.subscribe(faulty)
    driver.subscribe(seen.append)
    with caplog.at_level(logging.CRITICAL):
        (result,) = await driver.create_topics([topic("a")])
    assert result.error is None
    assert len(seen) == 1


async def test_every_live_broker_knows_before_the_answer(tmp_path: Path, opened: list[ClusterDriver]) -> None:
    drivers = [
        ClusterDriver(
            # Polling would take an hour: what is here is known because it was told.
            SqliteStore(tmp_path / "metadata.sqlite3", poll_interval=3_600),
            BrokerConfig.from_environment({}, node_id=broker_id),
            incarnation="life",
        )
        for broker_id in (1, 2, 3)
    ]
    for driver in drivers:
        opened.append(driver)
        await driver.start()
        await driver.register()
    for number in range(10):
        await drivers[number % 3].create_topics([topic(f"t{number}")])
        assert [f"t{number}" in driver.image.topics_by_name for driver in drivers] == [True] * 3


async def test_a_broker_that_hangs_delays_an_answer_and_does_not_prevent_it(
    open_driver: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "VISIBILITY_SECONDS", 0.05)
    first, second = await open_driver(1), await open_driver(2)
    await until(first, lambda image: image.is_settled(2))
    store_of(second).unavailable = True
    (result,) = await first.create_topics([topic("a")])
    assert result.error is None
    store_of(second).unavailable = False


# Topics made because they were needed --------------------------------------------------------------------


async def test_an_automatic_topic_has_the_brokers_defaults(open_driver: Open) -> None:
    driver = await open_driver(num_partitions=4)
    created = await driver.create_topic_automatically("a")
    assert len(created.partitions) == 4
    assert created.configs == {}
    assert await driver.create_topic_automatically("a") is created


async def test_an_automatic_topic_that_cannot_be_is_an_error_of_its_own(open_driver: Open) -> None:
    driver = await open_driver()
    outcomes = await driver.create_topics_automatically(["good", "bad name", "good"])
    assert outcomes["good"] is None
    assert outcomes["bad name"] is not None
    assert outcomes["bad name"].code is ErrorCode.INVALID_TOPIC_EXCEPTION
    with pytest.raises(KafkaError):
        await driver.create_topic_automatically("bad name")


async def test_the_offsets_topic_is_compacted_and_as_replicated_as_the_cluster_allows(open_driver: Open) -> None:
    driver = await open_driver(1)
    created = await driver.create_topic_automatically("__consumer_offsets")
    assert (len(created.partitions), created.replication_factor, created.internal) == (50, 1, True)
    assert created.configs["cleanup.policy"] == "compact"
    assert created.configs["segment.bytes"] == "104857600"
    await open_driver(2)
    await until(driver, lambda image: image.is_settled(2))
    transactions = await driver.create_topic_automatically("__transaction_state")
    assert transactions.replication_factor == 2
    assert transactions.configs["min.insync.replicas"] == "2"


# Producer ids --------------------------------------------------------------------------------------------


async def test_no_producer_id_is_given_twice_across_brokers_and_restarts(open_driver: Open) -> None:
    drivers = [await open_driver(1), await open_driver(2)]
    ids = await asyncio.gather(*(drivers[i % 2].allocate_producer_id() for i in range(2_500)))
    await drivers[0].stop()
    again = await open_driver(1, incarnation="second")
    ids += [await again.allocate_producer_id() for _ in range(3)]
    assert len(set(ids)) == len(ids)
    assert min(ids) == 0


async def test_without_the_store_ids_last_until_the_block_is_used_up(open_driver: Open) -> None:
    driver = await open_driver()
    await driver.allocate_producer_id()
    store_of(driver).unavailable = True
    for _ in range(producer_ids.BLOCK_SIZE - 1):
        await driver.allocate_producer_id()
    with pytest.raises(KafkaError) as caught:
        await driver.allocate_producer_id()
    assert caught.value.code is ErrorCode.COORDINATOR_NOT_AVAILABLE
    store_of(driver).unavailable = False
    assert await driver.allocate_producer_id() == producer_ids.BLOCK_SIZE


async def test_the_last_producer_id_is_the_last(open_driver: Open) -> None:
    driver = await open_driver()
    record = records.ProducerIdsRecord(next_producer_id=producer_ids.PRODUCER_ID_MAX)
    await driver._store.commit(Transaction(puts={records.PRODUCER_IDS: records.encode(record)}))
    with pytest.raises(KafkaError, match="no producer ids left"):
        await driver.allocate_producer_id()


# On the real store ---------------------------------------------------------------------------------------


async def test_topics_configs_and_ids_survive_a_restart_on_disk(tmp_path: Path) -> None:
    async def life(incarnation: str) -> ClusterDriver:
        driver = ClusterDriver(
            SqliteStore(tmp_path / "metadata.sqlite3"), BrokerConfig.from_environment({}), incarnation=incarnation
        )
        await driver.start()
        await driver.register()
        return driver

    driver = await life("first")
    await driver.create_topics([topic("a", 3, configs={"retention.ms": "5"}), topic("gone")])
    await driver.delete_topics([("gone", ZERO_TOPIC_ID)])
    before = driver.image
    await driver.stop()
    driver = await life("second")
    after = driver.image
    assert after.cluster_id == before.cluster_id
    assert list(after.topics_by_name) == ["a"]
    assert after.topics_by_name["a"].topic_id == before.topics_by_name["a"].topic_id
    assert after.topics_by_name["a"].configs == {"retention.ms": "5"}
    assert [p.leader_epoch for p in after.topics_by_name["a"].partitions] == [1, 1, 1]
    await driver.stop()


# Stopping in order ---------------------------------------------------------------------------------------


async def replicated(controller: ClusterDriver, leader: int, *others: int) -> None:
    """Topic ``shared``, whose replicas are all in sync, and ``alone`` on its leader."""
    await until(controller, lambda image: all(image.is_settled(broker_id) for broker_id in (leader, *others)))
    shared = NewTopic(name="shared", assignments=((0, (leader, *others)),))
    await controller.create_topics([shared, NewTopic(name="alone", assignments=((0, (leader,)),))])
    image = controller.image
    present = image.topics_by_name["shared"].partitions[0]
    proposal = IsrProposal(
        topic_id=image.topics_by_name["shared"].topic_id,
        partition=0,
        leader_epoch=present.leader_epoch,
        partition_epoch=present.partition_epoch,
        isr=[(broker_id, image.brokers[broker_id].epoch) for broker_id in (leader, *others)],
    )
    (outcome,) = await controller.alter_partitions(leader, image.brokers[leader].epoch, [proposal])
    assert outcome.error is ErrorCode.NONE


async def test_leadership_goes_back_to_the_preferred_leader_when_it_is_in_sync_again(open_driver: Open) -> None:
    first = await open_driver(1, leader_imbalance_check_interval_seconds=1)
    second = await open_driver(2)
    await replicated(first, 2, 1)
    await second.stop()
    image = await until(first, lambda image: image.topics_by_name["shared"].partitions[0].leader == 1)
    await open_driver(2, incarnation="again")
    image = await until(first, lambda image: image.is_settled(2))
    present = image.topics_by_name["shared"].partitions[0]
    assert (present.leader, present.isr) == (1, (1,))
    caught_up = IsrProposal(
        topic_id=image.topics_by_name["shared"].topic_id,
        partition=0,
        leader_epoch=present.leader_epoch,
        partition_epoch=present.partition_epoch,
        isr=[(broker_id, image.brokers[broker_id].epoch) for broker_id in (1, 2)],
    )
    await first.alter_partitions(1, image.brokers[1].epoch, [caught_up])
    image = await until(first, lambda image: image.topics_by_name["shared"].partitions[0].leader == 2)
    assert image.topics_by_name["shared"].partitions[0].cause == "preferred"


async def test_who_stops_hands_over_what_others_can_lead_and_the_controllership(open_driver: Open) -> None:
    first, second = await open_driver(1), await open_driver(2)
    await replicated(first, 1, 2)
    assert await first.hand_over(20) == 0
    assert first.image.controller_id != 1
    image = await until(second, lambda image: image.controller_id == 2)
    shared, alone = (image.topics_by_name[name].partitions[0] for name in ("shared", "alone"))
    assert (shared.leader, shared.isr, shared.cause) == (2, (2,), "controlled_shutdown")
    assert (alone.leader, alone.isr) == (1, (1,))
    assert image.controller_history[-1].cause == "controlled_shutdown"


async def test_the_only_broker_has_nobody_to_hand_over_to(open_driver: Open) -> None:
    driver = await open_driver(1)
    await driver.create_topics([topic("a")])
    assert await driver.hand_over(20) == 0
    assert driver.is_controller
    assert not driver.image.stopping


async def test_handing_over_ends_when_nobody_takes_it_in_time(open_driver: Open) -> None:
    first, second = await open_driver(1), await open_driver(2)
    await replicated(first, 2, 1)
    await until(second, lambda image: image.revision == first.image.revision)
    store_of(first).unavailable = True
    assert await second.hand_over(0.05) == 1
    store_of(first).unavailable = False


async def test_only_the_controller_decides_in_sync_sets(open_driver: Open) -> None:
    first, second = await open_driver(1), await open_driver(2)
    await until(second, lambda image: image.is_settled(2))
    with pytest.raises(KafkaError) as caught:
        await second.alter_partitions(1, first.broker_epoch, [])
    assert caught.value.code is ErrorCode.NOT_CONTROLLER
    with pytest.raises(KafkaError) as caught:
        await first.alter_partitions(2, second.broker_epoch - 1, [])
    assert caught.value.code is ErrorCode.STALE_BROKER_EPOCH
