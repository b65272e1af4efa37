"""Faults of whole brokers, each with its healing, as steps that stories are made of."""

from __future__ import annotations

import threading
import time
from random import Random

from broker.client.blocking import Client
from broker.client.errors import ClientConnectionError
from broker.errors import KafkaError
from tests.faults.clusters import SESSION_SECONDS
from tests.faults.stage import Stage
from tests.support.wait import wait_until

MOVE_SECONDS_MAX = SESSION_SECONDS + 2
"""From the death of a leader to the next one: the session's timeout and then some."""
MADE = "made-"
NO_LEADER = -1
PAUSE_SECONDS = 0.2


def kill_the_leader(stage: Stage, topic: str, partition: int = 0) -> None:
    cluster = stage.cluster
    victim = cluster.leader(topic, partition)
    with stage.fault(f"kill -9 of broker {victim}, leader of {topic}-{partition}"):
        cluster.kill(victim)
        assert_a_leader_follows(stage, topic, partition, victim)
        stage.wait_progress(20)
        cluster.start(victim)
    wait_in_sync(stage)


def hang_the_leader(stage: Stage, topic: str, partition: int = 0) -> None:
    """Beyond its session: when it goes on it believes to lead, and has to find out that it does not.

    Writers wait for it until their requests time out. That must not look like the end of a fault before this one.
    """
    cluster = stage.cluster
    stage.wait_progress(50)
    victim = cluster.leader(topic, partition)
    with stage.fault(f"SIGSTOP of broker {victim}, leader of {topic}-{partition}"):
        cluster.pause(victim)
        assert_a_leader_follows(stage, topic, partition, victim)
        stage.wait_progress(20)
        cluster.resume(victim)
    wait_in_sync(stage)


def restart_one_after_another(stage: Stage) -> list[float]:
    """In order: each hands over what it leads before it goes. How many seconds each took for that."""
    handovers = []
    for broker in sorted(stage.cluster.brokers):
        with stage.fault(f"restart of broker {broker}"):
            stage.cluster.brokers[broker].terminate()
            handovers.append(seconds_to_hand_over(stage, broker))
            assert stage.cluster.brokers[broker].wait_stopped(), f"broker {broker} did not stop in order"
            stage.cluster.start(broker)
        wait_in_sync(stage)
    return handovers


def seconds_to_hand_over(stage: Stage, stopping: int) -> float:
    """From SIGTERM until every other broker knows another leader for each partition that the stopping one led."""
    others = [broker for broker in stage.cluster.running if broker != stopping]
    began = time.monotonic()

    def led_by_others() -> bool:
        return all(
            partition.leader not in (stopping, NO_LEADER)
            for other in others
            for topic in stage.cluster.metadata(other).topics
            if topic.name in stage.topics
            for partition in topic.partitions
        )

    wait_until(led_by_others, f"others lead what broker {stopping} led")
    return time.monotonic() - began


def kill_all_at_once(stage: Stage, random: Random) -> None:
    brokers = list(stage.cluster.brokers)
    with stage.fault("kill -9 of every broker at once"):
        for broker in brokers:
            stage.cluster.kill(broker)
        random.shuffle(brokers)
        for broker in brokers:
            stage.cluster.brokers[broker].launch()
        for broker in brokers:
            stage.cluster.brokers[broker].wait_ready()
        stage.cluster.wait_brokers()
    wait_in_sync(stage)


def kill_the_controller(stage: Stage) -> None:
    victim = stage.cluster.controller()
    with stage.fault(f"kill -9 of broker {victim}, the controller"):
        stage.cluster.kill(victim)
        stage.cluster.wait_controller(other_than=victim)
        stage.wait_progress(20)
        stage.cluster.start(victim)
    wait_in_sync(stage)


def hang_the_controller(stage: Stage) -> None:
    victim = stage.cluster.controller()
    with stage.fault(f"SIGSTOP of broker {victim}, the controller"):
        stage.cluster.pause(victim)
        stage.cluster.wait_controller(other_than=victim)
        stage.cluster.resume(victim)
    wait_in_sync(stage)


def kill_the_coordinator(stage: Stage, key: str, *, transactional: bool = False) -> None:
    victim = stage.cluster.coordinator(key, transactional=transactional)
    with stage.fault(f"kill -9 of broker {victim}, coordinator of {key}"):
        stage.cluster.kill(victim)
        stage.cluster.wait_gone(victim)
        stage.wait_progress(20)
        stage.cluster.start(victim)
    wait_in_sync(stage)


def assert_a_leader_follows(stage: Stage, topic: str, partition: int, victim: int) -> None:
    began = time.monotonic()
    stage.cluster.wait_leader(topic, partition, other_than=victim)
    seconds = time.monotonic() - began
    assert seconds <= MOVE_SECONDS_MAX, f"{seconds:.1f} s without a leader"


def leader_epochs(stage: Stage, topic: str) -> list[int]:
    return [stage.cluster.partition(topic, index).leader_epoch for index in range(stage.topics[topic])]


def wait_in_sync(stage: Stage) -> None:
    for topic, partitions in stage.topics.items():
        for index in range(partitions):
            stage.cluster.wait_isr(topic, index, seconds=60)


class Administrator(threading.Thread):
    """Creates topics and deletes every other one, whatever fails. ``with Administrator(stage) as administrator: ...``"""

    def __init__(self, stage: Stage) -> None:
        super().__init__(daemon=True)
        self.acknowledged: set[str] = set()
        """Topics that must exist at the end."""
        self.refused = 0
        self._cluster = stage.cluster
        self._ended = threading.Event()

    def __enter__(self) -> Administrator:
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        number = 0
        with Client(self._cluster.bootstrap, request_timeout_seconds=5) as client:
            while not self._ended.wait(PAUSE_SECONDS):
                number += 1
                try:
                    self._make(client, f"{MADE}{number}", keep=number % 2 == 0)
                except (KafkaError, ClientConnectionError):
                    self.refused += 1

    def _make(self, client: Client, name: str, *, keep: bool) -> None:
        client.create_topic(name, 3, len(self._cluster.brokers))
        if keep:
            self.acknowledged.add(name)
        else:
            client.delete_topic(name)


def assert_all_agree(stage: Stage, expected: set[str]) -> None:
    """After quiescence: the same topics, leaders and in-sync sets from everybody, each topic whole, those acknowledged there."""

    def views() -> list[object]:
        seen = []
        for broker in stage.cluster.running:
            topics = stage.cluster.metadata(broker).topics
            seen.append(
                {
                    topic.name: sorted((p.partition, p.leader, p.leader_epoch, sorted(p.isr)) for p in topic.partitions)
                    for topic in topics
                }
            )
        return seen

    wait_until(
        lambda: len({repr(sorted(view.items())) for view in views()}) == 1, "all brokers say the same", seconds=30
    )  # type: ignore[attr-defined]
    view: dict[str, list[tuple[int, int, int, list[int]]]] = views()[0]  # type: ignore[assignment]
    assert expected <= view.keys(), f"acknowledged topics are gone: {expected - view.keys()}"
    for name, partitions in view.items():
        if name.startswith(MADE):
            assert [index for index, *_ in partitions] == [0, 1, 2], f"{name} is half a topic: {partitions}"
            assert all(leader > 0 for _, leader, *_ in partitions), f"{name} has no leader: {partitions}"
