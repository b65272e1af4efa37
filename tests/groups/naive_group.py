"""The classic protocol for dynamic members, written again as plainly as possible.

No records, no replay, no timer queue: deadlines are found by looking at everybody, and a crash restores a deep copy of
the last outcome. Slow and obvious; the state machine test holds the real group against it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from broker.errors import ErrorCode

NEW_MEMBER_MS = 300_000


@dataclass
class NaiveMember:
    id: str
    topic: str
    session_ms: int
    rebalance_ms: int
    expires_at: int
    new: bool = True
    join_ticket: int | None = None
    sync_ticket: int | None = None
    assigned: bytes = b""


@dataclass
class NaiveGroup:
    initial_delay_ms: int
    now: int
    state: str = "Empty"
    generation: int = 0
    leader: str | None = None
    members: list[NaiveMember] = field(default_factory=list)
    pending: dict[str, int] = field(default_factory=dict)
    unsynced: list[str] = field(default_factory=list)
    round_ends_at: int | None = None
    sync_ends_at: int | None = None
    initial_left_ms: int | None = None
    initial_joined: bool = False
    replies: dict[int, tuple[ErrorCode, int, bytes]] = field(default_factory=dict)
    """Ticket → error, generation, assignment."""
    outcome: NaiveGroup | None = None

    def find(self, member_id: str) -> NaiveMember | None:
        return next((member for member in self.members if member.id == member_id), None)

    # Requests ----------------------------------------------------------------------------------------

    def give_id(self, member_id: str, session_ms: int) -> None:
        self.pending[member_id] = self.now + session_ms

    def join(self, ticket: int, member_id: str, topic: str, session_ms: int, rebalance_ms: int) -> None:
        member = self.find(member_id)
        if member_id in self.pending:
            del self.pending[member_id]
            expires_at = self.now + NEW_MEMBER_MS
            self.members.append(NaiveMember(member_id, topic, session_ms, rebalance_ms, expires_at, join_ticket=ticket))
            if self.leader is None:
                self.leader = member_id
            self.initial_joined = True
            self._meet()
        elif member is None:
            self._reply(ticket, ErrorCode.UNKNOWN_MEMBER_ID)
        elif topic == member.topic and (
            self.state == "CompletingRebalance" or (self.state == "Stable" and self.leader != member_id)
        ):
            member.expires_at = self.now + member.session_ms
            self._reply(ticket, ErrorCode.NONE, self.generation)
        else:
            if member.join_ticket is not None:
                self._reply(member.join_ticket, ErrorCode.REBALANCE_IN_PROGRESS)
            member.topic, member.session_ms, member.rebalance_ms = topic, session_ms, rebalance_ms
            member.join_ticket = ticket
            self._meet()

    def sync(self, ticket: int, member_id: str, generation: int, assignments: dict[str, bytes]) -> None:
        member = self.find(member_id)
        if member is None:
            self._reply(ticket, ErrorCode.UNKNOWN_MEMBER_ID)
        elif generation != self.generation:
            self._reply(ticket, ErrorCode.ILLEGAL_GENERATION)
        elif self.state == "PreparingRebalance":
            self._reply(ticket, ErrorCode.REBALANCE_IN_PROGRESS)
        elif self.state == "Stable":
            member.expires_at = self.now + member.session_ms
            self._synced(member_id)
            self._reply(ticket, ErrorCode.NONE, -1, member.assigned)
        else:
            if member.sync_ticket is not None:
                self._reply(member.sync_ticket, ErrorCode.REBALANCE_IN_PROGRESS)
                member.expires_at = self.now + member.session_ms
            member.sync_ticket = ticket
            self._synced(member_id)
            if self.leader == member_id:
                self.state = "Stable"
                for one in self.members:
                    one.assigned = assignments.get(one.id, b"")
                    if one.sync_ticket is not None:
                        self._reply(one.sync_ticket, ErrorCode.NONE, -1, one.assigned)
                        one.sync_ticket = None
                        one.expires_at = self.now + one.session_ms
                self._remember()

    def heartbeat(self, member_id: str, generation: int) -> ErrorCode:
        member = self.find(member_id)
        if member is None:
            return ErrorCode.UNKNOWN_MEMBER_ID
        if generation != self.generation:
            return ErrorCode.ILLEGAL_GENERATION
        member.expires_at = self.now + member.session_ms
        return ErrorCode.REBALANCE_IN_PROGRESS if self.state == "PreparingRebalance" else ErrorCode.NONE

    def leave(self, member_id: str) -> ErrorCode:
        if self.find(member_id) is None and member_id not in self.pending:
            return ErrorCode.UNKNOWN_MEMBER_ID
        self._remove(member_id)
        if self.state != "Empty":
            self._meet()
        return ErrorCode.NONE

    # Time --------------------------------------------------------------------------------------------

    def advance(self, milliseconds: int) -> None:
        end = self.now + milliseconds
        while (due := self._next_deadline()) is not None and due[0] <= end:
            self.now = max(self.now, due[0])
            self._fire(*due[1:])
        self.now = end

    def _next_deadline(self) -> tuple[int, str, str] | None:
        deadlines = [(expires_at, "session", member_id) for member_id, expires_at in self.pending.items()]
        deadlines += [(member.expires_at, "session", member.id) for member in self.members if member.expires_at >= 0]
        if self.round_ends_at is not None:
            deadlines.append((self.round_ends_at, "join", ""))
        if self.sync_ends_at is not None:
            deadlines.append((self.sync_ends_at, "sync", ""))
        return min(deadlines, default=None)

    def _fire(self, what: str, member_id: str) -> None:
        if what == "join":
            self.round_ends_at = None
            if self.initial_left_ms and self.initial_joined:
                wait_ms = min(self.initial_delay_ms, self.initial_left_ms)
                self.initial_left_ms -= wait_ms
                self.initial_joined = False
                self.round_ends_at = self.now + wait_ms
            else:
                self._close_round()
        elif what == "sync":
            self.sync_ends_at = None
            for missing in sorted(self.unsynced):
                self._remove(missing)
            self._open_round()
        elif member_id in self.pending:
            self._remove(member_id)
            self._close_round_if_complete()
        else:
            member = self.find(member_id)
            assert member is not None
            if not member.new and (member.join_ticket is not None or member.sync_ticket is not None):
                member.expires_at = -1
            else:
                self._remove(member_id)
                self._meet()

    def crash(self) -> None:
        """Back to the last outcome; everyone who waited is forgotten, everyone known gets a full session."""
        replies, now, outcome = self.replies, self.now, self.outcome
        self.__init__(self.initial_delay_ms, now)  # type: ignore[misc]
        if outcome is not None:
            self.__dict__.update(copy.deepcopy(outcome.__dict__))
            self.outcome = outcome
        self.replies, self.now = replies, now
        self.pending, self.unsynced, self.sync_ends_at, self.round_ends_at = {}, [], None, None
        for member in self.members:
            member.join_ticket = member.sync_ticket = None
            member.new = False
            member.expires_at = now + member.session_ms

    # Rounds ------------------------------------------------------------------------------------------

    def _meet(self) -> None:
        if self.state == "PreparingRebalance":
            self._close_round_if_complete()
        else:
            self._open_round()

    def _open_round(self) -> None:
        for member in self.members:
            if member.sync_ticket is not None:
                self._reply(member.sync_ticket, ErrorCode.REBALANCE_IN_PROGRESS)
                member.sync_ticket = None
                member.expires_at = self.now + member.session_ms
        self.unsynced, self.sync_ends_at = [], None
        longest = max((member.rebalance_ms for member in self.members), default=0)
        if self.state == "Empty":
            self.initial_left_ms = max(longest - self.initial_delay_ms, 0)
            self.initial_joined = False
            self.round_ends_at = self.now + self.initial_delay_ms
            self.state = "PreparingRebalance"
        else:
            self.state = "PreparingRebalance"
            self.round_ends_at = self.now + longest
            self._close_round_if_complete()

    def _close_round_if_complete(self) -> None:
        waits_for = [member.id for member in self.members if member.join_ticket is None] + list(self.pending)
        if self.state == "PreparingRebalance" and self.initial_left_ms is None and not waits_for:
            self._close_round()

    def _close_round(self) -> None:
        self.initial_left_ms, self.round_ends_at = None, None
        for member in list(self.members):
            if member.join_ticket is None:
                self._remove(member.id)
        self.generation += 1
        if not self.members:
            self.state, self.leader = "Empty", None
            self._remember()
            return
        self.state = "CompletingRebalance"
        self.unsynced = [member.id for member in self.members]
        self.sync_ends_at = self.now + max(member.rebalance_ms for member in self.members)
        for member in self.members:
            assert member.join_ticket is not None
            self._reply(member.join_ticket, ErrorCode.NONE, self.generation)
            member.join_ticket = None
            member.new = False
            member.expires_at = self.now + member.session_ms

    def _remove(self, member_id: str) -> None:
        self.pending.pop(member_id, None)
        member = self.find(member_id)
        if member is not None:
            for ticket in (member.join_ticket, member.sync_ticket):
                if ticket is not None:
                    self._reply(ticket, ErrorCode.UNKNOWN_MEMBER_ID)
            self.members.remove(member)
        if self.leader == member_id:
            self.leader = self.members[0].id if self.members else None
        if member_id in self.unsynced:
            self.unsynced.remove(member_id)

    def _synced(self, member_id: str) -> None:
        if member_id in self.unsynced:
            self.unsynced.remove(member_id)
        if not self.unsynced:
            self.sync_ends_at = None

    def _remember(self) -> None:
        self.outcome = None
        self.outcome = copy.deepcopy(self)

    def _reply(self, ticket: int, error: ErrorCode, generation: int = -1, assignment: bytes = b"") -> None:
        self.replies[ticket] = (error, generation, assignment)
