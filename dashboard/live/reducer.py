"""(view, frame) → (view, targets to render again). Pure.

Raises ``Gap`` when the frame does not follow what the view has seen; the caller then reads a snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.live.delta import advance
from dashboard.live.state import Frame, Pulse, ScopeState
from dashboard.live.view import LivePage, View


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduced:
    view: View
    targets: frozenset[str]


def reduce(page: LivePage, view: View, frame: Frame) -> Reduced:
    """Apply one frame. A frame the view already covers changes nothing but the pulse."""
    if frame.scope not in page.scopes:
        return Reduced(view=view, targets=frozenset())
    was = view.scopes.get(frame.scope, ScopeState())
    now = advance(was, frame)
    pulse = newest(view.pulse, frame.pulse)
    after = View(pulse=pulse, scopes={**view.scopes, frame.scope: now})
    if now is was or (not frame.set and not frame.removed):
        targets: frozenset[str] = frozenset()
    else:
        targets = frozenset(page.affected(view, after, frame.scope, [*frame.set, *frame.removed]))
    if turned(view.pulse, pulse):
        # A broker went silent or came back: everything it said is now shown as stale, or no longer is.
        targets = frozenset(page.targets(after))
    return Reduced(view=after, targets=targets)


def newest(was: Pulse | None, now: Pulse) -> Pulse:
    return now if was is None or now.made_at_ms >= was.made_at_ms else was


def turned(was: Pulse | None, now: Pulse) -> bool:
    return was is not None and sorted(was.offline) != sorted(now.offline)
