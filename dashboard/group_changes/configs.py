"""The configs of a consumer group: shown with their origin, changed in two steps.

They belong to the group's name: they may be set before it exists, and stay when it is deleted. The broker heeds them in
the new protocol (KIP-848) only; with the classic one the same is up to each consumer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from dashboard.config_changes import steps
from dashboard.config_changes.change import own_value
from dashboard.gateway import GatewayError, gateway
from dashboard.group_changes.refusals import NOT_ALLOWED, PERMISSION
from dashboard.pages.addresses import group_address
from dashboard.pages.shell import Crumb, render


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupOwner:
    group_id: str

    @property
    def name(self) -> str:
        return f"group {self.group_id}"

    @property
    def own_source(self) -> str:
        return "DYNAMIC_GROUP_CONFIG"

    @property
    def stronger_sources(self) -> frozenset[str]:
        return frozenset()


@require_safe
@login_required
def configs(request: HttpRequest) -> HttpResponse:
    """``?group=``: all of them."""
    owner = _owner(request)
    context: dict[str, Any] = {
        "may_change": request.user.has_perm(PERMISSION),
        "not_allowed": NOT_ALLOWED,
        "config_url": _address("group-config", group=owner.group_id),
    }
    try:
        entries = gateway().group_configs(owner.group_id)
        context |= {
            "rows": entries,
            "set_here": sum(own_value(entry, owner) is not None for entry in entries),
            "activity": gateway().group_activity(owner.group_id),
        }
    except GatewayError as error:
        context["trouble"] = str(error)
    return _page(request, owner, "ottla/group_changes/configs.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def config(request: HttpRequest) -> HttpResponse:
    """``?group=&name=``: one of them."""
    owner, name = _owner(request), request.GET.get("name", "")
    page = partial(_page, request, owner, "ottla/config_changes/page.html", name=name)
    try:
        entry = next((one for one in gateway().group_configs(owner.group_id) if one.name == name), None)
    except GatewayError as error:
        return page({"owner": owner, "trouble": str(error)}, 503)
    if entry is None:
        raise Http404("There is no such config.")
    list_url = _address("group-configs", group=owner.group_id)
    step = steps.Step(
        owner=owner,
        entry=entry,
        permission=PERMISSION,
        not_allowed=NOT_ALLOWED,
        action="change group config",
        alter=partial(gateway().alter_group_config, owner.group_id),
        page=page,
        back_url=list_url,
        done_url=list_url,
        keep={"group": owner.group_id, "name": name},
    )
    return steps.answer(request, step)


def _owner(request: HttpRequest) -> GroupOwner:
    return GroupOwner(group_id=request.GET.get("group", ""))


def _address(view: str, **query: str) -> str:
    return f"{reverse(view)}?{urlencode(query)}"


def _page(
    request: HttpRequest,
    owner: GroupOwner,
    template: str,
    context: dict[str, Any],
    status: int = 200,
    *,
    name: str = "",
) -> HttpResponse:
    group_url, list_url = group_address(owner.group_id), _address("group-configs", group=owner.group_id)
    crumbs = [
        Crumb(title="Groups", url=reverse("groups")),
        Crumb(title=owner.group_id, url=group_url),
        Crumb(title="Configs", url=list_url if name else ""),
    ]
    if name:
        crumbs.append(Crumb(title=name))
    title = name or f"Configs of {owner.group_id}"
    return render(request, template, {**context, "group_url": group_url}, title=title, crumbs=crumbs, status=status)
