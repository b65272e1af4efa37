"""What changed in the cluster and why, newest last: the timeline's memory. Pure.

An event is noted when a partition's row changes its leader, its in-sync set or its replicas. The same change of many partitions
(a broker dies: a hundred leaders move) is one event while it lasts less than ``MERGE_MS``. Bounded: ``EVENTS_MAX`` events with
``PLACES_MAX`` named partitions each; a restarted collector takes over what the former one published.

Causes and times are the controller's, from the metadata. A partition that is seen first makes no event.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dashboard.collector.control import ControlView
from dashboard.live.replication_rows import EventKind, EventPlace, EventRow, PartitionRow
from dashboard.live.state import Rows

EVENTS_MAX = 300
PLACES_MAX = 60
MERGE_MS = 3_000
"""A takeover of many partitions is spread over some commits of the controller."""

_Signature = tuple[EventKind, str, tuple[int, ...], tuple[int, ...]]


class EventBook:
    def __init__(self) -> None:
        self._events: dict[int, EventRow] = {}
        self._next = 1
        self._changed = False
        self._elected_epoch = -1

    def take_over(self, rows: Rows) -> None:
        """Go on with what an earlier collector published."""
        found = sorted((row for row in rows.values() if isinstance(row, EventRow)), key=lambda row: row.number)
        self._events = {row.number: row for row in found[-EVENTS_MAX:]}
        self._next = max(self._events, default=0) + 1
        self._elected_epoch = max((row.epoch for row in found if row.kind == "controller"), default=-1)
        self._changed = True

    def note(self, was: PartitionRow | None, now: PartitionRow, seen_at_ms: int) -> None:
        """A partition's row as it was and as it is."""
        if was is None or (was.partition_epoch == now.partition_epoch == -1 and _placed(was) == _placed(now)):
            return
        if now.leader_epoch < was.leader_epoch:
            return  # made anew under its old name
        at_ms = now.changed_at_ms if now.changed_at_ms >= 0 else seen_at_ms
        place = EventPlace(now.topic, now.partition, now.leader_epoch)
        if was.leader != now.leader:
            kind: EventKind = "leader" if now.leader >= 0 else "no leader"
            self._add(kind, now.cause, _one(was.leader), _one(now.leader), place, at_ms)
        if set(was.isr) != set(now.isr):
            lost = [broker for broker in sorted(was.isr) if broker not in now.isr]
            gained = [broker for broker in sorted(now.isr) if broker not in was.isr]
            self._add("isr", now.cause, lost, gained, place, at_ms)
        if was.target_replicas != now.target_replicas or was.replicas != now.replicas:
            self._add("replicas", now.cause, was.replicas, now.target_replicas, place, at_ms)

    def note_control(self, was: ControlView, now: ControlView, seen_at_ms: int) -> None:
        """Elections that were not noted yet, and brokers that joined the cluster or left it."""
        before = -1
        for election in now.control.elections:
            if election.epoch > self._elected_epoch:
                self._elected_epoch = election.epoch
                self._append(
                    EventRow(
                        number=self._next,
                        kind="controller",
                        at_ms=election.at_ms,
                        cause=election.cause,
                        before=_one(before),
                        after=[election.broker_id],
                        epoch=election.epoch,
                    )
                )
            before = election.broker_id
        if not was.registrations:
            return
        lived, live = ({one.id for one in view.registrations.values() if one.live} for view in (was, now))
        for broker in sorted(live - lived):
            at_ms = now.registrations[broker].registered_at_ms
            self._append(
                EventRow(number=self._next, kind="broker", at_ms=at_ms if at_ms >= 0 else seen_at_ms, after=[broker])
            )
        for broker in sorted(lived - live):
            self._append(EventRow(number=self._next, kind="broker", at_ms=seen_at_ms, before=[broker]))

    def _add(
        self, kind: EventKind, cause: str, before: list[int], after: list[int], place: EventPlace, at_ms: int
    ) -> None:
        signature: _Signature = (kind, cause, tuple(before), tuple(after))
        for event in self._recent(at_ms):
            if (event.kind, event.cause, tuple(event.before), tuple(event.after)) == signature:
                places = event.places if len(event.places) >= PLACES_MAX else [*event.places, place]
                self._put(msgspec.structs.replace(event, count=event.count + 1, places=places))
                return
        self._append(
            EventRow(
                number=self._next,
                kind=kind,
                at_ms=at_ms,
                cause=cause,
                before=before,
                after=after,
                count=1,
                places=[place],
            )
        )

    def _recent(self, at_ms: int) -> Iterable[EventRow]:
        """Newest first, as long as they may be the same change."""
        for number in reversed(self._events):
            event = self._events[number]
            if abs(at_ms - event.at_ms) > MERGE_MS:
                return
            yield event

    def _append(self, event: EventRow) -> None:
        self._next += 1
        self._put(event)
        while len(self._events) > EVENTS_MAX:
            del self._events[next(iter(self._events))]

    def _put(self, event: EventRow) -> None:
        self._events[event.number] = event
        self._changed = True

    def take_changes(self) -> Rows | None:
        """All rows when one changed since the last call, else ``None``."""
        if not self._changed:
            return None
        self._changed = False
        return {event.key: event for event in self._events.values()}


def _placed(row: PartitionRow) -> tuple[int, list[int], list[int]]:
    return row.leader, row.isr, row.replicas


def _one(broker: int) -> list[int]:
    return [broker] if broker >= 0 else []
