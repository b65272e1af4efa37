"""From what brokers said to what is written and sent: the collector without its loop. No I/O, no clock.

``driver.py`` feeds it and performs its plans; tests feed it by hand.
"""

from __future__ import annotations

from collections.abc import Iterable

from broker.telemetry.sample import Sample
from dashboard.collector.cluster import ClusterModel
from dashboard.collector.history import History
from dashboard.collector.overview import Overview
from dashboard.collector.publisher import Plan, Publisher
from dashboard.live.replication_rows import ControllerRow
from dashboard.live.state import CLUSTER, CONTROL, EVENTS, GROUPS, REPLICATION, TOPICS, AlertRow, Pulse, Rows

BROKER_DETAILS_MS = 5_000
"""The partitions of a broker nobody watches are written this often, so that its page is full when it is opened."""


class Pipeline:
    def __init__(self) -> None:
        self.model = ClusterModel()
        self.overview = Overview()
        self._history = History()
        self._publisher: Publisher | None = None
        self._first = True
        self._broker_details_at_ms = 0

    @property
    def begun(self) -> bool:
        """Whether ``begin`` was called."""
        return self._publisher is not None

    def begin(self, *, last_seq: int, now_ms: int, events: Rows | None = None) -> None:
        """Continue above the newest ``seq`` any earlier collector wrote, with the ``events`` it has noted."""
        self._publisher = Publisher(last_seq=last_seq, now_ms=now_ms)
        if events:
            self.model.events.take_over(events)

    def forget(self) -> None:
        """The store may have lost or missed anything: write all of it with the next step."""
        if self._publisher is not None:
            self._publisher.forget()

    def fold(self, sample: Sample) -> None:
        """Raises ``SampleGap`` when the broker has to be asked for a full sample."""
        self.model.fold(sample.broker_id, sample)

    def step(self, watched: set[str], facts: Iterable[AlertRow], now_ms: int) -> Plan:
        """Derive what changed since the last step and decide what to write and send."""
        assert self._publisher is not None, "begin first"
        derived = self.model.derive()
        changed: dict[str, Rows] = {CLUSTER: self.overview.rows(self.model, facts, now_ms), **derived.details}
        # An empty list is known to be empty, and not unknown, from the first step on.
        if derived.topics_changed or self._first:
            changed[TOPICS] = self.model.topic_rows()
        if derived.groups_changed or self._first:
            changed[GROUPS] = self.model.group_rows()
        changed |= self._about_replication(derived.walked, watched, now_ms)
        self._first = False
        return self._publisher.plan(
            changed,
            derived.gone,
            watched=watched,
            pulse=Pulse(made_at_ms=now_ms, sampled=self.model.sampled, offline=self.model.offline),
            points=self._history.points(self.overview.head, self.model, now_ms),
            now_ms=now_ms,
        )

    def _about_replication(self, walked: bool, watched: set[str], now_ms: int) -> dict[str, Rows]:
        changed: dict[str, Rows] = {CONTROL: {ControllerRow.KEY: self.model.controller}}
        events = self.model.events.take_changes()
        if events is not None or self._first:
            changed[EVENTS] = events or {}
        if walked or self._first:
            changed[REPLICATION] = self.model.walk.rows()
            all_due = now_ms - self._broker_details_at_ms >= BROKER_DETAILS_MS
            if all_due:
                self._broker_details_at_ms = now_ms
            changed |= self.model.broker_details(None if all_due else watched)
        return changed
