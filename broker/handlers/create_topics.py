"""CreateTopics (19), versions 2–7: one result per topic, the good ones are created whatever the others are.

v4 partitions and replication factor may be -1 (the broker's defaults); v5 answers the configs the topic got; v7 its id.
The answer comes when this broker hosts or knows the topic. ``timeout`` is not needed: nothing is left half done.

Deviations: no topic id is made up for ``validate_only``; the answer has the zero id. `min.insync.replicas` is told as a
default (see DescribeConfigs).
"""

from __future__ import annotations

from typing import Any

from broker.cluster.decision import NewTopic, TopicResult
from broker.config.describe import describe_topic_configs
from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.types import ZERO_TOPIC_ID

API = ApiKey.CREATE_TOPICS


async def handle(request: Request, message: Any, services: Services) -> Any:
    topics = [
        NewTopic(
            name=topic.name,
            partition_count=topic.num_partitions,
            replication_factor=topic.replication_factor,
            assignments=tuple((a.partition_index, tuple(a.broker_ids)) for a in topic.assignments),
            configs={config.name: config.value for config in topic.configs},
        )
        for topic in message.topics
    ]
    results = await services.cluster.create_topics(topics, validate_only=message.validate_only)
    return m.CreateTopicsResponse(topics=[_result(result, message.validate_only, services) for result in results])


def _result(result: TopicResult, validate_only: bool, services: Services) -> Any:
    if result.error is not None:
        return m.CreateTopicsResponse.CreatableTopicResult(
            name=result.name, error_code=result.error.code, error_message=result.error.message, configs=[]
        )
    return m.CreateTopicsResponse.CreatableTopicResult(
        name=result.name,
        topic_id=ZERO_TOPIC_ID if validate_only else result.topic_id,
        error_code=ErrorCode.NONE,
        error_message=None,
        num_partitions=result.partition_count,
        replication_factor=result.replication_factor,
        configs=[
            m.CreateTopicsResponse.CreatableTopicConfigs(
                name=config.name,
                value=config.value,
                read_only=config.read_only,
                config_source=config.source,
                is_sensitive=config.definition.sensitive,
            )
            for config in describe_topic_configs(result.configs, services.cluster.config)
        ],
    )
