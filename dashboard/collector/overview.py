"""The ``cluster`` scope: head, brokers, alerts and the few topics and groups worth a line. Pure but for its memory.

Which topics and groups are highlighted is decided anew only every ``HIGHLIGHT_MS``, or when one of them is gone, so
that rows of the overview do not jump about; their numbers follow every sample.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dashboard.collector.alerts import AlertBook, cluster_alerts, health
from dashboard.collector.cluster import ClusterModel
from dashboard.collector.control_alerts import control_alerts
from dashboard.live.state import AlertRow, HeadRow, Rows

HIGHLIGHTS_MAX = 6
HIGHLIGHT_MS = 15_000
LEVEL_ORDER = {"bad": 0, "warn": 1}


class Overview:
    def __init__(self) -> None:
        self._book = AlertBook()
        self._top_topics: list[str] = []
        self._top_groups: list[str] = []
        self._chosen_at_ms = 0
        self.head = HeadRow()

    def rows(self, model: ClusterModel, facts: Iterable[AlertRow], now_ms: int) -> Rows:
        self._choose(model, now_ms)
        groups = model.group_list()
        alerts = self._book.book(
            [
                *cluster_alerts(model.brokers.values(), model.topics.values(), groups, now_ms),
                *control_alerts(model.controller, model.brokers.values()),
                *facts,
            ],
            now_ms,
        )
        counted = self._count(model)
        level, sentence = health(counted, alerts, groups)
        self.head = msgspec.structs.replace(counted, level=level, sentence=sentence)
        rows: Rows = {"head": self.head}
        rows.update((broker.key, broker) for broker in model.brokers.values())
        rows.update((alert.key, alert) for alert in alerts)
        rows.update((model.topics[name].key, model.topics[name]) for name in self._top_topics)
        rows.update((model.groups[group_id].row.key, model.groups[group_id].row) for group_id in self._top_groups)
        return rows

    def _choose(self, model: ClusterModel, now_ms: int) -> None:
        gone = any(name not in model.topics for name in self._top_topics) or any(
            group_id not in model.groups for group_id in self._top_groups
        )
        wanted_topics = min(HIGHLIGHTS_MAX, sum(not topic.internal for topic in model.topics.values()))
        wanted_groups = min(HIGHLIGHTS_MAX, len(model.groups))
        full = len(self._top_topics) >= wanted_topics and len(self._top_groups) >= wanted_groups
        if full and not gone and now_ms - self._chosen_at_ms < HIGHLIGHT_MS:
            return
        self._chosen_at_ms = now_ms
        topics = [topic for topic in model.topics.values() if not topic.internal]
        topics.sort(key=lambda t: (LEVEL_ORDER.get(t.level, 2), -(t.bytes_in_rate or 0), -(t.size_bytes or 0), t.name))
        groups = model.group_list()
        groups.sort(key=lambda g: (LEVEL_ORDER.get(g.level, 2), -(g.lag or 0), g.group_id))
        self._top_topics = sorted(topic.name for topic in topics[:HIGHLIGHTS_MAX])
        self._top_groups = sorted(group.group_id for group in groups[:HIGHLIGHTS_MAX])

    def _count(self, model: ClusterModel) -> HeadRow:
        brokers = [broker for broker in model.brokers.values() if broker.state != "decommissioned"]
        topics = list(model.topics.values())
        groups = model.group_list()
        lags = [group.lag for group in groups if group.lag is not None]
        return HeadRow(
            cluster_id=model.cluster_id,
            controller_id=model.controller_id,
            brokers=len(brokers),
            brokers_online=sum(broker.online for broker in brokers),
            topics=sum(not topic.internal for topic in topics),
            partitions=sum(topic.partition_count for topic in topics),
            partitions_offline=sum(topic.offline for topic in topics),
            partitions_under_replicated=sum(topic.under_replicated for topic in topics),
            partitions_under_min_isr=sum(topic.under_min_isr for topic in topics),
            partitions_reassigning=sum(topic.reassigning for topic in topics),
            partitions_led_elsewhere=model.walk.head.led_elsewhere,
            single_copy=sum(
                topic.partition_count for topic in topics if topic.replication_factor == 1 and not topic.internal
            ),
            groups=len(groups),
            groups_behind=sum(group.level in ("warn", "bad") for group in groups),
            bytes_in_rate=_sum(broker.bytes_in_rate for broker in brokers),
            bytes_out_rate=_sum(broker.bytes_out_rate for broker in brokers),
            records_in_rate=_sum(broker.records_in_rate for broker in brokers),
            lag=sum(lags) if lags else None,
            size_bytes=sum(broker.size_bytes for broker in brokers),
            top_topics=self._top_topics,
            top_groups=self._top_groups,
        )


def _sum(rates: Iterable[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None
