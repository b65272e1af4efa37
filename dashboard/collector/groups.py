"""Lag of one group, from what its coordinator and the partitions' leaders say. Pure.

Lag is the high watermark minus the committed offset, per partition, as Kafka's tools count it. Seconds of lag are
measured from the timestamp of the first record not yet read. A partition without a committed offset, or whose end
nobody tells, has an unknown lag: it is counted apart, never as zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from broker.telemetry.sample import GroupSample, MemberSample, OffsetSample
from dashboard.collector.verdicts import Point, Progress, Verdict, coordinator_silent, judge
from dashboard.live.replication_rows import PartitionRow
from dashboard.live.state import GroupRow, MemberRow, OffsetRow, Rows, TopicGroupRow

FindPartition = Callable[[str, int], PartitionRow | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """Everything the pages show about one group."""

    row: GroupRow
    members: list[MemberRow]
    offsets: list[OffsetRow]

    def detail(self) -> Rows:
        rows: Rows = {"group": self.row}
        rows.update((member.key, member) for member in self.members)
        rows.update((offset.key, offset) for offset in self.offsets)
        return rows

    def on_topic(self, topic: str) -> TopicGroupRow:
        """The same group as the page of one topic shows it."""
        offsets = [offset for offset in self.offsets if offset.topic == topic]
        owners = {offset.owner for offset in offsets if offset.owner}
        lag = _lag(offsets)
        return TopicGroupRow(
            group_id=self.row.group_id,
            state=self.row.state,
            lag=lag.total,
            lag_unknown=lag.unknown,
            behind_since_ms=lag.behind_since_ms,
            time_lag_known=lag.time_known,
            members=len(owners),
            verdict=self.row.verdict,
            level=self.row.level,
            source=self.row.source,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lag:
    total: int | None
    unknown: int
    behind_since_ms: int
    time_known: bool


def view_group(
    group: GroupSample,
    *,
    source: int,
    answering: bool,
    find_partition: FindPartition,
    progress: Progress,
    now_ms: int,
) -> GroupView:
    """Join the group's offsets with the partitions' ends, note the point, judge it.

    ``now_ms`` is the clock of the coordinator that told it; ``answering`` whether that one still does.
    """
    owners = {(topic, partition): member for member in group.members for topic, partition in member.assignment}
    committed = {(offset.topic, offset.partition): offset for offset in group.offsets}
    offsets = [
        _offset_row(
            topic, partition, committed.get((topic, partition)), owners.get((topic, partition)), source, find_partition
        )
        for topic, partition in sorted(committed.keys() | owners.keys())
    ]
    lag = _lag(offsets)
    known = [offset for offset in offsets if offset.committed >= 0]
    progress.note(
        Point(
            at_ms=now_ms,
            committed=sum(offset.committed for offset in known),
            partitions=len(known),
            lag=lag.total,
        )
    )
    verdict = (
        judge(
            state=group.state,
            members=len(group.members),
            lag=lag.total,
            progress=progress,
            now_ms=now_ms,
            state_since_ms=group.state_since_ms,
            rebalance_reason=group.last_rebalance_reason,
        )
        if answering
        else coordinator_silent()
    )
    return GroupView(
        row=_group_row(group, offsets, lag, verdict, source),
        members=[_member_row(group, member, offsets, source) for member in group.members],
        offsets=offsets,
    )


def _group_row(group: GroupSample, offsets: list[OffsetRow], lag: _Lag, verdict: Verdict, source: int) -> GroupRow:
    return GroupRow(
        group_id=group.group_id,
        state=group.state,
        protocol_type=group.protocol_type,
        protocol=group.protocol,
        type=group.type,
        generation=group.generation,
        assignment_epoch=group.assignment_epoch,
        coordinator=group.coordinator,
        member_count=len(group.members),
        rebalances=group.rebalances_total,
        last_rebalance_reason=group.last_rebalance_reason,
        state_since_ms=group.state_since_ms,
        topics=sorted({offset.topic for offset in offsets}),
        partition_count=len(offsets),
        lag=lag.total,
        lag_unknown=lag.unknown,
        behind_since_ms=lag.behind_since_ms,
        time_lag_known=lag.time_known,
        verdict=verdict.word,
        verdict_text=verdict.text,
        level=verdict.level,
        source=source,
    )


def _offset_row(
    topic: str,
    partition: int,
    offset: OffsetSample | None,
    owner: MemberSample | None,
    source: int,
    find_partition: FindPartition,
) -> OffsetRow:
    log = find_partition(topic, partition)
    committed = offset.committed if offset is not None else -1
    end = log.high_watermark if log is not None else -1
    lag = max(0, end - committed) if committed >= 0 and end >= 0 else None
    behind_since_ms = offset.record_timestamp_ms if offset is not None and lag else -1
    return OffsetRow(
        topic=topic,
        partition=partition,
        committed=committed,
        log_start_offset=log.log_start_offset if log is not None else -1,
        end=end,
        lag=lag,
        behind_since_ms=behind_since_ms,
        time_lag_known=lag == 0 or (bool(lag) and behind_since_ms >= 0),
        committed_at_ms=offset.committed_at_ms if offset is not None else -1,
        owner=owner.member_id if owner is not None else "",
        owner_client=(owner.client_id or owner.member_id) if owner is not None else "",
        source=source,
    )


def _lag(offsets: list[OffsetRow]) -> _Lag:
    known = [offset.lag for offset in offsets if offset.lag is not None]
    behind = [offset for offset in offsets if offset.lag]
    since = [offset.behind_since_ms for offset in behind if offset.behind_since_ms >= 0]
    return _Lag(
        total=sum(known) if known else None,
        unknown=len(offsets) - len(known),
        behind_since_ms=min(since, default=-1),
        time_known=bool(known) and all(offset.time_lag_known for offset in behind),
    )


def _member_row(group: GroupSample, member: MemberSample, offsets: list[OffsetRow], source: int) -> MemberRow:
    owned, target = set(member.assignment), set(member.target)
    modern = group.type == "consumer"
    lags = [offset.lag for offset in offsets if offset.owner == member.member_id and offset.lag is not None]
    return MemberRow(
        member_id=member.member_id,
        client_id=member.client_id,
        host=member.host,
        instance_id=member.instance_id,
        session_timeout_ms=member.session_timeout_ms,
        last_heartbeat_ms=member.last_heartbeat_ms,
        is_leader=member.member_id == group.leader,
        assignment=_by_topic(owned),
        protocol=member.protocol,
        epoch=member.epoch,
        state=member.state,
        coming=_by_topic(target - owned) if modern else [],
        leaving=_by_topic((owned - target) | set(member.revoking)) if modern else [],
        topics=sorted(member.topics),
        topic_regex=member.topic_regex,
        rack=member.rack,
        lag=sum(lags) if lags else None,
        source=source,
    )


def _by_topic(partitions: Iterable[tuple[str, int]]) -> list[tuple[str, list[int]]]:
    grouped: dict[str, list[int]] = {}
    for topic, partition in sorted(partitions):
        grouped.setdefault(topic, []).append(partition)
    return list(grouped.items())
