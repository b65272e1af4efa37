"""How a handler answers: at once, later, never, or by ending the connection.

Owns ``Deferred`` (the parked answer of one request) and ``CloseConnection``. A session writes answers in the
order of their requests, so a deferred answer holds back those behind it and never overtakes those before it.
Nothing here knows sockets: the session registers itself as ``owner`` and is told once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from broker.types import Buffer

Pieces: TypeAlias = Sequence[Buffer]
"""One response frame in parts; large record data is never joined."""
Answer: TypeAlias = "bytes | Pieces | None"
"""A complete frame with its length prefix; ``None`` means that this request has no response (acks=0)."""


class CloseConnection(Exception):
    """The connection cannot go on. A peer's fault, not ours: counted and ended without a traceback."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DeferredOwner(Protocol):
    def on_answered(self, deferred: Deferred) -> None:
        """``deferred.answer`` or ``deferred.failure`` is set now."""

    def on_order_settled(self, deferred: Deferred) -> None:
        """``deferred.exclusive`` has been taken back: what comes behind it may start."""


class Deferred:
    """An answer that comes later. Resolved or failed exactly once; whatever comes after is ignored.

    ``exclusive``: no request of this connection may start behind it, not even one that could share its place (Produce).
    """

    __slots__ = ("answer", "done", "exclusive", "failure", "owner")

    can_wait = False
    """The answer leaves behind those that the same event causes: what it acknowledges matters more to others."""

    def __init__(self) -> None:
        self.answer: Answer = None
        self.failure: CloseConnection | None = None
        self.done = False
        self.exclusive = False
        self.owner: DeferredOwner | None = None

    def settle_order(self) -> None:
        """What had to happen before the next request has happened; only the answer is missing."""
        self.exclusive = False
        if self.owner is not None:
            self.owner.on_order_settled(self)

    def resolve(self, answer: Answer) -> None:
        if self.done:
            return
        self.done = True
        self.answer = answer
        if self.owner is not None:
            self.owner.on_answered(self)

    def fail(self, failure: CloseConnection) -> None:
        if self.done:
            return
        self.done = True
        self.failure = failure
        if self.owner is not None:
            self.owner.on_answered(self)

    def hurry(self) -> None:
        """The peer has sent its next request already: a long poll answers with what there is."""

    def abandon(self) -> None:
        """The connection is gone. Subclasses release what they are registered with."""
        self.done = True
        self.owner = None


Reply: TypeAlias = "Answer | Deferred"
