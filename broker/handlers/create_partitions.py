"""CreatePartitions (37), versions 0–3: one result per topic; ``validate_only`` decides without writing.

``count`` is the new total.
Deviation: internal topics are refused, because the partition a group lives in follows from their number.
"""

from __future__ import annotations

from typing import Any

from broker.cluster.decision import NewPartitions
from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.CREATE_PARTITIONS


async def handle(request: Request, message: Any, services: Services) -> Any:
    requests = [
        NewPartitions(
            name=topic.name,
            total_count=topic.count,
            assignments=None if topic.assignments is None else tuple(tuple(a.broker_ids) for a in topic.assignments),
        )
        for topic in message.topics
    ]
    results = await services.cluster.create_partitions(requests, validate_only=message.validate_only)
    return m.CreatePartitionsResponse(
        results=[
            m.CreatePartitionsResponse.CreatePartitionsTopicResult(
                name=result.name,
                error_code=ErrorCode.NONE if result.error is None else result.error.code,
                error_message=None if result.error is None else result.error.message,
            )
            for result in results
        ]
    )
