"""Is anybody doing the background work? Asked of a real Redis and the database."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from django.utils import timezone
from pytest_django import Settings

from broker.jobs import heartbeat
from broker.jobs.health import OVERDUE_INTERVALS, WORKER_SILENT_SECONDS, health
from broker.models import JobRun
from tests.support.redis_process import RedisProcess

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def server() -> Iterator[RedisProcess]:
    with RedisProcess() as server:
        yield server


@pytest.fixture(autouse=True)
def configured(server: RedisProcess, settings: Settings) -> Iterator[None]:
    settings.REDIS_URL = server.url
    settings.OTTLA_BOOTSTRAP_INTERNAL = ["127.0.0.1:19092"]
    client = redis.Redis.from_url(server.url)
    client.flushall()
    yield
    client.close()
    heartbeat._connected(server.url).close()


def retention(state: str, age_seconds: float, *, broker_id: int = 1, error: str = "") -> None:
    JobRun.objects.create(
        kind=JobRun.Kind.RETENTION,
        broker_id=broker_id,
        state=state,
        finished_at=timezone.now() - timedelta(seconds=age_seconds),
        error=error,
    )


def last_seen(server: RedisProcess, age_seconds: float) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.set(heartbeat.KEY, "worker@here", px=int(heartbeat._KEPT_MS - age_seconds * 1_000))


def test_a_worker_that_just_spoke_is_there() -> None:
    heartbeat.beat("worker@here")
    found = health()
    assert found.worker_seen_seconds_ago is not None
    assert found.worker_seen_seconds_ago < 5
    assert not found.worker_missing
    assert found.queue_error == ""


def test_a_silent_worker_is_missing_and_the_age_is_known(server: RedisProcess) -> None:
    last_seen(server, WORKER_SILENT_SECONDS + 5)
    found = health()
    assert found.worker_missing
    assert found.worker_seen_seconds_ago == pytest.approx(WORKER_SILENT_SECONDS + 5, abs=3)


def test_a_worker_never_seen_is_missing_once_one_could_have_been_seen() -> None:
    assert health().worker_missing
    assert not health(watched_seconds=WORKER_SILENT_SECONDS - 1).worker_missing


def test_a_redis_that_is_away_is_said_and_counts_as_no_worker(settings: Settings) -> None:
    settings.REDIS_URL = "unix:///nowhere/redis.sock?db=0"
    found = health()
    assert found.worker_missing
    assert "nowhere" in found.queue_error
    heartbeat.beat("worker@here")


def test_retention_that_just_succeeded_is_not_overdue() -> None:
    retention(JobRun.State.SUCCEEDED, 3)
    (fact,) = health().retention
    assert not fact.overdue
    assert fact.succeeded_seconds_ago == pytest.approx(3, abs=2)
    assert health().retention_overdue == ()


def test_retention_without_a_recent_success_is_overdue_whatever_failed_since(settings: Settings) -> None:
    age = OVERDUE_INTERVALS * settings.RETENTION_INTERVAL_SECONDS + 10
    retention(JobRun.State.SUCCEEDED, age)
    retention(JobRun.State.FAILED, 1, error="cannot connect")
    (fact,) = health().retention_overdue
    assert fact.error == "cannot connect"
    assert fact.succeeded_seconds_ago == pytest.approx(age, abs=2)


def test_an_old_failure_is_no_news_after_a_success() -> None:
    retention(JobRun.State.FAILED, 60, error="cannot connect")
    retention(JobRun.State.SUCCEEDED, 3)
    assert health().retention[0].error == ""


def test_retention_that_never_ran_is_overdue_only_after_a_while() -> None:
    assert [fact.succeeded_seconds_ago for fact in health().retention_overdue] == [None]
    assert health(watched_seconds=5).retention_overdue == ()


def test_each_broker_is_looked_at_by_itself(settings: Settings) -> None:
    settings.OTTLA_BOOTSTRAP_INTERNAL = ["127.0.0.1:19092", "127.0.0.1:19093"]
    retention(JobRun.State.SUCCEEDED, 3, broker_id=2)
    assert [fact.broker_id for fact in health().retention_overdue] == [1]
