"""Resetting a group's offsets: choose, look at before and after, type the group's name, see what became of it.

The first two steps are plain GETs, so a plan can be pasted into a chat; only the confirmation is a POST. It carries the plan
that was shown and is refused when the cluster has moved on since. What became of every partition is kept in the audit row,
and the last page shows that row.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_safe

from broker.client.offset_reset import PlannedOffset, ResetRefused, Strategy, ToListed, plan_reset
from broker.client.reset_facts import Activity
from broker.errors import ErrorCode
from broker.types import TopicPartition
from dashboard import audit
from dashboard.gateway import GatewayError, gateway
from dashboard.group_changes.plan_rows import Carried, read_carried, table
from dashboard.group_changes.refusals import NOT_ALLOWED, PERMISSION, members_refusal, refusal
from dashboard.group_changes.reset_query import PARTITIONS_MAX, STRATEGIES, ResetQuery, by_topic, read_reset
from dashboard.models import AuditEntry
from dashboard.pages.addresses import group_address
from dashboard.pages.shell import Crumb, render

ACTION = "reset offsets"
RESULTS_KEPT_MAX = 500
"""Partitions named one by one in an audit row."""


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def reset(request: HttpRequest) -> HttpResponse:
    query = read_reset(request.GET, default_zone=settings.TIME_ZONE)
    if request.method == "POST":
        return _commit(request, query)
    if "to" not in request.GET:
        return _choose(request, query)
    return _preview(request, query)


# Step 1 --------------------------------------------------------------------------------------------


def _choose(request: HttpRequest, query: ResetQuery, status: int = 200) -> HttpResponse:
    context: dict[str, Any] = {"query": query, "errors": query.errors if "to" in request.GET else {}}
    try:
        activity = gateway().group_activity(query.group_id)
        committed = by_topic(gateway().committed_offsets(query.group_id))
        context |= {"activity": activity, "refusal": refusal(request, activity)}
        context["topics"] = [
            (topic, numbers, not query.topics or topic in query.topics) for topic, numbers in committed.items()
        ]
    except GatewayError as error:
        context["trouble"] = str(error)
    context |= {
        "strategies": [(slug, label, words) for slug, (label, words) in STRATEGIES.items()],
        "to": query.to or "earliest",
        "other": query.typed.get("other", ""),
        "zones": list(dict.fromkeys(zone for zone in (query.typed.get("zone"), settings.TIME_ZONE, "UTC") if zone)),
    }
    return _page(request, query, "choose", context, status)


# Step 2 --------------------------------------------------------------------------------------------


def _preview(request: HttpRequest, query: ResetQuery, *, says: str = "", status: int = 200) -> HttpResponse:
    """Before and after. ``says`` is why the last confirmation was not carried out."""
    if query.strategy is None:
        return _choose(request, query)
    context: dict[str, Any] = {"query": query, "says": says, "typed_name": request.POST.get("typed_name", "")}
    try:
        activity = gateway().group_activity(query.group_id)
        plan = _plan(query, query.strategy)
    except ResetRefused as error:
        return _choose(request, _with_error(query, "topic", _sentence(str(error))))
    except GatewayError as error:
        return _page(request, query, "check", {**context, "trouble": str(error)}, status)
    context |= {"activity": activity, "refusal": refusal(request, activity), "table": table(plan)}
    return _page(request, query, "check", context, status)


def _plan(query: ResetQuery, strategy: Strategy) -> tuple[PlannedOffset, ...]:
    """Raises ``ResetRefused`` and ``GatewayError``."""
    counts = {topic: len(gateway().topic(topic).partitions) for topic in query.topics}
    chosen = query.chosen(counts)
    if len(chosen) > PARTITIONS_MAX:
        raise ResetRefused(f"that is {len(chosen)} partitions; more than {PARTITIONS_MAX} are for the command line")
    return plan_reset(strategy, gateway().reset_facts(query.group_id, chosen, strategy))


# Step 3 --------------------------------------------------------------------------------------------


def _commit(request: HttpRequest, query: ResetQuery) -> HttpResponse:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied(NOT_ALLOWED)
    if request.POST.get("typed_name", "") != query.group_id:
        return _preview(request, query, says="That is not the name of the group. Nothing was changed.")
    carried = read_carried(request.POST.get("plan", ""))
    if carried is None:
        return _preview(request, query, says="The plan could not be read. Nothing was changed; here it is again.")
    try:
        activity = gateway().group_activity(query.group_id)
        why_not = members_refusal(activity)
        if why_not:
            audit.record(request, ACTION, query.group_id, after=_wanted(query), refused=why_not)
            return _preview(request, query, says="Nothing was changed.", status=409)
        if _has_moved(query, carried):
            says = "Commits or retention have moved since you looked. Nothing was changed; this is the plan now."
            return _preview(request, query, says=says, status=409)
        outcomes = gateway().commit_offsets(query.group_id, carried.new)
    except GatewayError as error:
        audit.record(request, ACTION, query.group_id, after=_wanted(query), refused=str(error))
        return _preview(request, query, says=f"{error} Look again before you try once more.", status=503)
    entry = _record(request, query, activity, carried, outcomes)
    return HttpResponseRedirect(
        f"{reverse('group-reset-done')}?{urlencode({'group': query.group_id, 'entry': str(entry.pk)})}"
    )


def _has_moved(query: ResetQuery, carried: Carried) -> bool:
    strategy = ToListed(carried.new)
    try:
        return carried.differs_from(
            plan_reset(strategy, gateway().reset_facts(query.group_id, list(carried.new), strategy))
        )
    except ResetRefused:
        return True


def _wanted(query: ResetQuery) -> dict[str, Any]:
    return {"to": query.to, "topics": list(query.topics), **{k: v for k, v in query.typed.items() if k != "to"}}


def _record(
    request: HttpRequest,
    query: ResetQuery,
    activity: Activity,
    carried: Carried,
    outcomes: dict[TopicPartition, ErrorCode],
) -> AuditEntry:
    results = [
        {
            "topic": key.topic,
            "partition": key.partition,
            "before": carried.committed[key],
            "after": carried.new[key],
            "refused": code.message if code else "",
        }
        for key, code in sorted(outcomes.items())
    ]
    refused = sum(bool(one["refused"]) for one in results)
    after = {
        **_wanted(query),
        "partitions": len(results),
        "refused": refused,
        "results": results[:RESULTS_KEPT_MAX],
    }
    message = f"{refused} of {len(results)} partitions were refused." if refused else ""
    return audit.record(request, ACTION, query.group_id, before={"state": activity.state}, after=after, refused=message)


# Step 4 --------------------------------------------------------------------------------------------


@require_safe
@login_required
def done(request: HttpRequest) -> HttpResponse:
    """What became of it, from the audit row of whoever did it."""
    number = request.GET.get("entry", "")
    entry = AuditEntry.objects.filter(pk=int(number) if number.isdecimal() and len(number) < 18 else 0).first()
    group_id = request.GET.get("group", "")
    if entry is None or entry.action != ACTION or entry.subject != group_id[:255] or not isinstance(entry.after, dict):
        raise Http404("There is no such reset.")
    if entry.actor_id != request.user.pk and not request.user.has_perm("dashboard.view_auditentry"):
        raise Http404("There is no such reset.")
    query = read_reset(QueryDict(urlencode({"group": group_id})), default_zone=settings.TIME_ZONE)
    context = {"entry": entry, "results": entry.after.get("results", []), "total": entry.after.get("partitions", 0)}
    return _page(request, query, "done", {**context, "refused_count": entry.after.get("refused", 0)})


STEPS = {"choose": "Choose", "check": "Check and confirm", "done": "Done"}


def _page(
    request: HttpRequest, query: ResetQuery, step: str, context: dict[str, Any], status: int = 200
) -> HttpResponse:
    steps = list(STEPS)
    crumbs = [
        Crumb(title="Groups", url=reverse("groups")),
        Crumb(title=query.group_id, url=group_address(query.group_id)),
        Crumb(title="Reset offsets"),
    ]
    context = {
        **context,
        "group_id": query.group_id,
        "group_url": group_address(query.group_id),
        "step": step,
        "steps": [(label, slug == step, steps.index(slug) < steps.index(step)) for slug, label in STEPS.items()],
        "choose_url": f"?{query.url}",
    }
    title = f"Reset offsets of {query.group_id}"
    template = f"ottla/group_changes/reset_{step}.html"
    return render(request, template, context, title=title, crumbs=crumbs, status=status)


def _with_error(query: ResetQuery, name: str, words: str) -> ResetQuery:
    return ResetQuery(
        group_id=query.group_id,
        topics=query.topics,
        partitions=query.partitions,
        to=query.to,
        strategy=None,
        typed=query.typed,
        errors={**query.errors, name: words},
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
