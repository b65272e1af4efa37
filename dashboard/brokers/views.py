"""The broker list, and the configs of one broker or of all: shown with their origin, the dynamic ones changed in two steps."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from broker.client.results import ConfigEntry
from dashboard import audit
from dashboard.brokers.edit import Change, Target, own_value, read_target, read_value, typed_value
from dashboard.brokers.live import BrokersPage
from dashboard.gateway import GatewayError, gateway
from dashboard.live.state import CLUSTER, BrokerRow
from dashboard.pages.shell import Crumb, read_view, render, render_live

PERMISSION = "dashboard.change_broker"
NOT_ALLOWED = (
    "Your account may look at brokers' configs but not change them. An administrator can give it that permission."
)
SHOWN = {"": "All", "dynamic": "Can be changed", "set": "Not the default"}


@require_safe
@login_required
def brokers(request: HttpRequest) -> HttpResponse:
    return render_live(request, BrokersPage(), "ottla/brokers/page.html", {}, title="Brokers")


@require_safe
@login_required
def configs(request: HttpRequest, slug: str) -> HttpResponse:
    target = _target(slug)
    context: dict[str, Any] = {"target": target, "targets": _targets(target)}
    try:
        entries = _entries(target)
    except GatewayError as error:
        return _page(request, target, "configs", {**context, "trouble": str(error)})
    needle = request.GET.get("q", "").strip().casefold()
    shown = request.GET.get("show", "")
    shown = shown if shown in SHOWN else ""
    kinds = {
        "": entries,
        "dynamic": [entry for entry in entries if not entry.read_only],
        "set": [entry for entry in entries if not entry.is_default],
    }
    rows = [entry for entry in kinds[shown] if needle in entry.name.casefold()]
    context |= {
        "rows": [(entry, own_value(entry, target) is not None) for entry in rows],
        "total": len(entries),
        "set_here": sum(own_value(entry, target) is not None for entry in entries),
        "config_filter": request.GET.get("q", "").strip(),
        "show": shown,
        "chips": [(words, len(kinds[key]), key, key == shown) for key, words in SHOWN.items()],
        "may_change": request.user.has_perm(PERMISSION),
        "not_allowed": NOT_ALLOWED,
    }
    return _page(request, target, "configs", context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def config(request: HttpRequest, slug: str, name: str) -> HttpResponse:
    """``?value=`` or ``?reset=1`` shows before and after; POST of the same carries it out."""
    target = _target(slug)
    try:
        entry = next((one for one in _entries(target) if one.name == name), None)
    except GatewayError as error:
        return _page(request, target, "config", {"target": target, "trouble": str(error)}, name, 503)
    if entry is None:
        raise Http404("There is no such config.")
    context: dict[str, Any] = {
        "target": target,
        "entry": entry,
        "own": own_value(entry, target),
        "typed": request.GET.get("value", typed_value(entry, own_value(entry, target) or entry.value)),
        "refusal": _refusal(request, entry),
    }
    if "value" not in request.GET and "reset" not in request.GET:
        return _page(request, target, "config", context, name)
    try:
        value = None if request.GET.get("reset") else read_value(entry, request.GET.get("value", ""))
    except ValueError as error:
        return _page(request, target, "config", {**context, "error": str(error)}, name)
    change = Change(entry=entry, target=target, value=value)
    if request.method == "POST":
        return _carry_out(request, change, context)
    if change.changes_nothing:
        return _page(request, target, "config", {**context, "error": "That is what it is already."}, name)
    if not context["refusal"]:
        try:
            gateway().alter_broker_config(target.broker_id, name, value, validate_only=True)
        except GatewayError as error:
            return _page(request, target, "config", {**context, "error": str(error)}, name)
    return _page(request, target, "config", {**context, "change": change}, name)


def _carry_out(request: HttpRequest, change: Change, context: dict[str, Any]) -> HttpResponse:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied(NOT_ALLOWED)
    name, target = change.entry.name, change.target
    subject, before = f"{name} of {target.name}", {"value": own_value(change.entry, target)}
    try:
        if context["refusal"]:
            raise GatewayError(context["refusal"])
        gateway().alter_broker_config(target.broker_id, name, change.value)
    except GatewayError as error:
        audit.record(request, "change broker config", subject, before=before, refused=str(error))
        return _page(request, target, "config", {**context, "error": str(error)}, name, 409)
    audit.record(request, "change broker config", subject, before=before, after={"value": change.value})
    messages.success(request, f"{name} of {target.name}: {change.before} → {change.after}.")
    return redirect(f"{reverse('broker-configs', args=[target.slug])}?q={name}")


def _refusal(request: HttpRequest, entry: ConfigEntry) -> str:
    """Why it cannot be changed here; empty when it can."""
    if entry.read_only:
        return "The broker reads it when it starts: change it where the broker is configured, then restart the broker."
    return "" if request.user.has_perm(PERMISSION) else NOT_ALLOWED


def _entries(target: Target) -> list[ConfigEntry]:
    """Every config with its values. For all brokers at once: as the first broker knows them, dynamic ones only."""
    if target.broker_id is not None:
        return gateway().broker_configs(target.broker_id)
    first = min((broker.id for broker in gateway().describe_cluster().brokers), default=1)
    return [entry for entry in gateway().broker_configs(first) if not entry.read_only]


def _targets(chosen: Target) -> list[tuple[Target, bool]]:
    view, _ = read_view(BrokersPage())
    known = sorted(row.id for row in view.rows(CLUSTER).values() if isinstance(row, BrokerRow))
    ids = sorted({*known, *([chosen.broker_id] if chosen.broker_id is not None else [])})
    return [(one, one == chosen) for one in (*(Target(broker_id=number) for number in ids), Target(broker_id=None))]


def _target(slug: str) -> Target:
    target = read_target(slug)
    if target is None:
        raise Http404("There is no such broker.")
    return target


def _page(
    request: HttpRequest, target: Target, template: str, context: dict[str, Any], name: str = "", status: int = 200
) -> HttpResponse:
    title = f"Configs of {target.name}"
    url = reverse("broker-configs", args=[target.slug])
    crumbs = [Crumb(title="Brokers", url=reverse("brokers")), Crumb(title=title, url=url if name else "")]
    if name:
        crumbs.append(Crumb(title=name))
    return render(request, f"ottla/brokers/{template}.html", context, title=name or title, crumbs=crumbs, status=status)
