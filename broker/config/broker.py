"""The typed configs of one broker and where each value came from.

Owns: ``BrokerConfig``, reading it from the environment, and the merge of the four sources, strongest first:
dynamic for this broker, dynamic default of all brokers, static (environment), default. Everyone else reads typed
attributes only. A dynamic change makes a new ``BrokerConfig``; the cluster driver holds the current one.

Environment: any config as ``OTTLA_`` + its name in capitals with underscores. Besides, ``OTTLA_HOME`` (where data
lives), ``OTTLA_KAFKA`` = HOST:PORT of broker 1 (broker N gets the port + N - 1) and ``OTTLA_KAFKA_ADVERTISED`` = what
clients are told, a comma list with one HOST:PORT per broker (or one for broker 1, counted up like the port).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from broker.config.broker_schema import BROKER_CONFIGS
from broker.config.definition import ConfigDef, ConfigSource, ConfigValue, InvalidConfigValue, UpdateMode, quoted
from broker.config.topic import HOUR_MS, TOPIC_CONFIGS
from broker.errors import ErrorCode, KafkaError

__all__ = ["BROKER_CONFIGS", "BrokerConfig", "environment_name", "validate_dynamic_broker_configs"]

ENVIRONMENT_PREFIX = "OTTLA_"
DEFAULT_KAFKA = "127.0.0.1:9092"
INTERNAL_PORT_OFFSET = 10_000
INTERNAL_LISTENER = "INTERNAL"


def environment_name(config_name: str) -> str:
    return ENVIRONMENT_PREFIX + config_name.upper().replace(".", "_")


def _default(name: str) -> Any:
    return BROKER_CONFIGS[name].default


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig:
    """A field is named as its config with underscores for dots; the fields after them are derived."""

    # Identity and directories
    node_id: int = _default("node.id")
    broker_id: int = _default("broker.id")
    broker_rack: str | None = _default("broker.rack")
    metadata: str | None = _default("metadata")
    log_dirs: tuple[str, ...] | None = _default("log.dirs")
    log_dir: str | None = _default("log.dir")
    # Listeners
    listeners: tuple[str, ...] | None = _default("listeners")
    advertised_listeners: tuple[str, ...] | None = _default("advertised.listeners")
    listener_security_protocol_map: str = _default("listener.security.protocol.map")
    inter_broker_listener_name: str = _default("inter.broker.listener.name")
    # Durability and disk (Ottla's own)
    ack_durability: str = _default("ack.durability")
    ack_flush_interval_ms: int = _default("ack.flush.interval.ms")
    disk_free_floor_bytes: int = _default("disk.free.floor.bytes")
    # Topics
    num_partitions: int = _default("num.partitions")
    default_replication_factor: int = _default("default.replication.factor")
    auto_create_topics_enable: bool = _default("auto.create.topics.enable")
    delete_topic_enable: bool = _default("delete.topic.enable")
    min_insync_replicas: int = _default("min.insync.replicas")
    unclean_leader_election_enable: bool = _default("unclean.leader.election.enable")
    message_max_bytes: int = _default("message.max.bytes")
    compression_type: str = _default("compression.type")
    compression_gzip_level: int = _default("compression.gzip.level")
    compression_lz4_level: int = _default("compression.lz4.level")
    compression_zstd_level: int = _default("compression.zstd.level")
    max_request_partition_size_limit: int = _default("max.request.partition.size.limit")
    # Log
    log_segment_bytes: int = _default("log.segment.bytes")
    log_roll_ms: int | None = _default("log.roll.ms")
    log_roll_hours: int = _default("log.roll.hours")
    log_roll_jitter_ms: int | None = _default("log.roll.jitter.ms")
    log_roll_jitter_hours: int = _default("log.roll.jitter.hours")
    log_retention_ms: int | None = _default("log.retention.ms")
    log_retention_minutes: int | None = _default("log.retention.minutes")
    log_retention_hours: int = _default("log.retention.hours")
    log_retention_bytes: int = _default("log.retention.bytes")
    log_retention_check_interval_ms: int = _default("log.retention.check.interval.ms")
    log_cleanup_policy: tuple[str, ...] = _default("log.cleanup.policy")
    log_index_size_max_bytes: int = _default("log.index.size.max.bytes")
    log_index_interval_bytes: int = _default("log.index.interval.bytes")
    log_flush_interval_messages: int = _default("log.flush.interval.messages")
    log_flush_interval_ms: int | None = _default("log.flush.interval.ms")
    log_flush_scheduler_interval_ms: int = _default("log.flush.scheduler.interval.ms")
    log_flush_offset_checkpoint_interval_ms: int = _default("log.flush.offset.checkpoint.interval.ms")
    log_flush_start_offset_checkpoint_interval_ms: int = _default("log.flush.start.offset.checkpoint.interval.ms")
    log_preallocate: bool = _default("log.preallocate")
    log_segment_delete_delay_ms: int = _default("log.segment.delete.delay.ms")
    log_message_timestamp_type: str = _default("log.message.timestamp.type")
    log_message_timestamp_before_max_ms: int = _default("log.message.timestamp.before.max.ms")
    log_message_timestamp_after_max_ms: int = _default("log.message.timestamp.after.max.ms")
    log_local_retention_ms: int = _default("log.local.retention.ms")
    log_local_retention_bytes: int = _default("log.local.retention.bytes")
    num_recovery_threads_per_data_dir: int = _default("num.recovery.threads.per.data.dir")
    log_dir_failure_timeout_ms: int = _default("log.dir.failure.timeout.ms")
    # Compaction
    log_cleaner_enable: bool = _default("log.cleaner.enable")
    log_cleaner_threads: int = _default("log.cleaner.threads")
    log_cleaner_dedupe_buffer_size: int = _default("log.cleaner.dedupe.buffer.size")
    log_cleaner_io_buffer_size: int = _default("log.cleaner.io.buffer.size")
    log_cleaner_io_buffer_load_factor: float = _default("log.cleaner.io.buffer.load.factor")
    log_cleaner_io_max_bytes_per_second: float = _default("log.cleaner.io.max.bytes.per.second")
    log_cleaner_backoff_ms: int = _default("log.cleaner.backoff.ms")
    log_cleaner_min_cleanable_ratio: float = _default("log.cleaner.min.cleanable.ratio")
    log_cleaner_delete_retention_ms: int = _default("log.cleaner.delete.retention.ms")
    log_cleaner_min_compaction_lag_ms: int = _default("log.cleaner.min.compaction.lag.ms")
    log_cleaner_max_compaction_lag_ms: int = _default("log.cleaner.max.compaction.lag.ms")
    # Network
    socket_request_max_bytes: int = _default("socket.request.max.bytes")
    socket_send_buffer_bytes: int = _default("socket.send.buffer.bytes")
    socket_receive_buffer_bytes: int = _default("socket.receive.buffer.bytes")
    socket_listen_backlog_size: int = _default("socket.listen.backlog.size")
    queued_max_requests: int = _default("queued.max.requests")
    queued_max_request_bytes: int = _default("queued.max.request.bytes")
    connections_max_idle_ms: int = _default("connections.max.idle.ms")
    max_connections: int = _default("max.connections")
    max_connections_per_ip: int = _default("max.connections.per.ip")
    max_connections_per_ip_overrides: str = _default("max.connections.per.ip.overrides")
    max_connection_creation_rate: int = _default("max.connection.creation.rate")
    connection_failed_authentication_delay_ms: int = _default("connection.failed.authentication.delay.ms")
    num_network_threads: int = _default("num.network.threads")
    num_io_threads: int = _default("num.io.threads")
    background_threads: int = _default("background.threads")
    request_timeout_ms: int = _default("request.timeout.ms")
    fetch_max_bytes: int = _default("fetch.max.bytes")
    max_incremental_fetch_session_cache_slots: int = _default("max.incremental.fetch.session.cache.slots")
    # Replication
    replica_lag_time_max_ms: int = _default("replica.lag.time.max.ms")
    replica_fetch_max_bytes: int = _default("replica.fetch.max.bytes")
    replica_fetch_wait_max_ms: int = _default("replica.fetch.wait.max.ms")
    replica_fetch_min_bytes: int = _default("replica.fetch.min.bytes")
    replica_fetch_backoff_ms: int = _default("replica.fetch.backoff.ms")
    replica_fetch_response_max_bytes: int = _default("replica.fetch.response.max.bytes")
    replica_socket_timeout_ms: int = _default("replica.socket.timeout.ms")
    replica_socket_receive_buffer_bytes: int = _default("replica.socket.receive.buffer.bytes")
    num_replica_fetchers: int = _default("num.replica.fetchers")
    replica_selector_class: str | None = _default("replica.selector.class")
    auto_leader_rebalance_enable: bool = _default("auto.leader.rebalance.enable")
    leader_imbalance_check_interval_seconds: int = _default("leader.imbalance.check.interval.seconds")
    leader_imbalance_per_broker_percentage: int = _default("leader.imbalance.per.broker.percentage")
    leader_replication_throttled_rate: int = _default("leader.replication.throttled.rate")
    follower_replication_throttled_rate: int = _default("follower.replication.throttled.rate")
    controlled_shutdown_enable: bool = _default("controlled.shutdown.enable")
    broker_heartbeat_interval_ms: int = _default("broker.heartbeat.interval.ms")
    broker_session_timeout_ms: int = _default("broker.session.timeout.ms")
    # Groups and offsets
    group_min_session_timeout_ms: int = _default("group.min.session.timeout.ms")
    group_max_session_timeout_ms: int = _default("group.max.session.timeout.ms")
    group_initial_rebalance_delay_ms: int = _default("group.initial.rebalance.delay.ms")
    group_max_size: int = _default("group.max.size")
    group_coordinator_rebalance_protocols: tuple[str, ...] = _default("group.coordinator.rebalance.protocols")
    group_coordinator_append_linger_ms: int = _default("group.coordinator.append.linger.ms")
    group_coordinator_threads: int = _default("group.coordinator.threads")
    group_consumer_session_timeout_ms: int = _default("group.consumer.session.timeout.ms")
    group_consumer_min_session_timeout_ms: int = _default("group.consumer.min.session.timeout.ms")
    group_consumer_max_session_timeout_ms: int = _default("group.consumer.max.session.timeout.ms")
    group_consumer_heartbeat_interval_ms: int = _default("group.consumer.heartbeat.interval.ms")
    group_consumer_min_heartbeat_interval_ms: int = _default("group.consumer.min.heartbeat.interval.ms")
    group_consumer_max_heartbeat_interval_ms: int = _default("group.consumer.max.heartbeat.interval.ms")
    group_consumer_assignment_interval_ms: int = _default("group.consumer.assignment.interval.ms")
    group_consumer_min_assignment_interval_ms: int = _default("group.consumer.min.assignment.interval.ms")
    group_consumer_max_assignment_interval_ms: int = _default("group.consumer.max.assignment.interval.ms")
    group_consumer_max_size: int = _default("group.consumer.max.size")
    group_consumer_assignors: tuple[str, ...] = _default("group.consumer.assignors")
    group_consumer_regex_refresh_interval_ms: int = _default("group.consumer.regex.refresh.interval.ms")
    group_consumer_migration_policy: str = _default("group.consumer.migration.policy")
    group_share_max_size: int = _default("group.share.max.size")
    group_share_session_timeout_ms: int = _default("group.share.session.timeout.ms")
    group_share_heartbeat_interval_ms: int = _default("group.share.heartbeat.interval.ms")
    group_share_record_lock_duration_ms: int = _default("group.share.record.lock.duration.ms")
    group_share_delivery_count_limit: int = _default("group.share.delivery.count.limit")
    group_share_partition_max_record_locks: int = _default("group.share.partition.max.record.locks")
    offset_metadata_max_bytes: int = _default("offset.metadata.max.bytes")
    offsets_commit_timeout_ms: int = _default("offsets.commit.timeout.ms")
    offsets_load_buffer_size: int = _default("offsets.load.buffer.size")
    offsets_retention_minutes: int = _default("offsets.retention.minutes")
    offsets_retention_check_interval_ms: int = _default("offsets.retention.check.interval.ms")
    offsets_topic_num_partitions: int = _default("offsets.topic.num.partitions")
    offsets_topic_replication_factor: int = _default("offsets.topic.replication.factor")
    offsets_topic_segment_bytes: int = _default("offsets.topic.segment.bytes")
    offsets_topic_compression_codec: int = _default("offsets.topic.compression.codec")
    # Transactions
    transaction_max_timeout_ms: int = _default("transaction.max.timeout.ms")
    transactional_id_expiration_ms: int = _default("transactional.id.expiration.ms")
    transaction_abort_timed_out_transaction_cleanup_interval_ms: int = _default(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms"
    )
    transaction_remove_expired_transaction_cleanup_interval_ms: int = _default(
        "transaction.remove.expired.transaction.cleanup.interval.ms"
    )
    transaction_partition_verification_enable: bool = _default("transaction.partition.verification.enable")
    transaction_state_log_num_partitions: int = _default("transaction.state.log.num.partitions")
    transaction_state_log_replication_factor: int = _default("transaction.state.log.replication.factor")
    transaction_state_log_min_isr: int = _default("transaction.state.log.min.isr")
    transaction_state_log_segment_bytes: int = _default("transaction.state.log.segment.bytes")
    transaction_state_log_load_buffer_size: int = _default("transaction.state.log.load.buffer.size")
    producer_id_expiration_ms: int = _default("producer.id.expiration.ms")
    # Security, quotas, tiering
    sasl_enabled_mechanisms: tuple[str, ...] = _default("sasl.enabled.mechanisms")
    sasl_server_max_receive_size: int = _default("sasl.server.max.receive.size")
    connections_max_reauth_ms: int = _default("connections.max.reauth.ms")
    authorizer_class_name: str = _default("authorizer.class.name")
    super_users: str = _default("super.users")
    allow_everyone_if_no_acl_found: bool = _default("allow.everyone.if.no.acl.found")
    quota_window_num: int = _default("quota.window.num")
    quota_window_size_seconds: int = _default("quota.window.size.seconds")
    quota_producer_byte_rate: int = _default("quota.producer.byte.rate")
    quota_producer_byte_rate_overrides: str = _default("quota.producer.byte.rate.overrides")
    quota_consumer_byte_rate: int = _default("quota.consumer.byte.rate")
    quota_consumer_byte_rate_overrides: str = _default("quota.consumer.byte.rate.overrides")
    quota_request_percentage: float = _default("quota.request.percentage")
    quota_request_percentage_overrides: str = _default("quota.request.percentage.overrides")
    telemetry_max_bytes: int = _default("telemetry.max.bytes")
    remote_log_storage_system_enable: bool = _default("remote.log.storage.system.enable")

    # Derived: never configs themselves.
    home: str = "./var"
    host: str = "127.0.0.1"
    port: int = 9092
    """0 lets the system choose; what is advertised is then the port that was bound."""
    internal_host: str = "127.0.0.1"
    internal_port: int = 19092
    advertised_host: str = "127.0.0.1"
    advertised_port: int = 9092
    static_values: Mapping[str, str] = field(default_factory=dict)
    """What the environment (or the caller) gave, by config name."""
    dynamic_default_values: Mapping[str, str] = field(default_factory=dict)
    dynamic_values: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], **overrides: Any) -> BrokerConfig:
        """Build from ``OTTLA_*``; ``overrides`` are attribute names with typed or text values and win.

        Raises ``KafkaError`` INVALID_CONFIG naming the variable that holds a bad value.
        """
        static: dict[str, str] = {}
        for name, definition in BROKER_CONFIGS.items():
            if definition.attribute in overrides:
                value = overrides.pop(definition.attribute)
                text = value if isinstance(value, str) else definition.format(_listed(value))
                if text is not None:
                    static[name] = text
            elif (given := environ.get(environment_name(name))) is not None:
                static[name] = given
        values = _parse_static(static)
        node_id = _node_id(values)
        values["node_id"] = values["broker_id"] = node_id
        home = str(overrides.pop("home", environ.get("OTTLA_HOME", "./var")))
        values["log_dirs"] = _log_dirs(values, home, node_id)
        values["log_dir"] = values["log_dirs"][0]
        addresses = _addresses(values, environ, node_id)
        addresses.update(overrides)
        config = cls(**values, home=home, static_values=static, **addresses)
        return replace(
            config,
            listeners=config.listeners
            or (
                f"PLAINTEXT://{_joined(config.host, config.port)}",
                f"{INTERNAL_LISTENER}://{_joined(config.internal_host, config.internal_port)}",
            ),
            advertised_listeners=config.advertised_listeners
            or (f"PLAINTEXT://{_joined(config.advertised_host, config.advertised_port)}",),
        )

    @property
    def data_directory(self) -> Path:
        """The log directory. Several are not supported yet; the schema refuses them."""
        assert self.log_dirs is not None
        return Path(self.log_dirs[0])

    def with_dynamic(self, defaults: Mapping[str, str], own: Mapping[str, str]) -> BrokerConfig:
        """This config with other dynamic values: ``defaults`` for all brokers, ``own`` for this one.

        Values that do not parse here (stored by another version) are skipped rather than stopping the broker.
        """
        base = replace(self, **{d.attribute: self._below_dynamic(d) for d in _DYNAMIC})
        changed: dict[str, Any] = {}
        for source in (defaults, own):
            for name, text in source.items():
                definition = BROKER_CONFIGS.get(name)
                if definition is None or definition.update_mode is UpdateMode.READ_ONLY:
                    continue
                try:
                    changed[definition.attribute] = definition.effective(text)
                except InvalidConfigValue:
                    continue
        return replace(base, **changed, dynamic_default_values=dict(defaults), dynamic_values=dict(own))

    def value_of(self, name: str) -> ConfigValue:
        return getattr(self, BROKER_CONFIGS[name].attribute)

    def sources(self, name: str) -> list[tuple[str, str | None, ConfigSource]]:
        """(name, value, source) of every place that gives this setting a value, strongest first.

        The order is Kafka's: by synonym name, and within a name by source; the default comes last.
        """
        found: list[tuple[str, str | None, ConfigSource]] = []
        layers = (
            (self.dynamic_values, ConfigSource.DYNAMIC_BROKER),
            (self.dynamic_default_values, ConfigSource.DYNAMIC_DEFAULT_BROKER),
            (self.static_values, ConfigSource.STATIC_BROKER),
        )
        for synonym in BROKER_CONFIGS[name].synonyms:
            for values, source in layers:
                if synonym in values:
                    found.append((synonym, values[synonym], source))
        for synonym in BROKER_CONFIGS[name].synonyms:
            default = BROKER_CONFIGS[synonym].default
            if default is not None:
                found.append((synonym, BROKER_CONFIGS[synonym].format(default), ConfigSource.DEFAULT))
        return found

    def topic_defaults(self) -> dict[str, Any]:
        """What this broker gives a topic without overrides: ``TopicConfig`` attribute → typed value."""
        values: dict[str, Any] = {}
        for definition in TOPIC_CONFIGS.values():
            for synonym in definition.synonyms:
                value = self.value_of(synonym)
                if value is not None:
                    unit = _MILLISECONDS_PER_UNIT.get(synonym)
                    values[definition.attribute] = value if unit is None else value * unit
                    break
        if values["retention_ms"] < 0:
            values["retention_ms"] = -1
        return values

    def _below_dynamic(self, definition: ConfigDef) -> ConfigValue:
        text = self.static_values.get(definition.name)
        return definition.default if text is None else definition.parse(text)


_MILLISECONDS_PER_UNIT = {
    "log.retention.hours": HOUR_MS,
    "log.retention.minutes": 60_000,
    "log.roll.hours": HOUR_MS,
    "log.roll.jitter.hours": HOUR_MS,
}
_DYNAMIC = tuple(d for d in BROKER_CONFIGS.values() if d.update_mode is not UpdateMode.READ_ONLY)

assert {d.attribute for d in BROKER_CONFIGS.values()} <= {f.name for f in fields(BrokerConfig)}


def validate_dynamic_broker_configs(configs: Mapping[str, str | None], *, cluster_wide: bool) -> None:
    """Raise ``KafkaError`` unless every config may be changed while brokers run and accepts its value."""
    unknown = [name for name in configs if name not in BROKER_CONFIGS]
    if unknown:
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"Unknown broker config name: {quoted(', '.join(unknown))}")
    fixed = [name for name in configs if BROKER_CONFIGS[name].update_mode is UpdateMode.READ_ONLY]
    if fixed:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST, f"Cannot update these configs dynamically: {{{', '.join(sorted(fixed))}}}"
        )
    single = [name for name in configs if BROKER_CONFIGS[name].update_mode is UpdateMode.PER_BROKER]
    if cluster_wide and single:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST,
            f"Cannot update these configs at default cluster level, broker id must be specified: "
            f"{{{', '.join(sorted(single))}}}",
        )
    for name, value in configs.items():
        if value is None:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"Null value not supported for broker configs: {name}")
        BROKER_CONFIGS[name].accept(value)


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _parse_static(static: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, text in static.items():
        definition = BROKER_CONFIGS[name]
        try:
            values[definition.attribute] = definition.accept(text)
        except InvalidConfigValue as error:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"{error.message} ({environment_name(name)})") from None
    return values


def _node_id(values: Mapping[str, Any]) -> int:
    broker_id = values.get("broker_id", -1)
    node_id: int = values.get("node_id", broker_id if broker_id >= 0 else _default("node.id"))
    if broker_id >= 0 and broker_id != node_id:
        raise KafkaError(ErrorCode.INVALID_CONFIG, "You must set `node.id` to the same value as `broker.id`.")
    return node_id


def _log_dirs(values: Mapping[str, Any], home: str, node_id: int) -> tuple[str, ...]:
    given = values.get("log_dirs") or ((values["log_dir"],) if values.get("log_dir") else ())
    directories: tuple[str, ...] = given or (str(Path(home) / f"broker-{node_id}"),)
    if len(directories) > 1:
        raise KafkaError(
            ErrorCode.INVALID_CONFIG,
            f"Invalid value {','.join(directories)} for configuration log.dirs: "
            "one directory per broker; run several brokers to use several disks",
        )
    return directories


def _addresses(values: Mapping[str, Any], environ: Mapping[str, str], node_id: int) -> dict[str, Any]:
    """host, port and their internal and advertised kin, from listeners or from the OTTLA_KAFKA short forms."""
    host, port = parse_address(environ.get("OTTLA_KAFKA") or DEFAULT_KAFKA, "OTTLA_KAFKA")
    port = port + node_id - 1 if port else 0
    internal_host, internal_port = host, port + INTERNAL_PORT_OFFSET if port else 0
    for name, address in _named_listeners(values.get("listeners") or (), "listeners"):
        if name == INTERNAL_LISTENER:
            internal_host, internal_port = address
        else:
            host, port = address
    if internal_port > 65_535:
        # A high client port leaves no room above it; below it is as predictable.
        internal_port = port - INTERNAL_PORT_OFFSET
    advertised_host, advertised_port = host, port
    if advertised := environ.get("OTTLA_KAFKA_ADVERTISED"):
        advertised_host, advertised_port = _advertised(advertised, node_id)
    for name, address in _named_listeners(values.get("advertised_listeners") or (), "advertised.listeners"):
        if name != INTERNAL_LISTENER:
            advertised_host, advertised_port = address
    if advertised_host in ("0.0.0.0", "::", ""):
        advertised_host = "127.0.0.1" if advertised_host != "::" else "::1"
    return {
        "host": host,
        "port": port,
        "internal_host": internal_host,
        "internal_port": internal_port,
        "advertised_host": advertised_host,
        "advertised_port": advertised_port,
    }


def _advertised(text: str, node_id: int) -> tuple[str, int]:
    items = [item.strip() for item in text.split(",") if item.strip()]
    if 1 <= node_id <= len(items):
        return parse_address(items[node_id - 1], "OTTLA_KAFKA_ADVERTISED")
    host, port = parse_address(items[0] if items else "", "OTTLA_KAFKA_ADVERTISED")
    return host, port + node_id - 1


def _named_listeners(listeners: tuple[str, ...], config: str) -> list[tuple[str, tuple[str, int]]]:
    named = []
    for listener in listeners:
        name, separator, address = listener.partition("://")
        if not separator:
            raise InvalidConfigValue(config, listener, "Must be NAME://HOST:PORT")
        named.append((name.upper(), parse_address(address, config)))
    return named


def parse_address(text: str, config: str) -> tuple[str, int]:
    """HOST:PORT; an IPv6 host in brackets."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise InvalidConfigValue(config, text, "Must be HOST:PORT")
    return host.strip("[]"), int(port)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
