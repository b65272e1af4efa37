"""The controller's own decisions: who is controller, who is live, and what becomes of partitions when brokers come and go.

Pure decisions, see ``decision.py``; these are transactions whose preconditions include the controller's epoch. What one
partition becomes is decided by ``partition_changes.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from broker.cluster import records
from broker.cluster.decision import Batch, epoch_unchanged, put_partition
from broker.cluster.image import BrokerImage, ClusterImage, PartitionImage, TopicImage
from broker.cluster.partition_changes import Ask, change_partition
from broker.cluster.standing import DECOMMISSIONED, Standing, lost_replica
from broker.config.broker import BrokerConfig
from broker.metadata.store import Absent, Transaction, VersionIs
from broker.types import BrokerId

CONTROLLER_ELECTIONS_KEPT = 50


def decide_register(record: records.BrokerRecord, session: str) -> Transaction:
    """The caller has the session of this broker's name, so a former registration is gone."""
    key = records.broker_key(record.id)
    return Transaction(preconditions=(Absent(key),), ephemeral_puts={key: records.encode(record)}, session=session)


def decide_stopping(broker_id: BrokerId, session: str, *, now_ms: int) -> Transaction:
    """Say that this broker is about to stop: the controller relieves it of what others can do."""
    record = records.StoppingRecord(since_ms=now_ms)
    return Transaction(ephemeral_puts={records.stopping_key(broker_id): records.encode(record)}, session=session)


def decide_election(
    image: ClusterImage, broker_id: BrokerId, incarnation: str, session: str, *, now_ms: int
) -> Transaction:
    """Claim the controller key, which must be free, under the next epoch."""
    epoch = max(image.controller_epoch, 0) + 1
    election = records.ControllerElection(
        epoch=epoch, broker_id=broker_id, at_ms=now_ms, cause=_election_cause(image, broker_id)
    )
    elections = [*image.controller_history, election][-CONTROLLER_ELECTIONS_KEPT:]
    return Transaction(
        preconditions=(Absent(records.CONTROLLER), epoch_unchanged(image)),
        puts={
            records.CONTROLLER_EPOCH: records.encode(
                records.ControllerEpochRecord(epoch=epoch, broker_id=broker_id, elected_at_ms=now_ms)
            ),
            records.CONTROLLER_HISTORY: records.encode(records.ControllerHistoryRecord(elections=elections)),
        },
        ephemeral_puts={
            records.CONTROLLER: records.encode(records.ControllerRecord(broker_id=broker_id, incarnation=incarnation))
        },
        session=session,
    )


def decide_resignation(image: ClusterImage) -> Transaction:
    """Let another be controller, before this one stops."""
    return Transaction(preconditions=(epoch_unchanged(image),), deletes=(records.CONTROLLER,))


def _election_cause(image: ClusterImage, broker_id: BrokerId) -> str:
    """``first``, or what became of the last controller: ``restarted``, ``controlled_shutdown``, ``session_lost`` (it
    lives again) or ``failed``."""
    if not image.controller_history:
        return "first"
    last = image.controller_history[-1].broker_id
    if last == broker_id:
        return "restarted"
    if last in image.stopping:
        return "controlled_shutdown"
    return "session_lost" if last in image.brokers else "failed"


def decide_leadership(
    image: ClusterImage, topics: Iterable[TopicImage], *, config: BrokerConfig, now_ms: int
) -> Transaction | None:
    """What becomes of partitions because brokers left, came back, drain or stop; None when all is well.

    A broker that registered anew leaves every in-sync set until it has caught up, and what it goes on leading gets a
    higher epoch: its former life and its present one must be told apart. The same transaction marks its incarnation as
    settled, and only then may it lead (``ClusterImage.is_settled``); ``topics`` must therefore be all of them whenever a
    broker came or went.
    """
    look = _Look.at(image, config, now_ms)
    batch = Batch(preconditions=[epoch_unchanged(image)])
    for topic in topics:
        for index, partition in enumerate(topic.partitions):
            ask = look.ask_for(partition, topic, index)
            record = change_partition(partition, ask, look.standing.rules(topic, index)) if ask is not None else None
            if record is not None:
                put_partition(batch, image, topic, index, record)
    for broker_id in sorted(look.gone):
        batch.deletes.append(records.incarnation_key(broker_id))
        _remember(batch, image, broker_id, None, now_ms)
    for broker_id in sorted(look.returned):
        broker = image.brokers[broker_id]
        record_of_life = records.IncarnationRecord(incarnation=broker.incarnation)
        batch.puts[records.incarnation_key(broker_id)] = records.encode(record_of_life)
        _remember(batch, image, broker_id, broker, now_ms)
    return batch.transaction()


@dataclass(frozen=True, slots=True)
class _Look:
    """What changed among the brokers since the controller last settled everything."""

    standing: Standing
    gone: frozenset[BrokerId]
    returned: frozenset[BrokerId]
    """Registered, and this registration is not settled yet."""
    steady: frozenset[BrokerId]
    """Who may stay in an in-sync set, whatever else is in it."""

    @classmethod
    def at(cls, image: ClusterImage, config: BrokerConfig, now_ms: int) -> _Look:
        registered = frozenset(image.brokers)
        returned = frozenset(b.id for b in image.brokers.values() if image.incarnations.get(b.id) != b.incarnation)
        return cls(
            standing=Standing(image, config, now_ms),
            gone=frozenset(image.incarnations) - registered,
            returned=returned,
            steady=registered - returned - image.stopping,
        )

    def ask_for(self, partition: PartitionImage, topic: TopicImage, index: int) -> Ask | None:
        """None for the many that nothing happened to."""
        leader = partition.leader
        if (
            leader in self.steady
            and leader not in self.standing.reluctant
            and self.steady.issuperset(partition.isr)
            and self.returned.isdisjoint(partition.elr)
        ):
            return None
        brokers = self.standing.image.brokers
        isr = self.steady.intersection(partition.isr)
        if not isr:  # nobody to hand over to: who is stopping stays until it is gone
            isr = self.standing.image.stopping.intersection(partition.isr, brokers) - self.returned
        cause, leader_cause = self._causes(partition)
        return Ask(
            cause=cause,
            leader_cause=leader_cause,
            isr=isr,
            unfit=[r for r in self.returned.intersection(partition.replicas) if _is_unfit(brokers[r], topic, index)],
            new_life=leader in self.returned,
        )

    def _causes(self, partition: PartitionImage) -> tuple[str, str]:
        """(of a change among the followers, of a change of the leader)."""
        members, image = frozenset(partition.isr), self.standing.image
        stopping = image.stopping & members
        cause = "broker_failed"
        if members <= image.brokers.keys():
            cause = "controlled_shutdown" if stopping and members.isdisjoint(self.returned) else "broker_restarted"
        if partition.leader not in image.brokers or partition.leader in self.returned:
            return cause, "leader_failed"
        return cause, "controlled_shutdown" if partition.leader in stopping else "drained"


def _is_unfit(broker: BrokerImage, topic: TopicImage, index: int) -> bool:
    return not broker.data_intact or lost_replica(broker, topic, index)


def _remember(batch: Batch, image: ClusterImage, broker_id: BrokerId, alive: BrokerImage | None, now_ms: int) -> None:
    """Keep address and rack of a broker for as long as it is away."""
    known = image.brokers_state.get(broker_id)
    if known is None and alive is None:
        return  # forgotten on purpose
    key = records.broker_state_key(broker_id)
    if known is not None and known.state == DECOMMISSIONED and alive is None:
        batch.preconditions.append(VersionIs(key, known.version))
        batch.deletes.append(key)
        return
    batch.preconditions.append(Absent(key) if known is None else VersionIs(key, known.version))
    record = records.BrokerStateRecord(
        state=known.state if known is not None else "active",
        since_ms=known.since_ms if known is not None else now_ms,
        host=alive.host if alive is not None else known.host if known is not None else "",
        port=alive.port if alive is not None else known.port if known is not None else -1,
        rack=alive.rack if alive is not None else known.rack if known is not None else None,
        left_at_ms=-1 if alive is not None else now_ms,
    )
    batch.puts[key] = records.encode(record)
