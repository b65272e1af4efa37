"""What waits in this broker: acks=all answers with a deadline, long polls that have something to look at, and followers
that have only a high watermark to hear of.

Owned by ``manager.py``. None of them costs a timer per request: deadlines are looked at by the manager's tick, polls
are woken together, once per turn of the event loop, however many appends concerned them, and followers together a few
milliseconds later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from broker.partition.driver import Partition


class ParkedAnswer(Protocol):
    """An acks=all produce answer with its deadline, in seconds of the monotonic clock."""

    done: bool
    deadline: float
    partitions: list[Partition]

    def on_deadline(self) -> None: ...


class LongPoll(Protocol):
    def look_again(self) -> None: ...


class FollowerPoll(Protocol):
    done: bool

    def tell(self) -> None:
        """Answer with what there is, if nothing was answered meanwhile."""


NEWS_SECONDS = 0.01
"""How long a high watermark that moved alone waits for records to travel with, where consumers may read next to a follower: they
see what is committed this much later than they could. Followers are asked half as often while records keep coming."""
NEWS_SECONDS_UNREAD = 0.1
"""The same where nobody is sent to a follower. Then the watermark matters to the next leader only."""


class Waiting:
    __slots__ = ("_awake", "_call_later", "_call_soon", "_parked", "_time", "_untold")

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], object],
        call_later: Callable[[float, Callable[[], None]], object],
        time: Callable[[], float],
    ) -> None:
        self._call_soon = call_soon
        self._call_later = call_later
        self._time = time
        self._parked: dict[ParkedAnswer, None] = {}
        self._awake: list[LongPoll] = []
        self._untold: dict[float, deque[tuple[float, FollowerPoll]]] = {}
        """By how long they wait at most; each with the time at which it is due, in that order."""

    @property
    def parked_count(self) -> int:
        return len(self._parked)

    def watch(self, parked: ParkedAnswer) -> None:
        self._parked[parked] = None

    def unwatch(self, parked: ParkedAnswer) -> None:
        self._parked.pop(parked, None)

    def expire(self, now: float) -> None:
        """Give up on what is overdue, and let its partitions forget it."""
        due = [parked for parked in self._parked if parked.done or parked.deadline <= now]
        stuck: dict[Partition, None] = {}
        for parked in due:
            del self._parked[parked]
            if not parked.done:
                stuck.update(dict.fromkeys(parked.partitions))
                parked.on_deadline()
        for partition in stuck:
            partition.drop_finished_waiters()

    def wake_later(self, poll: LongPoll) -> None:
        """Look at ``poll`` when this input is used up, together with others."""
        if not self._awake:
            self._call_soon(self.wake_all)
        self._awake.append(poll)

    def tell_soon(self, poll: FollowerPoll, seconds: float) -> None:
        """Have ``poll`` answered after so many seconds (one of the two above), unless it is answered before."""
        untold = self._untold.get(seconds)
        if untold is None:
            untold = self._untold[seconds] = deque()
        if not untold:
            self._call_later(seconds, partial(self._tell_due, untold))
        untold.append((self._time() + seconds, poll))

    def _tell_due(self, untold: deque[tuple[float, FollowerPoll]]) -> None:
        now = self._time()
        while untold and (untold[0][1].done or untold[0][0] <= now):
            _, poll = untold.popleft()
            poll.tell()
        if untold:
            self._call_later(untold[0][0] - now, partial(self._tell_due, untold))

    def wake_all(self) -> None:
        while self._awake:
            awake, self._awake = self._awake, []
            for poll in awake:
                poll.look_again()
