"""What a coordinator's pure core answers: records to write, replies to send, timers to set.

Owns: the effects every coordinator shares. A shard's handler fills one ``Decision`` per event; the runtime
(``coordination/driver.py``) performs it in this order: apply the records by replay, set the timers, append the
records, and send the replies once everything appended so far is committed.

A request is known to the core only by its *ticket*. A core that cannot answer yet keeps the ticket and names it in a
later decision; every ticket is answered exactly once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

Ticket = int
TimerKey = tuple[str, ...]
"""Meaningful to the shard alone. Setting a key again moves its deadline."""

R = TypeVar("R")
R_contra = TypeVar("R_contra", contravariant=True)


@dataclass(slots=True)
class Decision(Generic[R]):
    """Effects of one event. Timers map to a delay in milliseconds, or ``None`` to cancel."""

    records: list[R] = field(default_factory=list)
    replayed: int = 0
    """So many of them, the first, are part of the state already: a handler whose next step builds on a record replays it
    itself. The others are replayed by the runtime."""
    replies: list[tuple[Ticket, object]] = field(default_factory=list)
    timers: dict[TimerKey, int | None] = field(default_factory=dict)

    def reply(self, ticket: Ticket, answer: object) -> None:
        self.replies.append((ticket, answer))

    def set_timer(self, key: TimerKey, delay_ms: int) -> None:
        self.timers[key] = delay_ms

    def cancel_timer(self, key: TimerKey) -> None:
        self.timers[key] = None


class Shard(Protocol[R_contra]):
    """State of one coordinator partition. ``replay`` is the only way durable state changes."""

    def replay(self, record: R_contra) -> None:
        """Apply a record that was (or is about to be) written. Must not fail on any decodable record."""

    def on_loaded(self, now_ms: int) -> Decision:
        """The whole log has been replayed: start what only a live coordinator does."""

    def on_timer(self, key: TimerKey, now_ms: int) -> Decision:
        """A timer fired. A key that no longer means anything gives an empty decision."""
