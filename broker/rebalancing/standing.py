"""The cluster as whoever takes a broker down has to see it: who is there, who has what, and what is wrong. Pure.

Everything that is wrong anywhere counts, whoever it concerns: a broker is taken down only while nothing else is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from broker.types import TopicPartition

DRAINING = "draining"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerStanding:
    id: int
    incarnation: str = ""
    """Of its process: another one is another life. Empty while it is not registered."""
    live: bool = True
    """Its session is there."""
    settled: bool = True
    """The controller has acted on its registration: what it is in sync with now, it has been since."""
    answers: bool = True
    state: str = ""
    """``draining``, ``stopping`` or ``decommissioned``; empty when it is none of them."""
    offline: Sequence[str] = ()
    """Its replicas that it cannot use, and a log directory that failed, each with the reason."""
    ends: Mapping[TopicPartition, int] = field(default_factory=dict)
    """Where its logs end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionStanding:
    key: TopicPartition
    leader: int
    """-1: none."""
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    min_isr: int
    high_watermark: int = -1
    """By its leader's word; -1 when that has not told."""
    moving: bool = False

    @property
    def missing(self) -> tuple[int, ...]:
        return tuple(broker for broker in self.replicas if broker not in self.isr)

    @property
    def needed(self) -> int:
        """In sync, for acks=all."""
        return min(self.min_isr, len(self.replicas))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStanding:
    brokers: Mapping[int, BrokerStanding]
    partitions: Mapping[TopicPartition, PartitionStanding]
    controller: int = -1

    def troubles(self) -> list[str]:
        """Why nobody else may be missed now, in sentences; empty when all is well."""
        present = [broker for broker in self.brokers.values() if broker.live]
        partitions = self.partitions.values()
        found = [f"Broker {broker.id} does not answer." for broker in present if not broker.answers]
        found += [f"Broker {one.id} has {_first_of(one.offline)} offline." for one in present if one.offline]
        found += [f"Broker {one.id} has only just come back." for one in present if not one.settled]
        found += [f"Broker {one.id} is about to stop." for one in present if one.state == "stopping"]
        leaderless = [str(one.key) for one in partitions if one.leader < 0]
        if leaderless:
            found.append(f"{_first_of(leaderless)} {_has(leaderless)} no leader.")
        behind = [f"{one.key} (broker {_ids(one.missing)})" for one in partitions if one.leader >= 0 and one.missing]
        if behind:
            found.append(f"{_first_of(behind)} {_is(behind)} not in sync.")
        moving = [str(one.key) for one in partitions if one.moving]
        if moving:
            found.append(f"{_first_of(moving)} {_is(moving)} being moved.")
        return found

    @property
    def missing_count(self) -> int:
        """Replicas that are not in sync: less is better."""
        return sum(len(one.missing) for one in self.partitions.values())

    def interrupted_by(self, broker: int) -> list[str]:
        """What could not be written with acks=all, or not be used at all, while this broker is away, in sentences."""
        kept = [one for one in self.partitions.values() if broker in one.isr]
        unusable = [str(one.key) for one in kept if len(one.isr) == 1]
        refusing = [str(one.key) for one in kept if 1 < len(one.isr) <= one.needed]
        words = []
        if unusable:
            words.append(f"Nobody could use {_first_of(unusable)} while broker {broker} is away: it has the only copy.")
        if refusing:
            words.append(f"{_first_of(refusing)} would refuse acks=all while broker {broker} is away.")
        return words

    def relievable(self, broker: int) -> int:
        """Partitions it leads and another one could."""
        willing = {one.id for one in self.brokers.values() if one.live and not one.state and one.id != broker}
        return sum(one.leader == broker and not willing.isdisjoint(one.isr) for one in self.partitions.values())

    def owed_to(self, broker: int) -> list[TopicPartition]:
        """Partitions that it should lead and does not."""
        return [
            one.key
            for one in self.partitions.values()
            if one.replicas[:1] == (broker,) and one.leader not in (-1, broker) and broker in one.isr
        ]

    def not_reached(self, broker: int, before: ClusterStanding) -> list[TopicPartition]:
        """Its replicas that end before what was committed when it was looked ``before``."""
        ends = self.brokers[broker].ends
        return [
            key
            for key, one in self.partitions.items()
            if broker in one.replicas
            and key in before.partitions
            and ends.get(key, -1) < before.partitions[key].high_watermark
        ]


def restart_order(brokers: Iterable[int], controller: int) -> list[int]:
    """By id, the controller last: so that it changes once."""
    return sorted(brokers, key=lambda broker: (broker == controller, broker))


def _first_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _ids(brokers: Iterable[int]) -> str:
    return ", ".join(map(str, brokers))


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _has(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"
