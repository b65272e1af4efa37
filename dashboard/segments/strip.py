"""Where the segments of a partition lie on a strip: along offsets or along time. Pure.

Owns: geometry in percent of the strip's width and in pixels of its height, so that the same markup fits every screen
without script. A bar is as high as its segment is large, so a strip shows how full the active one is. A partition may have
thousands of segments; beyond ``BARS_MAX`` neighbours share a bar.

On the time axis segments may overlap, because producers choose timestamps: overlapping ones go into lanes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from broker.protocol.private import PartitionInventory
from broker.retention.forecast import Fate
from broker.retention.plan import newest_ms

BARS_MAX = 240
LANES_MAX = 3
WIDTH_MIN = 0.3
"""Percent: a segment of one record is still seen and can be pointed at."""
HEIGHT = 56.0
LANE_GAP = 3.0
FILLED_MIN = 0.1
TICKS = 4
TIME_STEPS_MS = tuple(
    seconds * 1000
    for seconds in (
        *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200),
        *(86_400, 172_800, 604_800, 1_209_600, 2_592_000, 7_776_000, 15_552_000, 31_536_000, 157_680_000),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One segment, or several neighbours."""

    fates: Sequence[Fate]
    x: float
    width: float
    y: float
    height: float
    """Of its lane; what it fills of that, from below, is as much as it is large."""
    filled: float
    due: bool

    @property
    def first(self) -> Fate:
        return self.fates[0]

    @property
    def last(self) -> Fate:
        return self.fates[-1]

    @property
    def size_bytes(self) -> int:
        return sum(fate.segment.size_bytes for fate in self.fates)

    @property
    def active(self) -> bool:
        return self.last.segment.active

    @property
    def filled_y(self) -> float:
        return round(self.y + self.height - self.filled, 1)

    @property
    def css(self) -> str:
        if self.due:
            return "due"
        return {"retention.ms": "time", "retention.bytes": "size", "compaction": "compact"}.get(self.first.rule, "kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    x: float
    value: int
    """An offset, or on the time axis the milliseconds before now."""
    anchor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A line across the strip."""

    x: float
    name: str
    label: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    bars: Sequence[Bar] = ()
    ticks: Sequence[Tick] = ()
    marks: Sequence[Mark] = ()
    lanes: int = 1
    shade_width: float = 0.0
    """From the left edge: records a client deleted, or on the time axis what is older than ``retention.ms``."""
    untimed: int = 0
    """Segments that cannot be placed on the time axis, because their records carry no timestamps."""

    @property
    def kinds(self) -> set[str]:
        """The colours that occur, for the legend."""
        return {bar.css for bar in self.bars}


def offset_strip(
    inventory: PartitionInventory, fates: Sequence[Fate], now_ms: int, first_dirty_offset: int = -1
) -> Strip:
    """From the first segment to the end of the log. ``first_dirty_offset``: up to where it has been compacted."""
    shown = [fate for fate in fates if fate.segment.end_offset > fate.segment.base_offset]
    if not shown:
        return Strip()
    low, high = shown[0].segment.base_offset, max(inventory.log_end_offset, shown[-1].segment.end_offset)
    scale = _Scale(low, high)
    groups = _grouped(shown)
    bars = _bars(
        groups,
        [(scale(group[0].segment.base_offset), scale(group[-1].segment.end_offset)) for group in groups],
        [0] * len(groups),
        now_ms,
    )
    start = inventory.log_start_offset
    return Strip(
        bars=bars,
        ticks=[Tick(x=scale(at), value=at, anchor=_anchor(scale(at))) for at in _round_values(low, high)],
        marks=_offset_marks(inventory, scale, low, first_dirty_offset),
        shade_width=scale(start) if start > low else 0.0,
    )


def time_strip(inventory: PartitionInventory, fates: Sequence[Fate], now_ms: int) -> Strip:
    """From the oldest first timestamp to now."""
    filled = [fate for fate in fates if fate.segment.size_bytes]
    timed = [fate for fate in filled if fate.segment.max_timestamp_ms >= 0]
    if not timed:
        return Strip(untimed=len(filled))
    groups = _grouped(timed)
    spans = [(min(map(_began_ms, group)), max(newest_ms(fate.segment) for fate in group)) for group in groups]
    low, high = min(began for began, _ in spans), max(now_ms, max(ended for _, ended in spans))
    scale = _Scale(low, high)
    lanes = _lanes(spans)
    limit_ms = now_ms - inventory.retention_ms if inventory.retention_ms >= 0 else -1
    limited = low < limit_ms < high and any(fate.by_time_ms is not None for fate in timed)
    marks = [
        Mark(x=scale(limit_ms), name="limit", label="retention.ms", title="What is older than this may be deleted")
    ]
    if high > now_ms:
        marks.append(
            Mark(x=scale(now_ms), name="now", label="now", title="Records beyond this carry a future timestamp")
        )
    return Strip(
        bars=_bars(groups, [(scale(began), scale(ended)) for began, ended in spans], lanes, now_ms),
        ticks=list(_time_ticks(scale, low, now_ms)),
        marks=marks if limited else marks[1:],
        lanes=max(lanes) + 1,
        shade_width=scale(limit_ms) if limited else 0.0,
        untimed=len(filled) - len(timed),
    )


class _Scale:
    def __init__(self, low: int, high: int) -> None:
        self._low, self._span = low, max(1, high - low)

    def __call__(self, value: int) -> float:
        return round(100 * (value - self._low) / self._span, 3)


def _began_ms(fate: Fate) -> int:
    segment = fate.segment
    return (
        min(segment.first_timestamp_ms, newest_ms(segment)) if segment.first_timestamp_ms >= 0 else newest_ms(segment)
    )


def _grouped(fates: Sequence[Fate]) -> list[Sequence[Fate]]:
    """Neighbours together, at most ``BARS_MAX`` groups; the active segment stays by itself."""
    step = max(1, math.ceil((len(fates) - 1) / (BARS_MAX - 1)))
    closed = fates[:-1]
    return [*(closed[at : at + step] for at in range(0, len(closed), step)), fates[-1:]]


def _bars(
    groups: Sequence[Sequence[Fate]], spans: Sequence[tuple[float, float]], lanes: Sequence[int], now_ms: int
) -> list[Bar]:
    sizes = [sum(fate.segment.size_bytes for fate in group) for group in groups]
    largest = max(1, *sizes)
    height = (HEIGHT - LANE_GAP * max(lanes)) / (max(lanes) + 1)
    return [
        Bar(
            fates=group,
            x=min(begin, 100 - WIDTH_MIN),
            width=max(WIDTH_MIN, round(end - begin, 3)),
            y=round(lane * (height + LANE_GAP), 1),
            height=round(height, 1),
            filled=round(height * max(FILLED_MIN, size / largest), 1),
            due=all(fate.is_due(now_ms) for fate in group),
        )
        for group, (begin, end), lane, size in zip(groups, spans, lanes, sizes, strict=True)
    ]


def _offset_marks(inventory: PartitionInventory, scale: _Scale, low: int, first_dirty_offset: int) -> list[Mark]:
    start, high_watermark = inventory.log_start_offset, inventory.high_watermark
    stable = inventory.last_stable_offset
    marks = []
    if start > low:
        title = f"Records below offset {start:,} were deleted by a client; their segment goes as a whole later"
        marks.append(Mark(x=scale(start), name="start", label="log start", title=title))
    if first_dirty_offset > low:
        title = f"Compacted up to offset {first_dirty_offset:,}: every key below is there once"
        marks.append(Mark(x=scale(first_dirty_offset), name="clean", label="compacted", title=title))
    if 0 <= stable < high_watermark:
        title = f"Last stable offset {stable:,}: an open transaction holds back readers of committed records here"
        marks.append(Mark(x=scale(stable), name="stable", label="last stable", title=title))
    if high_watermark < inventory.log_end_offset:
        title = f"High watermark {high_watermark:,}: consumers read up to here"
        marks.append(Mark(x=scale(high_watermark), name="hw", label="high watermark", title=title))
    return marks


def _lanes(spans: Sequence[tuple[int, int]]) -> list[int]:
    """The first lane that is free; beyond the last one they lie on top of each other."""
    free_from = [-1] * LANES_MAX
    lanes = []
    for began, ended in spans:
        lane = next((index for index, free in enumerate(free_from) if free <= began), LANES_MAX - 1)
        free_from[lane] = max(free_from[lane], ended)
        lanes.append(lane)
    return lanes


def _round_values(low: int, high: int) -> list[int]:
    """Round numbers between, and the two ends."""
    step = _nice((high - low) / TICKS)
    inner = list(range(-(-low // step) * step, high, step))
    clear = (high - low) * 0.12
    return [low, *(value for value in inner if value - low > clear and high - value > clear), high]


def _nice(raw: float) -> int:
    if raw <= 1:
        return 1
    magnitude = 10 ** math.floor(math.log10(raw))
    return int(next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw))


def _time_ticks(scale: _Scale, low: int, now_ms: int) -> list[Tick]:
    span = now_ms - low
    if span <= 0:
        return []
    step = next((step for step in TIME_STEPS_MS if step >= span / TICKS), TIME_STEPS_MS[-1])
    ticks = [Tick(x=scale(now_ms), value=0, anchor=_anchor(scale(now_ms)))]
    before = step
    while before <= span and len(ticks) <= 2 * TICKS:
        x = scale(now_ms - before)
        if x <= 90 or scale(now_ms) < 100:
            ticks.append(Tick(x=x, value=before, anchor=_anchor(x)))
        before += step
    return ticks[::-1]


def _anchor(x: float) -> str:
    return "start" if x < 4 else "end" if x > 96 else "middle"
