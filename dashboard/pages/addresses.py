"""Addresses of a topic's and a group's page, for names that anybody may have chosen.

A group id is any string: empty, with slashes, line breaks or only dots, which no path can carry; those go into the
query. A topic's name is checked by the broker, but a member may claim to own partitions of something that is none.
"""

from __future__ import annotations

from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse

DOTS = frozenset({".", ".."})
"""A browser takes these for directions, not for names."""


def group_address(group_id: str) -> str:
    if group_id and not DOTS & set(group_id.split("/")):
        try:
            return reverse("group", args=[group_id])
        except NoReverseMatch:
            pass  # The query carries what a path cannot.
    return f"{reverse('group-by-id')}?{urlencode({'id': group_id})}"


def topic_address(name: str) -> str:
    """Empty when no topic can have that name."""
    if name in DOTS:
        return ""
    try:
        return reverse("topic", args=[name])
    except NoReverseMatch:
        return ""
