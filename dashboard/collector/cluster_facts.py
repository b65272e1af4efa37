"""Alerts that need a question to the cluster: clients that quotas hold up, and transactions that hang.

Asked now and then by the collector, like the facts about background work; telemetry does not carry them. A broker that does
not answer has an alert of its own, so here it only means that nothing is known.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence

from dashboard.clients.reading import read_connections
from dashboard.gateway import GatewayError
from dashboard.live.state import TOPICS, AlertRow, TopicRow
from dashboard.live.store import StoreError, readable_store
from dashboard.transactions.reading import read_survey
from dashboard.transactions.survey import TransactionView

THROTTLED_SHARE_MIN = 0.1
"""Of the last minute: a client that is slowed down now and then needs nobody's attention."""
WINDOW_SECONDS = 60.0
"""One wait may be as long as half a minute, and is told at once: a shorter window would flap."""
THROTTLED_SHOWN_MAX = 10


class ClusterFacts:
    """Remembers how long each client has been throttled within the last minute."""

    def __init__(self) -> None:
        self._told: Mapping[str, int] = {}
        self._waited: dict[str, int] = {}
        """What was added since the collector started, by client; a client that connects anew begins at zero again."""
        self._looks: deque[tuple[float, dict[str, int]]] = deque()

    def gather(self) -> list[AlertRow]:
        return [*self._throttled(time.monotonic()), *_hanging()]

    def _throttled(self, now_s: float) -> list[AlertRow]:
        try:
            found = read_connections(listener="client")
        except GatewayError:
            return []
        totals: dict[str, int] = {}
        for one in found.connections:
            client_id = one.entry.client_id or ""
            totals[client_id] = totals.get(client_id, 0) + one.entry.throttled_ms
        self._waited = {
            client_id: self._waited.get(client_id, 0) + added(self._told.get(client_id), total)
            for client_id, total in totals.items()
        }
        self._told = totals
        while self._looks and self._looks[0][0] < now_s - WINDOW_SECONDS:
            self._looks.popleft()
        began_s, before = self._looks[0] if self._looks else (now_s, {})
        self._looks.append((now_s, self._waited))
        return throttled_alerts(before, self._waited, (now_s - began_s) * 1000)


def added(before: int | None, total: int) -> int:
    """What a client was throttled since the last look. A client seen first, or with new connections, tells its past or
    starts over: neither is an increase."""
    return total - before if before is not None and total >= before else 0


def throttled_alerts(before: Mapping[str, int], now: Mapping[str, int], elapsed_ms: float) -> list[AlertRow]:
    """Pure. A client counts when its connections were muted for a tenth of the time between the two."""
    shares = {
        client_id: (total - before[client_id]) / elapsed_ms
        for client_id, total in now.items()
        if client_id in before and elapsed_ms > 0
    }
    held_up = sorted(client_id for client_id, share in shares.items() if share >= THROTTLED_SHARE_MIN)
    return [
        AlertRow(
            name=f"client-throttled:{client_id}",
            level="warn",
            title=f"{client_id or 'A client without an id'} is being throttled",
            text="Quotas keep it waiting; nothing is refused or lost.",
            link="clients",
        )
        for client_id in held_up[:THROTTLED_SHOWN_MAX]
    ]


def _hanging() -> list[AlertRow]:
    """Only looked for while somebody is held back: a hanging transaction always holds somebody back."""
    try:
        rows = readable_store().read([TOPICS]).rows(TOPICS).values()
        if not any(isinstance(row, TopicRow) and row.held for row in rows):
            return []
        return hanging_alerts(read_survey().hanging)
    except (GatewayError, StoreError):
        return []


def hanging_alerts(hanging: Sequence[TransactionView]) -> list[AlertRow]:
    """Pure."""
    if not hanging:
        return []
    count = len(hanging)
    partitions = sorted({str(held.topic_partition) for one in hanging for held in one.held})
    shown = ", ".join(partitions[:3]) + (" and others" if len(partitions) > 3 else "")
    return [
        AlertRow(
            name="transactions-hanging",
            level="bad",
            title="A transaction hangs" if count == 1 else f"{count} transactions hang",
            text=f"Nobody will end {'it' if count == 1 else 'them'}: readers of committed records wait at {shown}.",
            since_ms=min(one.start_ms for one in hanging),
            link="transactions",
        )
    ]
