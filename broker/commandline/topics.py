"""``manage.py topics``: what is asked of the cluster, as rows that JSON and tables show alike.

Every function that changes several topics goes on after a refusal and returns an outcome for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from broker.client.blocking import Client
from broker.client.results import PartitionMetadata, TopicMetadata
from broker.client.topics import EARLIEST, LATEST
from broker.commandline.outcome import CommandFailed
from broker.commandline.output import column
from broker.errors import ErrorCode, KafkaError
from broker.types import NO_LEADER

Row = dict[str, Any]

LIST_COLUMNS = (
    column("Topic", "topic"),
    column("Partitions", "partitions", right=True),
    column("Replicas", "replication_factor", right=True),
    column("Internal", "internal"),
    column("Topic id", "topic_id"),
)
PARTITION_COLUMNS = (
    column("Partition", "partition", right=True),
    column("Leader", "leader", right=True),
    column("Epoch", "leader_epoch", right=True),
    column("Replicas", "replicas"),
    column("In sync", "isr"),
    column("Problem", "error"),
)
OFFSET_COLUMNS = (
    column("First offset", "log_start", right=True),
    column("Next offset", "log_end", right=True),
    column("Records", "records", right=True),
)
OUTCOME_COLUMNS = (column("Topic", "topic"), column("Outcome", "outcome"), column("Reason", "error"))


def list_topics(client: Client, *, exclude_internal: bool = False) -> list[Row]:
    topics = sorted(client.metadata(None).topics, key=lambda topic: topic.name)
    return [_summary(topic) for topic in topics if not (exclude_internal and topic.internal)]


def describe_topics(
    client: Client, names: Sequence[str], *, with_offsets: bool = False, only_unhealthy: bool = False
) -> list[Row]:
    """All topics without names. Raises ``CommandFailed`` when one that was named does not exist."""
    found = {topic.name: topic for topic in client.metadata(names or None).topics}
    missing = [name for name in names if name not in found or found[name].error]
    if missing:
        raise CommandFailed("; ".join(f"topic {name!r}: {_error(found, name).message}" for name in missing))
    rows = [_description(client, found[name], with_offsets) for name in names or sorted(found)]
    if not only_unhealthy:
        return rows
    for row in rows:
        row["partitions"] = [partition for partition in row["partitions"] if not _healthy(partition)]
    return [row for row in rows if row["partitions"]]


def create_topics(
    client: Client,
    names: Iterable[str],
    *,
    partitions: int,
    replication_factor: int,
    configs: Mapping[str, str],
    if_not_exists: bool,
    validate_only: bool,
) -> list[Row]:
    def create(name: str) -> Row:
        created = client.create_topic(name, partitions, replication_factor, configs, validate_only)
        return {
            "outcome": "valid" if validate_only else "created",
            "topic_id": created.topic_id,
            "partitions": created.partition_count,
            "replication_factor": created.replication_factor,
        }

    return _each(names, create, {ErrorCode.TOPIC_ALREADY_EXISTS: "exists"} if if_not_exists else {})


def grow_topics(client: Client, names: Iterable[str], total: int, *, validate_only: bool) -> list[Row]:
    def grow(name: str) -> Row:
        client.create_partitions(name, total, validate_only)
        return {"outcome": "valid" if validate_only else "altered", "partitions": total}

    return _each(names, grow, {})


def delete_topics(client: Client, names: Iterable[str], *, if_exists: bool) -> list[Row]:
    def delete(name: str) -> Row:
        client.delete_topic(name)
        return {"outcome": "deleted"}

    return _each(names, delete, {ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: "absent"} if if_exists else {})


def _each(names: Iterable[str], act: Callable[[str], Row], tolerated: Mapping[ErrorCode, str]) -> list[Row]:
    """One outcome per name. A refusal concerns its topic alone; a broker that is gone concerns all that follow."""
    rows: list[Row] = []
    for name in names:
        try:
            rows.append({"topic": name, "error": None, **act(name)})
        except KafkaError as error:
            if error.code in tolerated:
                rows.append({"topic": name, "error": None, "outcome": tolerated[error.code]})
            else:
                rows.append({"topic": name, "error": f"{error.code.name}: {error.message}", "outcome": "refused"})
    return rows


def _summary(topic: TopicMetadata) -> Row:
    return {
        "topic": topic.name,
        "topic_id": topic.topic_id,
        "partitions": len(topic.partitions),
        "replication_factor": len(topic.partitions[0].replicas) if topic.partitions else 0,
        "internal": topic.internal,
    }


def _description(client: Client, topic: TopicMetadata, with_offsets: bool) -> Row:
    partitions = [_partition(partition) for partition in topic.partitions]
    if with_offsets:
        _add_offsets(client, topic.name, partitions)
    configs = {
        entry.name: entry.value
        for entry in client.describe_topic_configs(topic.name)
        if entry.source == "DYNAMIC_TOPIC_CONFIG"
    }
    return {**_summary(topic), "configs": configs, "partitions": partitions}


def _partition(partition: PartitionMetadata) -> Row:
    return {
        "partition": partition.partition,
        "leader": partition.leader,
        "leader_epoch": partition.leader_epoch,
        "replicas": list(partition.replicas),
        "isr": list(partition.isr),
        "offline_replicas": list(partition.offline_replicas),
        "error": partition.error.name if partition.error else None,
    }


def _add_offsets(client: Client, topic: str, partitions: list[Row]) -> None:
    """Of partitions that have a leader: nobody else knows."""
    led = [row["partition"] for row in partitions if row["leader"] != NO_LEADER]
    starts = client.list_offsets(topic, dict.fromkeys(led, EARLIEST)) if led else {}
    ends = client.list_offsets(topic, dict.fromkeys(led, LATEST)) if led else {}
    for row in partitions:
        start, end = starts.get(row["partition"]), ends.get(row["partition"])
        row["log_start"] = None if start is None else start.offset
        row["log_end"] = None if end is None else end.offset
        row["records"] = None if start is None or end is None else end.offset - start.offset


def _healthy(partition: Row) -> bool:
    return (
        partition["leader"] != NO_LEADER
        and not partition["error"]
        and len(partition["isr"]) == len(partition["replicas"])
    )


def _error(found: Mapping[str, TopicMetadata], name: str) -> ErrorCode:
    return found[name].error if name in found else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
