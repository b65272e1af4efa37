"""What a group's recent commits say about it, in one word and one sentence. Pure.

Burrow's idea: no thresholds on lag, only how commits and lag moved within a window.

| verdict        | level   | when                                                                       |
|----------------|---------|----------------------------------------------------------------------------|
| rebalancing    | idle, warn when long | members are joining or waiting for their assignment            |
| idle           | idle    | nobody reads and nothing waits                                             |
| stopped        | warn    | nobody reads although records wait                                         |
| caught up      | good    | nothing waits                                                              |
| stalled        | bad     | records wait, members are there, no offset moved for ``STALL_MS``           |
| rewound        | warn    | committed offsets went back (a reset, or a consumer that seeks)            |
| falling behind | warn    | at its best, the second half of the window waits clearly more than the first |
| catching up    | good    | … clearly less                                                             |
| keeping up     | good    | neither                                                                    |
| watching       | idle    | records wait and the window is still too short to tell                     |
| unknown        | unknown | no lag is known, or the coordinator does not answer                        |

Consumers commit every few seconds, so lag is a saw: only its valleys, right after a commit, are compared, and
a difference below ``VALLEY_SECONDS`` of reading is no trend.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from dashboard.live.base import Level

POINT_MS = 900
"""Between two points of the window: every sample, but not two of the same second."""
WINDOW_POINTS = 61
"""One minute."""
VALLEY_SECONDS = 2.0
"""A valley is seen up to one sample late on either side."""
STALL_MS = 30_000
"""Longer than consumers' usual five seconds between commits by far."""
MINUTE_MS = 58_000
TREND_MS = 20_000
"""A window shorter than this tells no trend: commits come in bursts."""
REBALANCE_LONG_MS = 15_000

REBALANCING = frozenset({"PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    at_ms: int
    committed: int
    """Sum over the partitions with a committed offset."""
    partitions: int
    lag: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    word: str
    text: str
    level: Level


class Progress:
    """One group's window of points."""

    __slots__ = ("_points",)

    def __init__(self) -> None:
        self._points: deque[Point] = deque(maxlen=WINDOW_POINTS)

    def note(self, point: Point) -> None:
        """Keep the point; at most one per ``POINT_MS``. A changed set of partitions starts over."""
        if self._points:
            last = self._points[-1]
            if point.partitions != last.partitions or point.at_ms < last.at_ms:
                self._points.clear()
            elif point.at_ms - last.at_ms < POINT_MS:
                return
        self._points.append(point)

    @property
    def span_ms(self) -> int:
        return self._points[-1].at_ms - self._points[0].at_ms if self._points else 0

    @property
    def moving(self) -> bool:
        return len(self._points) >= 2 and self._points[0].committed != self._points[-1].committed

    @property
    def settled(self) -> bool:
        """Nothing in the window moved, so a further equal point would change nothing but its length."""
        return len(self._points) == WINDOW_POINTS and not self.moving and self._points[0].lag == self._points[-1].lag

    def still_ms(self) -> int:
        """How long the committed offsets have not moved."""
        if not self._points:
            return 0
        newest = self._points[-1]
        since = newest.at_ms
        for point in reversed(self._points):
            if point.committed != newest.committed:
                break
            since = point.at_ms
        return newest.at_ms - since

    def rewound(self) -> bool:
        return any(
            after.committed < before.committed
            for before, after in zip(self._points, list(self._points)[1:], strict=False)
        )

    def trend(self) -> float | None:
        """Records per second by which the lag grows (negative: shrinks); 0.0 when it does not clearly; ``None`` too early."""
        known = [point for point in self._points if point.lag is not None]
        if len(known) < 4 or self.span_ms < TREND_MS:
            return None
        half = len(known) // 2
        before = min(known[:half], key=_lag)
        after = min(reversed(known[half:]), key=_lag)
        seconds = (after.at_ms - before.at_ms) / 1000
        reading = (self._points[-1].committed - self._points[0].committed) * 1000 / self.span_ms
        noise = max(10.0, 0.1 * max(_lag(before), _lag(after)), VALLEY_SECONDS * max(0.0, reading))
        if seconds <= 0 or abs(_lag(after) - _lag(before)) <= noise:
            return 0.0
        return (_lag(after) - _lag(before)) / seconds


def _lag(point: Point) -> int:
    return point.lag or 0


def judge(
    *,
    state: str,
    members: int,
    lag: int | None,
    progress: Progress,
    now_ms: int,
    state_since_ms: int,
    rebalance_reason: str,
) -> Verdict:
    """The group's verdict now; see the table above."""
    if state in REBALANCING:
        return _rebalancing(now_ms, state_since_ms, rebalance_reason)
    if state == "Dead":
        return Verdict(word="gone", text="The group no longer exists.", level="idle")
    if lag is None:
        return Verdict(word="unknown", text="Its lag is unknown: no offset has been committed yet.", level="unknown")
    if not members and not progress.moving:
        if lag:
            return Verdict(word="stopped", text=f"No members; {_records(lag)} wait to be read.", level="warn")
        return Verdict(word="idle", text="No members, and nothing is left to read.", level="idle")
    if lag == 0:
        return Verdict(word="caught up", text="Everything has been read.", level="good")
    return _behind(lag, progress)


def coordinator_silent() -> Verdict:
    """While nobody can tell, nothing is claimed."""
    return Verdict(
        word="unknown", text="Its coordinator does not answer; the numbers are the last it told.", level="unknown"
    )


def _rebalancing(now_ms: int, since_ms: int, reason: str) -> Verdict:
    lasts_ms = max(0, now_ms - since_ms) if since_ms >= 0 else 0
    text = f"Members are being given their partitions{f': {reason}' if reason else ''}."
    if lasts_ms >= REBALANCE_LONG_MS:
        return Verdict(word="rebalancing", text=f"Rebalancing for {lasts_ms // 1000} s. {text}", level="warn")
    return Verdict(word="rebalancing", text=text, level="idle")


def _behind(lag: int, progress: Progress) -> Verdict:
    still_ms = progress.still_ms()
    if still_ms >= STALL_MS:
        lasts = "a minute or more" if still_ms >= MINUTE_MS else "half a minute"
        text = f"{_records(lag)} wait and nothing has been committed for {lasts}."
        return Verdict(word="stalled", text=text, level="bad")
    if progress.rewound():
        return Verdict(word="rewound", text=f"Committed offsets went back; {_records(lag)} wait again.", level="warn")
    trend = progress.trend()
    if trend is None:
        return Verdict(
            word="watching", text=f"{_records(lag)} wait; too early to say whether the group keeps up.", level="idle"
        )
    if trend > 0:
        return Verdict(
            word="falling behind",
            text=f"{_records(lag)} wait, and {_count(trend)} more every second.",
            level="warn",
        )
    if trend < 0:
        return Verdict(
            word="catching up", text=f"{_records(lag)} wait; done in {_duration(lag / -trend)}.", level="good"
        )
    return Verdict(word="keeping up", text=f"Reads as fast as records come; {_records(lag)} wait.", level="good")


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count:,} records"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    if seconds < 48 * 3600:
        return f"about {round(seconds / 3600)} h"
    return f"about {round(seconds / 86400)} days"
