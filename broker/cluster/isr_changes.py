"""What the controller makes of a leader's proposals for in-sync sets (AlterPartition), in Kafka's words. Pure.

One request carries all proposals of a broker. They are judged one by one and written together; each has its own answer. That
nothing changed since is proven by the commit: the partition's version, the controller's epoch, and the registrations of
everyone who joins a set. A broker that restarts while its joining is decided therefore does not join in its new life.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from broker.cluster import records
from broker.cluster.decision import Batch, Decision, epoch_unchanged, put_partition
from broker.cluster.image import ClusterImage, PartitionImage, TopicImage
from broker.cluster.partition_changes import Ask, change_partition
from broker.cluster.standing import Standing
from broker.config.broker import BrokerConfig
from broker.errors import ErrorCode
from broker.metadata.store import Exists, VersionIs
from broker.types import BrokerId, LeaderEpoch, TopicId

NO_BROKER_EPOCH = -1
"""The leader does not know it: not checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IsrProposal:
    topic_id: TopicId
    partition: int
    leader_epoch: LeaderEpoch
    partition_epoch: int
    isr: Sequence[tuple[BrokerId, int]]
    """(broker, its broker epoch)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IsrOutcome:
    """``error`` NONE: the partition is now as told. NEW_LEADER_ELECTED: so it is, and the proposer does not lead it."""

    topic_id: TopicId
    partition: int
    error: ErrorCode = ErrorCode.NONE
    leader: BrokerId = -1
    leader_epoch: LeaderEpoch = -1
    isr: tuple[BrokerId, ...] = ()
    partition_epoch: int = -1


def decide_isr_changes(
    image: ClusterImage,
    proposer: BrokerId,
    proposals: Sequence[IsrProposal],
    *,
    config: BrokerConfig,
    now_ms: int,
) -> Decision[IsrOutcome]:
    standing = Standing(image, config, now_ms)
    batch = Batch(preconditions=[epoch_unchanged(image)])
    joined: set[BrokerId] = set()
    decided: set[tuple[TopicId, int]] = set()
    outcomes = []
    for proposal in proposals:
        topic = image.topics_by_id.get(proposal.topic_id)
        error = _refusal(image, topic, proposer, proposal)
        if error is None and (proposal.topic_id, proposal.partition) in decided:
            error = ErrorCode.INVALID_REQUEST
        if error is not None or topic is None:
            outcomes.append(_outcome(proposal, error or ErrorCode.UNKNOWN_TOPIC_ID))
            continue
        decided.add((proposal.topic_id, proposal.partition))
        before = topic.partitions[proposal.partition]
        isr = {broker_id for broker_id, _ in proposal.isr}
        joined |= isr.difference(before.isr)
        ask = Ask(cause="isr_grown" if isr.difference(before.isr) else "isr_shrunk", isr=isr)
        record = change_partition(before, ask, standing.rules(topic, proposal.partition))
        if record is None:
            outcomes.append(_unchanged(proposal, before))
            continue
        put_partition(batch, image, topic, proposal.partition, record)
        outcomes.append(_changed(proposal, before, record))
    batch.preconditions += [VersionIs(records.broker_key(r), image.brokers[r].epoch) for r in sorted(joined)]
    return Decision(results=tuple(outcomes), transaction=batch.transaction())


def decide_loss(
    image: ClusterImage,
    broker_id: BrokerId,
    lost: Collection[tuple[TopicId, int]] | None,
    *,
    config: BrokerConfig,
    now_ms: int,
) -> Decision[tuple[TopicId, int]]:
    """This broker's replicas of ``lost`` (None: of everything) are damaged: neither in sync nor eligible any more, and the
    last known leader is none that could be trusted.

    The results are the partitions that changed. The only replica there is stays what it is: nobody could do better.
    """
    standing = Standing(image, config, now_ms)
    batch = Batch(preconditions=[epoch_unchanged(image), Exists(records.broker_key(broker_id))])
    changed = []
    for topic in image.topics_by_id.values():
        for index, before in enumerate(topic.partitions):
            if lost is not None and (topic.topic_id, index) not in lost:
                continue
            if broker_id not in (*before.isr, *before.elr, before.last_known_leader):
                continue
            rules = standing.rules(topic, index)
            rules = replace(rules, empty_handed={*rules.empty_handed, broker_id})
            record = change_partition(before, Ask(cause="replica_lost", unfit=(broker_id,)), rules)
            if record is not None:
                put_partition(batch, image, topic, index, record)
                changed.append((topic.topic_id, index))
    return Decision(results=tuple(changed), transaction=batch.transaction())


def _refusal(
    image: ClusterImage, topic: TopicImage | None, proposer: BrokerId, proposal: IsrProposal
) -> ErrorCode | None:
    if topic is None:
        return ErrorCode.UNKNOWN_TOPIC_ID
    if not 0 <= proposal.partition < len(topic.partitions):
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    partition = topic.partitions[proposal.partition]
    if proposal.leader_epoch > partition.leader_epoch or proposal.partition_epoch > partition.partition_epoch:
        return ErrorCode.NOT_CONTROLLER  # it knows more than we do: another controller has decided
    if proposal.leader_epoch < partition.leader_epoch:
        return ErrorCode.FENCED_LEADER_EPOCH
    if proposer != partition.leader:
        return ErrorCode.INVALID_REQUEST
    if proposal.partition_epoch < partition.partition_epoch:
        return ErrorCode.INVALID_UPDATE_VERSION
    members = [broker_id for broker_id, _ in proposal.isr]
    if len(set(members)) != len(members) or not set(members) <= set(partition.replicas):
        return ErrorCode.INVALID_REQUEST
    if proposer not in members:
        return ErrorCode.INVALID_REQUEST
    if not all(_may_join(image, broker_id, epoch, partition) for broker_id, epoch in proposal.isr):
        return ErrorCode.INELIGIBLE_REPLICA
    return None


def _may_join(image: ClusterImage, broker_id: BrokerId, epoch: int, partition: PartitionImage) -> bool:
    """Members may stay, except in another life than the leader thinks of; who joins has to be there to stay."""
    broker = image.brokers.get(broker_id)
    if broker is None or epoch not in (NO_BROKER_EPOCH, broker.epoch):
        return False
    return broker_id in partition.isr or (image.is_settled(broker_id) and broker_id not in image.stopping)


def _outcome(proposal: IsrProposal, error: ErrorCode) -> IsrOutcome:
    return IsrOutcome(topic_id=proposal.topic_id, partition=proposal.partition, error=error)


def _unchanged(proposal: IsrProposal, partition: PartitionImage) -> IsrOutcome:
    return IsrOutcome(
        topic_id=proposal.topic_id,
        partition=proposal.partition,
        leader=partition.leader,
        leader_epoch=partition.leader_epoch,
        isr=partition.isr,
        partition_epoch=partition.partition_epoch,
    )


def _changed(proposal: IsrProposal, before: PartitionImage, record: records.PartitionRecord) -> IsrOutcome:
    moved = record.leader != before.leader
    return IsrOutcome(
        topic_id=proposal.topic_id,
        partition=proposal.partition,
        error=ErrorCode.NEW_LEADER_ELECTED if moved else ErrorCode.NONE,
        leader=record.leader,
        leader_epoch=record.leader_epoch,
        isr=tuple(record.isr),
        partition_epoch=record.partition_epoch,
    )
