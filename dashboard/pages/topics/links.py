"""Where topics are created and configured: Django admin, for those who may."""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse


def create_topic_url(request: HttpRequest) -> str:
    """Empty when the user may not, or the administration is not installed."""
    return _admin_url(request, "add", "dashboard.add_topic")


def configure_topic_url(request: HttpRequest, name: str) -> str:
    """The admin's page of the topic; rows are found by name."""
    return _admin_url(request, "changelist", "dashboard.change_topic", query=name)


def _admin_url(request: HttpRequest, view: str, permission: str, query: str = "") -> str:
    if not (request.user.is_staff and request.user.has_perm(permission)):
        return ""
    try:
        url = reverse(f"admin:dashboard_topic_{view}")
    except NoReverseMatch:
        return ""
    return f"{url}?{urlencode({'q': query})}" if query else url
