"""Three brokers as a model, for whoever restarts them: what is asked of it takes some looks to happen."""

from __future__ import annotations

from broker.rebalancing.rolling import Deed, Process, Step
from broker.rebalancing.standing import BrokerStanding, ClusterStanding, PartitionStanding
from broker.types import TopicPartition


class World:
    """Each is the preferred leader of one partition, and all have all three."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.silent: set[int] = set()
        """Brokers that do not answer."""
        self.pids = {one: one * 100 for one in (1, 2, 3)}
        self.away: dict[int, int] = {}
        """Broker → looks until its new process is registered."""
        self.behind: dict[int, int] = {}
        """Broker → looks until it is in sync again."""
        self.draining: set[int] = set()
        self.leaders = {1: 1, 2: 2, 3: 3}
        """First replica → leader."""
        self.restarts = dict.fromkeys((1, 2, 3), 0)

    def look(self, broker: int) -> tuple[ClusterStanding, Process]:
        self.now_ms += 500
        for waiting in (self.away, self.behind):
            for one in list(waiting):
                waiting[one] -= 1
        for one in [one for one, looks in self.away.items() if looks <= 0]:
            del self.away[one]
        for one in [one for one, looks in self.behind.items() if looks <= 0 and one not in self.away]:
            del self.behind[one]
        for first, leader in self.leaders.items():
            if leader in self.draining or leader in self.away:
                self.leaders[first] = next(one for one in self.in_sync if one not in self.draining)
        return self.standing(), Process(pid=None if self.away.get(broker, 0) > 2 else self.pids[broker])

    @property
    def in_sync(self) -> tuple[int, ...]:
        return tuple(one for one in (1, 2, 3) if one not in self.away and one not in self.behind)

    def standing(self) -> ClusterStanding:
        replicas = {first: (first, *(one for one in (1, 2, 3) if one != first)) for first in (1, 2, 3)}
        keys = {first: TopicPartition("t", first) for first in (1, 2, 3)}
        return ClusterStanding(
            brokers={
                one: BrokerStanding(
                    id=one,
                    incarnation="" if one in self.away else f"life {self.pids[one]}",
                    live=one not in self.away,
                    answers=one not in self.away and one not in self.silent,
                    state="draining" if one in self.draining else "",
                    ends=dict.fromkeys(keys.values(), 7),
                )
                for one in (1, 2, 3)
            },
            partitions={
                keys[first]: PartitionStanding(
                    key=keys[first],
                    leader=leader,
                    replicas=replicas[first],
                    isr=tuple(one for one in replicas[first] if one in self.in_sync),
                    min_isr=2,
                    high_watermark=7,
                )
                for first, leader in self.leaders.items()
            },
        )

    def perform(self, deed: Deed, step: Step, looks: int) -> None:
        match deed:
            case Deed.DRAIN:
                self.draining.add(step.broker)
            case Deed.TAKE_BACK:
                self.draining.discard(step.broker)
            case Deed.ELECT:
                self.leaders[step.broker] = step.broker
            case Deed.RESTART:
                if step.pid != self.pids[step.broker]:
                    return  # the supervisor refuses: it is another process by now
                assert self.in_sync == (1, 2, 3), "another one is missing"
                assert step.broker not in self.leaders.values(), "it still leads"
                self.pids[step.broker] += 1
                self.restarts[step.broker] += 1
                self.away[step.broker], self.behind[step.broker] = looks, looks * 2
