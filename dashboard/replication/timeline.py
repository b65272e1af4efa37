"""Events as marks on one time axis, a lane for each kind. Pure: geometry in percent of the width and in pixels of the height."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dashboard.live.replication_rows import EventKind, EventRow

RANGES = {"15m": (900, "15 min"), "1h": (3_600, "1 h"), "6h": (21_600, "6 h"), "24h": (86_400, "24 h")}
RANGE = "1h"
LANES: tuple[tuple[str, tuple[EventKind, ...]], ...] = (
    ("Leaders", ("leader", "no leader")),
    ("In sync", ("isr",)),
    ("Replicas", ("replicas",)),
    ("Brokers", ("broker", "controller")),
)
LANE_HEIGHT = 26
TICKS = 4
LEFT = 12.0
"""Percent of the width that the names of the lanes take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    event: EventRow
    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    name: str
    y: float
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    lanes: tuple[Lane, ...]
    ticks: tuple[tuple[float, int, str], ...]
    """(x, wall clock, how its label is anchored)."""
    height: int
    shown: int
    earlier: int
    """Events that are older than the axis."""


def read_range(text: str) -> str:
    return text if text in RANGES else RANGE


def timeline(events: Sequence[EventRow], now_ms: int, span: str) -> Timeline:
    span_ms = RANGES[span][0] * 1000
    start_ms = now_ms - span_ms
    inside = [event for event in events if event.at_ms >= start_ms]

    def place(at_ms: int) -> float:
        share = min(1.0, max(0.0, (at_ms - start_ms) / span_ms))
        return round(LEFT + share * (99.0 - LEFT), 3)

    lanes = []
    for index, (name, kinds) in enumerate(LANES):
        y = index * LANE_HEIGHT + LANE_HEIGHT / 2
        lanes.append(Lane(name=name, y=y, marks=tuple(_marks(inside, kinds, y, place))))
    ticks = tuple(
        (place(start_ms + span_ms * step // TICKS), start_ms + span_ms * step // TICKS, _anchor(step))
        for step in range(TICKS + 1)
    )
    return Timeline(
        lanes=tuple(lanes),
        ticks=ticks,
        height=len(LANES) * LANE_HEIGHT + 22,
        shown=len(inside),
        earlier=len(events) - len(inside),
    )


def _marks(events: Iterable[EventRow], kinds: tuple[EventKind, ...], y: float, place: object) -> Iterable[Mark]:
    assert callable(place)
    for event in events:
        if event.kind in kinds:
            radius = 4.0 if event.count <= 1 else 5.5 if event.count < 20 else 7.0
            yield Mark(event=event, x=place(event.at_ms), y=y, radius=radius)


def _anchor(step: int) -> str:
    return "start" if step == 0 else "end" if step == TICKS else "middle"
