"""The page of a run that changes the whole cluster: how far it is, and pausing it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from broker.models import JobRun
from broker.rebalancing.rolling import Phase, Step
from dashboard.jobs.restart_rows import restart_rows
from dashboard.models import AuditEntry
from tests.dashboard.browsing import read, text

pytestmark = pytest.mark.django_db

BEGAN_MS = 1_800_000_000_000
STEPS = [
    Step(broker=2, phase=Phase.DONE, began_ms=BEGAN_MS, ended_ms=BEGAN_MS + 12_300),
    Step(broker=3, phase=Phase.RETURNING, began_ms=BEGAN_MS, says="orders-0 (broker 3) is not in sync."),
    Step(broker=1),
]


@pytest.fixture
def operator(client: Client, django_user_model: Any) -> Client:
    user = django_user_model.objects.create_user("operator", password="a long enough password")
    user.user_permissions.set(Permission.objects.filter(codename="change_jobrun"))
    client.force_login(user)
    return client


def run(kind: str = JobRun.Kind.ROLLING_RESTART, **values: Any) -> JobRun:
    rows = {"brokers": [step.broker for step in STEPS], "steps": [step.as_row() for step in STEPS]}
    known = {"state": JobRun.State.RUNNING, "started_at": timezone.now(), "detail": rows}
    return JobRun.objects.create(kind=kind, trigger=JobRun.Trigger.PERSON, **{**known, **values})


def told(job: JobRun) -> list[tuple[int, str, str, float | None]]:
    return [(row.broker, row.level, row.word, row.seconds) for row in restart_rows(job)]


def test_every_broker_says_how_far_it_is(viewer: Client) -> None:
    job = run(progress_done=1, progress_total=3)
    assert told(job) == [
        (2, "good", "restarted", 12.3),
        (3, "run", "coming back into sync", None),
        (1, "idle", "waiting", None),
    ]
    body = read(viewer, f"/jobs/{job.pk}/")
    assert "orders-0 (broker 3) is not in sync." in body
    assert "1 of 3" in body
    assert "data-poll-part" in body
    assert "Freed" not in text(body)


@pytest.mark.parametrize(
    ("state", "present", "rest"),
    [("failed", "stopped here", "not restarted"), ("cancelled", "taken back", "not restarted")],
)
def test_a_run_that_ended_early_says_where(state: str, present: str, rest: str) -> None:
    job = run(state=state, finished_at=timezone.now())
    assert [word for _, _, word, _ in told(job)] == ["restarted", present, rest]


def test_a_run_that_is_cancelled_between_brokers_leaves_the_others_alone() -> None:
    between = [STEPS[0].as_row(), Step(broker=3).as_row()]
    job = run(state=JobRun.State.CANCELLED, detail={"steps": between})
    assert [word for _, _, word, _ in told(job)] == ["restarted", "not restarted"]


def test_runs_of_other_kinds_have_no_such_rows() -> None:
    assert restart_rows(run(kind=JobRun.Kind.REBALANCE)) == []


def test_it_is_paused_and_goes_on_by_a_button_with_a_trace(operator: Client) -> None:
    job = run(kind=JobRun.Kind.REBALANCE, detail={"plan": []})
    url = f"/jobs/{job.pk}/"
    assert 'name="paused" value="1"' in read(operator, url)
    body = text(operator.post(f"{url}pause/", {"paused": "1"}, follow=True).content.decode())
    assert f"Run {job.pk} begins nothing new; what is on its way goes on." in body
    job.refresh_from_db()
    assert job.pause_requested
    assert 'name="paused" value="0"' in read(operator, url)
    operator.post(f"{url}pause/", {"paused": "0"})
    job.refresh_from_db()
    assert not job.pause_requested
    assert list(AuditEntry.objects.order_by("pk").values_list("action", "outcome")) == [
        ("pause job", "done"),
        ("resume job", "done"),
    ]


def test_what_has_ended_or_is_short_is_not_paused(operator: Client) -> None:
    ended = run(state=JobRun.State.SUCCEEDED)
    short = run(kind=JobRun.Kind.RETENTION, broker_id=1, detail={})
    for job in (ended, short):
        assert "/pause/" not in read(operator, f"/jobs/{job.pk}/")
        operator.post(f"/jobs/{job.pk}/pause/", {"paused": "1"})
        job.refresh_from_db()
        assert not job.pause_requested
    assert set(AuditEntry.objects.values_list("outcome", flat=True)) == {"refused"}


def test_who_may_not_pause_sees_no_button(viewer: Client) -> None:
    job = run(kind=JobRun.Kind.REBALANCE, detail={})
    assert "/pause/" not in read(viewer, f"/jobs/{job.pk}/")
    assert viewer.post(f"/jobs/{job.pk}/pause/", {"paused": "1"}).status_code == 403
