"""Who may do these things, in words."""

from __future__ import annotations

from django.http import HttpRequest

PERMISSION = "dashboard.move_partitions"
NOT_ALLOWED = (
    "Your account may look at brokers and partitions but not move, restart or take them out. "
    "An administrator can give it that permission."
)


def not_allowed(request: HttpRequest) -> str:
    """Empty when it is allowed."""
    return "" if request.user.has_perm(PERMISSION) else NOT_ALLOWED
