"""What changed between two states of a scope, and how a reader catches up. Pure.

The law the whole live view rests on: for any states ``old`` and ``new`` of a scope,
``advance(old, delta(old, new)) == new``; and a reader that has seen everything up to some ``seq`` either applies
a frame, recognises it as already covered, or learns that something between is missing.
"""

from __future__ import annotations

from dashboard.live.state import Frame, Pulse, Rows, ScopeState


class Gap(Exception):
    """The frame builds on a state the reader has not seen: ask for a snapshot."""


def changed_keys(old: Rows, new: Rows) -> tuple[Rows, list[str]]:
    """(rows that are new or different, keys that are gone). Unchanged rows are usually the same object."""
    changed = {key: row for key, row in new.items() if (was := old.get(key)) is not row and was != row}
    removed = [key for key in old if key not in new]
    return changed, removed


def delta(scope: str, old: ScopeState, new: ScopeState, pulse: Pulse) -> Frame:
    """The frame that leads from ``old`` to ``new``."""
    changed, removed = changed_keys(old.rows, new.rows)
    return Frame(scope=scope, prev=old.seq, seq=new.seq, pulse=pulse, set=changed, removed=removed)


def advance(state: ScopeState, frame: Frame) -> ScopeState:
    """The state after ``frame``; the state itself when the frame is already covered. Raises ``Gap``."""
    if frame.prev > state.seq:
        raise Gap(f"{frame.scope}: have {state.seq}, the frame builds on {frame.prev}")
    if frame.seq <= state.seq:
        return state
    if not frame.set and not frame.removed:
        return ScopeState(seq=frame.seq, rows=state.rows)
    rows = {**state.rows, **frame.set}
    for key in frame.removed:
        rows.pop(key, None)
    return ScopeState(seq=frame.seq, rows=rows)
