"""Several brokers on one store, stopping, dying and changing things at random, and what must be true nevertheless."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any

import pytest

from broker.clock import ManualClock
from broker.cluster import driver as driver_module
from broker.cluster.config_changes import ConfigChange, ResourceChange
from broker.cluster.decision import NewPartitions, NewTopic
from broker.cluster.driver import ClusterDriver
from broker.cluster.image import ClusterImage, ImageDelta
from broker.cluster.isr_changes import IsrProposal
from broker.cluster.reassignment import Reassignment
from broker.config.broker import BrokerConfig
from broker.errors import KafkaError
from broker.types import ZERO_TOPIC_ID
from tests.metadata.memory import MemoryCluster, MemoryStore

BROKERS = (1, 2, 3)
STEPS = 60


class Checker:
    """Watches one broker's images. Epochs never go back, and one leader epoch never has two leaders."""

    def __init__(self, leaders: dict[tuple[bytes, int, int], int]) -> None:
        self._leaders = leaders

    def __call__(self, delta: ImageDelta) -> None:
        assert delta.new.revision >= delta.old.revision
        assert delta.new.controller_epoch >= delta.old.controller_epoch
        for topic in delta.new.topics_by_id.values():
            before = delta.old.topics_by_id.get(topic.topic_id)
            for index, partition in enumerate(topic.partitions):
                assert set(partition.isr) <= set(partition.replicas)
                assert (partition.leader in partition.isr) if partition.isr else (partition.leader == -1), partition
                assert partition.isr or partition.elr, "somebody has everything"
                assert set(partition.elr) <= set(partition.replicas) - set(partition.isr)
                assert partition.cause not in ("unclean", "last_known_leader")
                key = (topic.topic_id, index, partition.leader_epoch)
                assert self._leaders.setdefault(key, partition.leader) == partition.leader
                if before is not None and index < len(before.partitions):
                    assert partition.leader_epoch >= before.partitions[index].leader_epoch
                    assert partition.partition_epoch >= before.partitions[index].partition_epoch


class Simulation:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.clock = ManualClock()
        self.shared = MemoryCluster(clock=self.clock)
        self.running: dict[int, ClusterDriver] = {}
        self.lives = 0
        self.leaders: dict[tuple[bytes, int, int], int] = {}
        self.failures: list[BaseException] = []

    async def run(self) -> None:
        await self.boot(1)
        for _ in range(STEPS):
            await self.random.choice((self.admin, self.admin, self.admin, self.coming_and_going))()
            await asyncio.sleep(0)
        for broker_id in BROKERS:
            if broker_id not in self.running:
                await self.boot(broker_id)
        await self.settle()
        for driver in self.running.values():
            await driver.stop()

    async def boot(self, broker_id: int) -> None:
        self.lives += 1
        driver = ClusterDriver(
            MemoryStore(self.shared),
            BrokerConfig.from_environment({}, node_id=broker_id),
            incarnation=f"life-{self.lives}",
            clock=self.clock,
            random=Random(self.random.random()),
        )
        checker = Checker(self.leaders)

        def checked(delta: ImageDelta) -> None:
            try:
                checker(delta)
            except AssertionError as failure:
                self.failures.append(failure)

        driver.subscribe(checked)
        await driver.start()
        # Nobody else notices a dead broker while the heartbeats (real time) sleep, so the newcomer does it here.
        await driver._store.expire_sessions()
        await driver.register()
        self.running[broker_id] = driver

    async def coming_and_going(self) -> None:
        broker_id = self.random.choice(BROKERS)
        driver = self.running.get(broker_id)
        if driver is None:
            await self.boot(broker_id)
        elif len(self.running) > 1:
            del self.running[broker_id]
            if self.random.random() < 0.5:
                assert isinstance(driver._store, MemoryStore)
                driver._store.kill()
                await driver.stop()
                await next(iter(self.running.values()))._store.expire_sessions()
            else:
                await driver.stop()

    async def admin(self) -> None:
        random = self.random
        name = random.choice("abcd")
        driver = random.choice(list(self.running.values()))
        other = random.choice(list(self.running.values()))
        change = ConfigChange(name="retention.ms", value=str(random.randrange(9)))
        requests: list[Coroutine[Any, Any, object]] = [
            self.fetching(driver, name),
            driver.elect_leaders(None, unclean=False),
            other.reassign([self.move(name)]),
            driver.set_broker_state(random.choice(BROKERS), random.choice(("active", "draining"))),
            driver.create_topics(
                [NewTopic(name=name, partition_count=random.randrange(1, 5), replication_factor=random.randrange(1, 4))]
            ),
            driver.delete_topics([(name, ZERO_TOPIC_ID)]),
            driver.create_partitions([NewPartitions(name=name, total_count=random.randrange(1, 8))]),
            driver.alter_configs([ResourceChange(type=2, name=name, changes=(change,))]),
            other.create_topics([NewTopic(name=name)]),
        ]
        chosen = random.sample(requests, k=2)
        for request in requests:
            if request not in chosen:
                request.close()
        for outcome in await asyncio.gather(*chosen, return_exceptions=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, KafkaError):
                raise outcome

    def move(self, name: str) -> Reassignment:
        replicas = self.random.sample(BROKERS, k=self.random.randrange(1, 4))
        return Reassignment(topic=name, partition=0, replicas=self.random.choice((replicas, replicas, None)))

    async def fetching(self, driver: ClusterDriver, name: str) -> None:
        """Leaders propose what they do when followers catch up or fall behind."""
        image = driver.image
        topic = image.topics_by_name.get(name)
        leader = topic.partitions[0].leader if topic is not None else -1
        controller = self.running.get(image.controller_id)
        if topic is None or leader not in self.running or leader not in image.brokers or controller is None:
            return
        alive = [r for r in topic.partitions[0].replicas if r in image.brokers]
        isr = {leader, *self.random.sample(alive, k=self.random.randrange(len(alive) + 1))}
        proposal = IsrProposal(
            topic_id=topic.topic_id,
            partition=0,
            leader_epoch=topic.partitions[0].leader_epoch,
            partition_epoch=topic.partitions[0].partition_epoch,
            isr=[(r, image.brokers[r].epoch) for r in sorted(isr)],
        )
        await controller.alter_partitions(leader, image.brokers[leader].epoch, [proposal])

    async def settle(self) -> None:
        """Wait until every broker has the same image, in which every registration is settled."""
        async with asyncio.timeout(20):
            while not self._agreed():  # noqa: ASYNC110 - several drivers must agree; there is no one event for that
                await asyncio.sleep(0.001)
        image = next(iter(self.running.values())).image
        for topic in image.topics_by_id.values():
            for partition in topic.partitions:
                assert partition.leader in image.brokers, "all are back, so somebody may lead"

    def _agreed(self) -> bool:
        images: list[ClusterImage] = [driver.image for driver in self.running.values()]
        first = images[0]
        return (
            all(image == first for image in images)
            and first.revision == self.shared.revision
            and set(first.brokers) == set(BROKERS)
            and all(first.is_settled(broker_id) for broker_id in BROKERS)
            and first.controller_id in first.brokers
        )


@pytest.mark.parametrize("seed", range(12))
async def test_brokers_agree_and_epochs_never_go_back(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "APPLY_TIMEOUT_SECONDS", 10.0)
    simulation = Simulation(seed)
    await simulation.run()
    assert simulation.failures == []
