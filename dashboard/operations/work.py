"""Rolling restart, decommission and evening out: what would happen, confirm, then a background run with its own page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from broker.jobs.moving import rows_of
from broker.jobs.rebalance import estimate
from broker.rebalancing.evening import plan_even
from dashboard import audit
from dashboard.gateway import GatewayError
from dashboard.live.replication_rows import ReplicaRow
from dashboard.live.state import broker_scope
from dashboard.live.store import StoreError, readable_store
from dashboard.operations import jobs
from dashboard.operations.facts import broker_rows, read_brokers, read_partitions, read_topics
from dashboard.operations.move_query import read_move
from dashboard.operations.refusals import NOT_ALLOWED, PERMISSION, not_allowed
from dashboard.operations.risks import StopRisk, decommission_refusals, restart_order, restart_refusals, stop_risk
from dashboard.operations.supervised import unsupervised
from dashboard.pages.shell import Crumb, render
from dashboard.pages.words import brokers_words

SHOWN_MAX = 200
"""Moves of a plan that are named on the page."""


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def rolling_restart(request: HttpRequest) -> HttpResponse:
    """``?broker=`` for some; without, all of them one after the other."""
    rows = broker_rows()
    part_of = [row for row in rows.values() if row.state != "decommissioned"]
    asked = read_move(request.GET).brokers
    order = [one for one in restart_order(part_of) if not asked or one in asked]
    refusals = restart_refusals(part_of, asked or order) or unsupervised(order)
    risks = [stop_risk(one, replicas_of(one)) for one in order]
    detail: dict[str, Any] = {"brokers": order}
    if any(risk.unavailable or risk.refusing for risk in risks):
        detail["may_interrupt"] = True  # it was shown what cannot be written meanwhile
    context: dict[str, Any] = {
        "order": order,
        "risks": risks,
        "blockers": refusals if rows else ["Nothing is known of the brokers: the collector has not reported."],
        "some": bool(asked),
        "unavailable": sum(len(risk.unavailable) for risk in risks),
        "refusing": sum(len(risk.refusing) for risk in risks),
        "carried": _carried(order, risks),
    }
    return _confirm(
        request,
        kind=jobs.ROLLING_RESTART,
        broker_id=order[0] if len(order) == 1 else None,
        action="rolling restart",
        subject=brokers_words(order),
        detail=detail,
        template="restart",
        title="Rolling restart",
        context=context,
    )


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def rebalance(request: HttpRequest) -> HttpResponse:
    """Even out replicas, bytes and leaders over all brokers. What is carried out is the plan that was shown."""
    query = read_move(request.GET)
    context: dict[str, Any] = {"query": query, "blockers": [], "carried": ""}
    detail: dict[str, Any] = {}
    try:
        topics = read_topics()
        facts = read_partitions(topics, dict.fromkeys(topic.name for topic in topics))
        plan = plan_even(facts, read_brokers().values(), throttle=query.throttle)
        context |= {"plan": plan, "shown": plan.changed[:SHOWN_MAX], "carried": plan.fingerprint}
        detail = {"throttle": query.throttle, "plan": rows_of(plan), "estimate": estimate(plan)}
    except GatewayError as error:
        context["blockers"] = [str(error)]
    return _confirm(
        request,
        kind=jobs.REBALANCE,
        broker_id=None,
        action="even out the cluster",
        subject="all brokers",
        detail=detail,
        template="rebalance",
        title="Even out the cluster",
        context=context,
    )


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def decommission(request: HttpRequest, number: int) -> HttpResponse:
    """Everything it keeps goes to others, then it leaves the cluster for good. The number is typed to confirm."""
    rows = broker_rows()
    replicas = replicas_of(number)
    query = read_move(request.GET)
    others = [row for row in rows.values() if row.id != number]
    sizes = [row.size_bytes for row in replicas if row.size_bytes is not None]
    context: dict[str, Any] = {
        "number": number,
        "broker": rows.get(number),
        "replicas": replicas,
        "others": [row for row in others if row.online and not row.state],
        "leads": sum(row.leads for row in replicas),
        "size_bytes": sum(sizes) if len(sizes) == len(replicas) else None,
        "alone": [row for row in replicas if row.only_copy_in_sync],
        "throttle": query.throttle,
        "query": query,
        "blockers": decommission_refusals(rows.get(number), others, replicas),
        "typed_wanted": str(number),
        "carried": f"{number} {query.throttle}",
    }
    if query.throttle and context["size_bytes"] is not None:
        context["seconds"] = context["size_bytes"] / query.throttle
    return _confirm(
        request,
        kind=jobs.DECOMMISSION,
        broker_id=number,
        action="decommission broker",
        subject=f"broker {number}",
        detail={"throttle": query.throttle},
        template="decommission",
        title=f"Decommission broker {number}",
        context=context,
    )


def _carried(order: Sequence[int], risks: Iterable[StopRisk]) -> str:
    """What is confirmed: the order, and how much cannot be used, or written, while each is away."""
    missed = [(len(risk.unavailable), len(risk.refusing)) for risk in risks]
    words = ",".join(map(str, order))
    return f"{words} {missed}" if any(map(any, missed)) else words


def replicas_of(broker: int) -> list[ReplicaRow]:
    """As telemetry has them; empty when nothing was collected."""
    try:
        rows = readable_store().read([broker_scope(broker)]).rows(broker_scope(broker)).values()
    except StoreError:
        return []
    return [row for row in rows if isinstance(row, ReplicaRow)]


def _confirm(
    request: HttpRequest,
    *,
    kind: str,
    broker_id: int | None,
    action: str,
    subject: str,
    detail: Mapping[str, Any],
    template: str,
    title: str,
    context: dict[str, Any],
) -> HttpResponse:
    """Show it, or on POST start it, when what was shown is still so."""
    context["refusal"] = not_allowed(request) or jobs.refusal(kind)
    context["active"] = jobs.active(kind)
    if context["active"]:
        context["blockers"] = []  # what the run itself has brought about would only confuse
    status = 200
    if request.method == "POST":
        if not request.user.has_perm(PERMISSION):
            raise PermissionDenied(NOT_ALLOWED)
        error = _why_not(request, context)
        if not error:
            job = jobs.start(kind, broker_id=broker_id, requested_by=request.user.get_username(), detail=detail)
            audit.record(request, action, subject, after={"run": job.pk, **_kept(detail)})
            messages.success(request, f"{title}: the run has been queued.")
            return HttpResponseRedirect(reverse("job", args=[job.pk]))
        audit.record(request, action, subject, after=_kept(detail), refused=error)
        context |= {"error": error, "typed": request.POST.get("typed_name", "")}
        status = 409
    crumbs = [Crumb(title="Brokers", url=reverse("brokers"))]
    if broker_id is not None:
        crumbs.append(Crumb(title=f"Broker {broker_id}", url=reverse("broker", args=[broker_id])))
    crumbs.append(Crumb(title=title))
    return render(request, f"ottla/operations/{template}.html", context, title=title, crumbs=crumbs, status=status)


def _kept(detail: Mapping[str, Any]) -> dict[str, Any]:
    """For the audit log; a plan is in the run's row."""
    return {name: value for name, value in detail.items() if name != "plan"}


def _why_not(request: HttpRequest, context: Mapping[str, Any]) -> str:
    if context["refusal"]:
        return str(context["refusal"])
    if context["blockers"]:
        return str(context["blockers"][0])
    if request.POST.get("plan") != context["carried"]:
        return "The brokers have changed since you looked. Nothing was begun; this is how it is now."
    wanted = context.get("typed_wanted")
    if wanted is not None and request.POST.get("typed_name", "").strip() != wanted:
        return "That is not the number of the broker. Nothing was begun."
    return ""
