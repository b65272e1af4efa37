"""DescribeConfigs (32), versions 1–4: configs of topics (2), a broker or all brokers' defaults (4), log levels (8),
client-metrics subscriptions (16) and groups (32): every known one with its source.

v1 synonyms in order of precedence and sources; v3 types and documentation. Null or empty keys ask for all. A broker
answers for itself only, as Kafka's do. A group or subscription that nobody configured has the defaults.

Deviations: `min.insync.replicas` has its default where Kafka 4.3 sets it for the cluster, as its eligible leader replicas want
it. Configs of Kafka that this broker does not know, those of share groups among them, are not told.
"""

from __future__ import annotations

from typing import Any

from broker.cluster.config_changes import ResourceType
from broker.cluster.topic_names import refuse_topic_name
from broker.config.definition import quoted
from broker.config.describe import (
    DescribedConfig,
    describe_broker_configs,
    describe_client_metrics_configs,
    describe_dynamic_default_configs,
    describe_group_configs,
    describe_loggers,
    describe_topic_configs,
)
from broker.config.loggers import logger_levels
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
            _require_this_broker(resource.resource_name, services.node_id, "or empty string, ")
            return describe_broker_configs(config, names)
        case ResourceType.BROKER_LOGGER:
            _require_this_broker(resource.resource_name, services.node_id)
            return describe_loggers(logger_levels(names))
        case ResourceType.CLIENT_METRICS:
            if not resource.resource_name:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "Client metrics subscription name must not be empty")
            subscriptions = services.cluster.image.client_metrics_configs
            return describe_client_metrics_configs(subscriptions.get(resource.resource_name, {}), names)
        case ResourceType.GROUP:
            if not resource.resource_name:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "Group name must not be empty")
            overrides = services.cluster.image.group_configs.get(resource.resource_name, {})
            return describe_group_configs(overrides, config, names)
        case other:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unsupported resource type: {other}")


def _require_this_broker(name: str, node_id: int, or_else: str = "") -> None:
    if name != str(node_id):
        raise KafkaError(
            ErrorCode.INVALID_REQUEST,
            f"Unexpected broker id, expected {node_id} {or_else}but received {quoted(name)}",
        )


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
