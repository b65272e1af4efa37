"""Moving partitions to other brokers: choose, look at the plan, confirm it, watch it, cancel it.

Choosing and the plan are plain GETs, so a plan can be pasted into a chat. The confirmation carries the fingerprint of what was shown;
the plan is made anew from the cluster, and only the same plan is carried out.
"""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render as render_partial
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from broker.rebalancing.moves import MovePlan
from broker.types import TopicPartition
from dashboard import audit
from dashboard.gateway import GatewayError, gateway
from dashboard.operations import throttle
from dashboard.operations.facts import live_partition, read_brokers, read_partitions, read_topics
from dashboard.operations.move_plan import plan_exactly, plan_spread
from dashboard.operations.move_query import PARTITIONS_MAX, MoveQuery, read_move
from dashboard.operations.refusals import NOT_ALLOWED, PERMISSION, not_allowed
from dashboard.pages.shell import Crumb, render
from dashboard.pages.words import brokers_words

MOVE, CANCEL, LIFT = "move partitions", "cancel moves", "lift throttle"
KEPT_MAX = 500
"""Partitions named one by one in an audit row."""
POLL_HEADER = "X-Ottla-Poll"


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def reassign(request: HttpRequest) -> HttpResponse:
    query = read_move(request.GET)
    if request.method == "POST":
        return _carry_out(request, query)
    if not query.to or query.errors:
        return _choose(request, query)
    return _check(request, query)


def _choose(request: HttpRequest, query: MoveQuery, *, status: int = 200) -> HttpResponse:
    context: dict[str, Any] = {"query": query, "errors": query.errors if query.to else {}}
    try:
        topics = read_topics()
        context["brokers"] = [(one, not query.brokers or one.id in query.brokers) for one in read_brokers().values()]
        context["topics"] = [(topic, topic.name in query.topics) for topic in topics]
    except GatewayError as error:
        context["trouble"] = str(error)
    context["refusal"] = not_allowed(request)
    return _page(request, "choose", context, status)


def _check(request: HttpRequest, query: MoveQuery, *, says: str = "", status: int = 200) -> HttpResponse:
    """Before and after. ``says`` is why the last confirmation was not carried out."""
    context: dict[str, Any] = {"query": query, "says": says, "refusal": not_allowed(request)}
    try:
        plan = _plan(query)
    except GatewayError as error:
        return _page(request, "check", {**context, "trouble": str(error)}, status)
    if len(plan.moves) > PARTITIONS_MAX:
        words = f"That is {len(plan.moves):,} partitions; at most {PARTITIONS_MAX:,} at once."
        return _page(request, "check", {**context, "trouble": words}, status)
    context["plan"] = plan
    if plan.throttle and plan.changed and not plan.refusals:
        try:
            throttle.check(plan)
        except GatewayError as error:
            context["throttle_refused"] = str(error)
    return _page(request, "check", context, status)


def _plan(query: MoveQuery) -> MovePlan:
    """Raises ``GatewayError``."""
    brokers = read_brokers()
    facts = read_partitions(read_topics(), dict(query.chosen))
    missing = _missing(query, {(one.topic, one.partition) for one in facts})
    if missing:
        raise GatewayError(missing)
    if query.to == "exactly":
        return plan_exactly(facts, brokers, query.replicas, query.throttle)
    chosen = [brokers[one] for one in query.brokers if one in brokers]
    return plan_spread(facts, chosen, query.factor, query.throttle)


def _missing(query: MoveQuery, found: set[tuple[str, int]]) -> str:
    for topic, numbers in query.chosen.items():
        if numbers is None and not any(name == topic for name, _ in found):
            return f"There is no topic called {topic}."
        for number in sorted(numbers or ()):
            if (topic, number) not in found:
                return f"There is no partition {topic}-{number}."
    return ""


def _carry_out(request: HttpRequest, query: MoveQuery) -> HttpResponse:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied(NOT_ALLOWED)
    subject = _subject(query)
    try:
        plan = _plan(query)
        if plan.fingerprint != request.POST.get("plan") or plan.refusals or not plan.changed:
            says = "The cluster has changed since you looked. Nothing was moved; this is the plan now."
            return _check(request, query, says=says, status=409)
        throttle.apply(plan)
        outcomes = gateway().reassign(plan.targets)
    except GatewayError as error:
        audit.record(request, MOVE, subject, after={"throttle": query.throttle}, refused=str(error))
        return _check(request, query, says=f"{error} Look again before you try once more.", status=409)
    refused = {key: outcome.words for key, outcome in outcomes.items() if outcome.words}
    audit.record(
        request,
        MOVE,
        subject,
        before={str(move.key): list(move.facts.replicas) for move in plan.changed[:KEPT_MAX]},
        after={
            "partitions": len(plan.changed),
            "throttle": plan.throttle,
            "replicas": {str(move.key): list(move.after) for move in plan.changed[:KEPT_MAX]},
            "refused": {str(key): words for key, words in list(refused.items())[:KEPT_MAX]},
        },
        refused=f"{len(refused)} of {len(plan.changed)} partitions were refused." if refused else "",
    )
    if refused:
        key, words = next(iter(refused.items()))
        messages.error(request, f"{len(refused)} of {len(plan.changed)} partitions were refused. {key}: {words}")
    started = len(plan.changed) - len(refused)
    if started:
        messages.success(request, f"{started} partition{'' if started == 1 else 's'} began to move.")
    return HttpResponseRedirect(reverse("moves"))


def _subject(query: MoveQuery) -> str:
    return ", ".join([*query.topics, *([query.partitions] if query.partitions else [])])[:255]


# What is under way ---------------------------------------------------------------------------------


@require_safe
@login_required
def moves(request: HttpRequest) -> HttpResponse:
    """Every move of the cluster, whoever began it; live by polling."""
    context: dict[str, Any] = {"refusal": not_allowed(request)}
    try:
        under_way = gateway().reassignments()
        context["moves"] = [
            (key, move, live_partition(key.topic, key.partition)) for key, move in sorted(under_way.items())
        ]
        brokers = [one.id for one in gateway().describe_cluster().brokers]
        topics = [topic.name for topic in read_topics()]
        context["throttle"] = throttle.read(
            brokers, topics[:PARTITIONS_MAX] if not under_way else {k.topic for k in under_way}
        )
    except GatewayError as error:
        context["trouble"] = str(error)
    if POLL_HEADER in request.headers:
        return render_partial(request, "ottla/operations/moves_part.html", context)
    return render(request, "ottla/operations/moves.html", context, title="Moves", crumbs=_crumbs("Moves"))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def cancel(request: HttpRequest) -> HttpResponse:
    """``?partition=orders-3`` or all; GET says what happens, POST does it."""
    wanted = request.GET.get("partition", "")
    context: dict[str, Any] = {"refusal": not_allowed(request), "wanted": wanted}
    try:
        under_way = {key: move for key, move in sorted(gateway().reassignments().items()) if wanted in ("", str(key))}
        if request.method == "POST":
            return _cancel(request, list(under_way))
        context["moves"] = list(under_way.items())
    except GatewayError as error:
        context["trouble"] = str(error)
    crumbs = [*_crumbs("Moves", reverse("moves")), Crumb(title="Cancel")]
    return render(request, "ottla/operations/cancel.html", context, title="Cancel moves", crumbs=crumbs)


def _cancel(request: HttpRequest, keys: list[TopicPartition]) -> HttpResponse:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied(NOT_ALLOWED)
    named = set(request.POST.getlist("partition"))
    chosen = [key for key in keys if str(key) in named]
    subject = ", ".join(str(key) for key in chosen)[:255]
    outcomes = gateway().reassign(dict.fromkeys(chosen)) if chosen else {}
    refused = {str(key): outcome.words for key, outcome in outcomes.items() if outcome.words}
    first = next(iter(refused.values()), "")
    audit.record(request, CANCEL, subject, after={"partitions": len(chosen), "refused": refused}, refused=first)
    if refused:
        messages.error(request, f"{len(refused)} of {len(chosen)} could not be cancelled: {first}")
    if len(chosen) > len(refused):
        done = len(chosen) - len(refused)
        messages.success(request, f"{done} move{'' if done == 1 else 's'} cancelled: the replicas are what they were.")
    gone = len(named) - len(chosen)
    if gone:
        messages.info(request, f"{gone} had been completed before.")
    return HttpResponseRedirect(reverse("moves"))


@require_POST
@login_required
def lift(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied(NOT_ALLOWED)
    try:
        brokers = [one.id for one in gateway().describe_cluster().brokers]
        found = throttle.read(brokers, [topic.name for topic in read_topics()])
        throttle.lift(found)
    except GatewayError as error:
        audit.record(request, LIFT, "replication", refused=str(error))
        messages.error(request, f"The throttle could not be lifted: {error}")
        return HttpResponseRedirect(reverse("moves"))
    subject = brokers_words(sorted(found.rates)) if found else "replication"
    audit.record(
        request,
        LIFT,
        subject,
        before={"rates": {str(k): v for k, v in found.rates.items()}, "topics": list(found.topics)},
    )
    messages.success(request, "The throttle is lifted: replicas copy as fast as they can.")
    return HttpResponseRedirect(reverse("moves"))


STEPS = {"choose": "Choose", "check": "Check and confirm", "moves": "Watch"}


def _page(request: HttpRequest, step: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
    steps = list(STEPS)
    context = {
        **context,
        "step": step,
        "steps": [(label, slug == step, steps.index(slug) < steps.index(step)) for slug, label in STEPS.items()],
        "choose_url": f"?{_without_target(request)}",
    }
    template = f"ottla/operations/move_{step}.html"
    return render(request, template, context, title="Move partitions", crumbs=_crumbs("Move partitions"), status=status)


def _without_target(request: HttpRequest) -> str:
    query = request.GET.copy()
    query.pop("to", None)
    return query.urlencode()


def _crumbs(title: str, url: str = "") -> list[Crumb]:
    return [Crumb(title="Replication", url=reverse("replication")), Crumb(title=title, url=url)]
