"""What the command palette (Ctrl-K) offers: pages, topics, groups. One small JSON, asked for when it opens."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_safe

from dashboard.live.state import GROUPS, TOPICS, GroupRow, TopicRow
from dashboard.live.store import Snapshot, StoreError, readable_store
from dashboard.pages.addresses import group_address, topic_address

NAMES_MAX = 5_000
PAGES = (
    ("Overview", "overview", "monitoring"),
    ("Topics", "topics", "topic"),
    ("Groups", "groups", "group"),
    ("Clients", "clients", "lan"),
    ("Transactions", "transactions", "swap_horiz"),
    ("Brokers", "brokers", "database"),
    ("Replication", "replication", "content_copy"),
    ("Controller", "controller", "account_tree"),
    ("Move partitions", "reassign", "move_down"),
    ("Elect preferred leaders", "elect-leaders", "swap_vert"),
    ("Rolling restart", "rolling-restart", "restart_alt"),
    ("Jobs", "jobs", "work_history"),
    ("Services", "services", "dns"),
)
STAFF_PAGES = (("Administration", "admin:index", "settings"),)


@require_safe
@login_required
def palette(request: HttpRequest) -> HttpResponse:
    try:
        snapshot = readable_store().read([TOPICS, GROUPS])
    except StoreError:
        snapshot = Snapshot()
    items = [
        {"kind": "Page", "title": title, "url": url, "icon": icon}
        for title, name, icon in (*PAGES, *(STAFF_PAGES if request.user.is_staff else ()))
        if (url := _address(name))
    ]
    topics = sorted(row.name for row in snapshot.rows(TOPICS).values() if isinstance(row, TopicRow))
    groups = sorted(row.group_id for row in snapshot.rows(GROUPS).values() if isinstance(row, GroupRow))
    items += [
        {"kind": "Topic", "title": name, "url": topic_address(name), "icon": "topic"} for name in topics[:NAMES_MAX]
    ]
    items += [
        {"kind": "Group", "title": name, "url": group_address(name), "icon": "group"} for name in groups[:NAMES_MAX]
    ]
    return JsonResponse({"items": items}, headers={"Cache-Control": "no-store"})


def _address(name: str) -> str:
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""
