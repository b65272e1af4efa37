"""ActiveProducers (private, key 10011), version 0: the producers of a partition whose last sequence must survive.

Compaction keeps the last batch of each, empty if need be: without it a retry after a restart could be taken for new.
"""

from __future__ import annotations

from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.protocol.api import ApiKey
from broker.protocol.private import ActiveProducersRequest, ActiveProducersResponse
from broker.types import NO_OFFSET

API = ApiKey.ACTIVE_PRODUCERS


def handle_private(request: Request, message: ActiveProducersRequest, services: Services) -> ActiveProducersResponse:
    partition = services.partitions.find(message.topic, message.partition)
    if partition is None:
        code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return ActiveProducersResponse(error_code=code, error_message=code.message)
    return ActiveProducersResponse(
        producers=[
            (entry.producer_id, entry.epoch, entry.batches[-1].last_offset if entry.batches else NO_OFFSET)
            for entry in partition.log.producer_state.entries()
        ]
    )
