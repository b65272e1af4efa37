"""DescribeProducers v0: the producers a partition remembers, and where their open transactions begin.

``last_timestamp`` is the broker's clock at the last append, so that old records do not make a producer look silent.
"""

from __future__ import annotations

from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.DESCRIBE_PRODUCERS


def handle(request: Request, message: Any, services: Services) -> Any:
    return m.DescribeProducersResponse(
        topics=[
            m.DescribeProducersResponse.TopicResponse(
                name=topic.name,
                partitions=[_partition(topic.name, index, services) for index in topic.partition_indexes],
            )
            for topic in message.topics
        ]
    )


def _partition(topic: str, index: int, services: Services) -> Any:
    try:
        partition = services.partitions.get(topic, index)
    except KafkaError as error:
        return m.DescribeProducersResponse.PartitionResponse(
            partition_index=index, error_code=int(error.code), error_message=error.message
        )
    return m.DescribeProducersResponse.PartitionResponse(
        partition_index=index,
        error_code=int(ErrorCode.NONE),
        active_producers=[
            m.DescribeProducersResponse.ProducerState(
                producer_id=producer.producer_id,
                producer_epoch=producer.producer_epoch,
                last_sequence=producer.last_sequence,
                last_timestamp=producer.last_timestamp_ms,
                coordinator_epoch=producer.coordinator_epoch,
                current_txn_start_offset=producer.current_txn_start_offset,
            )
            for producer in partition.log.producer_state.producers()
        ],
    )
