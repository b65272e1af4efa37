"""Does the demo workload run, and who can start it? For the Overview and the two buttons."""

from __future__ import annotations

from dataclasses import dataclass

from broker.supervisor.service import ServiceState
from dashboard.demo.names import CURRENT_GROUP
from dashboard.live.state import GROUPS, GroupRow
from dashboard.live.store import StoreError, readable_store
from dashboard.services.supervisor import SupervisorError, read_services

SERVICE = "demo"
RUNNING = (ServiceState.STARTING, ServiceState.READY, ServiceState.BACKING_OFF)
BY_HAND = "docker compose --profile demo up -d demo"
BY_HAND_STOP = "docker compose --profile demo stop demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoStatus:
    running: bool
    managed: bool
    """A supervisor is there that starts and stops it."""
    trouble: str = ""
    """Why it does not get going, in words."""


def demo_status() -> DemoStatus:
    try:
        row = read_services().find(SERVICE)
    except SupervisorError:
        return DemoStatus(running=_has_members(), managed=False)
    if row is None:
        return DemoStatus(running=_has_members(), managed=False)
    return DemoStatus(running=row.state in RUNNING, managed=True, trouble=row.trouble)


def _has_members() -> bool:
    """Without a supervisor to ask, its own group tells."""
    try:
        group = readable_store().read([GROUPS]).rows(GROUPS).get(f"group:{CURRENT_GROUP}")
    except StoreError:
        return False
    return isinstance(group, GroupRow) and group.member_count > 0
