"""The Jobs page: what background work was asked for, what became of it, and asking for it now.

Live by polling like the Services page: the rows are in the database, which the collector does not watch. One
template serves the page and the poll.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.shortcuts import render as render_partial
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

import dashboard.project.celery  # noqa: F401  (where tasks are sent: the web process has no other reason to load it)
from broker.jobs import brokers, runs
from broker.models import JobRun
from broker.tasks import request_compaction, request_retention
from dashboard.audit import record
from dashboard.gateway import GatewayError, gateway
from dashboard.jobs.runs_list import RunsList
from dashboard.jobs.status import read_status
from dashboard.pages.shell import Crumb, render

RUN_PERMISSION = "broker.add_jobrun"
CANCEL_PERMISSION = "broker.change_jobrun"
POLL_HEADER = "X-Ottla-Poll"


@require_safe
@login_required
def jobs(request: HttpRequest) -> HttpResponse:
    context = {
        "listing": RunsList(request.GET),
        "status": read_status(),
        "interval": settings.RETENTION_INTERVAL_SECONDS,
        **_permissions(request),
    }
    if POLL_HEADER in request.headers:
        return _part(request, "ottla/jobs/runs.html", context)
    context["brokers"] = sorted(brokers.internal_addresses())
    return render(request, "ottla/jobs/page.html", context, title="Jobs")


@require_safe
@login_required
def job(request: HttpRequest, number: int) -> HttpResponse:
    context = {"job": _find(number), **_permissions(request)}
    if POLL_HEADER in request.headers:
        return _part(request, "ottla/jobs/run.html", context)
    crumbs = [Crumb(title="Jobs", url=reverse("jobs")), Crumb(title=f"Run {number}")]
    return render(request, "ottla/jobs/job.html", context, title=f"Run {number}", crumbs=crumbs)


@require_POST
@login_required
def run_retention(request: HttpRequest) -> HttpResponse:
    """One run per broker, or for one topic or broker only."""
    return _run(request, "retention", request_retention)


@require_POST
@login_required
def run_compaction(request: HttpRequest) -> HttpResponse:
    """The same for compaction, on the brokers' own queues."""
    return _run(request, "compaction", request_compaction)


def _run(request: HttpRequest, work: str, ask: Callable[..., list[JobRun]]) -> HttpResponse:
    if not request.user.has_perm(RUN_PERMISSION):
        raise PermissionDenied("You may not start jobs.")
    topic = request.POST.get("topic", "").strip()
    broker = request.POST.get("broker", "")
    subject = topic or "all topics"
    refusal = _refusal(topic, broker)
    queued: list[JobRun] = []
    if not refusal:
        try:
            with transaction.atomic():
                queued = ask(request.user.get_username(), topic=topic, broker_id=int(broker) if broker else None)
        except (OperationalError, RedisError, OSError) as error:
            refusal = f"The job queue does not take it: {error}"
            for queued_run in queued:
                runs.cancel(queued_run.pk)
    if refusal:
        record(request, f"run {work}", subject, refused=refusal)
        messages.error(request, f"{work.capitalize()} was not started. {refusal}")
        return redirect("jobs")
    record(request, f"run {work}", subject, after={"runs": [one.pk for one in queued]})
    messages.success(request, f"{work.capitalize()} of {subject} is queued.")
    return redirect("job", queued[0].pk) if len(queued) == 1 else redirect("jobs")


@require_POST
@login_required
def cancel(request: HttpRequest, number: int) -> HttpResponse:
    if not request.user.has_perm(CANCEL_PERMISSION):
        raise PermissionDenied("You may not cancel jobs.")
    found = _find(number)
    before = {"state": found.state}
    if runs.cancel(found.pk):
        found.refresh_from_db()
        record(request, "cancel job", f"run {number}", before=before, after={"state": found.state})
        was_waiting = found.state == JobRun.State.CANCELLED
        messages.success(request, f"Run {number} {'is cancelled' if was_waiting else 'stops after its current step'}.")
    else:
        record(request, "cancel job", f"run {number}", before=before, refused="It had ended already.")
        messages.error(request, f"Run {number} had ended already.")
    return redirect("job", number)


@require_POST
@login_required
def pause(request: HttpRequest, number: int) -> HttpResponse:
    """A paused run begins nothing new until it is resumed; the form says which of the two."""
    if not request.user.has_perm(CANCEL_PERMISSION):
        raise PermissionDenied("You may not pause jobs.")
    found = _find(number)
    paused = request.POST.get("paused") == "1"
    action = "pause job" if paused else "resume job"
    if runs.set_paused(found.pk, paused):
        record(request, action, f"run {number}", before={"paused": found.pause_requested}, after={"paused": paused})
        what = "begins nothing new; what is on its way goes on" if paused else "goes on"
        messages.success(request, f"Run {number} {what}.")
    else:
        record(request, action, f"run {number}", refused="It had ended already.")
        messages.error(request, f"Run {number} had ended already, or cannot be paused.")
    return redirect("job", number)


def _refusal(topic: str, broker: str) -> str:
    """Why this cannot be asked for; empty when it can."""
    if broker and (not broker.isdecimal() or len(broker) > 9 or int(broker) not in brokers.internal_addresses()):
        return "There is no such broker."
    if not topic:
        return ""
    try:
        return "" if gateway().topic_exists(topic) else f"There is no topic called {topic}."
    except GatewayError as error:
        return str(error)


def _find(number: int) -> JobRun:
    found = JobRun.objects.filter(pk=number).first() if number < 2**63 else None
    if found is None:
        raise Http404("There is no such run; runs that found nothing to do are kept only for a while.")
    return found


def _permissions(request: HttpRequest) -> dict[str, Any]:
    return {
        "may_run": request.user.has_perm(RUN_PERMISSION),
        "may_cancel": request.user.has_perm(CANCEL_PERMISSION),
    }


def _part(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    response = render_partial(request, template, context)
    response.headers["Vary"] = POLL_HEADER
    response.headers["Cache-Control"] = "no-store"
    return response
