"""The shell's look and its sidebar: ``UNFOLD`` of the settings.

The sidebar is made per request, so that a page appears in it when the part that provides it is installed and the
user may open it.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse

PAGES = (
    ("Overview", "overview", "monitoring"),
    ("Topics", "topics", "topic"),
    ("Groups", "groups", "group"),
    ("Clients", "clients", "lan"),
    ("Transactions", "transactions", "swap_horiz"),
    ("Brokers", "brokers", "database"),
    ("Replication", "replication", "content_copy"),
    ("Controller", "controller", "account_tree"),
    ("Jobs", "jobs", "work_history"),
    ("Services", "services", "dns"),
)
ADMINISTRATION = (
    ("Topic configuration", "admin:dashboard_topic_changelist", "tune", "dashboard.view_topic"),
    ("Audit", "admin:dashboard_auditentry_changelist", "history", "dashboard.view_auditentry"),
    ("Users", "admin:auth_user_changelist", "person", "auth.view_user"),
    ("User groups", "admin:auth_group_changelist", "shield_person", "auth.view_group"),
)


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    pages = [_item(request, title, name, icon) for title, name, icon in PAGES]
    administration = [
        _item(request, title, name, icon)
        for title, name, icon, permission in ADMINISTRATION
        if request.user.is_staff and request.user.has_perm(permission)
    ]
    return [
        {"title": "", "items": [item for item in pages if item]},
        {"title": "Administration", "separator": True, "items": [item for item in administration if item]},
    ]


def _item(request: HttpRequest, title: str, name: str, icon: str) -> dict[str, Any] | None:
    """A link, or nothing when no installed part provides the page."""
    try:
        url = reverse(name)
    except NoReverseMatch:
        return None
    active = request.path == url if url == reverse("overview") else request.path.startswith(url)
    return {"title": title, "icon": icon, "link": url, "active": active}


def cluster_name(request: HttpRequest) -> str:
    from django.conf import settings

    return settings.OTTLA_CLUSTER_NAME


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Ottla",
    "SITE_HEADER": "Ottla",
    "SITE_SUBHEADER": "dashboard.pages.navigation.cluster_name",
    "SITE_SYMBOL": "stacks",
    "SITE_URL": "/",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("ottla/favicon.svg")},
    ],
    "BORDER_RADIUS": "8px",
    "STYLES": [
        lambda request: static("ottla/css/ottla.css"),
        lambda request: static("ottla/css/work.css"),
        lambda request: static("ottla/css/engine.css"),
        lambda request: static("ottla/css/cluster.css"),
    ],
    "SHOW_VIEW_ON_SITE": False,
    "COLORS": {
        "primary": {
            "50": "oklch(97.4% .013 248)",
            "100": "oklch(94.3% .03 248)",
            "200": "oklch(89.2% .058 248)",
            "300": "oklch(81.5% .095 249)",
            "400": "oklch(71.5% .13 250)",
            "500": "oklch(65% .145 252)",
            "600": "oklch(53.8% .155 254)",
            "700": "oklch(47% .14 255)",
            "800": "oklch(40.5% .115 256)",
            "900": "oklch(35.5% .09 257)",
            "950": "oklch(26.5% .065 258)",
        },
    },
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": "dashboard.pages.navigation.navigation",
    },
}
