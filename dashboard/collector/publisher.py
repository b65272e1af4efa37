"""What to write to the store and what to send to whom. Pure but for remembering what was written.

Summaries are written as soon as they change. The detail of a topic or group is written at once while somebody
watches it, else at most every ``DETAIL_WRITE_MS``. A frame leads from the state last *written* to the one written
with it, so whoever reads the store after subscribing has missed nothing.

Sequence numbers start at the wall clock and never below what an earlier collector wrote: a reader of an earlier
life always finds a gap and asks for a snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dashboard.live.delta import delta
from dashboard.live.state import CLUSTER, Frame, Pulse, Rows, ScopeState, is_detail
from dashboard.live.store import Point, Write

DETAIL_WRITE_MS = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Write first, then send."""

    write: Write
    frames: list[Frame]


class Publisher:
    def __init__(self, *, last_seq: int, now_ms: int) -> None:
        self._seq = max(last_seq, now_ms) + 1
        self._written: dict[str, ScopeState] = {}
        self._latest: dict[str, Rows] = {}
        self._pending: set[str] = set()
        self._details_at_ms = now_ms
        self._clear = True

    def forget(self) -> None:
        """The store may have lost or missed anything: the next plan writes everything and every reader resyncs."""
        self._seq += 1
        self._written.clear()
        self._pending = set(self._latest)
        self._clear = True

    def plan(
        self,
        changed: Mapping[str, Rows],
        gone: Iterable[str],
        *,
        watched: set[str],
        pulse: Pulse,
        points: Mapping[str, Point],
        now_ms: int,
    ) -> Plan:
        """One coalesced step. ``changed`` may hold scopes whose rows turn out to be the same."""
        base = self._seq
        self._seq += 1
        self._latest.update(changed)
        self._pending.update(changed)
        lost = [scope for scope in gone if scope not in changed]
        scopes: dict[str, ScopeState] = {}
        frames: list[Frame] = []
        for scope in self._due(watched, now_ms):
            old = self._written.get(scope)
            new = ScopeState(seq=self._seq, rows=self._latest[scope])
            frame = delta(scope, old or ScopeState(seq=base), new, pulse)
            if old is not None and not frame.set and not frame.removed:
                continue
            self._written[scope] = scopes[scope] = new
            if scope in watched:
                frames.append(frame)
        frames += self._farewells(lost, watched, pulse)
        frames = self._with_points(frames, points, watched, pulse, base)
        write = Write(seq=self._seq, pulse=pulse, scopes=scopes, gone=lost, points=points, clear=self._clear)
        self._clear = False
        return Plan(write=write, frames=frames)

    def _due(self, watched: set[str], now_ms: int) -> list[str]:
        details_due = self._clear or now_ms - self._details_at_ms >= DETAIL_WRITE_MS
        if details_due:
            self._details_at_ms = now_ms
        due = [scope for scope in self._pending if details_due or scope in watched or not is_detail(scope)]
        self._pending.difference_update(due)
        return due

    def _farewells(self, lost: list[str], watched: set[str], pulse: Pulse) -> list[Frame]:
        """Forget the scopes; whoever watches one is told that its rows are gone."""
        frames = []
        for scope in lost:
            old = self._written.pop(scope, None)
            self._latest.pop(scope, None)
            self._pending.discard(scope)
            if old is not None and scope in watched:
                frames.append(delta(scope, old, ScopeState(seq=self._seq), pulse))
        return frames

    def _with_points(
        self, frames: list[Frame], points: Mapping[str, Point], watched: set[str], pulse: Pulse, base: int
    ) -> list[Frame]:
        """Attach new points to the frame of their scope, and give ``cluster`` a pulse even when nothing moved."""
        by_scope = {frame.scope: frame for frame in frames}
        wanted = ({CLUSTER} | points.keys()) & watched
        for scope in sorted(wanted):
            frame = by_scope.get(scope)
            if frame is None:
                seq = self._written[scope].seq if scope in self._written else base
                frame = Frame(scope=scope, prev=seq, seq=seq, pulse=pulse)
            if scope in points:
                frame = Frame(
                    scope=scope,
                    prev=frame.prev,
                    seq=frame.seq,
                    pulse=pulse,
                    set=frame.set,
                    removed=frame.removed,
                    points={scope: [points[scope]]},
                )
            by_scope[scope] = frame
        return list(by_scope.values())
