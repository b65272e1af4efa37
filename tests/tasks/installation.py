"""A broker, Redis, a database and a real worker that belong together, for tests of background work."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.db.models import QuerySet
from django.utils import timezone
from kombu import Connection
from pytest_django import DjangoDbBlocker

from broker.client.blocking import Client
from broker.models import JobRun
from broker.supervisor.queues import maintenance_queue
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
        self.proxy: HoldingProxy | None = None
        self.worker = WorkerProcess(self.environment)
        self.client = Client(broker.bootstrap)
        self._queue = Connection(celery_url(server.url), transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS)

    @property
    def jobs(self) -> QuerySet[JobRun]:
        return JobRun.objects.using(DATABASE)

    def queue(self, *, kind: str = JobRun.Kind.RETENTION, topic: str = "", queued_at: datetime | None = None) -> JobRun:
        return self.jobs.create(
            kind=kind,
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

    def compact(self, topic: str = "") -> JobRun:
        job = self.queue(kind=JobRun.Kind.COMPACTION, topic=topic)
        self.send_compaction(job)
        return self.finished(job)

    def send_compaction(self, job: JobRun) -> None:
        self.send("broker.compaction_run", job.pk, queue=maintenance_queue(1))

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


@contextmanager
def worker_database(home: Path) -> Iterator[None]:
    """The database of the workers with that home, as ``DATABASE``."""
    connections.settings[DATABASE] = {**connections.settings["default"], "NAME": str(home / "db.sqlite3")}
    call_command("migrate", database=DATABASE, verbosity=0)
    try:
        yield
    finally:
        connections[DATABASE].close()
        del connections[DATABASE]  # or the next installation would be handed this one's database
        del connections.settings[DATABASE]


@contextmanager
def installed(home: Path, blocker: DjangoDbBlocker, *, holding: int | None = None) -> Iterator[Installation]:
    """Everything started, the worker last. ``holding``: requests of the worker with that API key can be held back."""
    with BrokerProcess(home) as broker, RedisProcess() as server, blocker.unblock(), worker_database(home):
        made = Installation(home, broker, server)
        with HoldingProxy(broker.internal_port, -1 if holding is None else holding) as proxy:
            if holding is not None:
                proxy.let_go()
                made.proxy = proxy
                made.environment["OTTLA_BOOTSTRAP_INTERNAL"] = proxy.address
            made.worker.start()
            yield made
            made.close()
