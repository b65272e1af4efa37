"""What waits in this broker: acks=all answers with a deadline, and long polls that have something to look at.

Owned by ``manager.py``. Neither costs a timer per request: deadlines are looked at by the manager's tick, and polls
are woken together, once per turn of the event loop, however many appends concerned them.
"""

from __future__ import annotations

from collections.abc import Callable
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


class Waiting:
    __slots__ = ("_awake", "_call_soon", "_parked")

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._parked: dict[ParkedAnswer, None] = {}
        self._awake: list[LongPoll] = []

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

    def wake_all(self) -> None:
        while self._awake:
            awake, self._awake = self._awake, []
            for poll in awake:
                poll.look_again()
