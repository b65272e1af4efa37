"""Looking at the whole cluster again and again: every broker is asked for itself, and only for what has changed since.

What somebody about to take a broker down must not overlook is that one does not answer: it counts as live for as long as
its session lasts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from broker.client.blocking import Client
from broker.client.errors import ClientConnectionError
from broker.errors import KafkaError
from broker.rebalancing.standing import BrokerStanding, ClusterStanding, PartitionStanding
from broker.telemetry.reduce import BrokerState, SampleGap, reduce
from broker.telemetry.sample import PartitionSample, RegistrationSample
from broker.types import TopicPartition


class ClusterWatch:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._told: dict[int, BrokerState] = {}

    def look(self) -> ClusterStanding:
        """Raises ``ClientConnectionError`` when no broker answers."""
        named = [broker.id for broker in self._client.describe_cluster().brokers]
        for broker in named:
            self._ask(broker)
        told = {broker: self._told[broker] for broker in named if broker in self._told}
        if not told:
            raise ClientConnectionError("no broker answers")
        return standing_of(told)

    def _ask(self, broker: int) -> None:
        known = self._told.pop(broker, None)
        incarnation, seq = ("", -1) if known is None else (known.incarnation, known.seq)
        try:
            answer = self._client.telemetry(incarnation, seq, wait_ms=0, broker_id=broker)
            for sample in answer.samples:
                known = reduce(known, sample)
        except (ClientConnectionError, KafkaError, SampleGap):
            return  # the next look begins with all of it
        if known is not None:
            self._told[broker] = known


def standing_of(told: Mapping[int, BrokerState]) -> ClusterStanding:
    """Pure. Of brokers that disagree the one with the newer word is right."""
    newest = max(told.values(), key=lambda state: state.revision)
    partitions: dict[TopicPartition, PartitionSample] = {}
    for state in told.values():
        for key, sample in state.partitions.items():
            known = partitions.get(key)
            if known is None or _age(known) < _age(sample):
                partitions[key] = sample
    return ClusterStanding(
        brokers={one.id: _broker(one, told.get(one.id)) for one in newest.control.brokers},
        partitions={
            key: _partition(key, sample, told, newest)
            for key, sample in partitions.items()
            if key.topic in newest.topics and sample.replicas
        },
        controller=newest.controller_id,
    )


def _age(sample: PartitionSample) -> tuple[int, int]:
    return sample.leader_epoch, sample.partition_epoch


def _broker(registered: RegistrationSample, told: BrokerState | None) -> BrokerStanding:
    return BrokerStanding(
        id=registered.id,
        incarnation=registered.incarnation.partition(".")[0],
        live=registered.live,
        settled=registered.settled and (told is None or _knows_its_place(told, registered)),
        answers=told is not None,
        state=registered.state,
        offline=() if told is None else _offline(told),
        ends={} if told is None else {key: one.log_end_offset for key, one in told.partitions.items()},
    )


def _knows_its_place(told: BrokerState, registered: RegistrationSample) -> bool:
    """Whether what it tells of its partitions is of this life, and not of what it read at its start."""
    own = next((one for one in told.control.brokers if one.id == registered.id), None)
    return own is not None and own.settled and own.incarnation == registered.incarnation


def _offline(told: BrokerState) -> Sequence[str]:
    reasons = [f"{key} ({one.offline_reason})" for key, one in sorted(told.partitions.items()) if one.offline_reason]
    whole = told.broker.offline_log_dir_reason
    return [f"its log directory ({whole})", *reasons] if whole else reasons


def _partition(
    key: TopicPartition, sample: PartitionSample, told: Mapping[int, BrokerState], newest: BrokerState
) -> PartitionStanding:
    leader = told.get(sample.leader)
    of_leader = leader.partitions.get(key) if leader is not None else None
    return PartitionStanding(
        key=key,
        leader=sample.leader,
        replicas=tuple(sample.replicas),
        isr=tuple(sample.isr),
        min_isr=max(1, newest.topics[key.topic].min_insync_replicas),
        high_watermark=of_leader.high_watermark if of_leader is not None else -1,
        moving=bool(sample.adding or sample.removing),
    )
