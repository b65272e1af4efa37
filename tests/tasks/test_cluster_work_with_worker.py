"""Work on the whole cluster by real workers on three supervised brokers, under a producer, and with workers that are killed."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message, Producer
from django.conf import settings
from django.utils import timezone
from kombu import Connection
from pytest_django import DjangoDbBlocker

from broker.client.blocking import Client
from broker.jobs import runs
from broker.jobs.cluster_facts import out_of_sync, placed
from broker.jobs.replication_throttle import FOLLOWING, LEADING, RATES
from broker.models import JobRun
from broker.types import TopicPartition
from dashboard.project.celery import app
from dashboard.project.settings import celery_url
from tests.support.redis_process import RedisProcess
from tests.support.supervised_cluster import SupervisedCluster
from tests.support.wait import wait_until
from tests.support.worker_process import WorkerProcess
from tests.tasks.installation import DATABASE, worker_database

pytestmark = pytest.mark.timeout(240)

SOON = 120.0
"""For a few seconds of work on a machine with other work."""
QUICK = {"OTTLA_BROKER_SESSION_TIMEOUT_MS": "4000", "OTTLA_BROKER_HEARTBEAT_INTERVAL_MS": "500"}
ALL = {1, 2, 3}


class Cluster:
    """Brokers, supervisor, Redis, database and worker that belong together, and what a test does with them."""

    def __init__(self, brokers: SupervisedCluster, server: RedisProcess) -> None:
        self.brokers = brokers
        self.worker = WorkerProcess({**brokers.environment, "OTTLA_REDIS_URL": server.url})
        self.client = Client(brokers.bootstrap)
        self.topics: list[str] = []
        self._queue = Connection(celery_url(server.url), transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS)

    def begin(self, kind: str, **detail: object) -> JobRun:
        job = JobRun.objects.using(DATABASE).create(
            kind=kind, trigger=JobRun.Trigger.PERSON, requested_by="operator", detail=detail
        )
        self.send(f"{kind}_run", job.pk)
        return job

    def send(self, task: str, *arguments: int) -> None:
        app.send_task(task, args=arguments, connection=self._queue)

    def row(self, job: JobRun) -> JobRun:
        return JobRun.objects.using(DATABASE).get(pk=job.pk)

    def change(self, job: JobRun, **values: object) -> None:
        JobRun.objects.using(DATABASE).filter(pk=job.pk).update(**values)

    def finished(self, job: JobRun) -> JobRun:
        wait_until(
            lambda: self.row(job).is_finished, f"{job} finishes; worker says:\n{self.worker.output}", seconds=SOON
        )
        return self.row(job)

    def lose_worker(self, job: JobRun) -> None:
        """kill -9 in the middle; then time passes, and the schedule of another worker finds the run."""
        self.worker.kill()
        assert self.row(job).state == "running"
        self.change(job, seen_at=timezone.now() - timedelta(seconds=runs.TURN_SILENT_SECONDS_MAX + 1))
        self.change(job, queued_at=timezone.now() - timedelta(hours=1))
        self.worker.start()
        self.send("broker.retention")

    def topic(self, partitions: int = 6, *, replicas: int = 3, **configs: str) -> str:
        name = f"work-{uuid.uuid4().hex[:8]}"
        self.client.create_topic(
            name, partitions, replicas, {key.replace("_", "."): one for key, one in configs.items()}
        )
        self.topics.append(name)
        return name

    def wait_whole(self) -> None:
        wait_until(lambda: not out_of_sync(self.client.metadata()), "everything is in sync", seconds=SOON)

    def close(self) -> None:
        self.worker.stop()
        self.client.close()
        self._queue.release()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker) -> Iterator[Cluster]:
    home = tmp_path_factory.mktemp("work") / "home"
    with (
        SupervisedCluster(home, **QUICK) as brokers,
        RedisProcess() as server,
        django_db_blocker.unblock(),
        worker_database(home),
    ):
        cluster = Cluster(brokers, server)
        cluster.worker.start()
        yield cluster
        cluster.close()


@pytest.fixture
def cluster(made: Cluster, django_db_blocker: DjangoDbBlocker) -> Iterator[Cluster]:
    with django_db_blocker.unblock():
        made.wait_whole()
        yield made
        for topic in made.topics:  # one with a single copy would stop the next rolling restart
            made.client.delete_topic(topic)
        made.topics.clear()


class Sending:
    """A producer with acks=all that goes on until it is told to stop, and what became of its records."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.acknowledged = 0
        self.failed: list[KafkaError] = []
        given = {"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 5, "message.timeout.ms": 30_000}
        self._producer = Producer(given)
        self._topic = topic
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def _send(self) -> None:
        while not self._stopped.wait(0.005):
            self._producer.produce(self._topic, b"record", on_delivery=self._delivered)
            self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.acknowledged += 1
        else:
            self.failed.append(error)

    def __enter__(self) -> Sending:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()
        assert self._producer.flush(30) == 0


@contextmanager
def watched(brokers: SupervisedCluster) -> Iterator[list[set[int]]]:
    """Which brokers did not listen, as often as somebody could look."""
    missing: list[set[int]] = []
    stopped = threading.Event()

    def listens(broker: int) -> bool:
        try:
            socket.create_connection(("127.0.0.1", brokers.port(broker)), timeout=5).close()
        except OSError:
            return False
        return True

    def look() -> None:
        while not stopped.wait(0.02):
            missing.append({broker for broker in brokers.ids if not listens(broker)})

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield missing
    finally:
        stopped.set()
        thread.join()


def phases(job: JobRun) -> dict[int, str]:
    return {step["broker"]: step["phase"] for step in job.detail.get("steps", [])}


def starts(brokers: SupervisedCluster) -> dict[int, int]:
    """How often the process of each broker was started."""
    logs = {broker: brokers.home / "logs" / f"broker-{broker}.log" for broker in brokers.ids}
    return {broker: log.read_text().count("started, pid") for broker, log in logs.items()}


def leaders(client: Client, topic: str) -> list[tuple[int, int]]:
    return [(one.leader, one.replicas[0]) for key, one in placed(client.metadata()).items() if key.topic == topic]


# Rolling restart -----------------------------------------------------------------------------------


def test_all_are_restarted_one_at_a_time_and_no_send_fails(cluster: Cluster) -> None:
    topic = cluster.topic(min_insync_replicas="2")
    before = starts(cluster.brokers)
    with watched(cluster.brokers) as missing, Sending(cluster.brokers.bootstrap, topic) as sending:
        wait_until(lambda: sending.acknowledged, "the producer is under way")
        job = cluster.finished(cluster.begin(JobRun.Kind.ROLLING_RESTART))
    assert (job.state, job.error, set(phases(job).values())) == ("succeeded", "", {"done"})
    assert sending.failed == []
    assert max(map(len, missing)) == 1, "one broker is away at a time"
    assert set().union(*missing) == ALL
    assert starts(cluster.brokers) == {broker: count + 1 for broker, count in before.items()}
    assert all(leader == preferred for leader, preferred in leaders(cluster.client, topic))
    ends = cluster.client.list_offsets(topic, dict.fromkeys(range(6), -1))
    assert sum(end.offset for end in ends.values()) >= sending.acknowledged


def test_a_run_whose_worker_is_killed_goes_on_where_it_was(cluster: Cluster) -> None:
    before = starts(cluster.brokers)
    job = cluster.begin(JobRun.Kind.ROLLING_RESTART, brokers=[2, 3])
    wait_until(lambda: starts(cluster.brokers)[2] > before[2], "broker 2 is restarted", seconds=SOON)
    cluster.lose_worker(job)
    job = cluster.finished(job)
    assert (job.state, job.error, phases(job)) == ("succeeded", "", {2: "done", 3: "done"})
    assert starts(cluster.brokers) == {**before, 2: before[2] + 1, 3: before[3] + 1}


def test_it_stops_by_itself_while_a_broker_is_down(cluster: Cluster) -> None:
    cluster.topic()
    before = starts(cluster.brokers)
    cluster.brokers.stop_broker(3)
    try:
        job = cluster.finished(cluster.begin(JobRun.Kind.ROLLING_RESTART, brokers=[1, 2]))
        assert (job.state, phases(job)) == ("failed", {1: "waiting", 2: "waiting"})
        assert "(broker 3)" in job.error
        assert "not in sync. That did not change for 10 s." in job.error
        assert starts(cluster.brokers) == before
    finally:
        cluster.brokers.start_broker(3)


# Moves ---------------------------------------------------------------------------------------------


def filled(cluster: Cluster, partitions: int, batches: int, batch_bytes: int) -> tuple[str, list[list[Any]]]:
    """A topic with one replica of each partition, and a plan that gives every one to the next broker.

    A limit on copying lets some seconds' worth pass at once, and the first batch of a fetch whole.
    """
    topic = cluster.topic(partitions, replicas=1, min_insync_replicas="1")
    for number in range(partitions):
        for _ in range(batches):
            cluster.client.produce(topic, None, b"x" * batch_bytes, partition=number)
    placement = {
        key.partition: one.replicas for key, one in placed(cluster.client.metadata()).items() if key.topic == topic
    }
    return topic, [[topic, number, list(had), [had[0] % 3 + 1]] for number, had in sorted(placement.items())]


def replicas(client: Client, topic: str) -> list[list[int]]:
    found = {key.partition: list(one.replicas) for key, one in placed(client.metadata()).items() if key.topic == topic}
    return [found[number] for number in sorted(found)]


def throttled(client: Client, topic: str) -> set[str]:
    of_topic = {one.name for one in client.describe_topic_configs(topic) if one.source == "DYNAMIC_TOPIC_CONFIG"}
    of_brokers = {
        one.name
        for broker in sorted(ALL)
        for one in client.describe_broker_configs(broker)
        if one.source == "DYNAMIC_BROKER_CONFIG"
    }
    return (of_topic & {LEADING, FOLLOWING}) | (of_brokers & set(RATES))


def test_moves_go_on_without_their_worker_and_the_next_one_finishes_them(cluster: Cluster) -> None:
    topic, plan = filled(cluster, 24, 4, 50_000)
    job = cluster.begin(JobRun.Kind.REBALANCE, plan=plan, throttle=400_000)
    wait_until(lambda: cluster.client.reassignments(), "moves are under way", seconds=SOON)
    under_way = set(cluster.client.reassignments())
    cluster.worker.kill()
    assert throttled(cluster.client, topic) == {LEADING, FOLLOWING, *RATES}
    wait_until(lambda: set(cluster.client.reassignments()) < under_way, "a move is completed without it", seconds=SOON)
    cluster.lose_worker(job)
    job = cluster.finished(job)
    assert (job.state, job.error, job.progress_done) == ("succeeded", "", 24)
    assert replicas(cluster.client, topic) == [after for _, _, _, after in plan]
    assert throttled(cluster.client, topic) == set(), "the limit is taken away with the last move"
    for number in range(24):
        assert len(cluster.client.fetch(topic, number, 0).records) == 4


def test_a_paused_run_lets_its_moves_go_on_and_begins_no_others(cluster: Cluster) -> None:
    topic, plan = filled(cluster, 24, 4, 50_000)
    job = cluster.begin(JobRun.Kind.REBALANCE, plan=plan, throttle=800_000)
    wait_until(lambda: cluster.client.reassignments(), "moves are under way", seconds=SOON)
    cluster.change(job, pause_requested=True)
    wait_until(lambda: cluster.row(job).detail.get("idle_reason"), "it says that it is paused", seconds=SOON)
    wait_until(lambda: not cluster.client.reassignments(), "what was on its way has arrived", seconds=SOON)
    moved = [after for (_, _, _, after), now in zip(plan, replicas(cluster.client, topic), strict=True) if now == after]
    assert 0 < len(moved) < 24
    seen_at = cluster.row(job).seen_at
    wait_until(lambda: cluster.row(job).seen_at > seen_at, "its worker looks again")
    assert cluster.client.reassignments() == {}
    cluster.change(job, pause_requested=False)
    assert cluster.finished(job).state == "succeeded"
    assert replicas(cluster.client, topic) == [after for _, _, _, after in plan]
    assert throttled(cluster.client, topic) == set()


def test_cancelled_moves_are_taken_back_and_so_is_their_limit(cluster: Cluster) -> None:
    topic, plan = filled(cluster, 6, 5, 900_000)
    job = cluster.begin(JobRun.Kind.REBALANCE, plan=plan, throttle=50_000)
    wait_until(lambda: len(cluster.client.reassignments()) == 6, "moves are under way", seconds=SOON)
    cluster.change(job, cancel_requested=True)
    assert cluster.finished(job).state == "cancelled"
    assert (cluster.client.reassignments(), throttled(cluster.client, topic)) == ({}, set())
    assert {key: one.replicas for key, one in placed(cluster.client.metadata()).items() if key.topic == topic} == {
        TopicPartition(topic, number): tuple(before) for _, number, before, _ in plan
    }
