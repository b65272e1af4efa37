"""The broker list, one broker's page, and the configs of one broker or of all: shown with their origin, the dynamic ones changed
in two steps."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from broker.client.results import ConfigEntry
from dashboard.brokers.edit import Target, read_target
from dashboard.brokers.live import BrokerPage, BrokersPage
from dashboard.config_changes import steps
from dashboard.config_changes.change import own_value
from dashboard.gateway import GatewayError, gateway
from dashboard.live.state import CLUSTER, BrokerRow
from dashboard.pages.shell import Crumb, missing, read_view, render, render_live

PERMISSION = "dashboard.change_broker"
NOT_ALLOWED = (
    "Your account may look at brokers' configs but not change them. An administrator can give it that permission."
)
READ_AT_START = "The broker reads it when it starts: change it where the broker is configured, then restart the broker."
CONFIGS_TEMPLATE, CONFIG_TEMPLATE = "ottla/brokers/configs.html", "ottla/config_changes/page.html"
SHOWN = {"": "All", "dynamic": "Can be changed", "set": "Not the default"}


@require_safe
@login_required
def brokers(request: HttpRequest) -> HttpResponse:
    return render_live(request, BrokersPage(), "ottla/brokers/page.html", {}, title="Brokers")


@require_safe
@login_required
def broker(request: HttpRequest, number: int) -> HttpResponse:
    page = BrokerPage(str(number), request.GET)
    view, _ = read_view(page)
    if page.broker(view) is None and view.rows(CLUSTER):
        why = "No broker of this number answers, is registered, or is meant to keep anything."
        return missing(
            request, f"There is no broker {number}.", Crumb(title="Brokers", url=reverse("brokers")), why=why
        )
    context = {"number": number, "listing": page.listing, "filter_extra": {"show": page.show} if page.show else {}}
    crumbs = [Crumb(title="Brokers", url=reverse("brokers")), Crumb(title=f"Broker {number}")]
    return render_live(
        request, page, "ottla/broker/page.html", context, title=f"Broker {number}", crumbs=crumbs, view=view
    )


@require_safe
@login_required
def configs(request: HttpRequest, slug: str) -> HttpResponse:
    target = _target(slug)
    context: dict[str, Any] = {"target": target, "targets": _targets(target)}
    try:
        entries = _entries(target)
    except GatewayError as error:
        return _page(request, target, CONFIGS_TEMPLATE, {**context, "trouble": str(error)})
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
    return _page(request, target, CONFIGS_TEMPLATE, context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def config(request: HttpRequest, slug: str, name: str) -> HttpResponse:
    target = _target(slug)
    try:
        entry = next((one for one in _entries(target) if one.name == name), None)
    except GatewayError as error:
        return _page(request, target, CONFIG_TEMPLATE, {"owner": target, "trouble": str(error)}, name, 503)
    if entry is None:
        raise Http404("There is no such config.")
    url = reverse("broker-configs", args=[target.slug])
    step = steps.Step(
        owner=target,
        entry=entry,
        permission=PERMISSION,
        not_allowed=NOT_ALLOWED,
        fixed=READ_AT_START if entry.read_only else "",
        action="change broker config",
        alter=partial(gateway().alter_broker_config, target.broker_id),
        page=lambda context, status=200: _page(request, target, CONFIG_TEMPLATE, context, name, status),
        back_url=url,
        done_url=f"{url}?q={name}",
    )
    return steps.answer(request, step)


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
    crumbs = [Crumb(title="Brokers", url=reverse("brokers"))]
    if target.broker_id is not None:
        crumbs.append(Crumb(title=f"Broker {target.broker_id}", url=reverse("broker", args=[target.broker_id])))
    crumbs.append(Crumb(title=title, url=url if name else ""))
    if name:
        crumbs.append(Crumb(title=name))
    return render(request, template, context, title=name or title, crumbs=crumbs, status=status)
