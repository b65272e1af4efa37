"""AddPartitionsToTxn v0-5: partitions join a transaction before records are written to them.

Versions: v0-3 is the form of clients (one transaction, one code per partition; v3 flexible). v4-5 is the form of brokers: many
transactions, each to be extended or only verified (KIP-890); a broker that writes for a producer asks by it. Before v2 a
fenced producer is told INVALID_PRODUCER_EPOCH. A partition that does not exist answers UNKNOWN_TOPIC_OR_PARTITION and the
others of its transaction OPERATION_NOT_ATTEMPTED.
Deviation: while the last transaction of the producer is being completed the request waits up to 100 ms for it, then answers
CONCURRENT_TRANSACTIONS as Kafka does at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.transactions.events import AddPartitions, VerifyPartitions
from broker.transactions.metadata import VERSION_2
from broker.types import TopicPartition

API = ApiKey.ADD_PARTITIONS_TO_TXN

_BATCHED_SINCE_VERSION = 4
_FENCED_SINCE_VERSION = 2

Errors = Mapping[TopicPartition, ErrorCode]


async def handle(request: Request, message: Any, services: Services) -> Any:
    if request.api_version >= _BATCHED_SINCE_VERSION:
        return await _of_brokers(message, services)
    partitions = _partitions(message.v3_and_below_topics)
    event = AddPartitions(
        transactional_id=message.v3_and_below_transactional_id,
        producer_id=message.v3_and_below_producer_id,
        producer_epoch=message.v3_and_below_producer_epoch,
        partitions=partitions,
    )
    errors = await _added(event, services)
    if request.api_version < _FENCED_SINCE_VERSION:
        errors = {
            partition: ErrorCode.INVALID_PRODUCER_EPOCH if code is ErrorCode.PRODUCER_FENCED else code
            for partition, code in errors.items()
        }
    return m.AddPartitionsToTxnResponse(results_by_topic_v3_and_below=_results(message.v3_and_below_topics, errors))


async def _of_brokers(message: Any, services: Services) -> Any:
    transactions = list(message.transactions)
    answers = await asyncio.gather(*(_of_transaction(transaction, services) for transaction in transactions))
    return m.AddPartitionsToTxnResponse(
        results_by_transaction=[
            m.AddPartitionsToTxnResponse.AddPartitionsToTxnResult(
                transactional_id=transaction.transactional_id, topic_results=_results(transaction.topics, errors)
            )
            for transaction, errors in zip(transactions, answers, strict=True)
        ]
    )


async def _of_transaction(transaction: Any, services: Services) -> Errors:
    partitions = _partitions(transaction.topics)
    if not transaction.verify_only:
        event = AddPartitions(
            transactional_id=transaction.transactional_id,
            producer_id=transaction.producer_id,
            producer_epoch=transaction.producer_epoch,
            partitions=partitions,
            client_version=VERSION_2,
        )
        return await _added(event, services)
    try:
        reply = await services.transactions.verify_partitions(
            VerifyPartitions(
                transactional_id=transaction.transactional_id,
                producer_id=transaction.producer_id,
                producer_epoch=transaction.producer_epoch,
                partitions=partitions,
            )
        )
    except KafkaError as error:
        return dict.fromkeys(partitions, error.code)
    return reply.errors


async def _added(event: AddPartitions, services: Services) -> Errors:
    image = services.cluster.image
    unknown = {partition for partition in event.partitions if image.partition(*partition) is None}
    if unknown:
        refused = dict.fromkeys(event.partitions, ErrorCode.OPERATION_NOT_ATTEMPTED)
        return refused | dict.fromkeys(unknown, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    try:
        reply = await services.transactions.add_partitions(event)
    except KafkaError as error:
        return dict.fromkeys(event.partitions, error.code)
    return reply.errors


def _partitions(topics: Iterable[Any]) -> frozenset[TopicPartition]:
    return frozenset(TopicPartition(topic.name, index) for topic in topics for index in topic.partitions)


def _results(topics: Iterable[Any], errors: Errors) -> list[Any]:
    response = m.AddPartitionsToTxnResponse
    return [
        response.AddPartitionsToTxnTopicResult(
            name=topic.name,
            results_by_partition=[
                response.AddPartitionsToTxnPartitionResult(
                    partition_index=index, partition_error_code=int(errors[TopicPartition(topic.name, index)])
                )
                for index in topic.partitions
            ],
        )
        for topic in topics
    ]
