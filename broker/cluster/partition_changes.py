"""The rules of one partition's record: from what it is and what is asked for to what it becomes. Pure.

Every decision about leaders and in-sync sets ends here: failures and returns of brokers (``controller.py``), proposals of
leaders (``isr_changes.py``), elections on demand (``election.py``) and reassignments (``reassignment.py``).

Theory of operation (KIP-966)
    A leader advances its high watermark only while the in-sync set has ``min.insync.replicas`` members (or all replicas, if
    they are fewer). Who leaves the set when it falls below that therefore still has everything below the high watermark: it
    becomes an *eligible leader replica*, and may lead when the in-sync set is empty. As soon as the set is large enough
    again the high watermark moves on without them, and nobody is eligible any more.

What must stay true
    leader ∈ isr ⊆ replicas, or there is no leader and isr is empty
    elr ⊆ replicas, elr ∩ isr = ∅, and elr is empty while |isr| ≥ min(min.insync.replicas, |replicas|)
    isr ∪ elr never loses its last member that has everything, unless that member lost its data itself
    a reassignment that is completed never takes the in-sync set below min(min.insync.replicas, |replicas|)
    a last known leader that lost its replica is none any more, unless its replica is the only one
    partition_epoch grows with every change; leader_epoch with every change of the leader, of its life, or of the replicas

Causes, as shown to people
    ``created``; ``leader_failed``, ``leader_restarted``, ``leader_elected`` (there was none); ``broker_failed``,
    ``broker_restarted`` (a follower, out of the in-sync set until it caught up); ``isr_shrunk``, ``isr_grown`` (the leader's
    proposal); ``preferred``; ``controlled_shutdown``, ``drained``; ``reassigning``, ``reassigned``,
    ``reassignment_cancelled``; ``replica_lost``; ``config_changed``; ``last_known_leader`` and ``unclean``, which may lose
    acknowledged records.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum

from broker.cluster import records
from broker.cluster.image import PartitionImage
from broker.types import NO_LEADER, BrokerId

LOSSY_CAUSES = frozenset({"unclean", "last_known_leader"})
"""Changes after which acknowledged records may be missing."""


class Election(Enum):
    ANY = "any"
    """The present leader stays if it may."""
    PREFERRED = "preferred"
    UNCLEAN = "unclean"
    """Somebody out of sync rather than nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a decision knows besides the partition itself."""

    min_insync_replicas: int
    unclean: bool
    """The topic's ``unclean.leader.election.enable``."""
    alive: Collection[BrokerId]
    """Who may lead, and who may be in sync."""
    reluctant: Collection[BrokerId] = ()
    """Of these: who leads only if nobody else may (draining or stopping)."""
    empty_handed: Collection[BrokerId] = ()
    """Of these: whose replica of this partition was lost."""
    now_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a partition is to become. ``None`` leaves a field as it is."""

    cause: str
    isr: Collection[BrokerId] | None = None
    replicas: Sequence[BrokerId] | None = None
    adding: Sequence[BrokerId] | None = None
    removing: Sequence[BrokerId] | None = None
    unfit: Collection[BrokerId] = ()
    """Their data is not what it was: neither in sync nor eligible."""
    new_life: bool = False
    """The leader's process is another one: a new leader epoch even if it stays."""
    leader_cause: str | None = None
    """If the leader changes, the cause is this one."""
    election: Election = Election.ANY


def change_partition(before: PartitionImage, ask: Ask, rules: Rules) -> records.PartitionRecord | None:
    """The partition's next record, or None if it stays what it is."""
    replicas = before.replicas if ask.replicas is None else tuple(ask.replicas)
    adding = before.adding if ask.adding is None else tuple(ask.adding)
    removing = before.removing if ask.removing is None else tuple(ask.removing)
    wanted = before.isr if ask.isr is None else ask.isr
    isr = tuple(r for r in replicas if r in wanted and r in rules.alive and r not in ask.unfit)
    cause = ask.cause

    target = tuple(r for r in replicas if r not in removing)
    remaining = tuple(r for r in isr if r in target)
    # Copies that count are given up only for others: below the minimum one dead machine could take the rest.
    enough = len(remaining) >= min(rules.min_insync_replicas, len(target)) or len(remaining) == len(isr)
    if (adding or removing) and remaining and enough and set(adding) <= set(remaining):
        replicas = target
        isr, adding, removing, cause = remaining, (), (), "reassigned"

    elr = _eligible(before, replicas, isr, ask.unfit, rules)
    choice = _Choice(before, replicas, isr, elr, rules).elect(ask.election)
    if choice.leader != NO_LEADER and choice.leader not in isr:
        isr = (choice.leader,)
        large_enough = len(isr) >= min(rules.min_insync_replicas, len(replicas))
        elr = () if large_enough or choice.lossy else tuple(r for r in elr if r != choice.leader)
    same_leader = choice.leader == before.leader
    new_epoch = not same_leader or ask.new_life or set(replicas) != set(before.replicas)
    last_known = NO_LEADER
    if choice.leader == NO_LEADER:
        last_known = before.leader if before.leader != NO_LEADER else before.last_known_leader
        if last_known in rules.empty_handed and len(replicas) > 1:
            last_known = NO_LEADER  # what it had is gone, in every later life of it too
    leader_epoch = before.leader_epoch + new_epoch
    after = (choice.leader, replicas, isr, elr, adding, removing, last_known)
    if not new_epoch and after == _state_of(before):
        return None
    return records.PartitionRecord(
        replicas=list(replicas),
        isr=list(isr),
        leader=choice.leader,
        leader_epoch=leader_epoch,
        partition_epoch=before.partition_epoch + 1,
        elr=list(elr),
        last_known_leader=last_known,
        adding=list(adding),
        removing=list(removing),
        cause=choice.lossy or _cause(before, choice.leader, cause, ask),
        changed_at_ms=rules.now_ms,
        unclean_epoch=leader_epoch if choice.lossy else before.unclean_epoch,
        unclean_at_ms=rules.now_ms if choice.lossy else before.unclean_at_ms,
    )


def _eligible(
    before: PartitionImage,
    replicas: tuple[BrokerId, ...],
    isr: tuple[BrokerId, ...],
    unfit: Collection[BrokerId],
    rules: Rules,
) -> tuple[BrokerId, ...]:
    if len(isr) >= min(rules.min_insync_replicas, len(replicas)):
        return ()
    # An eligible set beside a large enough in-sync set would be a relic of another min.insync.replicas.
    relic = len(before.isr) >= min(rules.min_insync_replicas, len(before.replicas))
    had_everything = set(before.isr) if relic else {*before.isr, *before.elr}
    return tuple(r for r in replicas if r in had_everything and r not in isr and r not in unfit)


@dataclass(frozen=True, slots=True)
class _Elected:
    leader: BrokerId
    lossy: str = ""
    """The cause, if acknowledged records may be missing."""


@dataclass(frozen=True, slots=True)
class _Choice:
    before: PartitionImage
    replicas: tuple[BrokerId, ...]
    isr: tuple[BrokerId, ...]
    elr: tuple[BrokerId, ...]
    rules: Rules

    def elect(self, election: Election) -> _Elected:
        candidates = [r for r in self.replicas if r in (self.isr or self.elr) and r in self.rules.alive]
        willing = [r for r in candidates if r not in self.rules.reluctant]
        first_choice = self.replicas[0] if election is Election.PREFERRED else self.before.leader
        for group in (willing, candidates):
            for leader in (first_choice, self.before.leader):
                if leader in group:
                    return _Elected(leader)
            if group:
                return _Elected(group[0])
        return self._last_resort(unclean=self.rules.unclean or election is Election.UNCLEAN)

    def _last_resort(self, *, unclean: bool) -> _Elected:
        """Nobody who certainly has everything is alive."""
        rules, before = self.rules, self.before
        last = before.leader if before.leader != NO_LEADER else before.last_known_leader
        # With nobody in either set, everybody's data is in doubt. The last leader's is at least not behind anybody's,
        # unless it is gone: then the others' may be all there is, and somebody has to decide.
        trusted = last not in rules.empty_handed or len(self.replicas) == 1
        if not self.isr and not self.elr and last in self.replicas and last in rules.alive and trusted:
            return _Elected(last, "last_known_leader")
        if unclean:
            alive = [r for r in self.replicas if r in rules.alive]
            for avoided in ({*rules.empty_handed, *rules.reluctant}, rules.empty_handed, ()):
                for leader in alive:
                    if leader not in avoided:
                        return _Elected(leader, "unclean")
        return _Elected(NO_LEADER)


def _state_of(partition: PartitionImage) -> tuple[object, ...]:
    return (
        partition.leader,
        partition.replicas,
        partition.isr,
        partition.elr,
        partition.adding,
        partition.removing,
        partition.last_known_leader,
    )


def _cause(before: PartitionImage, leader: BrokerId, cause: str, ask: Ask) -> str:
    if cause == "reassigned":
        return cause
    if leader == before.leader:
        return "leader_restarted" if ask.new_life else cause
    if before.leader == NO_LEADER:
        return "leader_elected"
    return ask.leader_cause or cause
