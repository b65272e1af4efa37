"""One row per change a person made or tried to make through the dashboard."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from django.http import HttpRequest

from dashboard.models import AuditEntry


def record(
    request: HttpRequest,
    action: str,
    subject: str,
    *,
    before: Any = None,
    after: Any = None,
    refused: str = "",
) -> AuditEntry:
    """Write the row. ``before`` and ``after`` are JSON values of what differs; ``refused`` is why nothing changed."""
    user = request.user if request.user.is_authenticated else None
    return AuditEntry.objects.create(
        actor=user,
        actor_name=user.get_username() if user is not None else "anonymous",
        address=_address(request),
        action=action,
        subject=subject[:255],
        before=before,
        after=after,
        outcome=AuditEntry.Outcome.REFUSED if refused else AuditEntry.Outcome.DONE,
        message=refused,
    )


def _address(request: HttpRequest) -> str | None:
    """The peer's address; a forwarding header is not believed, anyone may send one."""
    try:
        return str(ip_address(request.META.get("REMOTE_ADDR", "")))
    except ValueError:
        return None
