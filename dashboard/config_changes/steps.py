"""Changing one config in two steps: the value is typed, then before and after are shown and confirmed by a POST.

Called by the views of brokers and of groups. ``?value=`` or ``?reset=1`` shows before and after, checked by the broker;
POST of the same carries it out. Every attempt to carry out leaves an audit row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from broker.client.results import ConfigEntry
from dashboard import audit
from dashboard.config_changes.change import Change, Owner, own_value, read_value, typed_value
from dashboard.gateway import GatewayError


class Alter(Protocol):
    def __call__(self, name: str, value: str | None, *, validate_only: bool = False) -> None:
        """Raises ``GatewayError`` when the broker refuses or does not answer."""


class Page(Protocol):
    def __call__(self, context: dict[str, Any], status: int = 200) -> HttpResponse:
        """The page around the step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What differs between the owners of configs."""

    owner: Owner
    entry: ConfigEntry
    permission: str
    not_allowed: str
    """What somebody without the permission is told."""
    fixed: str = ""
    """Why nobody can change it; empty when it can be changed."""
    action: str
    """In the audit trail."""
    alter: Alter
    page: Page
    back_url: str
    done_url: str
    keep: Mapping[str, str] = field(default_factory=dict)
    """Of the address: what names the owner and the config, where the path does not."""


def answer(request: HttpRequest, step: Step) -> HttpResponse:
    entry, owner = step.entry, step.owner
    own = own_value(entry, owner)
    allowed = request.user.has_perm(step.permission)
    refusal = step.fixed or ("" if allowed else step.not_allowed)
    context: dict[str, Any] = {
        "owner": owner,
        "entry": entry,
        "own": own,
        "typed": request.GET.get("value", typed_value(entry, own or entry.value)),
        "refusal": refusal,
        "back_url": step.back_url,
        "keep": step.keep,
    }
    if "value" not in request.GET and "reset" not in request.GET:
        return step.page(context)
    try:
        value = None if request.GET.get("reset") else read_value(entry, request.GET.get("value", ""))
    except ValueError as error:
        return step.page({**context, "error": str(error)})
    change = Change(entry=entry, owner=owner, value=value)
    if request.method == "POST":
        if not allowed:
            raise PermissionDenied(step.not_allowed)
        return _carry_out(request, step, change, context)
    if change.changes_nothing:
        return step.page({**context, "error": "That is what it is already."})
    if not refusal:
        try:
            step.alter(entry.name, value, validate_only=True)
        except GatewayError as error:
            return step.page({**context, "error": str(error)})
    return step.page({**context, "change": change})


def _carry_out(request: HttpRequest, step: Step, change: Change, context: dict[str, Any]) -> HttpResponse:
    name = change.entry.name
    subject, before = f"{name} of {step.owner.name}", {"value": context["own"]}
    try:
        if step.fixed:
            raise GatewayError(step.fixed)
        step.alter(name, change.value)
    except GatewayError as error:
        audit.record(request, step.action, subject, before=before, refused=str(error))
        return step.page({**context, "error": str(error)}, 409)
    audit.record(request, step.action, subject, before=before, after={"value": change.value})
    messages.success(request, f"{name} of {step.owner.name}: {change.before} → {change.after}.")
    return redirect(step.done_url)
