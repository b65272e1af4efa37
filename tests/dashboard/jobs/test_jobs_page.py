"""The Jobs page: what ran, what is wrong with it, and asking for it now."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from celery import current_app
from django.conf import settings
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone
from kombu.exceptions import OperationalError

from broker.jobs.health import JobsHealth, WorkFact
from broker.models import JobRun
from dashboard.jobs import status, views
from dashboard.live.store import MemoryStore
from dashboard.models import AuditEntry
from tests.dashboard.fakes import FakeGateway

pytestmark = pytest.mark.django_db
WELL = JobsHealth(
    worker_seen_seconds_ago=2.0,
    worker_missing=False,
    queue_error="",
    retention=(WorkFact(broker_id=1, succeeded_seconds_ago=5.0, error="", overdue=False),),
)


@pytest.fixture(autouse=True)
def facts(monkeypatch: pytest.MonkeyPatch, live_memory: MemoryStore) -> None:
    said(monkeypatch, WELL)


def said(monkeypatch: pytest.MonkeyPatch, health: JobsHealth) -> None:
    monkeypatch.setattr(status, "health", lambda watched_seconds: health)


@pytest.fixture
def operator(client: Client, django_user_model: Any) -> Client:
    """May start and cancel jobs; not staff."""
    user = django_user_model.objects.create_user("operator", password="a long enough password")
    user.user_permissions.set(Permission.objects.filter(codename__in=["add_jobrun", "change_jobrun"]))
    client.force_login(user)
    return client


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ids of the runs handed to the queue."""
    ids: list[int] = []

    class Task:
        delay = staticmethod(ids.append)

    monkeypatch.setattr("broker.tasks.run_retention", Task)
    return ids


def run(**values: Any) -> JobRun:
    defaults: dict[str, Any] = {"kind": JobRun.Kind.RETENTION, "broker_id": 1, "state": JobRun.State.SUCCEEDED}
    return JobRun.objects.create(**{**defaults, **values})


def page(client: Client, url: str = "/jobs/") -> str:
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


def shown(html: str, *runs: JobRun) -> list[bool]:
    return [f'id="job-{one.pk}"' in html for one in runs]


def test_it_takes_a_login(client: Client) -> None:
    assert client.get("/jobs/").headers["Location"].startswith("/login/")


def test_runs_are_told_in_words(viewer: Client) -> None:
    run(segments_deleted=3, bytes_freed=3 * 1024 * 1024, topic="orders", trigger="person", requested_by="käthe")
    run(state=JobRun.State.FAILED, error="broker 1 <cannot> be reached")
    run(state=JobRun.State.RUNNING, started_at=timezone.now(), progress_total=8, progress_done=2)
    html = page(viewer)
    for words in (
        "Retention of orders",
        "käthe",
        "3 MiB",
        "failed",
        "broker 1 &lt;cannot&gt; be reached",
        "running",
        "2 of 8",
    ):
        assert words in html
    assert "RUNNING" not in html
    assert 'title="Running"' in html


def test_the_filters_are_in_the_address(viewer: Client) -> None:
    failed = run(state=JobRun.State.FAILED, error="no leader")
    freeing = run(segments_deleted=1, topic="orders")
    by_person = run(trigger=JobRun.Trigger.PERSON, requested_by="käthe", broker_id=2)
    everything = (failed, freeing, by_person)
    assert shown(page(viewer), *everything) == [True, True, True]
    assert shown(page(viewer, "/jobs/?state=failed"), *everything) == [True, False, False]
    assert shown(page(viewer, "/jobs/?effect=1"), *everything) == [False, True, False]
    assert shown(page(viewer, "/jobs/?trigger=person"), *everything) == [False, False, True]
    assert shown(page(viewer, "/jobs/?broker=2"), *everything) == [False, False, True]
    assert shown(page(viewer, "/jobs/?q=leader"), *everything) == [True, False, False]
    assert "No run matches." in page(viewer, "/jobs/?state=active")
    assert shown(page(viewer, "/jobs/?state=nonsense&page=x&broker=y"), *everything) == [True, True, True]


def test_fifty_are_on_a_page(viewer: Client) -> None:
    first = run(queued_at=timezone.now() - timedelta(hours=1))
    for _ in range(50):
        run()
    assert shown(page(viewer), first) == [False]
    assert shown(page(viewer, "/jobs/?page=2"), first) == [True]
    assert shown(page(viewer, "/jobs/?page=99"), first) == [True]


def test_the_poll_answers_with_the_part_that_moves_and_nothing_else(viewer: Client) -> None:
    run()
    part = viewer.get("/jobs/", headers={"X-Ottla-Poll": "1"})
    assert part.content.decode().lstrip().startswith('<div id="jobs-part"')
    assert part.content.decode().strip() in page(viewer).replace("\r", "") or b"<html" not in part.content
    assert part.headers["Vary"] == "X-Ottla-Poll, Cookie"


@pytest.mark.parametrize(
    ("health", "words"),
    [
        ({"worker_missing": True, "worker_seen_seconds_ago": 90.0}, "No worker seen"),
        ({"queue_error": "connection refused"}, "The job queue does not answer."),
        (
            {"retention": (WorkFact(broker_id=2, succeeded_seconds_ago=300.0, error="disk", overdue=True),)},
            "Retention on broker 2 is overdue",
        ),
    ],
)
def test_what_is_wrong_with_background_work_is_said(
    viewer: Client, monkeypatch: pytest.MonkeyPatch, health: dict[str, Any], words: str
) -> None:
    values = {name: getattr(WELL, name) for name in WELL.__dataclass_fields__}
    said(monkeypatch, JobsHealth(**{**values, **health}))
    assert words in page(viewer)


def test_the_next_round_is_due_an_interval_after_the_last(viewer: Client) -> None:
    assert "not scheduled yet" in page(viewer)
    run(queued_at=timezone.now() - timedelta(seconds=10))
    html = page(viewer)
    assert "in 19 s" in html or "in 20 s" in html
    JobRun.objects.update(queued_at=timezone.now() - timedelta(minutes=5))
    assert "late: is beat running?" in page(viewer)


def test_retention_is_asked_for_with_a_trace(
    operator: Client, sent: list[int], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        response = operator.post("/jobs/retention/")
    queued = JobRun.objects.get()
    assert (queued.state, queued.trigger, queued.requested_by, queued.topic) == ("queued", "person", "operator", "")
    assert sent == [queued.pk]
    assert response.headers["Location"] == f"/jobs/{queued.pk}/"
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.subject, entry.after) == ("run retention", "all topics", {"runs": [queued.pk]})


def test_every_thread_of_the_web_process_sends_to_our_queue() -> None:
    with ThreadPoolExecutor(1) as other_thread:
        app = other_thread.submit(current_app._get_current_object).result()
    assert (app.main, app.conf.broker_url) == ("ottla", settings.CELERY_BROKER_URL)


def test_one_topic_only_and_it_has_to_exist(operator: Client, sent: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "gateway", FakeGateway)
    operator.post("/jobs/retention/", {"topic": "orders"})
    assert JobRun.objects.get().topic == "orders"
    response = operator.post("/jobs/retention/", {"topic": "no-such-topic"}, follow=True)
    assert "There is no topic called no-such-topic." in response.content.decode()
    operator.post("/jobs/retention/", {"broker": "99"})
    assert JobRun.objects.count() == 1
    assert AuditEntry.objects.filter(outcome="refused").count() == 2


def test_a_queue_that_is_away_is_said_and_leaves_nothing_waiting(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> list[JobRun]:
        raise OperationalError("connection refused")

    monkeypatch.setattr(views, "request_retention", refuse)
    response = operator.post("/jobs/retention/", follow=True)
    assert "The job queue does not take it" in response.content.decode()
    assert not JobRun.objects.filter(state="queued").exists()


def test_a_waiting_run_is_cancelled_at_once_and_a_running_one_after_its_step(operator: Client) -> None:
    waiting = run(state=JobRun.State.QUEUED)
    running = run(state=JobRun.State.RUNNING, broker_id=2)
    ended = run()
    for one in (waiting, running, ended):
        operator.post(f"/jobs/{one.pk}/cancel/")
        one.refresh_from_db()
    assert waiting.state == JobRun.State.CANCELLED
    assert (running.state, running.cancel_requested) == (JobRun.State.RUNNING, True)
    assert ended.state == JobRun.State.SUCCEEDED
    assert "stopping" in page(operator)
    assert list(AuditEntry.objects.order_by("pk").values_list("outcome", flat=True)) == ["done", "done", "refused"]


def test_who_may_not_is_refused_and_sees_no_button(viewer: Client, sent: list[int]) -> None:
    waiting = run(state=JobRun.State.QUEUED)
    assert viewer.post("/jobs/retention/").status_code == 403
    assert viewer.post(f"/jobs/{waiting.pk}/cancel/").status_code == 403
    assert "/cancel/" not in page(viewer)
    assert 'aria-disabled="true"' in page(viewer)
    assert JobRun.objects.get().state == JobRun.State.QUEUED


def test_changes_take_a_post_of_this_site(operator: Client) -> None:
    waiting = run(state=JobRun.State.QUEUED)
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    for url in ("/jobs/retention/", f"/jobs/{waiting.pk}/cancel/"):
        assert operator.get(url).status_code == 405
        assert strict.post(url).status_code == 403


def test_a_run_tells_what_it_deleted_and_what_was_refused(viewer: Client) -> None:
    deleted = {
        "topic": "orders",
        "partition": 0,
        "reason": "older than 7 d",
        "segments": 2,
        "bytes": 2048,
        "log_start_offset": 40,
    }
    one = run(
        segments_deleted=2,
        bytes_freed=2048,
        detail={
            "planned": 2,
            "deleted": {"count": 1, "rows": [deleted]},
            "refused": {"count": 1, "rows": [{"topic": "clicks", "partition": 3, "why": "it is the active segment"}]},
        },
    )
    html = page(viewer, f"/jobs/{one.pk}/")
    for words in ("older than 7 d", "2 KiB", "it is the active segment", "Refused by the broker"):
        assert words in html
    assert "data-poll-part" not in html, "a run that has ended does not change any more"
    assert viewer.get(f"/jobs/{one.pk + 1}/").status_code == 404
    assert viewer.get(f"/jobs/{10**25}/").status_code == 404


# Compaction ------------------------------------------------------------------------------------------

COMPACTED = {
    "planned": 1,
    "compacted": {
        "count": 1,
        "rows": [
            {
                "topic": "accounts",
                "partition": 3,
                "reason": "min.cleanable.dirty.ratio",
                "segments": 4,
                "segments_written": 1,
                "bytes_before": 4 * 1024 * 1024,
                "bytes_after": 1024 * 1024,
                "records_read": 4_000,
                "records_kept": 900,
            }
        ],
    },
    "refused": {"count": 1, "rows": [{"topic": "orders", "partition": 0, "why": "the log was truncated"}]},
}


def test_a_compaction_is_told_in_words(viewer: Client) -> None:
    one = run(
        kind=JobRun.Kind.COMPACTION,
        segments_deleted=4,
        bytes_freed=3 * 1024 * 1024,
        detail=COMPACTED,
        progress_done=40,
        progress_total=100,
    )
    assert "Compaction" in page(viewer)
    html = page(viewer, f"/jobs/{one.pk}/")
    for words in ("accounts", "4 → 1", "4 MiB", "1 MiB", "900 of 4,000", "4 segments replaced", "40 %"):
        assert words in html, words
    assert "the log was truncated" in html
    assert "nothing is lost" in html


def test_a_broker_that_does_not_compact_is_said_on_the_page_of_the_run(viewer: Client) -> None:
    one = run(kind=JobRun.Kind.COMPACTION, detail={"idle_reason": "log.cleaner.enable is false on this broker."})
    assert "log.cleaner.enable is false" in page(viewer, f"/jobs/{one.pk}/")


def test_compaction_can_be_asked_for_and_goes_to_the_queue_of_its_broker(
    operator: Client, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    sent: list[tuple[tuple[int, ...], str]] = []

    class Task:
        @staticmethod
        def apply_async(arguments: tuple[int, ...], *, queue: str) -> None:
            sent.append((arguments, queue))

    monkeypatch.setattr("broker.tasks.run_compaction", Task)
    with django_capture_on_commit_callbacks(execute=True):
        answer = operator.post("/jobs/compaction/", {})
    job = JobRun.objects.get(kind=JobRun.Kind.COMPACTION)
    assert (job.trigger, job.requested_by) == ("person", "operator")
    assert sent == [((job.pk,), f"maintenance.{job.broker_id}")]
    assert answer.headers["Location"] == f"/jobs/{job.pk}/"


def test_who_may_not_start_jobs_may_not_compact(viewer: Client) -> None:
    assert viewer.post("/jobs/compaction/", {}).status_code == 403


def test_overdue_compaction_is_the_verdict(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    overdue = WorkFact(broker_id=1, succeeded_seconds_ago=900.0, error="There is no log directory.", overdue=True)
    said(monkeypatch, replace(WELL, compaction=(overdue,)))
    html = page(viewer)
    assert "Compaction is overdue on broker 1." in html
    assert "There is no log directory." in html
