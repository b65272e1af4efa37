"""DescribeConfigs (32), versions 1–4: every known config of topics (2), a broker (4), or all brokers' defaults (4, "").

v1 synonyms in order of precedence and sources; v3 types and documentation. Null or empty keys ask for all. A broker
answers for itself only, as Kafka's do. Other resource types (loggers, client metrics, groups) are INVALID_REQUEST.
"""

from __future__ import annotations

from typing import Any

from broker.cluster.config_changes import ResourceType
from broker.cluster.topic_names import refuse_topic_name
from broker.config.definition import quoted
from broker.config.describe import (
    DescribedConfig,
    describe_broker_configs,
    describe_dynamic_default_configs,
    describe_topic_configs,
)
from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.DESCRIBE_CONFIGS


def handle(request: Request, message: Any, services: Services) -> Any:
    results = []
    for resource in message.resources:
        error: KafkaError | None = None
        described: list[DescribedConfig] = []
        try:
            described = _describe(resource, services)
        except KafkaError as refused:
            error = refused
        results.append(
            m.DescribeConfigsResponse.DescribeConfigsResult(
                error_code=ErrorCode.NONE if error is None else error.code,
                error_message=None if error is None else error.message,
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
                configs=[_entry(config, message) for config in described],
            )
        )
    return m.DescribeConfigsResponse(results=results)


def _describe(resource: Any, services: Services) -> list[DescribedConfig]:
    names = resource.configuration_keys or None
    config = services.cluster.config
    match resource.resource_type:
        case ResourceType.TOPIC:
            if (reason := refuse_topic_name(resource.resource_name)) is not None:
                raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, reason)
            topic = services.cluster.image.topics_by_name.get(resource.resource_name)
            if topic is None:
                raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            return describe_topic_configs(topic.configs, config, names)
        case ResourceType.BROKER if not resource.resource_name:
            return describe_dynamic_default_configs(services.cluster.image.broker_configs.get("", {}), names)
        case ResourceType.BROKER:
            if resource.resource_name != str(services.node_id):
                raise KafkaError(
                    ErrorCode.INVALID_REQUEST,
                    f"Unexpected broker id, expected {services.node_id} or empty string, but received "
                    f"{quoted(resource.resource_name)}",
                )
            return describe_broker_configs(config, names)
        case other:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unsupported resource type: {other}")


def _entry(config: DescribedConfig, message: Any) -> Any:
    synonyms = config.synonyms if message.include_synonyms else ()
    return m.DescribeConfigsResponse.DescribeConfigsResourceResult(
        name=config.name,
        value=config.value,
        read_only=config.read_only,
        config_source=config.source,
        is_sensitive=config.definition.sensitive,
        synonyms=[
            m.DescribeConfigsResponse.DescribeConfigsSynonym(
                name=synonym.name, value=synonym.value, source=synonym.source
            )
            for synonym in synonyms
        ],
        config_type=config.definition.type,
        documentation=config.definition.documentation if message.include_documentation else None,
    )
