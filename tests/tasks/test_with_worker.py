"""Retention by a real worker, through a real Redis, on a real broker: twice, late, stale, alone and killed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.db.models import QuerySet
from django.utils import timezone
from kombu import Connection
from pytest_django import DjangoDbBlocker

from broker.client.blocking import Client
from broker.jobs import heartbeat, runs
from broker.models import JobRun
from broker.protocol.api import ApiKey
from dashboard.project.celery import app
from dashboard.project.settings import celery_url
from tests.support.broker_process import BrokerProcess
from tests.support.holding_proxy import HoldingProxy
from tests.support.redis_process import RedisProcess
from tests.support.wait import wait_until
from tests.support.worker_process import WorkerProcess

DATABASE = "worker"
OLD_MS = 1_000


class Installation:
    """Broker, Redis, database and worker that belong together, and what a test does with them."""

    def __init__(self, home: Path, broker: BrokerProcess, server: RedisProcess) -> None:
        self.broker = broker
        self.server = server
        self.environment = {
            "OTTLA_HOME": str(home),
            "OTTLA_KAFKA": broker.bootstrap,
            "OTTLA_REDIS_URL": server.url,
        }
        self.worker = WorkerProcess(self.environment)
        self.client = Client(broker.bootstrap)
        self._queue = Connection(celery_url(server.url), transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS)

    @property
    def jobs(self) -> QuerySet[JobRun]:
        return JobRun.objects.using(DATABASE)

    def queue(self, *, topic: str = "", queued_at: datetime | None = None) -> JobRun:
        return self.jobs.create(
            kind=JobRun.Kind.RETENTION,
            broker_id=1,
            topic=topic,
            trigger=JobRun.Trigger.PERSON,
            queued_at=queued_at or timezone.now(),
        )

    def send(self, task: str, *arguments: int, **options: Any) -> None:
        app.send_task(task, args=arguments, connection=self._queue, **options)

    def run(self, job: JobRun) -> JobRun:
        self.send("broker.retention_run", job.pk)
        return self.finished(job)

    def finished(self, job: JobRun) -> JobRun:
        wait_until(lambda: self.jobs.get(pk=job.pk).is_finished, f"{job} finishes; worker says:\n{self.worker.output}")
        return self.jobs.get(pk=job.pk)

    def topic_with_old_records(self, *, partitions: int = 3, **configs: str) -> str:
        """One expired record in every partition."""
        name = f"old-{uuid.uuid4().hex[:8]}"
        self.client.create_topic(name, partitions, 1, {"retention.ms": "3600000", **configs})
        for partition in range(partitions):
            self.client.produce(name, b"key", b"old", partition=partition, timestamp_ms=OLD_MS)
        return name

    def log_starts(self, topic: str, partitions: int = 3) -> list[int]:
        found = self.client.list_offsets(topic, dict.fromkeys(range(partitions), -2))
        return [found[partition].offset for partition in range(partitions)]

    def close(self) -> None:
        self.worker.stop()
        self.client.close()
        self._queue.release()


@pytest.fixture(scope="module")
def installation(
    tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker
) -> Iterator[Installation]:
    home = tmp_path_factory.mktemp("jobs")
    database = {**connections.settings["default"], "NAME": str(home / "db.sqlite3")}
    with BrokerProcess(home) as broker, RedisProcess() as server, django_db_blocker.unblock():
        connections.settings[DATABASE] = database
        call_command("migrate", database=DATABASE, verbosity=0)
        made = Installation(home, broker, server)
        made.worker.start()
        yield made
        made.close()
        connections[DATABASE].close()
        del connections.settings[DATABASE]


@pytest.fixture(autouse=True)
def database_access(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


def test_the_schedule_deletes_what_is_old_and_leaves_a_row(installation: Installation) -> None:
    topic = installation.topic_with_old_records()
    before = set(installation.jobs.values_list("pk", flat=True))
    installation.send("broker.retention")
    job = wait_until(
        lambda: installation.jobs.exclude(pk__in=before).filter(state__in=JobRun.FINISHED).first(), "a run finishes"
    )
    assert (job.state, job.error, job.trigger, job.broker_id) == ("succeeded", "", "beat", 1)
    assert installation.log_starts(topic) == [1, 1, 1]
    assert job.segments_deleted >= 3
    assert {row["topic"] for row in job.detail["deleted"]["rows"]} >= {topic}


def test_a_request_for_one_topic_touches_no_other(installation: Installation) -> None:
    wanted, other = installation.topic_with_old_records(), installation.topic_with_old_records()
    job = installation.run(installation.queue(topic=wanted))
    assert (job.state, job.segments_deleted, job.progress_done) == ("succeeded", 3, 3)
    assert installation.log_starts(wanted) == [1, 1, 1]
    assert installation.log_starts(other) == [0, 0, 0]
    installation.client.delete_topic(other)


def test_two_runs_at_once_and_one_message_twice_delete_everything_once(installation: Installation) -> None:
    topic = installation.topic_with_old_records()
    first, second = installation.queue(topic=topic), installation.queue(topic=topic)
    for job in (first, second, first, second):
        installation.send("broker.retention_run", job.pk)
    finished = [installation.finished(job) for job in (first, second)]
    assert {job.state for job in finished} <= {"succeeded", "cancelled"}
    assert sum(job.segments_deleted for job in finished) == 3
    assert installation.log_starts(topic) == [1, 1, 1]


def test_a_late_run_goes_by_the_configuration_of_now(installation: Installation) -> None:
    topic = installation.topic_with_old_records()
    job = installation.queue(topic=topic, queued_at=timezone.now() - timedelta(hours=8))
    installation.client.alter_topic_configs(topic, {"retention.ms": "-1"})
    job = installation.run(job)
    assert (job.state, job.segments_deleted, job.progress_total) == ("succeeded", 0, 0)
    assert installation.log_starts(topic) == [0, 0, 0]


def test_a_plan_that_goes_stale_on_its_way_deletes_only_what_is_still_due(installation: Installation) -> None:
    raised, gone, due = (installation.topic_with_old_records() for _ in range(3))
    job = installation.queue()
    installation.worker.stop()
    with HoldingProxy(installation.broker.internal_port, ApiKey.APPLY_RETENTION) as proxy:
        slow = {**installation.environment, "OTTLA_BOOTSTRAP_INTERNAL": proxy.address}
        with WorkerProcess(slow, concurrency=1):
            installation.send("broker.retention_run", job.pk)
            assert proxy.is_holding.wait(20)
            installation.client.alter_topic_configs(raised, {"retention.ms": "-1"})
            installation.client.delete_topic(gone)
            proxy.let_go()
            job = installation.finished(job)
    installation.worker.start()
    assert job.state == "succeeded"
    assert installation.log_starts(raised) == [0, 0, 0]
    assert installation.log_starts(due) == [1, 1, 1]
    assert {row["topic"] for row in job.detail["refused"]["rows"]} == {raised, gone}
    assert all("out of date" in row["why"] for row in job.detail["refused"]["rows"] if row["topic"] == raised)


def test_a_scheduled_message_that_comes_too_late_is_dropped(installation: Installation) -> None:
    before = installation.jobs.count()
    installation.send("broker.retention", expires=datetime.now(UTC) - timedelta(seconds=60))
    marker = installation.run(installation.queue(topic="no-such-topic"))
    assert marker.state == "succeeded"
    assert installation.jobs.count() == before + 1


def test_a_topic_deleted_in_between_is_no_error(installation: Installation) -> None:
    topic = installation.topic_with_old_records()
    job = installation.queue(topic=topic)
    installation.client.delete_topic(topic)
    assert (installation.run(job).state, installation.jobs.get(pk=job.pk).error) == ("succeeded", "")


def test_a_cancelled_run_does_nothing_when_its_message_arrives(installation: Installation) -> None:
    topic = installation.topic_with_old_records()
    job = installation.queue(topic=topic)
    installation.jobs.filter(pk=job.pk).update(state=JobRun.State.CANCELLED, cancel_requested=True)
    installation.send("broker.retention_run", job.pk)
    assert installation.run(installation.queue(topic="no-such-topic")).state == "succeeded"
    assert installation.log_starts(topic) == [0, 0, 0]
    installation.client.delete_topic(topic)


def test_young_records_and_other_policies_survive(installation: Installation) -> None:
    compacted = installation.topic_with_old_records(partitions=1, **{"cleanup.policy": "compact"})
    young = installation.topic_with_old_records(partitions=1, **{"retention.ms": "-1"})
    assert installation.run(installation.queue()).state == "succeeded"
    assert installation.log_starts(compacted, 1) == [0]
    assert installation.log_starts(young, 1) == [0]


def test_a_broker_that_is_down_fails_the_run_and_the_next_one_succeeds(installation: Installation) -> None:
    topic = installation.topic_with_old_records()
    installation.broker.kill()
    job = installation.run(installation.queue(topic=topic))
    assert job.state == "failed"
    assert "cannot connect" in job.error
    installation.broker.start()
    assert installation.run(installation.queue(topic=topic)).segments_deleted == 3
    assert installation.log_starts(topic) == [1, 1, 1]


def test_a_worker_killed_in_the_middle_does_not_block_its_broker(installation: Installation) -> None:
    topic = installation.topic_with_old_records()
    job = installation.queue(topic=topic)
    installation.broker.pause()
    try:
        installation.send("broker.retention_run", job.pk)
        wait_until(lambda: installation.jobs.get(pk=job.pk).state == "running", "the run starts")
        installation.worker.kill()
    finally:
        installation.broker.resume()
    assert installation.jobs.get(pk=job.pk).state == "running"
    long_ago = timezone.now() - timedelta(seconds=runs.RUN_SECONDS_MAX + 1)
    installation.jobs.filter(pk=job.pk).update(started_at=long_ago)
    installation.worker.start()
    assert installation.run(installation.queue(topic=topic)).segments_deleted == 3
    assert installation.finished(job).state == "failed"


def test_a_worker_says_that_it_is_alive(installation: Installation) -> None:
    with redis.Redis.from_url(installation.server.url, decode_responses=True) as client:
        name = wait_until(lambda: client.get(heartbeat.KEY), "a sign of life")
    assert "@" in name


def test_a_worker_goes_on_after_redis_was_gone(installation: Installation) -> None:
    topic = installation.topic_with_old_records()
    installation.server.stop()
    installation.server.start()
    assert installation.run(installation.queue(topic=topic)).segments_deleted == 3
    with redis.Redis.from_url(installation.server.url) as client:
        wait_until(lambda: client.exists(heartbeat.KEY), "the sign of life is back")
