"""What clients push about themselves (KIP-714): the subscriptions, who answers them, and the latest values of one client."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.shortcuts import render as render_partial
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from broker.protocol.private import ClientInstanceEntry
from dashboard import audit
from dashboard.administration.units import parse_duration_ms
from dashboard.clients.reading import read_instances
from dashboard.clients.views import POLL_HEADER
from dashboard.gateway import GatewayError, gateway
from dashboard.pages.shell import Crumb, missing, render

PERMISSION = "dashboard.change_broker"
NOT_ALLOWED = (
    "Your account may look at metrics but not ask for them. An administrator can let it change brokers' configs."
)
CONFIGS = ("metrics", "interval.ms", "match")
UNITS = {"ms": "ms", "By": "bytes", "1": "", "s": "s"}


@require_safe
@login_required
def metrics(request: HttpRequest) -> HttpResponse:
    return _page(request)


def _page(request: HttpRequest, extra: dict[str, Any] | None = None, status: int = 200) -> HttpResponse:
    polled = POLL_HEADER in request.headers
    try:
        instances = read_instances()
        subscriptions = gateway().metrics_subscriptions()
    except GatewayError as error:
        if polled:
            return HttpResponse(f"{error}\n", status=503, content_type="text/plain")
        return render(request, "ottla/clients/metrics.html", {"trouble": str(error), "tab": "metrics"}, title="Clients")
    context: dict[str, Any] = {
        **_permission(request),
        **(extra or {}),
        "subscriptions": subscriptions,
        "instances": sorted(instances.found, key=lambda pair: (pair[1].client_id, pair[1].client_instance_id)),
        "total": instances.total,
        "troubles": instances.troubles,
        "tab": "metrics",
    }
    if polled:
        return _part(request, "ottla/clients/metrics_part.html", context)
    return render(request, "ottla/clients/metrics.html", context, title="Clients", status=status)


@require_POST
@login_required
def change(request: HttpRequest) -> HttpResponse:
    """Make or change a subscription, or remove it."""
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied(NOT_ALLOWED)
    typed = {name: request.POST.get(name, "").strip()[:1_000] for name in ("name", "metrics", "interval", "match")}
    removed = bool(request.POST.get("remove"))
    action = "remove metrics subscription" if removed else "ask for client metrics"
    changes: dict[str, str | None] = dict.fromkeys(CONFIGS)
    try:
        if not typed["name"]:
            raise ValueError("A subscription needs a name.")
        if not removed:
            changes = {
                "metrics": typed["metrics"],
                "interval.ms": str(parse_duration_ms(typed["interval"])),
                "match": typed["match"] or None,
            }
        gateway().alter_metrics_subscription(typed["name"], changes)
    except ValueError as error:
        return _page(request, {"errors": [str(error)], "typed": typed}, 200)
    except GatewayError as error:
        audit.record(request, action, typed["name"], after=changes, refused=str(error))
        return _page(request, {"errors": [str(error)], "typed": typed}, 503 if error.unreachable else 409)
    audit.record(request, action, typed["name"], after=None if removed else changes)
    messages.success(request, f"{typed['name']} {'is removed' if removed else 'asks for metrics now'}.")
    return redirect("client-metrics")


def _permission(request: HttpRequest) -> dict[str, Any]:
    return {"may_change": request.user.has_perm(PERMISSION), "not_allowed": NOT_ALLOWED}


@require_safe
@login_required
def instance(request: HttpRequest, broker_id: int, instance_id: uuid.UUID) -> HttpResponse:
    polled = POLL_HEADER in request.headers
    crumbs = [
        Crumb(title="Clients", url=reverse("clients")),
        Crumb(title="Pushed metrics", url=reverse("client-metrics")),
        Crumb(title=str(instance_id)),
    ]
    found: ClientInstanceEntry | None = None
    try:
        found = gateway().client_instance(broker_id, instance_id.bytes)
    except GatewayError as error:
        if polled:
            return HttpResponse(f"{error}\n", status=503, content_type="text/plain")
        return render(request, "ottla/clients/instance.html", {"trouble": str(error)}, title="Client", crumbs=crumbs)
    context = {"one": found, "broker_id": broker_id, "instance_id": instance_id}
    if polled:
        return _part(request, "ottla/clients/instance_part.html", context)
    if found is None:
        parent = Crumb(title="Pushed metrics", url=reverse("client-metrics"))
        return missing(request, "This client has pushed nothing for a while, and its broker has forgotten it.", parent)
    title = found.client_id or str(instance_id)
    return render(request, "ottla/clients/instance.html", context, title=title, crumbs=crumbs)


def _part(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    response = render_partial(request, template, context)
    response.headers["Vary"] = POLL_HEADER
    response.headers["Cache-Control"] = "no-store"
    return response
