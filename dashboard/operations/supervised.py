"""Which brokers can be restarted from here: those that the supervisor of this machine runs."""

from __future__ import annotations

from collections.abc import Sequence

from broker.jobs.rolling_restart import ELSEWHERE
from dashboard.services.supervisor import SupervisorError, read_services


def unsupervised(brokers: Sequence[int]) -> list[str]:
    """Why some of them cannot be restarted from here, in sentences."""
    if not brokers:
        return []
    try:
        services = read_services()
    except SupervisorError as error:
        return [f"{error} {ELSEWHERE.format(broker=brokers[0])}"]
    missing = [broker for broker in brokers if services.find(f"broker-{broker}") is None]
    if not missing:
        return []
    where = ELSEWHERE.format(broker=missing[0])
    return [f"Broker {missing[0]} is not run by the supervisor of this machine. {where}"]
