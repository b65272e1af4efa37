"""DescribeTransactions v0: state, producer, age and partitions of transactional ids (KIP-664).

An unknown id answers TRANSACTIONAL_ID_NOT_FOUND, an empty one INVALID_REQUEST, one that is coordinated elsewhere
NOT_COORDINATOR.
"""

from __future__ import annotations

import asyncio
from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.DESCRIBE_TRANSACTIONS


async def handle(request: Request, message: Any, services: Services) -> Any:
    return m.DescribeTransactionsResponse(
        transaction_states=await asyncio.gather(*(_describe(key, services) for key in message.transactional_ids))
    )


async def _describe(transactional_id: str, services: Services) -> Any:
    response = m.DescribeTransactionsResponse
    try:
        found = await services.transactions.describe(transactional_id)
        if found is None:
            raise KafkaError(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND)
    except KafkaError as error:
        return response.TransactionState(error_code=int(error.code), transactional_id=transactional_id)
    by_topic: dict[str, list[int]] = {}
    for topic, index in sorted(found.partitions):
        by_topic.setdefault(topic, []).append(index)
    return response.TransactionState(
        error_code=int(ErrorCode.NONE),
        transactional_id=transactional_id,
        transaction_state=found.state.wire_name,
        transaction_timeout=found.timeout_ms,
        transaction_start_time=found.start_ms,
        producer_id=found.producer_id,
        producer_epoch=found.producer_epoch,
        topics=[response.TopicData(topic=topic, partitions=indexes) for topic, indexes in by_topic.items()],
    )
