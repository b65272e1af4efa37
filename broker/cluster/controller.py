"""The controller's decisions: who is controller, who is live, who leads.

Pure decisions, see ``decision.py``; these are transactions whose preconditions include the controller's epoch. A partition's
record changes only with a higher ``partition_epoch``, and its leader only with a higher ``leader_epoch``.
"""

from __future__ import annotations

from collections.abc import Iterable

from broker.cluster import records
from broker.cluster.image import ClusterImage, PartitionImage, TopicImage
from broker.metadata.store import Absent, Precondition, Transaction, VersionIs
from broker.types import NO_LEADER, BrokerId, format_topic_id

CONTROLLER_ELECTIONS_KEPT = 50


def decide_register(record: records.BrokerRecord, session: str) -> Transaction:
    """The caller has the session of this broker's name, so a former registration is gone."""
    key = records.broker_key(record.id)
    return Transaction(preconditions=(Absent(key),), ephemeral_puts={key: records.encode(record)}, session=session)


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
        preconditions=(Absent(records.CONTROLLER), _epoch_unchanged(image)),
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


def _election_cause(image: ClusterImage, broker_id: BrokerId) -> str:
    """``first``, or what became of the last controller: ``restarted``, ``session_lost`` (it lives) or ``failed``."""
    if not image.controller_history:
        return "first"
    last = image.controller_history[-1].broker_id
    if last == broker_id:
        return "restarted"
    return "session_lost" if last in image.brokers else "failed"


def decide_leadership(image: ClusterImage, topics: Iterable[TopicImage], *, now_ms: int) -> Transaction | None:
    """Leaders for partitions whose leader is gone or came back; None when all is well.

    A broker that registered anew keeps its partitions under a higher epoch: what it led before its restart and what
    it leads now must be told apart. The same transaction marks its incarnation as settled, and only then may it lead
    (``ClusterImage.is_settled``); ``topics`` must therefore be all of them whenever a broker came or went.
    """
    restarted = {b.id for b in image.brokers.values() if image.incarnations.get(b.id) != b.incarnation}
    gone = set(image.incarnations) - set(image.brokers)
    preconditions: list[Precondition] = [_epoch_unchanged(image)]
    puts: dict[str, bytes] = {}
    for topic in topics:
        for index, partition in enumerate(topic.partitions):
            leader = _leader_for(partition, image)
            if leader == partition.leader and leader not in restarted:
                continue
            key = records.partition_key(format_topic_id(topic.topic_id), index)
            preconditions.append(VersionIs(key, partition.version))
            cause = _leader_cause(partition, leader)
            puts[key] = records.encode(_with_leader(partition, leader, cause, now_ms))
    deletes = [records.incarnation_key(broker_id) for broker_id in sorted(gone)]
    for broker_id in sorted(restarted):
        incarnation = image.brokers[broker_id].incarnation
        puts[records.incarnation_key(broker_id)] = records.encode(records.IncarnationRecord(incarnation=incarnation))
    if not puts and not deletes:
        return None
    return Transaction(preconditions=preconditions, puts=puts, deletes=deletes)


def _leader_for(partition: PartitionImage, image: ClusterImage) -> BrokerId:
    """The present leader while it lives, else the first live in-sync replica, else nobody: never an unclean one."""
    if partition.leader in image.brokers:
        return partition.leader
    return next((r for r in partition.replicas if r in partition.isr and r in image.brokers), NO_LEADER)


def _leader_cause(partition: PartitionImage, leader: BrokerId) -> str:
    if leader == partition.leader:
        return "leader_restarted"
    return "leader_failed" if partition.leader != NO_LEADER else "leader_elected"


def _with_leader(partition: PartitionImage, leader: BrokerId, cause: str, now_ms: int) -> records.PartitionRecord:
    return records.PartitionRecord(
        replicas=list(partition.replicas),
        isr=list(partition.isr),
        leader=leader,
        leader_epoch=partition.leader_epoch + 1,
        partition_epoch=partition.partition_epoch + 1,
        last_known_leader=NO_LEADER if leader != NO_LEADER else max(partition.leader, partition.last_known_leader),
        cause=cause,
        changed_at_ms=now_ms,
    )


def _epoch_unchanged(image: ClusterImage) -> Precondition:
    if image.controller_epoch_version == 0:
        return Absent(records.CONTROLLER_EPOCH)
    return VersionIs(records.CONTROLLER_EPOCH, image.controller_epoch_version)
