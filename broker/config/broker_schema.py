"""The broker configs: Kafka 4.3's that concern a broker without KRaft, and Ottla's own three.

Owns: names, types, defaults, validators, documentation, and whether Ottla acts on each or refuses values. The typed values are
``broker.py``. Listed by subject; the order here is the order of docs/configs.md.
"""

from __future__ import annotations

from typing import Any

from broker.config.definition import (
    INT_MAX,
    LONG_MAX,
    ConfigDef,
    ConfigType,
    Importance,
    UpdateMode,
    Validator,
    at_least,
    between,
    list_of,
    one_of,
)
from broker.config.quota import quota_overrides
from broker.config.topic import COMPRESSION_TYPES, DAY_MS, HOUR_MS, TOPIC_CONFIGS, gzip_level
from broker.limits import (
    CONNECTION_IDLE_MS,
    CONNECTIONS_MAX,
    CONNECTIONS_PER_ADDRESS_MAX,
    DISK_FREE_FLOOR_BYTES,
    FETCH_BYTES_MAX,
    FRAME_BYTES_MAX,
    KIB,
    MIB,
)

BOOLEAN, STRING, INT, SHORT = ConfigType.BOOLEAN, ConfigType.STRING, ConfigType.INT, ConfigType.SHORT
LONG, DOUBLE, LIST, CLASS = ConfigType.LONG, ConfigType.DOUBLE, ConfigType.LIST, ConfigType.CLASS
HIGH, MEDIUM, LOW = Importance.HIGH, Importance.MEDIUM, Importance.LOW
CLUSTER, PER_BROKER = UpdateMode.CLUSTER_WIDE, UpdateMode.PER_BROKER

_NO_SHARE_GROUPS = "Share groups (KIP-932) are not served yet."
_REFUSED_DEFAULTS = {synonym: topic.refused for topic in TOPIC_CONFIGS.values() for synonym in topic.synonyms}
"""A default for all topics is refused for the same reason as the topic config itself."""


def _define(
    name: str,
    kind: ConfigType,
    default: Any,
    documentation: str,
    validator: Validator | None = None,
    *,
    importance: Importance = MEDIUM,
    acts: bool = False,
    refused: str = "",
    mode: UpdateMode = UpdateMode.READ_ONLY,
    synonyms: tuple[str, ...] = (),
    valid_values: str = "",
) -> ConfigDef:
    return ConfigDef(
        name=name,
        type=kind,
        default=default,
        documentation=documentation,
        validator=validator,
        importance=importance,
        acts=acts,
        refused=refused or _REFUSED_DEFAULTS.get(name, ""),
        update_mode=mode,
        synonyms=synonyms or (name,),
        valid_values=valid_values,
    )


def _host_limits(value: Any) -> str | None:
    for item in filter(None, value.split(",")):
        host, colon, limit = item.rpartition(":")
        if not (colon and host and limit.isdigit()):
            return "Must be a list of host:limit"
    return None


_IDENTITY = (
    _define(
        "node.id",
        INT,
        1,
        "This broker's id; brokers of one cluster count from 1.",
        at_least(0),
        importance=HIGH,
        acts=True,
    ),
    _define(
        "broker.id",
        INT,
        -1,
        "Older name of `node.id`; -1 means as `node.id`.",
        importance=HIGH,
        synonyms=("broker.id",),
        acts=True,
    ),
    _define("broker.rack", STRING, None, "Where this broker stands. Clients are told.", acts=True),
    _define(
        "log.dirs",
        LIST,
        None,
        "The directory partitions are kept in. Default: `broker-<id>` in OTTLA_HOME.",
        importance=HIGH,
        acts=True,
        synonyms=("log.dirs", "log.dir"),
    ),
    _define(
        "log.dir",
        STRING,
        None,
        "As `log.dirs`, for one directory.",
        importance=HIGH,
        acts=True,
        synonyms=("log.dirs", "log.dir"),
    ),
)

_LISTENERS = (
    _define(
        "listeners",
        LIST,
        None,
        "NAME://HOST:PORT for the client listener and the one called INTERNAL. Default: from OTTLA_KAFKA; the internal "
        "port is the client port + 10000.",
        importance=HIGH,
        acts=True,
    ),
    _define(
        "advertised.listeners",
        LIST,
        None,
        "What clients are told to connect to, where it differs from `listeners`.",
        importance=HIGH,
        acts=True,
    ),
    _define(
        "listener.security.protocol.map",
        STRING,
        "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT",
        "Which security protocol each listener speaks.",
    ),
    _define("inter.broker.listener.name", STRING, "INTERNAL", "The listener brokers use among themselves."),
)

_TOPICS = (
    _define(
        "num.partitions", INT, 1, "Partitions of a topic created without a number of its own.", at_least(1), acts=True
    ),
    _define(
        "default.replication.factor",
        INT,
        1,
        "Replicas of a topic created without a number of its own.",
        at_least(1),
        acts=True,
    ),
    _define(
        "auto.create.topics.enable",
        BOOLEAN,
        True,
        "Create a topic when a client that allows it asks for one that does not exist.",
        importance=HIGH,
        acts=True,
    ),
    _define(
        "delete.topic.enable",
        BOOLEAN,
        True,
        "Whether topics may be deleted through the admin API.",
        importance=HIGH,
        acts=True,
    ),
    _define(
        "min.insync.replicas",
        INT,
        1,
        "Default of the topic config of the same name.",
        at_least(1),
        importance=HIGH,
        acts=True,
        mode=CLUSTER,
    ),
    _define(
        "unclean.leader.election.enable",
        BOOLEAN,
        False,
        "Default of the topic config of the same name.",
        importance=HIGH,
        mode=CLUSTER,
    ),
    _define(
        "message.max.bytes",
        INT,
        1 * MIB + 12,
        "Default of the topic config `max.message.bytes`.",
        at_least(0),
        importance=HIGH,
        acts=True,
        mode=CLUSTER,
    ),
    _define(
        "compression.type",
        STRING,
        "producer",
        "Default of the topic config of the same name.",
        one_of(*COMPRESSION_TYPES),
        importance=HIGH,
        acts=True,
        mode=CLUSTER,
    ),
    _define(
        "compression.gzip.level",
        INT,
        -1,
        "Default of the topic config of the same name.",
        gzip_level,
        mode=CLUSTER,
        acts=True,
    ),
    _define(
        "compression.lz4.level",
        INT,
        9,
        "Default of the topic config of the same name.",
        between(1, 17),
        mode=CLUSTER,
        acts=True,
    ),
    _define(
        "compression.zstd.level",
        INT,
        3,
        "Default of the topic config of the same name.",
        between(-131072, 22),
        mode=CLUSTER,
        acts=True,
    ),
    _define(
        "max.request.partition.size.limit",
        INT,
        2000,
        "Most partitions in one answer to DescribeTopicPartitions; the rest follows by cursor.",
        at_least(1),
        acts=True,
    ),
)

_ROLL = ("log.roll.ms", "log.roll.hours")
_ROLL_JITTER = ("log.roll.jitter.ms", "log.roll.jitter.hours")
_RETENTION = ("log.retention.ms", "log.retention.minutes", "log.retention.hours")
_FLUSH = ("log.flush.interval.ms", "log.flush.scheduler.interval.ms")

_LOG = (
    _define(
        "log.segment.bytes",
        INT,
        1024 * MIB,
        "Default of the topic config `segment.bytes`.",
        at_least(1 * MIB),
        importance=HIGH,
        acts=True,
        mode=CLUSTER,
    ),
    _define(
        "log.roll.ms",
        LONG,
        None,
        "Default of the topic config `segment.ms`; wins over `log.roll.hours`.",
        at_least(1),
        importance=HIGH,
        acts=True,
        mode=CLUSTER,
        synonyms=_ROLL,
    ),
    _define(
        "log.roll.hours",
        INT,
        168,
        "As `log.roll.ms`, in hours.",
        at_least(1),
        importance=HIGH,
        acts=True,
        synonyms=_ROLL,
    ),
    _define(
        "log.roll.jitter.ms",
        LONG,
        None,
        "Default of the topic config `segment.jitter.ms`; wins over `log.roll.jitter.hours`.",
        at_least(0),
        importance=HIGH,
        acts=True,
        mode=CLUSTER,
        synonyms=_ROLL_JITTER,
    ),
    _define(
        "log.roll.jitter.hours",
        INT,
        0,
        "As `log.roll.jitter.ms`, in hours.",
        at_least(0),
        importance=HIGH,
        acts=True,
        synonyms=_ROLL_JITTER,
    ),
    _define(
        "log.retention.ms",
        LONG,
        None,
        "Default of the topic config `retention.ms`; wins over `.minutes`, which wins over `.hours`. -1 keeps data for ever.",
        at_least(-1),
        importance=HIGH,
        acts=True,
        mode=CLUSTER,
        synonyms=_RETENTION,
    ),
    _define(
        "log.retention.minutes",
        INT,
        None,
        "As `log.retention.ms`, in minutes.",
        importance=HIGH,
        acts=True,
        synonyms=_RETENTION,
    ),
    _define(
        "log.retention.hours",
        INT,
        168,
        "As `log.retention.ms`, in hours.",
        importance=HIGH,
        acts=True,
        synonyms=_RETENTION,
    ),
    _define(
        "log.retention.bytes",
        LONG,
        -1,
        "Default of the topic config `retention.bytes`.",
        importance=HIGH,
        acts=True,
        mode=CLUSTER,
    ),
    _define(
        "log.retention.check.interval.ms",
        LONG,
        300_000,
        "How often retention is looked at. In Ottla the Celery schedule decides.",
        at_least(1),
    ),
    _define(
        "log.cleanup.policy",
        LIST,
        ("delete",),
        "Default of the topic config `cleanup.policy`.",
        list_of("compact", "delete"),
        acts=True,
        mode=CLUSTER,
    ),
    _define(
        "log.index.size.max.bytes",
        INT,
        10 * MIB,
        "Default of the topic config `segment.index.bytes`.",
        at_least(4),
        mode=CLUSTER,
        acts=True,
    ),
    _define(
        "log.index.interval.bytes",
        INT,
        4 * KIB,
        "Default of the topic config `index.interval.bytes`.",
        at_least(0),
        acts=True,
        mode=CLUSTER,
    ),
    _define(
        "log.flush.interval.messages",
        LONG,
        LONG_MAX,
        "Default of the topic config `flush.messages`.",
        at_least(1),
        acts=True,
        importance=HIGH,
        mode=CLUSTER,
    ),
    _define(
        "log.flush.interval.ms",
        LONG,
        None,
        "Default of the topic config `flush.ms`.",
        acts=True,
        importance=HIGH,
        mode=CLUSTER,
        synonyms=_FLUSH,
    ),
    _define(
        "log.flush.scheduler.interval.ms",
        LONG,
        LONG_MAX,
        "Default of the topic config `flush.ms` where `log.flush.interval.ms` is not given, as in Kafka. Logs that are due "
        "are looked for four times a second whatever this says.",
        acts=True,
        importance=HIGH,
        synonyms=_FLUSH,
    ),
    _define(
        "log.flush.offset.checkpoint.interval.ms",
        INT,
        60_000,
        "How often recovery points are written down.",
        at_least(0),
        importance=HIGH,
        acts=True,
    ),
    _define(
        "log.flush.start.offset.checkpoint.interval.ms",
        INT,
        60_000,
        "How often log start offsets are written down.",
        at_least(0),
        importance=HIGH,
    ),
    _define("log.preallocate", BOOLEAN, False, "Default of the topic config `preallocate`.", acts=True, mode=CLUSTER),
    _define(
        "log.segment.delete.delay.ms",
        LONG,
        60_000,
        "Default of the topic config `file.delete.delay.ms`.",
        at_least(0),
        importance=HIGH,
        acts=True,
        mode=CLUSTER,
    ),
    _define(
        "log.message.timestamp.type",
        STRING,
        "CreateTime",
        "Default of the topic config `message.timestamp.type`.",
        one_of("CreateTime", "LogAppendTime"),
        acts=True,
        mode=CLUSTER,
    ),
    _define(
        "log.message.timestamp.before.max.ms",
        LONG,
        LONG_MAX,
        "Default of the topic config `message.timestamp.before.max.ms`.",
        at_least(0),
        acts=True,
        mode=CLUSTER,
    ),
    _define(
        "log.message.timestamp.after.max.ms",
        LONG,
        HOUR_MS,
        "Default of the topic config `message.timestamp.after.max.ms`.",
        at_least(0),
        acts=True,
        mode=CLUSTER,
    ),
    _define(
        "log.local.retention.ms",
        LONG,
        -2,
        "Default of the topic config `local.retention.ms`.",
        at_least(-2),
        mode=CLUSTER,
    ),
    _define(
        "log.local.retention.bytes",
        LONG,
        -2,
        "Default of the topic config `local.retention.bytes`.",
        at_least(-2),
        mode=CLUSTER,
    ),
    _define(
        "num.recovery.threads.per.data.dir",
        INT,
        2,
        "Threads that recover logs at start.",
        at_least(1),
        importance=HIGH,
        mode=CLUSTER,
    ),
    _define(
        "log.dir.failure.timeout.ms",
        LONG,
        30_000,
        "How long a broker with a failed log directory tries to report it before it stops.",
        at_least(1),
        importance=LOW,
    ),
)

_DURABILITY = (
    _define(
        "ack.durability",
        STRING,
        "flush",
        "What an acks=all acknowledgement means (Ottla's own): `flush` on disk (fdatasync, batched), `os` handed to the "
        "operating system as in Kafka, `interval` flushed every `ack.flush.interval.ms`.",
        one_of("flush", "os", "interval"),
        importance=HIGH,
        acts=True,
    ),
    _define(
        "ack.flush.interval.ms",
        INT,
        1_000,
        "Time between two flushes under `ack.durability=interval` (Ottla's own).",
        at_least(1),
        acts=True,
    ),
    _define(
        "disk.free.floor.bytes",
        LONG,
        DISK_FREE_FLOOR_BYTES,
        "Below this much free disk space produce is refused while fetch and deletion go on (Ottla's own).",
        at_least(0),
        importance=HIGH,
        acts=True,
    ),
)

_CLEANER = (
    _define("log.cleaner.enable", BOOLEAN, True, "Run compaction for topics that ask for it."),
    _define("log.cleaner.threads", INT, 1, "Compactions at the same time.", at_least(0), mode=CLUSTER),
    _define("log.cleaner.dedupe.buffer.size", LONG, 128 * MIB, "Memory for the key map of compaction.", mode=CLUSTER),
    _define(
        "log.cleaner.io.buffer.size",
        INT,
        512 * KIB,
        "Memory for reading and writing during compaction.",
        at_least(0),
        importance=MEDIUM,
        mode=CLUSTER,
    ),
    _define(
        "log.cleaner.io.buffer.load.factor",
        DOUBLE,
        0.9,
        "How full the key map may get before a compaction stops and continues later.",
        mode=CLUSTER,
    ),
    _define(
        "log.cleaner.io.max.bytes.per.second",
        DOUBLE,
        1.7976931348623157e308,
        "Disk traffic compaction may cause.",
        mode=CLUSTER,
    ),
    _define(
        "log.cleaner.backoff.ms", LONG, 15_000, "Pause when there is nothing to compact.", at_least(0), mode=CLUSTER
    ),
    _define(
        "log.cleaner.min.cleanable.ratio",
        DOUBLE,
        0.5,
        "Default of the topic config `min.cleanable.dirty.ratio`.",
        between(0, 1),
        mode=CLUSTER,
    ),
    _define(
        "log.cleaner.delete.retention.ms",
        LONG,
        DAY_MS,
        "Default of the topic config `delete.retention.ms`.",
        at_least(0),
        mode=CLUSTER,
    ),
    _define(
        "log.cleaner.min.compaction.lag.ms",
        LONG,
        0,
        "Default of the topic config `min.compaction.lag.ms`.",
        at_least(0),
        mode=CLUSTER,
    ),
    _define(
        "log.cleaner.max.compaction.lag.ms",
        LONG,
        LONG_MAX,
        "Default of the topic config `max.compaction.lag.ms`.",
        at_least(1),
        mode=CLUSTER,
    ),
)

_NETWORK = (
    _define(
        "socket.request.max.bytes",
        INT,
        FRAME_BYTES_MAX,
        "Largest request; a longer one closes the connection before it is read.",
        at_least(1),
        importance=HIGH,
        acts=True,
    ),
    _define(
        "socket.send.buffer.bytes", INT, 100 * KIB, "SO_SNDBUF of connections; -1 is the system's.", importance=HIGH
    ),
    _define(
        "socket.receive.buffer.bytes", INT, 100 * KIB, "SO_RCVBUF of connections; -1 is the system's.", importance=HIGH
    ),
    _define(
        "socket.listen.backlog.size", INT, 50, "Connections the system may hold before they are accepted.", at_least(1)
    ),
    _define(
        "queued.max.requests",
        INT,
        500,
        "Requests waiting before reading stops. Ottla bounds this per connection instead.",
        at_least(1),
        importance=HIGH,
    ),
    _define("queued.max.request.bytes", LONG, -1, "Bytes of waiting requests before reading stops; -1 is no limit."),
    _define(
        "connections.max.idle.ms",
        LONG,
        CONNECTION_IDLE_MS,
        "A connection silent for this long is closed.",
        importance=MEDIUM,
        acts=True,
    ),
    _define(
        "max.connections",
        INT,
        CONNECTIONS_MAX,
        "Connections at the same time (Kafka has no limit by default; Ottla does).",
        at_least(0),
        acts=True,
        mode=CLUSTER,
    ),
    _define(
        "max.connections.per.ip",
        INT,
        CONNECTIONS_PER_ADDRESS_MAX,
        "Connections at the same time from one address.",
        at_least(0),
        acts=True,
        mode=CLUSTER,
    ),
    _define(
        "max.connections.per.ip.overrides",
        STRING,
        "",
        "Other limits for single addresses: a list of host:limit.",
        _host_limits,
        acts=True,
        mode=CLUSTER,
    ),
    _define(
        "max.connection.creation.rate", INT, INT_MAX, "New connections accepted a second.", at_least(0), mode=CLUSTER
    ),
    _define(
        "connection.failed.authentication.delay.ms",
        INT,
        100,
        "Pause before a connection that failed to authenticate is closed.",
        at_least(0),
        importance=LOW,
    ),
    _define(
        "num.network.threads",
        INT,
        3,
        "Kafka's network threads. Ottla has one event loop.",
        at_least(1),
        importance=HIGH,
        mode=CLUSTER,
    ),
    _define(
        "num.io.threads",
        INT,
        8,
        "Kafka's request threads. Ottla has one event loop.",
        at_least(1),
        importance=HIGH,
        mode=CLUSTER,
    ),
    _define("background.threads", INT, 10, "Kafka's background threads.", at_least(1), importance=HIGH, mode=CLUSTER),
    _define(
        "request.timeout.ms",
        INT,
        30_000,
        "How long brokers wait for each other's answers, and a transaction marker to be committed.",
        importance=HIGH,
        acts=True,
    ),
    _define(
        "fetch.max.bytes",
        INT,
        FETCH_BYTES_MAX,
        "Most record bytes in one fetch answer, whatever the client asks for.",
        at_least(1024),
        acts=True,
    ),
    _define(
        "max.incremental.fetch.session.cache.slots",
        INT,
        1000,
        "Incremental fetch sessions kept at once; a client that finds no room sends full fetches.",
        at_least(0),
        acts=True,
    ),
)

_REPLICATION = (
    _define(
        "replica.lag.time.max.ms", LONG, 30_000, "A follower this far behind leaves the in-sync set.", importance=HIGH
    ),
    _define("replica.fetch.max.bytes", INT, 1 * MIB, "Bytes a follower asks for per partition.", at_least(0)),
    _define("replica.fetch.wait.max.ms", INT, 500, "How long a leader may hold a follower's fetch.", importance=HIGH),
    _define(
        "replica.fetch.min.bytes", INT, 1, "Bytes a leader waits for before it answers a follower.", importance=HIGH
    ),
    _define("replica.fetch.backoff.ms", INT, 1_000, "Pause of a follower after an error.", at_least(0)),
    _define("replica.fetch.response.max.bytes", INT, 10 * MIB, "Bytes a follower asks for in all.", at_least(0)),
    _define("replica.socket.timeout.ms", INT, 30_000, "How long a follower waits for its leader.", importance=HIGH),
    _define(
        "replica.socket.receive.buffer.bytes", INT, 64 * KIB, "SO_RCVBUF of a follower's connection.", importance=HIGH
    ),
    _define("num.replica.fetchers", INT, 1, "Connections of a follower to each leader.", importance=HIGH, mode=CLUSTER),
    _define("replica.selector.class", CLASS, None, "How a replica close to the consumer is chosen."),
    _define(
        "auto.leader.rebalance.enable",
        BOOLEAN,
        True,
        "Give leadership back to preferred leaders when it has become uneven.",
        importance=HIGH,
    ),
    _define(
        "leader.imbalance.check.interval.seconds",
        LONG,
        300,
        "How often leadership is looked at.",
        at_least(1),
        importance=HIGH,
    ),
    _define("leader.imbalance.per.broker.percentage", INT, 10, "Imbalance tolerated per broker.", importance=HIGH),
    _define(
        "leader.replication.throttled.rate",
        LONG,
        LONG_MAX,
        "Bytes a second to throttled followers.",
        at_least(0),
        mode=PER_BROKER,
    ),
    _define(
        "follower.replication.throttled.rate",
        LONG,
        LONG_MAX,
        "Bytes a second from leaders to throttled replicas.",
        at_least(0),
        mode=PER_BROKER,
    ),
    _define("controlled.shutdown.enable", BOOLEAN, True, "Hand leadership over before stopping."),
    _define(
        "broker.heartbeat.interval.ms",
        INT,
        2_000,
        "How often a broker renews its session with the metadata store.",
        at_least(100),
        importance=MEDIUM,
        acts=True,
    ),
    _define(
        "broker.session.timeout.ms",
        INT,
        9_000,
        "A broker that did not renew its session for this long is considered gone.",
        at_least(500),
        acts=True,
    ),
)

_GROUPS = (
    _define(
        "group.min.session.timeout.ms", INT, 6_000, "Shortest session timeout a group member may ask for.", acts=True
    ),
    _define(
        "group.max.session.timeout.ms", INT, 1_800_000, "Longest session timeout a group member may ask for.", acts=True
    ),
    _define(
        "group.initial.rebalance.delay.ms",
        INT,
        3_000,
        "How long a new group waits for further members before its first rebalance.",
        acts=True,
    ),
    _define("group.max.size", INT, INT_MAX, "Most members of a group.", at_least(1), acts=True),
    _define(
        "group.coordinator.rebalance.protocols",
        LIST,
        ("classic",),
        "Group protocols served. Kafka's default adds consumer and streams; Ottla serves classic so far.",
        list_of("classic", "consumer", "share", "streams"),
    ),
    _define(
        "group.coordinator.append.linger.ms",
        INT,
        -1,
        "How long coordinators gather records before they write them together; -1 and 0: what comes in one turn of the "
        "event loop.",
        at_least(-1),
        acts=True,
    ),
    _define(
        "group.coordinator.threads",
        INT,
        4,
        "Kafka's coordinator threads.",
        at_least(1),
        importance=HIGH,
        refused="One event loop owns all coordinators of a broker; more cores take more brokers.",
    ),
    _define(
        "group.consumer.session.timeout.ms",
        INT,
        45_000,
        "Session timeout of the consumer protocol.",
        at_least(1),
        acts=True,
    ),
    _define(
        "group.consumer.min.session.timeout.ms", INT, 45_000, "Lower bound of it per group.", at_least(1), acts=True
    ),
    _define(
        "group.consumer.max.session.timeout.ms", INT, 60_000, "Upper bound of it per group.", at_least(1), acts=True
    ),
    _define(
        "group.consumer.heartbeat.interval.ms",
        INT,
        5_000,
        "Heartbeat interval of the consumer protocol.",
        at_least(1),
        acts=True,
    ),
    _define(
        "group.consumer.min.heartbeat.interval.ms", INT, 5_000, "Lower bound of it per group.", at_least(1), acts=True
    ),
    _define(
        "group.consumer.max.heartbeat.interval.ms", INT, 15_000, "Upper bound of it per group.", at_least(1), acts=True
    ),
    _define(
        "group.consumer.assignment.interval.ms",
        INT,
        1_000,
        "Least time between two target assignments of a group.",
        at_least(0),
        acts=True,
    ),
    _define(
        "group.consumer.min.assignment.interval.ms", INT, 0, "Lower bound of it per group.", at_least(0), acts=True
    ),
    _define(
        "group.consumer.max.assignment.interval.ms", INT, 15_000, "Upper bound of it per group.", at_least(0), acts=True
    ),
    _define("group.consumer.max.size", INT, INT_MAX, "Most members of a consumer-protocol group.", at_least(1)),
    _define("group.consumer.assignors", LIST, ("uniform", "range"), "Server-side assignors of the consumer protocol."),
    _define(
        "group.consumer.migration.policy",
        STRING,
        "bidirectional",
        "Which way groups may move between the classic and the consumer protocol.",
        one_of("bidirectional", "upgrade", "downgrade", "disabled"),
    ),
    _define(
        "group.share.max.size", INT, 200, "Most members of a share group.", between(1, 1000), refused=_NO_SHARE_GROUPS
    ),
    _define(
        "group.share.session.timeout.ms",
        INT,
        45_000,
        "Session timeout of share groups.",
        at_least(1),
        refused=_NO_SHARE_GROUPS,
    ),
    _define(
        "group.share.heartbeat.interval.ms",
        INT,
        5_000,
        "Heartbeat interval of share groups.",
        at_least(1),
        refused=_NO_SHARE_GROUPS,
    ),
    _define(
        "group.share.record.lock.duration.ms",
        INT,
        30_000,
        "How long a share consumer owns what it acquired.",
        between(1_000, HOUR_MS),
        refused=_NO_SHARE_GROUPS,
    ),
    _define(
        "group.share.delivery.count.limit",
        INT,
        5,
        "Deliveries of a record before it is given up.",
        between(2, 10),
        refused=_NO_SHARE_GROUPS,
    ),
    _define(
        "group.share.partition.max.record.locks",
        INT,
        2_000,
        "Records acquired at once per partition.",
        between(100, 10_000),
        refused=_NO_SHARE_GROUPS,
    ),
    _define(
        "offset.metadata.max.bytes",
        INT,
        4_096,
        "Longest metadata text of a committed offset.",
        importance=HIGH,
        acts=True,
    ),
    _define(
        "offsets.commit.timeout.ms",
        INT,
        5_000,
        "How long an offset commit may wait for replicas.",
        at_least(1),
        importance=HIGH,
        acts=True,
    ),
    _define(
        "offsets.load.buffer.size",
        INT,
        5 * MIB,
        "Bytes read at a time when a coordinator of groups loads.",
        at_least(1),
        importance=HIGH,
        acts=True,
    ),
    _define(
        "offsets.retention.minutes",
        INT,
        10_080,
        "How long offsets of an empty group are kept.",
        at_least(1),
        importance=HIGH,
        acts=True,
    ),
    _define(
        "offsets.retention.check.interval.ms",
        LONG,
        600_000,
        "How often expired offsets are looked for.",
        at_least(1),
        importance=HIGH,
        acts=True,
    ),
    _define(
        "offsets.topic.num.partitions",
        INT,
        50,
        "Partitions of `__consumer_offsets`, fixed at its creation.",
        at_least(1),
        importance=HIGH,
        acts=True,
    ),
    _define(
        "offsets.topic.replication.factor",
        SHORT,
        3,
        "Replicas of `__consumer_offsets`; with fewer brokers alive, as many as there are.",
        at_least(1),
        importance=HIGH,
        acts=True,
    ),
    _define(
        "offsets.topic.segment.bytes",
        INT,
        100 * MIB,
        "`segment.bytes` of `__consumer_offsets`.",
        at_least(1),
        importance=HIGH,
        acts=True,
    ),
    _define(
        "offsets.topic.compression.codec",
        INT,
        0,
        "Codec in which groups' records are written: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.",
        between(0, 4),
        importance=HIGH,
        acts=True,
    ),
)

_TRANSACTIONS = (
    _define(
        "transaction.max.timeout.ms",
        INT,
        900_000,
        "Longest transaction timeout a producer may ask for.",
        at_least(1),
        importance=HIGH,
        acts=True,
    ),
    _define(
        "transactional.id.expiration.ms",
        INT,
        7 * DAY_MS,
        "How long an idle transactional id is remembered.",
        at_least(1),
        importance=HIGH,
        acts=True,
    ),
    _define(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        INT,
        10_000,
        "How often transactions that timed out are aborted.",
        at_least(1),
        importance=LOW,
        acts=True,
    ),
    _define(
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        INT,
        HOUR_MS,
        "How often expired transactional ids are removed.",
        at_least(1),
        importance=LOW,
        acts=True,
    ),
    _define(
        "transaction.partition.verification.enable",
        BOOLEAN,
        True,
        "Check that a partition was added to the transaction before writing to it. Clients of transactions v2 add it by "
        "writing, with or without this.",
        importance=LOW,
        acts=True,
        mode=CLUSTER,
    ),
    _define(
        "transaction.state.log.num.partitions",
        INT,
        50,
        "Partitions of `__transaction_state`.",
        at_least(1),
        importance=HIGH,
        acts=True,
    ),
    _define(
        "transaction.state.log.replication.factor",
        SHORT,
        3,
        "Replicas of `__transaction_state`.",
        at_least(1),
        importance=HIGH,
        acts=True,
    ),
    _define(
        "transaction.state.log.min.isr",
        INT,
        2,
        "`min.insync.replicas` of `__transaction_state`.",
        at_least(1),
        importance=HIGH,
        acts=True,
    ),
    _define(
        "transaction.state.log.segment.bytes",
        INT,
        100 * MIB,
        "`segment.bytes` of `__transaction_state`.",
        at_least(1),
        importance=HIGH,
        acts=True,
    ),
    _define(
        "transaction.state.log.load.buffer.size",
        INT,
        5 * MIB,
        "Bytes read at a time when it loads.",
        at_least(1),
        importance=HIGH,
        acts=True,
    ),
    _define(
        "producer.id.expiration.ms",
        INT,
        DAY_MS,
        "How long the sequence state of an idle idempotent producer is kept.",
        at_least(1),
        importance=LOW,
        mode=CLUSTER,
        acts=True,
    ),
)

_SECURITY = (
    _define("sasl.enabled.mechanisms", LIST, ("GSSAPI",), "SASL mechanisms offered to clients.", mode=PER_BROKER),
    _define("sasl.server.max.receive.size", INT, 512 * KIB, "Largest SASL token accepted."),
    _define(
        "connections.max.reauth.ms", LONG, 0, "Longest session before a client must authenticate again; 0 is no limit."
    ),
    _define(
        "authorizer.class.name",
        STRING,
        "",
        "What decides who may do what; empty lets everyone do everything.",
        importance=LOW,
    ),
    _define("super.users", STRING, "", "Principals that may do everything.", importance=LOW),
    _define(
        "allow.everyone.if.no.acl.found", BOOLEAN, False, "Whether a resource without an ACL is open.", importance=LOW
    ),
    _define(
        "quota.window.num",
        INT,
        11,
        "Samples a client's rate is measured over.",
        between(1, 1_000),
        importance=LOW,
        acts=True,
    ),
    _define(
        "quota.window.size.seconds", INT, 1, "Length of such a sample.", between(1, 3_600), importance=LOW, acts=True
    ),
    _define(
        "quota.producer.byte.rate",
        LONG,
        LONG_MAX,
        "Bytes a second each client id may produce to this broker (Ottla's own, in place of the quota API).",
        at_least(1),
        mode=CLUSTER,
        acts=True,
    ),
    _define(
        "quota.producer.byte.rate.overrides",
        STRING,
        "",
        "Other produce rates for single client ids: client-id:bytes,… (Ottla's own).",
        quota_overrides,
        mode=CLUSTER,
        acts=True,
    ),
    _define(
        "quota.consumer.byte.rate",
        LONG,
        LONG_MAX,
        "Bytes a second each client id may fetch from this broker (Ottla's own, in place of the quota API).",
        at_least(1),
        mode=CLUSTER,
        acts=True,
    ),
    _define(
        "quota.consumer.byte.rate.overrides",
        STRING,
        "",
        "Other fetch rates for single client ids: client-id:bytes,… (Ottla's own).",
        quota_overrides,
        mode=CLUSTER,
        acts=True,
    ),
    _define(
        "quota.request.percentage",
        DOUBLE,
        1.7976931348623157e308,
        "Percent of the event loop's time each client id may use (Ottla's own, in place of the quota API).",
        at_least(0.001),
        mode=CLUSTER,
        acts=True,
    ),
    _define(
        "quota.request.percentage.overrides",
        STRING,
        "",
        "Other percentages for single client ids: client-id:percent,… (Ottla's own).",
        quota_overrides,
        mode=CLUSTER,
        acts=True,
    ),
    _define(
        "remote.log.storage.system.enable",
        BOOLEAN,
        False,
        "Whether this broker has tiered storage. It has not, so far.",
    ),
)

SECTIONS: tuple[tuple[str, tuple[ConfigDef, ...]], ...] = (
    ("Identity and directories", _IDENTITY),
    ("Listeners", _LISTENERS),
    ("Durability and disk (Ottla's own)", _DURABILITY),
    ("Topics", _TOPICS),
    ("Log", _LOG),
    ("Compaction", _CLEANER),
    ("Network", _NETWORK),
    ("Replication", _REPLICATION),
    ("Groups and offsets", _GROUPS),
    ("Transactions", _TRANSACTIONS),
    ("Security, quotas, tiering", _SECURITY),
)

BROKER_CONFIGS: dict[str, ConfigDef] = {d.name: d for _, definitions in SECTIONS for d in definitions}
