"""Changing the configs of topics, brokers, groups and client-metrics subscriptions.

Pure decisions, see ``decision.py``. The changes of one resource happen together or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from broker import limits
from broker.cluster import records
from broker.cluster.config_changes import ResourceChange, ResourceType, changed_configs, check_request
from broker.cluster.decision import Batch, Decision, ResourceResult, named_twice, topic_record
from broker.cluster.eligibility import MIN_IN_SYNC, rejudge_eligible
from broker.cluster.image import ClusterImage
from broker.cluster.topic_names import refuse_topic_name
from broker.config.broker import BROKER_CONFIGS, BrokerConfig, validate_dynamic_broker_configs
from broker.config.client_metrics import CLIENT_METRICS_CONFIGS, validate_client_metrics_configs
from broker.config.definition import quoted
from broker.config.group import GROUP_CONFIGS, GroupConfigs, validate_group_configs
from broker.config.topic import TOPIC_CONFIGS, TopicConfig, validate_topic_configs
from broker.errors import ErrorCode, KafkaError
from broker.metadata.store import Absent, VersionIs


def decide_alter_configs(
    image: ClusterImage, changes: Sequence[ResourceChange], *, config: BrokerConfig, now_ms: int
) -> Decision[ResourceResult]:
    """``config`` is the asked broker's, to which a change of a single broker's configs must be addressed."""
    batch = Batch()
    twice = named_twice((change.type, change.name) for change in changes)
    results = []
    for change in changes:
        error: KafkaError | None = None
        try:
            if (change.type, change.name) in twice:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "Each resource must appear at most once.")
            check_request(change)
            match change.type:
                case ResourceType.TOPIC:
                    _alter_topic(image, change, config, batch, now_ms)
                case ResourceType.BROKER:
                    _alter_broker(image, change, config, batch, now_ms)
                case ResourceType.CLIENT_METRICS:
                    _alter_client_metrics(image, change, batch)
                case ResourceType.GROUP:
                    _alter_group(image, change, config, batch)
                case ResourceType.BROKER_LOGGER:
                    raise KafkaError(
                        ErrorCode.INVALID_REQUEST,
                        "AlterConfigs is deprecated and does not support the resource type BROKER_LOGGER",
                    )
                case _:
                    raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unknown resource type {change.type}")
        except KafkaError as refused:
            error = refused
        results.append(ResourceResult(type=change.type, name=change.name, error=error))
    return Decision(results=tuple(results), transaction=batch.transaction())


def _alter_topic(image: ClusterImage, change: ResourceChange, config: BrokerConfig, batch: Batch, now_ms: int) -> None:
    if (reason := refuse_topic_name(change.name)) is not None:
        raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, reason)
    topic = image.topics_by_name.get(change.name)
    if topic is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"The topic '{change.name}' does not exist.")
    inherited = TopicConfig.resolve({}, config)
    configs = changed_configs(topic.configs, change, TOPIC_CONFIGS, inherited.value_of)
    validate_topic_configs(configs)
    if configs != topic.configs:
        batch.preconditions.append(VersionIs(records.topic_key(topic.name), topic.version))
        batch.puts[records.topic_key(topic.name)] = records.encode(topic_record(topic, configs=configs))
        if configs.get(MIN_IN_SYNC) != topic.configs.get(MIN_IN_SYNC):
            before, after = (TopicConfig.resolve(c, config).min_insync_replicas for c in (topic.configs, configs))
            rejudge_eligible(batch, image, topic, before, after, now_ms)


def _alter_broker(image: ClusterImage, change: ResourceChange, config: BrokerConfig, batch: Batch, now_ms: int) -> None:
    if change.name:
        if not change.name.lstrip("-").isdecimal():
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"Node id must be an integer, but it is: {quoted(change.name)}")
        if int(change.name) != config.node_id:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST,
                f"Unexpected broker id, expected {config.node_id}, but received {quoted(change.name)}",
            )
    current = image.broker_configs.get(change.name, {})
    configs = changed_configs(current, change, BROKER_CONFIGS, config.value_of)
    validate_dynamic_broker_configs(configs, cluster_wide=not change.name)
    if configs.get(MIN_IN_SYNC) != current.get(MIN_IN_SYNC):
        if change.name:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"Broker-level {MIN_IN_SYNC} cannot be altered: it is for all.")
        minimum = config.with_dynamic(configs, image.broker_configs.get(str(config.node_id), {})).min_insync_replicas
        for topic in image.topics_by_id.values():
            if MIN_IN_SYNC not in topic.configs:
                rejudge_eligible(batch, image, topic, config.min_insync_replicas, minimum, now_ms)
    key = records.broker_configs_key(change.name)
    _put(batch, key, current, configs, image.broker_configs_versions.get(change.name))


def _alter_group(image: ClusterImage, change: ResourceChange, config: BrokerConfig, batch: Batch) -> None:
    if not change.name:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Default group resources are not allowed.")
    _check_room(change.name, image.group_configs, batch, limits.GROUPS_WITH_CONFIGS_MAX)
    current = image.group_configs.get(change.name, {})
    inherited = GroupConfigs.resolve({}, config)
    configs = changed_configs(current, change, GROUP_CONFIGS, inherited.value_of)
    validate_group_configs(configs, config)
    key = records.group_configs_key(change.name)
    _put(batch, key, current, configs, image.group_configs_versions.get(change.name))


def _alter_client_metrics(image: ClusterImage, change: ResourceChange, batch: Batch) -> None:
    _check_room(change.name, image.client_metrics_configs, batch, limits.CLIENT_METRICS_SUBSCRIPTIONS_MAX)
    current = image.client_metrics_configs.get(change.name, {})
    configs = changed_configs(current, change, CLIENT_METRICS_CONFIGS, lambda name: ())
    validate_client_metrics_configs(change.name, configs)
    key = records.client_metrics_key(change.name)
    _put(batch, key, current, configs, image.client_metrics_configs_versions.get(change.name))


def _check_room(name: str, known: Mapping[str, object], batch: Batch, count_max: int) -> None:
    if len(name) > limits.CONFIG_RESOURCE_NAME_LENGTH_MAX:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST,
            f"A name is at most {limits.CONFIG_RESOURCE_NAME_LENGTH_MAX} characters long: {quoted(name)}",
        )
    if name not in known and len(known) + len(batch.puts) >= count_max:
        raise KafkaError(ErrorCode.POLICY_VIOLATION, f"There are {count_max} resources of this type already.")


def _put(batch: Batch, key: str, current: Mapping[str, str], configs: Mapping[str, str], version: int | None) -> None:
    """Write what changed; a resource without overrides has no key."""
    if configs == current:
        return
    batch.preconditions.append(Absent(key) if version is None else VersionIs(key, version))
    if configs:
        batch.puts[key] = records.encode(records.ResourceConfigsRecord(configs=dict(configs)))
    else:
        batch.deletes.append(key)
