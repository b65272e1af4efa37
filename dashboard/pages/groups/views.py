"""The group list and a group's page."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from dashboard.gateway import GatewayError, gateway
from dashboard.live.state import GROUPS, group_scope
from dashboard.live.store import StoreError, readable_store
from dashboard.pages.groups.live import GROUP_COLUMNS, GroupPage, GroupsPage
from dashboard.pages.shell import Crumb, missing, read_view, render_live


@require_safe
@login_required
def groups(request: HttpRequest) -> HttpResponse:
    page = GroupsPage(request.GET)
    context = {"listing": page.listing, "columns": list(GROUP_COLUMNS)}
    return render_live(request, page, "ottla/groups/page.html", context, title="Groups")


@require_safe
@login_required
def group(request: HttpRequest, name: str) -> HttpResponse:
    page = GroupPage(name, request.GET)
    view, _ = read_view(page)
    found = page.group(view)
    if found is None and _certainly_missing(name):
        return missing(request, f"There is no group called {name}.", Crumb(title="Groups", url=reverse("groups")))
    context = {"name": name, "group": found, "listing": page.listing, "scope": group_scope(name)}
    crumbs = [Crumb(title="Groups", url=reverse("groups")), Crumb(title=name)]
    return render_live(request, page, "ottla/group/page.html", context, title=name, crumbs=crumbs, view=view)


def group_by_id(request: HttpRequest) -> HttpResponse:
    """``?id=``: for ids that no path can carry."""
    return group(request, request.GET.get("id", ""))


def _certainly_missing(name: str) -> bool:
    """Neither the collector nor the brokers know it; one that has just appeared is only awaited."""
    try:
        known = readable_store().read([GROUPS])
        return GROUPS in known.scopes and f"group:{name}" not in known.rows(GROUPS) and not gateway().group_exists(name)
    except (StoreError, GatewayError):
        return False
