"""Deleting a group, or what it has committed for one topic: effects first, then its name typed.

A group with members is refused by the broker; for one topic it is refused while a member subscribes to it. Both are said
beforehand, where the button is.
"""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from broker.errors import ErrorCode
from broker.types import TopicPartition
from dashboard import audit
from dashboard.gateway import GatewayError, gateway
from dashboard.group_changes.refusals import NOT_ALLOWED, PERMISSION, refusal
from dashboard.group_changes.reset_query import by_topic
from dashboard.live.state import GroupRow, OffsetRow, Rows, group_scope
from dashboard.live.store import StoreError, readable_store
from dashboard.pages.addresses import group_address
from dashboard.pages.shell import Crumb, render

RESULTS_KEPT_MAX = 500


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def delete_group(request: HttpRequest) -> HttpResponse:
    group_id = _group_id(request)
    context: dict[str, Any] = {}
    try:
        activity = gateway().group_activity(group_id)
        committed = by_topic(gateway().committed_offsets(group_id))
        if not activity.exists and not committed:
            raise Http404(f"There is no group called {group_id}.")
        context = {
            "refusal": refusal(request, activity),
            "committed": committed,
            "partition_count": sum(map(len, committed.values())),
            "group": _known(group_id).get("group"),
        }
    except GatewayError as error:
        context["trouble"] = str(error)
    if request.method == "POST":
        answer = _delete_group(request, group_id, context)
        if answer is not None:
            return answer
    return _page(request, group_id, "delete_group", context, title=f"Delete {group_id}", crumb="Delete the group")


def _delete_group(request: HttpRequest, group_id: str, context: dict[str, Any]) -> HttpResponse | None:
    """The answer when it is done; ``None``: show the page again, with what is wrong."""
    if not _may_and_typed(request, group_id, context):
        return None
    before = {"topics": {topic: len(numbers) for topic, numbers in context["committed"].items()}}
    try:
        gateway().delete_group(group_id)
    except GatewayError as error:
        audit.record(request, "delete group", group_id, before=before, refused=str(error))
        context["error"] = f"The broker refused: {error}"
        return None
    audit.record(request, "delete group", group_id, before=before)
    messages.success(request, f"Group {group_id} is deleted, with everything it had committed.")
    return redirect("groups")


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def delete_offsets(request: HttpRequest) -> HttpResponse:
    """Forget what the group has committed for ``?topic=``."""
    group_id, topic = _group_id(request), request.GET.get("topic", "")
    context: dict[str, Any] = {"topic": topic}
    try:
        activity = gateway().group_activity(group_id)
        committed = gateway().committed_offsets(group_id)
        partitions = sorted(key.partition for key in committed if key.topic == topic)
        if not partitions:
            raise Http404(f"{group_id} has committed nothing for {topic}.")
        offsets = [row for row in _known(group_id).values() if isinstance(row, OffsetRow)]
        lags = {row.partition: row.lag for row in offsets if row.topic == topic}
        context |= {
            "refusal": refusal(request, activity),
            "rows": [(number, committed[TopicPartition(topic, number)], lags.get(number)) for number in partitions],
        }
    except GatewayError as error:
        context["trouble"] = str(error)
    if request.method == "POST":
        answer = _delete_offsets(request, group_id, topic, context)
        if answer is not None:
            return answer
    title = f"Delete offsets of {group_id} on {topic}"
    return _page(request, group_id, "delete_offsets", context, title=title, crumb="Delete offsets")


def _delete_offsets(request: HttpRequest, group_id: str, topic: str, context: dict[str, Any]) -> HttpResponse | None:
    if not _may_and_typed(request, group_id, context):
        return None
    before = {str(number): offset for number, offset, _ in context["rows"][:RESULTS_KEPT_MAX]}
    wanted = [TopicPartition(topic, number) for number, _, _ in context["rows"]]
    subject = f"{group_id} on {topic}"
    try:
        outcomes = gateway().delete_group_offsets(group_id, wanted)
    except GatewayError as error:
        audit.record(request, "delete offsets", subject, before=before, refused=str(error))
        context["error"] = f"The broker refused: {error}"
        return None
    refused = {key: code for key, code in outcomes.items() if code is not ErrorCode.NONE}
    why = "; ".join(f"partition {key.partition}: {code.message}" for key, code in sorted(refused.items())[:10])
    audit.record(request, "delete offsets", subject, before=before, refused=why)
    if refused:
        context["error"] = f"{len(refused)} of {len(wanted)} partitions were refused: {why}"
        return None
    messages.success(request, f"{group_id} has forgotten where it was in {topic}.")
    return redirect(group_address(group_id))


def _may_and_typed(request: HttpRequest, group_id: str, context: dict[str, Any]) -> bool:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied(NOT_ALLOWED)
    context["typed"] = request.POST.get("typed_name", "")
    if context.get("trouble") or context.get("refusal"):
        return False
    if context["typed"] != group_id:
        context["error"] = "That is not the name of the group. Nothing was changed."
        return False
    return True


def _group_id(request: HttpRequest) -> str:
    return request.GET.get("group", "")


def _known(group_id: str) -> Rows:
    """The live rows of the group; none when the store does not answer."""
    try:
        return readable_store().read([group_scope(group_id)]).rows(group_scope(group_id))
    except StoreError:
        return {}


def _page(
    request: HttpRequest, group_id: str, template: str, context: dict[str, Any], *, title: str, crumb: str
) -> HttpResponse:
    crumbs = [
        Crumb(title="Groups", url=reverse("groups")),
        Crumb(title=group_id, url=group_address(group_id)),
        Crumb(title=crumb),
    ]
    group = context.get("group")
    context |= {
        "group_id": group_id,
        "group_url": group_address(group_id),
        "lag": group.lag if isinstance(group, GroupRow) else None,
    }
    status = 409 if context.get("error") else 200
    return render(request, f"ottla/group_changes/{template}.html", context, title=title, crumbs=crumbs, status=status)
