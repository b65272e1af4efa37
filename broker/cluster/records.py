"""What the control plane keeps in the metadata store: the keys and the JSON values behind them.

Owns: the layout, and nothing else reads or writes these keys. Values are JSON objects; unknown fields are ignored and new
fields have defaults, so that brokers of neighbouring versions can share a store. A changed meaning needs a new key.

    cluster                     the cluster's id, written once
    controller                  ephemeral: who is controller
    controller_epoch            how often a controller was elected; its version guards every controller write
    controller_history          the last elections of a controller, oldest first
    brokers/<id>                ephemeral: a live broker; its version is the broker epoch
    stopping/<id>               ephemeral: a broker that is about to stop and wants to be relieved
    brokers_state/<id>          what is to be remembered of a broker, alive or not: how it is meant to be used, its address
    incarnations/<id>           the registration whose partitions the controller has given fresh leader epochs
    topics/<name>               id, number of partitions, configs
    partitions/<id>/<index>     one partition; <id> is the topic's, so a topic made again shares nothing with the old one
    configs/brokers/<id>        dynamic broker configs; <id> is ``default`` for those of all brokers
    configs/groups/<group id>   configs of a consumer group
    configs/client_metrics/<name>   a client-metrics subscription (KIP-714)
    producer_ids                the next block of producer ids
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

CLUSTER = "cluster"
CONTROLLER = "controller"
CONTROLLER_EPOCH = "controller_epoch"
CONTROLLER_HISTORY = "controller_history"
BROKERS = "brokers/"
BROKERS_STATE = "brokers_state/"
STOPPING = "stopping/"
INCARNATIONS = "incarnations/"
TOPICS = "topics/"
PARTITIONS = "partitions/"
CONFIGS = "configs/"
BROKER_CONFIGS = "configs/brokers/"
GROUP_CONFIGS = "configs/groups/"
CLIENT_METRICS_CONFIGS = "configs/client_metrics/"
PRODUCER_IDS = "producer_ids"
DEFAULT_BROKER = "default"


class ClusterRecord(msgspec.Struct, frozen=True):
    cluster_id: str


class ControllerRecord(msgspec.Struct, frozen=True):
    broker_id: int
    incarnation: str


class ControllerEpochRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    epoch: int
    broker_id: int
    elected_at_ms: int = 0


class ControllerElection(msgspec.Struct, frozen=True):
    epoch: int
    broker_id: int
    at_ms: int
    cause: str
    """Why there had to be one; see ``controller.py``."""


class ControllerHistoryRecord(msgspec.Struct, frozen=True):
    elections: list[ControllerElection]
    """At most ``CONTROLLER_ELECTIONS_KEPT``."""


class BrokerRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    id: int
    host: str
    """What clients are told."""
    port: int
    internal_host: str
    internal_port: int
    incarnation: str
    """Of the registration: another one after every restart and after every lost session."""
    rack: str | None = None
    registered_at_ms: int = 0
    data_intact: bool = True
    """Whether everything that this broker's logs had acknowledged before it started is still there."""
    lost: list[str] = []
    """``<topic id>/<index>`` of its partitions whose log is gone or damaged; ``EVERY_REPLICA`` alone for all of them."""


EVERY_REPLICA = "*"


class StoppingRecord(msgspec.Struct, frozen=True):
    since_ms: int


class BrokerStateRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    state: str = "active"
    """``active``, ``draining`` (gets no new replicas and leads only where nobody else can) or ``decommissioned``."""
    since_ms: int = 0
    host: str = ""
    port: int = -1
    rack: str | None = None
    left_at_ms: int = -1
    """When its last registration ended; -1 while it is alive."""


class IncarnationRecord(msgspec.Struct, frozen=True):
    incarnation: str


class TopicRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    topic_id: str
    partition_count: int
    configs: dict[str, str] = {}
    created_at_ms: int = 0


class PartitionRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    replicas: list[int]
    isr: list[int]
    leader: int
    leader_epoch: int
    partition_epoch: int = 0
    """Grows with every change of this record."""
    elr: list[int] = []
    """Eligible leader replicas (KIP-966): not in sync, and they have everything below the high watermark."""
    last_known_leader: int = -1
    """Who led last, while nobody leads."""
    adding: list[int] = []
    """The part of ``replicas`` that a reassignment brings in."""
    removing: list[int] = []
    """The part of ``replicas`` that leaves when everyone who is brought in is in sync."""
    cause: str = ""
    """Why this record changed last."""
    changed_at_ms: int = 0
    unclean_epoch: int = -1
    """The leader epoch of the last election after which acknowledged records may be missing; -1: there was none. Kept when
    ``cause`` has been overwritten."""
    unclean_at_ms: int = 0


class ResourceConfigsRecord(msgspec.Struct, frozen=True):
    """Of a broker (or all of them), a group, or a client-metrics subscription."""

    configs: dict[str, str]


class ProducerIdsRecord(msgspec.Struct, frozen=True):
    next_producer_id: int


Record = TypeVar("Record", bound=msgspec.Struct)


class CorruptRecord(ValueError):
    """A value that is not what its key promises. A broker does not start with it and does not follow it: the image stays
    at the last good state, because guessing at metadata loses data."""


def encode(record: msgspec.Struct) -> bytes:
    return msgspec.json.encode(record)


def decode(key: str, value: bytes, kind: type[Record]) -> Record:
    try:
        return msgspec.json.decode(value, type=kind)
    except msgspec.MsgspecError as error:
        raise CorruptRecord(f"metadata key {key!r}: {error}") from error


def topic_key(name: str) -> str:
    return TOPICS + name


def partition_key(topic_id: str, index: int) -> str:
    return f"{PARTITIONS}{topic_id}/{index}"


def parse_partition_key(key: str) -> tuple[str, int]:
    topic_id, _, index = key.removeprefix(PARTITIONS).partition("/")
    if not index.isdecimal():
        raise CorruptRecord(f"metadata key {key!r} is not partitions/<topic id>/<index>")
    return topic_id, int(index)


def broker_key(broker_id: int) -> str:
    return f"{BROKERS}{broker_id}"


def broker_state_key(broker_id: int) -> str:
    return f"{BROKERS_STATE}{broker_id}"


def stopping_key(broker_id: int) -> str:
    return f"{STOPPING}{broker_id}"


def replica_name(topic_id: str, index: int) -> str:
    """As in ``BrokerRecord.lost``."""
    return f"{topic_id}/{index}"


def incarnation_key(broker_id: int) -> str:
    return f"{INCARNATIONS}{broker_id}"


def broker_configs_key(broker_id: str) -> str:
    """``broker_id`` as DescribeConfigs names it: empty for all brokers."""
    return BROKER_CONFIGS + (broker_id or DEFAULT_BROKER)


def group_configs_key(group_id: str) -> str:
    return GROUP_CONFIGS + group_id


def client_metrics_key(name: str) -> str:
    return CLIENT_METRICS_CONFIGS + name
