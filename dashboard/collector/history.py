"""When to keep a point of the short history, and what is in it. Pure but for the time of the last point.

Series: ``cluster`` ``[ms, bytes in/s, bytes out/s, records in/s, lag]``; ``topic:<name>`` ``[ms, bytes in/s, bytes
out/s, records in/s]``; ``group:<id>`` ``[ms, lag, seconds of lag]``. ``None`` is a gap: a number a
silent broker can no longer tell is not drawn as if it stood still.
"""

from __future__ import annotations

from dashboard.collector.cluster import ClusterModel
from dashboard.live.state import GroupRow, HeadRow, TopicRow, group_scope, topic_scope
from dashboard.live.store import CLUSTER_STEP_SECONDS, DETAIL_STEP_SECONDS, Point

SERIES_MAX = 500
"""Topics and groups that get a history, the busiest first."""


class History:
    def __init__(self) -> None:
        self._cluster_at_ms = 0
        self._details_at_ms = 0

    def points(self, head: HeadRow, model: ClusterModel, now_ms: int) -> dict[str, Point]:
        """The points due now."""
        due: dict[str, Point] = {}
        if now_ms - self._cluster_at_ms >= CLUSTER_STEP_SECONDS * 1000:
            self._cluster_at_ms = now_ms
            lag = head.lag if head.brokers_online else None
            due["cluster"] = [now_ms, head.bytes_in_rate, head.bytes_out_rate, head.records_in_rate, lag]
        if now_ms - self._details_at_ms >= DETAIL_STEP_SECONDS * 1000:
            self._details_at_ms = now_ms
            due |= self._details(model, now_ms)
        return due

    def _details(self, model: ClusterModel, now_ms: int) -> dict[str, Point]:
        offline = set(model.offline)
        groups = sorted(model.group_list(), key=lambda group: -(group.lag or 0))[:SERIES_MAX]
        topics = sorted(model.topics.values(), key=lambda topic: -(topic.bytes_in_rate or 0))[:SERIES_MAX]
        due = {topic_scope(topic.name): _topic_point(topic, now_ms, stale=topic.source in offline) for topic in topics}
        due |= {
            group_scope(group.group_id): _group_point(group, now_ms, stale=group.source in offline) for group in groups
        }
        return due


def _topic_point(topic: TopicRow, now_ms: int, *, stale: bool) -> Point:
    if stale:
        return [now_ms, None, None, None]
    return [now_ms, topic.bytes_in_rate, topic.bytes_out_rate, topic.records_in_rate]


def _group_point(group: GroupRow, now_ms: int, *, stale: bool) -> Point:
    if stale:
        return [now_ms, None, None]
    return [now_ms, group.lag, seconds_behind(group, now_ms)]


def seconds_behind(group: GroupRow, now_ms: int) -> float | None:
    """Seconds since the oldest unread record was written; 0 when caught up, ``None`` when unknown."""
    if group.lag == 0:
        return 0.0
    if group.lag is None or not group.time_lag_known or group.behind_since_ms < 0:
        return None
    return max(0.0, round((now_ms - group.behind_since_ms) / 1000, 1))
