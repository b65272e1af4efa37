"""The gate in front of transactional appends: is this partition part of the producer's ongoing transaction? (KIP-890)

Owns: where to ask, and what a failure to ask means. Called by Produce (before a batch may open a transaction in a
partition) and by TxnOffsetCommit. The coordinator of the transactional id may be here or on any other broker.

Codes, one per partition:
- NONE: it is, and that is durable; with ``add`` it has been added if it was not;
- TRANSACTION_ABORTABLE: it is not (only without ``add``);
- INVALID_PRODUCER_EPOCH, INVALID_PRODUCER_ID_MAPPING: another producer has taken over, or the id is not known;
- CONCURRENT_TRANSACTIONS: the last transaction of this producer is not complete yet;
- NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE, COORDINATOR_LOAD_IN_PROGRESS, NETWORK_EXCEPTION: nobody could be asked.
Which of these a client of an old version understands is the caller's knowledge, not the gate's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.transactions.events import AddPartitions, PartitionsReply, VerifyPartitions
from broker.transactions.metadata import VERSION_2
from broker.transactions.ports import PeerRequests
from broker.types import BrokerId, ProducerEpoch, ProducerId, TopicPartition

if TYPE_CHECKING:
    from broker.config.broker import BrokerConfig
    from broker.transactions.driver import TransactionCoordinator

ADD_PARTITIONS_TO_TXN_VERSION = 5


class TransactionGate:
    def __init__(
        self,
        *,
        node_id: BrokerId,
        coordinator: TransactionCoordinator,
        peers: PeerRequests,
        config: Callable[[], BrokerConfig],
    ) -> None:
        self._node_id = node_id
        self._coordinator = coordinator
        self._peers = peers
        self._config = config

    async def verify(
        self,
        transactional_id: str,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        partitions: Sequence[TopicPartition],
        *,
        add: bool,
    ) -> dict[TopicPartition, ErrorCode]:
        """A code for every partition; never raises ``KafkaError``. Without ``add`` nothing is asked while
        ``transaction.partition.verification.enable`` is off."""
        if not add and not self._config().transaction_partition_verification_enable:
            return dict.fromkeys(partitions, ErrorCode.NONE)
        question = VerifyPartitions(
            transactional_id=transactional_id,
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            partitions=frozenset(partitions),
        )
        try:
            broker_id = self._coordinator.known_coordinator(transactional_id)
            if broker_id == self._node_id:
                errors = await self._ask_here(question, add)
            else:
                errors = await self._ask_peer(broker_id, question, add)
        except KafkaError as error:
            return dict.fromkeys(partitions, _told(error.code))
        return {partition: _told(errors.get(partition, ErrorCode.UNKNOWN_SERVER_ERROR)) for partition in partitions}

    async def _ask_here(self, question: VerifyPartitions, add: bool) -> dict[TopicPartition, ErrorCode]:
        reply: PartitionsReply
        if add:
            reply = await self._coordinator.add_partitions(
                AddPartitions(
                    transactional_id=question.transactional_id,
                    producer_id=question.producer_id,
                    producer_epoch=question.producer_epoch,
                    partitions=question.partitions,
                    client_version=VERSION_2,
                )
            )
        else:
            reply = await self._coordinator.verify_partitions(question)
        return dict(reply.errors)

    async def _ask_peer(
        self, broker_id: BrokerId, question: VerifyPartitions, add: bool
    ) -> dict[TopicPartition, ErrorCode]:
        request = m.AddPartitionsToTxnRequest
        by_topic: dict[str, list[int]] = {}
        for topic, index in sorted(question.partitions):
            by_topic.setdefault(topic, []).append(index)
        message = request(
            transactions=[
                request.AddPartitionsToTxnTransaction(
                    transactional_id=question.transactional_id,
                    producer_id=question.producer_id,
                    producer_epoch=question.producer_epoch,
                    verify_only=not add,
                    topics=[
                        request.AddPartitionsToTxnTopic(name=topic, partitions=indexes)
                        for topic, indexes in by_topic.items()
                    ],
                )
            ]
        )
        response = await self._peers.request(
            broker_id, ApiKey.ADD_PARTITIONS_TO_TXN, ADD_PARTITIONS_TO_TXN_VERSION, message
        )
        return _read_answer(response, question.transactional_id)


def _read_answer(response: Any, transactional_id: str) -> dict[TopicPartition, ErrorCode]:
    if response.error_code:
        raise KafkaError(ErrorCode(response.error_code))
    return {
        TopicPartition(topic.name, partition.partition_index): ErrorCode(partition.partition_error_code)
        for result in response.results_by_transaction
        if result.transactional_id == transactional_id
        for topic in result.topic_results
        for partition in topic.results_by_partition
    }


def _told(code: ErrorCode) -> ErrorCode:
    """To a partition, a fenced producer is one of an old epoch."""
    return ErrorCode.INVALID_PRODUCER_EPOCH if code is ErrorCode.PRODUCER_FENCED else code
