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
from dashboard.live.state import CLUSTER, GROUPS, TOPICS, AlertRow, Pulse, Rows


class Pipeline:
    def __init__(self) -> None:
        self.model = ClusterModel()
        self.overview = Overview()
        self._history = History()
        self._publisher: Publisher | None = None
        self._first = True

    @property
    def begun(self) -> bool:
        """Whether ``begin`` was called."""
        return self._publisher is not None

    def begin(self, *, last_seq: int, now_ms: int) -> None:
        """Continue above the newest ``seq`` any earlier collector wrote."""
        self._publisher = Publisher(last_seq=last_seq, now_ms=now_ms)

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
        self._first = False
        return self._publisher.plan(
            changed,
            derived.gone,
            watched=watched,
            pulse=Pulse(made_at_ms=now_ms, sampled=self.model.sampled, offline=self.model.offline),
            points=self._history.points(self.overview.head, self.model, now_ms),
            now_ms=now_ms,
        )
