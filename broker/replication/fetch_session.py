"""The follower's half of an incremental fetch session (KIP-227): what the leader has been told, and what it has not.

Pure. Owned by ``link.py``, one per connection. A session begins with a full request (epoch 0) that lists everything;
afterwards only what changed is told, so that a poll costs what moved, however many partitions are quiet. After any doubt
(another session id, a refused epoch, a lost connection) it begins anew.

Invariants
    a partition is *known* iff the leader's session holds it once it has processed everything sent so far
    whatever differs between a known partition and what the leader was told of it is in ``_changed``
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from broker.types import TopicId

EPOCH_MAX = 2**31 - 1
INITIAL_EPOCH = 0


class Fetched(Protocol):
    """A partition as the session sees it: ``replica.py``."""

    topic_id: TopicId
    index: int

    @property
    def fetchable(self) -> bool: ...

    def position(self) -> bytes:
        """What ``pack_position`` makes of where it is."""


class Ask(NamedTuple):
    """What one request says of the session."""

    session_id: int
    epoch: int
    positions: Mapping[bytes, list[bytes]]
    forgotten: Mapping[bytes, list[int]]


class FollowerSession:
    __slots__ = ("_changed", "_epoch", "_known", "_members", "session_id")

    def __init__(self) -> None:
        self.session_id = 0
        self._epoch = INITIAL_EPOCH
        self._members: dict[Fetched, None] = {}
        self._known: set[Fetched] = set()
        self._changed: dict[Fetched, None] = {}

    @property
    def established(self) -> bool:
        """Whether a request may be sent before the last one is answered: the next one needs nothing from its answer."""
        return self._epoch != INITIAL_EPOCH and self.session_id != 0

    @property
    def anything_to_fetch(self) -> bool:
        """Whether the next request asks for any partition at all."""
        count = len(self._known)
        for member in self._changed:
            wanted = member in self._members and member.fetchable
            count += wanted - (member in self._known)
        return count > 0

    def add(self, member: Fetched) -> None:
        self._members[member] = None
        self._changed[member] = None

    def remove(self, member: Fetched) -> None:
        self._members.pop(member, None)
        if member in self._known:
            self._changed[member] = None
        else:
            self._changed.pop(member, None)

    def note_changed(self, member: Fetched) -> None:
        """Its offset, epoch or phase is another one than the leader was told."""
        if member in self._members:
            self._changed[member] = None

    def reset(self) -> None:
        """Begin anew; with the old id, so that the leader drops the session if it still has it."""
        self._epoch = INITIAL_EPOCH
        self._known.clear()
        self._changed = dict.fromkeys(self._members)

    def forget_session(self) -> None:
        """The connection is lost: nobody knows what became of the session."""
        self.session_id = 0
        self.reset()

    def ask(self) -> Ask:
        """The next request. From here on the leader counts as told."""
        positions: dict[bytes, list[bytes]] = {}
        forgotten: dict[bytes, list[int]] = {}
        for member in self._changed:
            if member in self._members and member.fetchable:
                self._known.add(member)
                positions.setdefault(member.topic_id, []).append(member.position())
            elif member in self._known:
                self._known.discard(member)
                forgotten.setdefault(member.topic_id, []).append(member.index)
        self._changed.clear()
        epoch = self._epoch
        self._epoch = 1 if epoch >= EPOCH_MAX else epoch + 1
        return Ask(self.session_id, epoch, positions, forgotten)

    def on_answer(self, session_id: int) -> None:
        """An answer without error. 0: the leader keeps no session, so everything has to be told each time."""
        self.session_id = session_id
        if not session_id:
            self.reset()
