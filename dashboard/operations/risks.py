"""What stopping one broker for a while, or for good, means for the partitions it keeps. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dashboard.live.replication_rows import ReplicaRow
from dashboard.live.state import BrokerRow


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRisk:
    """While one broker is away."""

    broker: int
    leads: int
    replicas: int
    unavailable: tuple[ReplicaRow, ...]
    """Only this broker has them in sync: nobody can read or write them."""
    refusing: tuple[ReplicaRow, ...]
    """Too few left in sync for acks=all."""
    without_spare: tuple[ReplicaRow, ...]
    """One more loss would stop writes."""

    @property
    def level(self) -> str:
        return "bad" if self.unavailable else "warn" if self.refusing else "good"


def stop_risk(broker: int, replicas: Iterable[ReplicaRow]) -> StopRisk:
    unavailable, refusing, spare = [], [], []
    kept = list(replicas)
    for row in kept:
        left = row.in_sync_count - row.in_sync
        needed = min(row.min_isr or 1, row.replica_count)
        if left == 0:
            unavailable.append(row)
        elif left < needed:
            refusing.append(row)
        elif left == needed:
            spare.append(row)
    return StopRisk(
        broker=broker,
        leads=sum(row.leads for row in kept),
        replicas=len(kept),
        unavailable=tuple(unavailable),
        refusing=tuple(refusing),
        without_spare=tuple(spare),
    )


def restart_order(brokers: Iterable[BrokerRow]) -> list[int]:
    """By id, the controller last: so that it changes once."""
    return [row.id for row in sorted(brokers, key=lambda row: (row.is_controller, row.id))]


def restart_refusals(brokers: Sequence[BrokerRow], chosen: Sequence[int]) -> list[str]:
    """Why a rolling restart would not begin."""
    refusals = [f"There is no broker {one}." for one in chosen if one not in {row.id for row in brokers}]
    refusals += [f"Broker {row.id} does not answer: bring it back first." for row in brokers if not _is_there(row)]
    behind = [row for row in brokers if row.online and row.out_of_sync]
    refusals += [
        f"{row.out_of_sync} replica{'' if row.out_of_sync == 1 else 's'} of broker {row.id} "
        f"{'is' if row.out_of_sync == 1 else 'are'} out of sync: wait until every replica is in sync."
        for row in behind
    ]
    return refusals


def _is_there(row: BrokerRow) -> bool:
    """Answers, or was taken out: nobody waits for that one."""
    return row.online or row.state == "decommissioned"


def decommission_refusals(
    broker: BrokerRow | None, others: Sequence[BrokerRow], replicas: Sequence[ReplicaRow]
) -> list[str]:
    """Why a broker cannot be taken out."""
    if broker is None:
        return ["Nothing is known of this broker."]
    if broker.state == "decommissioned":
        return ["It was taken out already."]
    able = [row for row in others if row.online and not row.state]
    widest = max((row.replica_count for row in replicas), default=0)
    refusals = []
    if replicas and not able:
        refusals.append("No other broker could take what it keeps.")
    elif widest > len(able):
        refusals.append(
            f"Some partitions have {widest} replicas and only {len(able)} other broker{'' if len(able) == 1 else 's'} "
            "could keep them: add a broker first, or give them fewer replicas."
        )
    stuck = [row for row in replicas if row.leader < 0]
    if stuck:
        refusals.append(f"{stuck[0].topic}-{stuck[0].partition} has no leader: there is nothing to copy from.")
    if not broker.online:
        alone = [row for row in replicas if row.only_copy_in_sync]
        if alone:
            refusals.append(f"It does not answer, and of {len(alone)} partitions it has the only copy in sync.")
    return refusals
