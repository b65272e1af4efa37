"""The follower's core of one partition: where its log has to be cut, what it may ask for next, when it tries again.

Pure: events come in as method calls with values, effects go out as values; no clock, no file, no socket.
``replica.py`` performs the effects on the log.

Theory of operation
    A follower asks its leader for what comes behind its log end, and says in which leader epoch the last record it
    has was written. The leader compares: where both logs agree it sends records; where they do not it answers with
    the largest epoch it knows that is not above ours, and where that epoch ends there (KIP-320, KIP-595). The follower
    cuts its log to where its own epochs agree with that, and asks again; every such step goes to an older epoch or ends
    the search, so histories that forked more than once are followed back to the fork (KIP-279).

    What was asked out of the leader's range is asked about once: the leader's log start and log end decide whether
    the log begins anew at the leader's start, or is cut at its end.

    Errors pause the partition, from ``BACKOFF_MS_MIN`` doubling up to ``replica.fetch.backoff.ms``: leadership changes
    are known to leader and follower a few milliseconds apart, broken ones stay broken.

Invariants
    truncation is decided by the leader's epochs or range, never by the high watermark (KIP-101)
    it goes below the high watermark only where the leader's epochs prove that its records are not part of the log,
    and such a cut says so (``below_high_watermark``)
    fetch offset == log end ≤ what is on disk, as far as durability is promised: asking for an offset tells the
    leader that everything before it is safe here
    nothing is asked and nothing is appended unless the phase is FETCHING

=========  =====================================================  ===============================================
phase      what goes on                                           left by
=========  =====================================================  ===============================================
FETCHING   asked for whenever a request goes out                  error, divergence that cannot be settled, stop
ASKING     the leader is asked for its range                      the answer (cut or begin anew), or an error
DELAYED    out of the fetch session until ``due_ms``              time; a new leader epoch
STOPPED    the log cannot be written, or nobody leads             a new leader epoch; a fresh log
=========  =====================================================  ===============================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

from broker.errors import ErrorCode
from broker.types import NO_EPOCH, NO_OFFSET, BrokerId, LeaderEpoch, Offset

BACKOFF_MS_MIN = 10


class Phase(Enum):
    FETCHING = "fetching"
    ASKING = "asking"
    DELAYED = "delayed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncate:
    """Cut the log so that it ends at ``offset`` or, where no batch ends there, before it."""

    offset: Offset
    below_high_watermark: int
    """Records known to be committed once that go; 0 in every ordinary case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartAt:
    """Give up the whole log and begin at ``offset``: the leader has deleted what would come next here, or has nothing of
    what is here."""

    offset: Offset
    below_high_watermark: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AskRange:
    """Ask the leader where its log starts and ends; the answer comes back as ``on_range``."""


Effect: TypeAlias = Truncate | RestartAt | AskRange
Effects: TypeAlias = tuple[Effect, ...]
NOTHING: Effects = ()

EpochEnd: TypeAlias = Callable[[LeaderEpoch], tuple[LeaderEpoch, Offset]]
"""``Log.end_offset_for_epoch`` of the own log."""


class LogRange(Protocol):
    """The own log, as far as it matters here."""

    log_start_offset: Offset
    log_end_offset: Offset


_OUT_OF_RANGE = int(ErrorCode.OFFSET_OUT_OF_RANGE)


class Follower:
    __slots__ = ("_backoff_ms", "due_ms", "leader", "leader_epoch", "phase")

    def __init__(self) -> None:
        self.leader: BrokerId = -1
        self.leader_epoch: LeaderEpoch = NO_EPOCH
        self.phase = Phase.STOPPED
        self.due_ms = 0
        self._backoff_ms = 0

    def follow(self, leader: BrokerId, leader_epoch: LeaderEpoch) -> None:
        """A leader is known, or the same one leads under a newer epoch: what was wrong before is forgotten."""
        assert leader_epoch >= self.leader_epoch, f"leader epoch {leader_epoch} after {self.leader_epoch}"
        self.leader = leader
        self.leader_epoch = leader_epoch
        self.phase = Phase.FETCHING
        self._backoff_ms = 0

    def stop(self) -> None:
        self.phase = Phase.STOPPED

    # What the leader says ---------------------------------------------------------------------------

    def on_records(self) -> None:
        """The leader sent what was asked for: errors before count no more."""
        self._backoff_ms = 0

    def on_diverging(
        self,
        epoch: LeaderEpoch,
        end_offset: Offset,
        *,
        own_end: EpochEnd,
        log: LogRange,
        high_watermark: Offset,
    ) -> Effects:
        """The log is not a prefix of the leader's. ``epoch`` is the leader's largest that is not above our last one."""
        own_epoch, own_epoch_end = own_end(epoch)
        if own_epoch_end == NO_OFFSET:
            agreed = end_offset
        elif own_epoch == epoch:
            agreed = min(own_epoch_end, end_offset)
        else:
            # The leader knows an epoch that we never saw: keep what is older, ask again with the epoch before it.
            agreed = own_epoch_end
        return self._cut(agreed, log, high_watermark)

    def on_range(
        self,
        leader_start: Offset,
        leader_end: Offset,
        *,
        log: LogRange,
        high_watermark: Offset,
    ) -> Effects:
        """The leader's log start and log end, after OFFSET_OUT_OF_RANGE."""
        self.phase = Phase.FETCHING
        if log.log_end_offset < leader_start:
            return (RestartAt(offset=leader_start),)
        return self._cut(leader_end, log, high_watermark)

    def on_error(self, code: int, *, now_ms: int, backoff_ms_max: int) -> Effects:
        """The leader refuses this partition, or it could not be asked."""
        if code == _OUT_OF_RANGE and self.phase is Phase.FETCHING:
            self.phase = Phase.ASKING
            return (AskRange(),)
        self.delay(now_ms + self._next_backoff_ms(backoff_ms_max))
        return NOTHING

    def _next_backoff_ms(self, backoff_ms_max: int) -> int:
        self._backoff_ms = min(max(2 * self._backoff_ms, BACKOFF_MS_MIN), max(backoff_ms_max, BACKOFF_MS_MIN))
        return self._backoff_ms

    # Time -------------------------------------------------------------------------------------------

    def delay(self, due_ms: int) -> None:
        """Ask for nothing before ``due_ms``."""
        self.phase = Phase.DELAYED
        self.due_ms = due_ms

    def on_due(self, now_ms: int) -> bool:
        """Whether the pause is over."""
        if self.phase is not Phase.DELAYED or now_ms < self.due_ms:
            return False
        self.phase = Phase.FETCHING
        return True

    # Deciding ---------------------------------------------------------------------------------------

    def _cut(self, offset: Offset, log: LogRange, high_watermark: Offset) -> Effects:
        if offset >= log.log_end_offset:
            return NOTHING
        lost = max(0, high_watermark - offset)
        if offset < log.log_start_offset:
            return (RestartAt(offset=offset, below_high_watermark=lost),)
        return (Truncate(offset=offset, below_high_watermark=lost),)
