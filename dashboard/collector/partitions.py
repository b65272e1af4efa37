"""Whom to believe about a partition, and its row. Pure.

Several brokers speak about one partition. Who leads it, who is in sync and who keeps it is taken from whoever knows the newest
leader epoch, then the newest partition epoch, be it silent by now: leadership that was once seen to move never moves back on
a page. Its numbers are taken from the broker that leads it by that word, else from the best that has a log of it. So a row has
one leader, and two brokers that both believe to lead are never shown as such.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from broker.telemetry.sample import PartitionSample
from dashboard.collector.rates import Meter
from dashboard.live.replication_rows import FollowerLag, PartitionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What one broker says of a partition."""

    broker: int
    online: bool
    sample: PartitionSample


@dataclass(frozen=True, slots=True, kw_only=True)
class Believed:
    placed: PartitionSample
    """Who leads, who is in sync, who keeps it."""
    told: PartitionSample
    """Its numbers."""
    source: int
    """Who told the numbers."""


def believe(spoken: Iterable[Spoken]) -> Believed | None:
    """``None`` when nobody says anything."""
    voices = list(spoken)
    if not voices:
        return None
    newest = max(voices, key=_newest_first)
    leader = newest.sample.leader
    told = max(voices, key=lambda voice: _nearest_first(voice, leader))
    return Believed(placed=newest.sample, told=told.sample, source=told.broker)


def _newest_first(voice: Spoken) -> tuple[int, int, bool, bool, int]:
    sample = voice.sample
    return sample.leader_epoch, sample.partition_epoch, voice.online, sample.leader == voice.broker, -voice.broker


def _nearest_first(voice: Spoken, leader: int) -> tuple[bool, bool, bool, tuple[int, int], int]:
    """The leader's log while it answers, else any log of a broker that answers, else the last words about one."""
    sample = voice.sample
    has_log = sample.log_end_offset >= 0
    epochs = (sample.leader_epoch, sample.log_end_offset)
    return has_log and voice.online and voice.broker == leader, voice.online and has_log, has_log, epochs, -voice.broker


def partition_row(
    believed: Believed,
    meter: Meter,
    *,
    min_isr: int | None,
    out_of_reach: str,
    held_since_ms: int,
    has_log: bool,
) -> PartitionRow:
    placed, told = believed.placed, believed.told
    return PartitionRow(
        topic=placed.topic,
        partition=placed.partition,
        leader=placed.leader,
        leader_epoch=placed.leader_epoch,
        partition_epoch=placed.partition_epoch,
        replicas=placed.replicas,
        isr=placed.isr,
        elr=placed.elr,
        last_known_leader=placed.last_known_leader,
        adding=placed.adding,
        removing=placed.removing,
        min_isr=min_isr,
        cause=placed.cause,
        changed_at_ms=placed.changed_at_ms,
        unclean_epoch=placed.unclean_epoch,
        unclean_at_ms=placed.unclean_at_ms,
        followers=_followers(placed, told, believed.source),
        log_start_offset=told.log_start_offset,
        high_watermark=told.high_watermark,
        last_stable_offset=told.last_stable_offset,
        held_since_ms=held_since_ms,
        log_end_offset=told.log_end_offset,
        flushed_offset=told.flushed_offset,
        size_bytes=told.size_bytes if has_log else None,
        segment_count=told.segment_count,
        bytes_in_rate=meter.rate(0) if has_log else None,
        bytes_out_rate=meter.rate(1) if has_log else None,
        records_in_rate=meter.rate(2) if has_log else None,
        last_record_ms=told.last_record_ms,
        producers=told.producers,
        offline_reason=_offline_reason(placed, told, believed.source) or out_of_reach,
        source=believed.source,
    )


def _offline_reason(placed: PartitionSample, told: PartitionSample, source: int) -> str:
    """What the broker says that should serve it, or why nobody does. A damaged replica of others is not offline for readers."""
    if placed.leader < 0:
        if told.offline_reason and len(placed.replicas) == 1:
            return told.offline_reason
        return _leaderless(placed)
    return told.offline_reason if source == placed.leader or len(placed.replicas) == 1 else ""


def _leaderless(placed: PartitionSample) -> str:
    if not placed.isr:
        eligible = f"; {_brokers(placed.elr)} would have everything" if placed.elr else ""
        return f"No replica is in sync{eligible}."
    return f"None of its replicas in sync answers the controller: {_brokers(placed.isr)}."


def _brokers(ids: list[int]) -> str:
    return f"broker {ids[0]}" if len(ids) == 1 else f"brokers {', '.join(map(str, ids))}"


def _followers(placed: PartitionSample, told: PartitionSample, source: int) -> list[FollowerLag]:
    """By the leader's word alone, and only while it leads: what it knew of followers under an earlier epoch is old."""
    if source != placed.leader or told.leader_epoch != placed.leader_epoch:
        return [FollowerLag(broker) for broker in placed.replicas if broker != placed.leader]
    said = {broker: (end, caught_up_ms) for broker, end, caught_up_ms in told.followers}
    rows = []
    for broker in placed.replicas:
        if broker == placed.leader:
            continue
        end, caught_up_ms = said.get(broker, (-1, -1))
        lag = max(0, told.log_end_offset - end) if end >= 0 <= told.log_end_offset else None
        rows.append(FollowerLag(broker, lag, caught_up_ms))
    return rows
