"""Retention by a real worker, through a real Redis, on a real broker: twice, late, stale, alone and killed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import redis
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from broker.jobs import heartbeat, runs
from broker.models import JobRun
from broker.protocol.api import ApiKey
from tests.support.holding_proxy import HoldingProxy
from tests.support.wait import wait_until
from tests.support.worker_process import WorkerProcess
from tests.tasks.installation import Installation, installed


@pytest.fixture(scope="module")
def installation(
    tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker
) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("jobs"), django_db_blocker) as made:
        yield made


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
