"""Having the preferred replicas lead again: what would change, confirm, done.

Which partitions they are comes from the cluster itself, so a cluster of another make works too. What is confirmed is the list that was
shown: a partition that needs no election any more is left alone and said so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from broker.client.results import PlacementOutcome, TopicMetadata
from broker.errors import ErrorCode
from broker.types import TopicPartition
from dashboard import audit
from dashboard.gateway import GatewayError, gateway
from dashboard.operations.facts import read_topics
from dashboard.operations.refusals import NOT_ALLOWED, PERMISSION, not_allowed
from dashboard.pages.shell import Crumb, render

ELECT = "elect preferred leaders"
SHOWN_MAX = 500
ELECTED_MAX = 2_000
"""Of one request; the rest is for the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Election:
    key: TopicPartition
    leader: int
    preferred: int
    ready: bool
    """Whether the preferred replica is in sync; only then it may lead."""


def find_elections(topics: Iterable[TopicMetadata]) -> list[Election]:
    """Pure. Partitions that another than their first replica leads."""
    return [
        Election(
            key=TopicPartition(topic.name, one.partition),
            leader=one.leader,
            preferred=one.replicas[0],
            ready=one.replicas[0] in one.isr,
        )
        for topic in topics
        for one in topic.partitions
        if one.replicas and one.leader != one.replicas[0]
    ]


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def elect(request: HttpRequest) -> HttpResponse:
    """``?topic=`` restricts it to one topic."""
    topic = request.GET.get("topic", "")
    context: dict[str, Any] = {"refusal": not_allowed(request), "topic": topic}
    status = 200
    try:
        topics = read_topics()
        found = find_elections(one for one in topics if topic in ("", one.name))
        if request.method == "POST":
            answer = _elect(request, found)
            if answer is not None:
                return answer
            context["says"], status = (
                "Leaders have changed since you looked. Nothing was done; this is how it is now.",
                409,
            )
        context |= _shown(found, topics)
    except GatewayError as error:
        context["trouble"], status = str(error), 503
    crumbs = [Crumb(title="Replication", url=reverse("replication")), Crumb(title="Elect preferred leaders")]
    template = "ottla/operations/elect.html"
    return render(request, template, context, title="Elect preferred leaders", crumbs=crumbs, status=status)


def _shown(found: list[Election], topics: Iterable[TopicMetadata]) -> dict[str, Any]:
    ready = [one for one in found if one.ready][:ELECTED_MAX]
    leads = Counter(one.leader for topic in topics for one in topic.partitions if one.leader >= 0)
    after = leads - Counter(one.leader for one in ready) + Counter(one.preferred for one in ready)
    return {
        "ready": ready[:SHOWN_MAX],
        "ready_count": len(ready),
        "not_ready": [one for one in found if not one.ready][:SHOWN_MAX],
        "balance": [(broker, leads[broker], after[broker]) for broker in sorted({*leads, *after})],
        "plan": _carried(ready),
    }


def _carried(elections: Iterable[Election]) -> str:
    """What is confirmed: partition, leader, preferred of each."""
    return "\n".join(f"{one.key} {one.leader} {one.preferred}" for one in elections)


def _elect(request: HttpRequest, found: list[Election]) -> HttpResponse | None:
    """The answer when it is done; ``None``: what was shown is no longer so."""
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied(NOT_ALLOWED)
    ready = [one for one in found if one.ready][:ELECTED_MAX]
    if not ready or request.POST.get("plan", "").replace("\r\n", "\n").strip() != _carried(ready):
        return None
    subject = ", ".join(sorted({one.key.topic for one in ready}))
    try:
        outcomes = gateway().elect_preferred_leaders([one.key for one in ready])
    except GatewayError as error:
        audit.record(request, ELECT, subject, refused=str(error))
        raise
    refused = {str(key): outcome.words for key, outcome in outcomes.items() if _is_refused(outcome)}
    first = next(iter(refused.items()), None)
    audit.record(
        request,
        ELECT,
        subject,
        before={str(one.key): one.leader for one in ready[:SHOWN_MAX]},
        after={"partitions": len(ready), "refused": refused},
        refused=f"{len(refused)} of {len(ready)} were refused." if refused else "",
    )
    done = len(ready) - len(refused)
    if done:
        messages.success(request, f"{done} partition{'' if done == 1 else 's'} led by the preferred replica again.")
    if first is not None:
        messages.error(request, f"{len(refused)} of {len(ready)} were refused. {first[0]}: {first[1]}")
    return HttpResponseRedirect(reverse("replication"))


def _is_refused(outcome: PlacementOutcome) -> bool:
    """That it leads already is what was wanted."""
    return outcome.error not in (ErrorCode.NONE, ErrorCode.ELECTION_NOT_NEEDED)
