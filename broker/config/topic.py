"""Topic configs: every one of Kafka 4.3, and the typed values a log works with.

Owns: the schema ``TOPIC_CONFIGS`` and ``TopicConfig``. Storage and the partition core read only the typed
attributes; the admin handlers, Django admin and docs/configs.md read the schema.

Precedence of a value: the topic's own override, then the broker's config (the ``synonyms``, first one given wins;
``log.retention.ms`` before ``.minutes`` before ``.hours``), then the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from broker.config.definition import (
    LONG_MAX,
    ConfigDef,
    ConfigType,
    ConfigValue,
    Importance,
    at_least,
    between,
    list_of,
    one_of,
    quoted,
    throttled_replicas,
)
from broker.errors import ErrorCode, KafkaError
from broker.limits import KIB, MIB

if TYPE_CHECKING:
    from broker.config.broker import BrokerConfig

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
COMPRESSION_TYPES = ("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer")

_NO_TIERED_STORAGE = "This broker has no tiered storage: every segment stays on its local disk."
_NO_REPLICATION = "Partitions have one replica on this version: there is no replication traffic to throttle."


def gzip_level(value: ConfigValue) -> str | None:
    return None if value == -1 or 1 <= value <= 9 else "Value must be between 1 and 9 or equal to -1"


_DEFINITIONS = (
    ConfigDef(
        name="cleanup.policy",
        type=ConfigType.LIST,
        default=("delete",),
        validator=list_of("compact", "delete"),
        valid_values="[compact, delete], may be empty",
        synonyms=("log.cleanup.policy",),
        acts=True,
        documentation="What becomes of old data: `delete` drops whole segments by age and size, `compact` keeps the last "
        "record of every key. Empty keeps everything.",
    ),
    ConfigDef(
        name="compression.type",
        type=ConfigType.STRING,
        default="producer",
        validator=one_of(*COMPRESSION_TYPES),
        valid_values=f"[{', '.join(COMPRESSION_TYPES)}]",
        synonyms=("compression.type",),
        acts=True,
        documentation="The codec batches are stored with. `producer` keeps what the producer chose, and batches are not "
        "opened. With any other value a batch of another codec is opened, its records are checked, and it is compressed anew, "
        "in a worker thread unless it is small.",
    ),
    ConfigDef(
        name="compression.gzip.level",
        type=ConfigType.INT,
        default=-1,
        validator=gzip_level,
        valid_values="[1..9] or -1",
        synonyms=("compression.gzip.level",),
        acts=True,
        documentation="Effort of gzip when the broker recompresses to gzip; -1 is the codec's own default.",
    ),
    ConfigDef(
        name="compression.lz4.level",
        type=ConfigType.INT,
        default=9,
        validator=between(1, 17),
        valid_values="[1..17]",
        synonyms=("compression.lz4.level",),
        acts=True,
        documentation="Effort of lz4 when the broker recompresses to lz4.",
    ),
    ConfigDef(
        name="compression.zstd.level",
        type=ConfigType.INT,
        default=3,
        validator=between(-131072, 22),
        valid_values="[-131072..22]",
        synonyms=("compression.zstd.level",),
        acts=True,
        documentation="Effort of zstd when the broker recompresses to zstd.",
    ),
    ConfigDef(
        name="delete.retention.ms",
        type=ConfigType.LONG,
        default=DAY_MS,
        validator=at_least(0),
        valid_values="[0..]",
        synonyms=("log.cleaner.delete.retention.ms",),
        acts=True,
        documentation="How long compaction keeps tombstones, and so how long a reader starting from the beginning has to "
        "reach the end and still see every deletion.",
    ),
    ConfigDef(
        name="file.delete.delay.ms",
        type=ConfigType.LONG,
        default=60_000,
        validator=at_least(0),
        valid_values="[0..]",
        synonyms=("log.segment.delete.delay.ms",),
        acts=True,
        documentation="Time between marking a segment's files as deleted and unlinking them.",
    ),
    ConfigDef(
        name="flush.messages",
        type=ConfigType.LONG,
        default=LONG_MAX,
        validator=at_least(1),
        valid_values="[1..]",
        synonyms=("log.flush.interval.messages",),
        acts=True,
        documentation="Force an fsync after this many records; whoever wrote them is answered when it is done, also with acks=1. "
        "1 is an fsync for every acknowledgement. Without it the broker config `ack.durability` decides.",
    ),
    ConfigDef(
        name="flush.ms",
        type=ConfigType.LONG,
        default=LONG_MAX,
        validator=at_least(0),
        valid_values="[0..]",
        synonyms=("log.flush.interval.ms", "log.flush.scheduler.interval.ms"),
        acts=True,
        documentation="Force an fsync of records that nobody else had flushed for this long, to a quarter of a second. Whoever wrote "
        "them does not wait for it.",
    ),
    ConfigDef(
        name="follower.replication.throttled.replicas",
        type=ConfigType.LIST,
        default=(),
        validator=throttled_replicas,
        valid_values="[partition:broker],[partition:broker],... or *",
        acts=True,
        documentation="Replicas whose fetching is held to `follower.replication.throttled.rate` on their broker.",
    ),
    ConfigDef(
        name="index.interval.bytes",
        type=ConfigType.INT,
        default=4 * KIB,
        validator=at_least(0),
        valid_values="[0..]",
        synonyms=("log.index.interval.bytes",),
        acts=True,
        documentation="Bytes of log between two entries of the offset index: smaller finds offsets faster, larger keeps "
        "the index small.",
    ),
    ConfigDef(
        name="internal.segment.bytes",
        type=ConfigType.INT,
        default=None,
        validator=at_least(1),
        valid_values="[1..]",
        internal=True,
        acts=True,
        documentation="Overrides `segment.bytes` without its lower bound. For tests that need many segments.",
    ),
    ConfigDef(
        name="leader.replication.throttled.replicas",
        type=ConfigType.LIST,
        default=(),
        validator=throttled_replicas,
        valid_values="[partition:broker],[partition:broker],... or *",
        acts=True,
        documentation="Replicas served at no more than `leader.replication.throttled.rate` by their leader.",
    ),
    ConfigDef(
        name="local.retention.bytes",
        type=ConfigType.LONG,
        default=-2,
        validator=at_least(-2),
        valid_values="[-2..]",
        synonyms=("log.local.retention.bytes",),
        refused=_NO_TIERED_STORAGE,
        documentation="Bytes kept on local disk once tiered storage holds a copy; -2 means the value of `retention.bytes`.",
    ),
    ConfigDef(
        name="local.retention.ms",
        type=ConfigType.LONG,
        default=-2,
        validator=at_least(-2),
        valid_values="[-2..]",
        synonyms=("log.local.retention.ms",),
        refused=_NO_TIERED_STORAGE,
        documentation="Time kept on local disk once tiered storage holds a copy; -2 means the value of `retention.ms`.",
    ),
    ConfigDef(
        name="max.compaction.lag.ms",
        type=ConfigType.LONG,
        default=LONG_MAX,
        validator=at_least(1),
        valid_values="[1..]",
        synonyms=("log.cleaner.max.compaction.lag.ms",),
        acts=True,
        documentation="The longest a record may stay out of reach of compaction: an open segment is closed by then, and its log is compacted "
        "however clean it is.",
    ),
    ConfigDef(
        name="max.message.bytes",
        type=ConfigType.INT,
        default=1 * MIB + 12,
        validator=at_least(0),
        valid_values="[0..]",
        synonyms=("message.max.bytes",),
        acts=True,
        documentation="The largest record batch accepted, as it arrives (after compression, with its 12 bytes of overhead).",
    ),
    ConfigDef(
        name="message.timestamp.after.max.ms",
        type=ConfigType.LONG,
        default=HOUR_MS,
        validator=at_least(0),
        valid_values="[0..]",
        synonyms=("log.message.timestamp.after.max.ms",),
        acts=True,
        documentation="How far a record's timestamp may lie ahead of the broker's clock under CreateTime before the batch is "
        "refused.",
    ),
    ConfigDef(
        name="message.timestamp.before.max.ms",
        type=ConfigType.LONG,
        default=LONG_MAX,
        validator=at_least(0),
        valid_values="[0..]",
        synonyms=("log.message.timestamp.before.max.ms",),
        acts=True,
        documentation="How far a record's timestamp may lie behind the broker's clock under CreateTime before the batch is "
        "refused.",
    ),
    ConfigDef(
        name="message.timestamp.type",
        type=ConfigType.STRING,
        default="CreateTime",
        validator=one_of("CreateTime", "LogAppendTime"),
        valid_values="[CreateTime, LogAppendTime]",
        synonyms=("log.message.timestamp.type",),
        acts=True,
        documentation="Whether a record's timestamp is the producer's (`CreateTime`) or the broker's at append "
        "(`LogAppendTime`).",
    ),
    ConfigDef(
        name="min.cleanable.dirty.ratio",
        type=ConfigType.DOUBLE,
        default=0.5,
        validator=between(0, 1),
        valid_values="[0..1]",
        synonyms=("log.cleaner.min.cleanable.ratio",),
        acts=True,
        documentation="The share of a log that must be uncompacted before it is compacted again: lower saves disk, higher "
        "saves work.",
    ),
    ConfigDef(
        name="min.compaction.lag.ms",
        type=ConfigType.LONG,
        default=0,
        validator=at_least(0),
        valid_values="[0..]",
        synonyms=("log.cleaner.min.compaction.lag.ms",),
        acts=True,
        documentation="The shortest time a record stays untouched by compaction.",
    ),
    ConfigDef(
        name="min.insync.replicas",
        type=ConfigType.INT,
        default=1,
        validator=at_least(1),
        valid_values="[1..]",
        synonyms=("min.insync.replicas",),
        acts=True,
        documentation="In-sync replicas that must hold a write before acks=all is answered with success; with fewer, such "
        "writes fail with NOT_ENOUGH_REPLICAS.",
    ),
    ConfigDef(
        name="preallocate",
        type=ConfigType.BOOLEAN,
        default=False,
        synonyms=("log.preallocate",),
        acts=True,
        documentation="Reserve a new segment's full size on disk when it is created (on Linux); closing the segment gives back the rest.",
    ),
    ConfigDef(
        name="remote.log.copy.disable",
        type=ConfigType.BOOLEAN,
        default=False,
        refused=_NO_TIERED_STORAGE,
        documentation="With tiered storage: stop copying segments out and serve what is already there read-only.",
    ),
    ConfigDef(
        name="remote.log.delete.on.disable",
        type=ConfigType.BOOLEAN,
        default=False,
        refused=_NO_TIERED_STORAGE,
        documentation="With tiered storage: delete the remote data when `remote.storage.enable` is switched off.",
    ),
    ConfigDef(
        name="remote.storage.enable",
        type=ConfigType.BOOLEAN,
        default=False,
        refused=_NO_TIERED_STORAGE,
        documentation="Keep a copy of closed segments in tiered storage. Refused while the broker has none.",
    ),
    ConfigDef(
        name="retention.bytes",
        type=ConfigType.LONG,
        default=-1,
        synonyms=("log.retention.bytes",),
        acts=True,
        documentation="Bytes a partition may hold before its oldest segments are deleted (policy `delete`); -1 is no limit. "
        "Per partition: multiply by the partitions for the topic.",
    ),
    ConfigDef(
        name="retention.ms",
        type=ConfigType.LONG,
        default=7 * DAY_MS,
        validator=at_least(-1),
        valid_values="[-1..]",
        synonyms=("log.retention.ms", "log.retention.minutes", "log.retention.hours"),
        acts=True,
        documentation="Age at which segments are deleted (policy `delete`), measured by their newest record; -1 keeps them "
        "for ever.",
    ),
    ConfigDef(
        name="segment.bytes",
        type=ConfigType.INT,
        default=1024 * MIB,
        validator=at_least(1 * MIB),
        valid_values="[1048576..]",
        synonyms=("log.segment.bytes",),
        acts=True,
        documentation="Size at which a segment is closed and a new one begun. Deletion and compaction work on closed "
        "segments only, so smaller segments make them finer.",
    ),
    ConfigDef(
        name="segment.index.bytes",
        type=ConfigType.INT,
        default=10 * MIB,
        validator=at_least(4),
        valid_values="[4..]",
        synonyms=("log.index.size.max.bytes",),
        acts=True,
        documentation="Size of the offset index at which a segment is closed. Index files grow as needed and are not "
        "preallocated.",
    ),
    ConfigDef(
        name="segment.jitter.ms",
        type=ConfigType.LONG,
        default=0,
        validator=at_least(0),
        valid_values="[0..]",
        synonyms=("log.roll.jitter.ms", "log.roll.jitter.hours"),
        acts=True,
        documentation="A random time of up to this much is taken off `segment.ms`, so that many partitions do not roll at "
        "the same moment.",
    ),
    ConfigDef(
        name="segment.ms",
        type=ConfigType.LONG,
        default=7 * DAY_MS,
        validator=at_least(1),
        valid_values="[1..]",
        synonyms=("log.roll.ms", "log.roll.hours"),
        acts=True,
        documentation="Age at which a segment is closed even when it is not full, so that retention can reach old data.",
    ),
    ConfigDef(
        name="unclean.leader.election.enable",
        type=ConfigType.BOOLEAN,
        default=False,
        synonyms=("unclean.leader.election.enable",),
        importance=Importance.MEDIUM,
        acts=True,
        documentation="Let a replica outside the in-sync set become leader when nobody else is left, at the price of losing "
        "acknowledged records.",
    ),
)

TOPIC_CONFIGS: dict[str, ConfigDef] = {definition.name: definition for definition in _DEFINITIONS}


def _default(name: str) -> Any:
    return TOPIC_CONFIGS[name].default


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicConfig:
    """The typed configs of one topic. A field is named as its config with underscores for dots."""

    cleanup_policy: frozenset[str] = frozenset(("delete",))
    compression_type: str = _default("compression.type")
    compression_gzip_level: int = _default("compression.gzip.level")
    compression_lz4_level: int = _default("compression.lz4.level")
    compression_zstd_level: int = _default("compression.zstd.level")
    delete_retention_ms: int = _default("delete.retention.ms")
    file_delete_delay_ms: int = _default("file.delete.delay.ms")
    flush_messages: int = _default("flush.messages")
    flush_ms: int = _default("flush.ms")
    follower_replication_throttled_replicas: tuple[str, ...] = ()
    index_interval_bytes: int = _default("index.interval.bytes")
    internal_segment_bytes: int | None = None
    leader_replication_throttled_replicas: tuple[str, ...] = ()
    local_retention_bytes: int = _default("local.retention.bytes")
    local_retention_ms: int = _default("local.retention.ms")
    max_compaction_lag_ms: int = _default("max.compaction.lag.ms")
    max_message_bytes: int = _default("max.message.bytes")
    message_timestamp_after_max_ms: int = _default("message.timestamp.after.max.ms")
    message_timestamp_before_max_ms: int = _default("message.timestamp.before.max.ms")
    message_timestamp_type: str = _default("message.timestamp.type")
    min_cleanable_dirty_ratio: float = _default("min.cleanable.dirty.ratio")
    min_compaction_lag_ms: int = _default("min.compaction.lag.ms")
    min_insync_replicas: int = _default("min.insync.replicas")
    preallocate: bool = _default("preallocate")
    remote_log_copy_disable: bool = _default("remote.log.copy.disable")
    remote_log_delete_on_disable: bool = _default("remote.log.delete.on.disable")
    remote_storage_enable: bool = _default("remote.storage.enable")
    retention_bytes: int = _default("retention.bytes")
    retention_ms: int = _default("retention.ms")
    segment_bytes: int = _default("segment.bytes")
    segment_index_bytes: int = _default("segment.index.bytes")
    segment_jitter_ms: int = _default("segment.jitter.ms")
    segment_ms: int = _default("segment.ms")
    unclean_leader_election_enable: bool = _default("unclean.leader.election.enable")

    @classmethod
    def resolve(cls, overrides: Mapping[str, str], broker: BrokerConfig | None = None) -> TopicConfig:
        """The topic's own values over the broker's defaults. Raises ``KafkaError`` INVALID_CONFIG.

        Overrides that this version does not know are skipped: they were stored by a newer broker.
        """
        values: dict[str, Any] = dict(broker.topic_defaults()) if broker is not None else {}
        for name, text in overrides.items():
            if (definition := TOPIC_CONFIGS.get(name)) is not None:
                values[definition.attribute] = definition.effective(text)
        if "cleanup_policy" in values:
            values["cleanup_policy"] = frozenset(values["cleanup_policy"])
        if values.get("internal_segment_bytes") is not None:
            values["segment_bytes"] = values["internal_segment_bytes"]
        return cls(**values)

    def value_of(self, name: str) -> ConfigValue:
        """The typed value behind a config's name, in the schema's types (a list is a tuple in a stable order)."""
        value = getattr(self, TOPIC_CONFIGS[name].attribute)
        return tuple(sorted(value)) if isinstance(value, frozenset) else value


assert {field.name for field in fields(TopicConfig)} == {d.attribute for d in _DEFINITIONS}


def validate_topic_config(name: str, value: str | None) -> None:
    """Raise ``KafkaError`` INVALID_CONFIG, in Kafka's words, when ``name`` is unknown or refuses ``value``."""
    definition = TOPIC_CONFIGS.get(name)
    if definition is None:
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"Unknown topic config name: {quoted(name)}")
    if value is None:
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"Null value not supported for topic configs: {name}")
    definition.accept(value)


def validate_topic_configs(configs: Mapping[str, str | None]) -> None:
    """Validate a topic's whole set of overrides: each alone, then what must hold between them."""
    nulls = [name for name, value in configs.items() if value is None]
    if nulls:
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"Null value not supported for topic configs: {','.join(nulls)}")
    for name, value in configs.items():
        validate_topic_config(name, value)
    resolved = TopicConfig.resolve({name: value for name, value in configs.items() if value is not None})
    if resolved.min_compaction_lag_ms > resolved.max_compaction_lag_ms:
        raise KafkaError(
            ErrorCode.INVALID_CONFIG,
            f"conflict topic config setting min.compaction.lag.ms ({resolved.min_compaction_lag_ms}) > "
            f"max.compaction.lag.ms ({resolved.max_compaction_lag_ms})",
        )
