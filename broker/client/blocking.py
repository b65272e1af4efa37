"""``Client``: the same calls for code without an event loop — Django's sync views, Celery tasks, scripts.

Thread-safe: all threads of a process share one client, whose loop runs in a thread of its own. After a fork
the child's first call starts afresh (sockets of the parent are never used by the child). Lost connections are
opened again by the next call. Every call ends within its deadline with a result, a ``KafkaError`` (the broker
said no) or a ``ClientConnectionError`` (there was no usable answer).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from broker import limits
from broker.client.blocking_private import PrivateCalls
from broker.client.configs import ResourceType
from broker.client.errors import ClientConnectionError, ClientTimeoutError
from broker.client.producer import Headers
from broker.client.results import (
    ClusterDescription,
    ClusterMetadata,
    CommittedOffset,
    ConfigEntry,
    CreatedTopic,
    DeletedRecords,
    FetchedRecords,
    GroupDescription,
    GroupListing,
    ListedOffset,
    PlacementOutcome,
    ProducedRecord,
    ProducerDescription,
    Reassignment,
    Record,
    TransactionDescription,
    TransactionListing,
)
from broker.errors import ErrorCode, KafkaError
from broker.protocol.records import Record as RecordToProduce
from broker.types import TopicPartition

__all__ = ["Client", "ClientConnectionError", "ClientTimeoutError", "KafkaError", "ResourceType"]


class Client(PrivateCalls):
    """What any Kafka can be asked; ``PrivateCalls`` has what only brokers of this project can."""

    # Cluster ---------------------------------------------------------------------------------------

    def describe_cluster(self) -> ClusterDescription:
        return self._run(lambda client: client.describe_cluster())

    def metadata(self, topics: Iterable[str] | None = None) -> ClusterMetadata:
        """Brokers and topics; None means all topics. Never creates one."""
        return self._run(lambda client: client.metadata(topics))

    # Topics ----------------------------------------------------------------------------------------

    def create_topic(
        self,
        name: str,
        partitions: int = -1,
        replication_factor: int = -1,
        configs: Mapping[str, str] | None = None,
        validate_only: bool = False,
    ) -> CreatedTopic:
        return self._run(
            lambda client: client.topics.create(
                name, partitions, replication_factor, configs, validate_only=validate_only
            )
        )

    def delete_topic(self, name: str) -> None:
        self._run(lambda client: client.topics.delete(name))

    def create_partitions(self, name: str, total: int, validate_only: bool = False) -> None:
        self._run(lambda client: client.topics.create_partitions(name, total, validate_only=validate_only))

    def list_offsets(
        self, topic: str, positions: Mapping[int, int], *, read_committed: bool = False
    ) -> dict[int, ListedOffset]:
        """Per partition: -2 earliest, -1 latest, -3 of the largest timestamp, else a time in ms."""
        return self._run(lambda client: client.topics.list_offsets(topic, positions, read_committed=read_committed))

    def delete_records(self, topic: str, offsets: Mapping[int, int]) -> dict[int, DeletedRecords]:
        return self._run(lambda client: client.topics.delete_records(topic, offsets))

    def describe_producers(self, topic: str) -> list[ProducerDescription]:
        return self._run(lambda client: client.topics.describe_producers(topic))

    # Placement -------------------------------------------------------------------------------------

    def reassign(
        self, targets: Mapping[TopicPartition, Sequence[int] | None]
    ) -> dict[TopicPartition, PlacementOutcome]:
        """Begin to move partitions to these replicas, the preferred leader first; ``None`` cancels a move."""
        return self._run(lambda client: client.placement.reassign(targets))

    def reassignments(self) -> dict[TopicPartition, Reassignment]:
        return self._run(lambda client: client.placement.reassignments())

    def elect_leaders(
        self, partitions: Iterable[TopicPartition] | None, *, unclean: bool = False
    ) -> dict[TopicPartition, PlacementOutcome]:
        """``None``: all partitions that another than the preferred replica leads."""
        return self._run(lambda client: client.placement.elect_leaders(partitions, unclean=unclean))

    def log_sizes(self, broker_id: int) -> dict[TopicPartition, int]:
        return self._run(lambda client: client.placement.log_sizes(broker_id))

    def unregister_broker(self, broker_id: int) -> None:
        self._run(lambda client: client.placement.unregister_broker(broker_id))

    # Configs ---------------------------------------------------------------------------------------

    def describe_topic_configs(self, name: str) -> list[ConfigEntry]:
        return self._run(lambda client: client.configs.describe_topic(name))

    def describe_broker_configs(self, broker_id: int | None) -> list[ConfigEntry]:
        """Of one broker; None: what is set for all brokers at once."""
        return self._run(lambda client: client.configs.describe_broker(broker_id))

    def alter_topic_configs(self, name: str, changes: Mapping[str, str | None], validate_only: bool = False) -> None:
        """Set each config; None removes the topic's own value."""
        self._run(lambda client: client.configs.alter_topic(name, changes, validate_only=validate_only))

    def alter_broker_configs(
        self, broker_id: int | None, changes: Mapping[str, str | None], validate_only: bool = False
    ) -> None:
        """Of one broker; None: for all brokers at once."""
        self._run(lambda client: client.configs.alter_broker(broker_id, changes, validate_only=validate_only))

    def describe_group_configs(self, group_id: str) -> list[ConfigEntry]:
        return self._run(lambda client: client.configs.describe_group(group_id))

    def alter_group_configs(
        self, group_id: str, changes: Mapping[str, str | None], validate_only: bool = False
    ) -> None:
        """Set each config; None gives the group the broker's value again."""
        self._run(lambda client: client.configs.alter_group(group_id, changes, validate_only=validate_only))

    def describe_client_metrics(self, name: str) -> list[ConfigEntry]:
        return self._run(lambda client: client.configs.describe_client_metrics(name))

    def alter_client_metrics(self, name: str, changes: Mapping[str, str | None], validate_only: bool = False) -> None:
        """Make, change or (with None for all its configs) remove a client-metrics subscription."""
        self._run(lambda client: client.configs.alter_client_metrics(name, changes, validate_only=validate_only))

    def describe_loggers(self, broker_id: int) -> list[ConfigEntry]:
        return self._run(lambda client: client.configs.describe_loggers(broker_id))

    def alter_loggers(self, broker_id: int, changes: Mapping[str, str | None], validate_only: bool = False) -> None:
        """Log levels (TRACE … FATAL) of one broker's process, until it ends."""
        self._run(lambda client: client.configs.alter_loggers(broker_id, changes, validate_only=validate_only))

    def list_config_resources(self, kind: ResourceType) -> list[str]:
        return self._run(lambda client: client.configs.list_resources(kind))

    # Records ---------------------------------------------------------------------------------------

    def fetch(
        self,
        topic: str,
        partition: int,
        offset: int,
        max_bytes: int = limits.MIB,
        max_wait_ms: int = 500,
        *,
        read_committed: bool = False,
        records_max: int | None = None,
        skip_damaged: bool = False,
    ) -> FetchedRecords:
        """Records and where to continue; see ``client/reader.py``."""
        return self._run(
            lambda client: client.reader.fetch(
                topic,
                partition,
                offset,
                max_bytes,
                max_wait_ms,
                read_committed=read_committed,
                records_max=records_max,
                skip_damaged=skip_damaged,
            ),
            extra_seconds=max_wait_ms / 1000,
        )

    def fetch_records(
        self,
        topic: str,
        partition: int,
        offset: int,
        max_bytes: int = limits.MIB,
        max_wait_ms: int = 500,
    ) -> list[Record]:
        return list(self.fetch(topic, partition, offset, max_bytes, max_wait_ms).records)

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int | None = None,
        *,
        timestamp_ms: int | None = None,
        compression: str = "none",
        acks: int = -1,
    ) -> ProducedRecord:
        """One record; ``(partition, offset)`` once acknowledged."""
        return self._run(
            lambda client: client.producer.produce(
                topic,
                key,
                value,
                headers,
                partition=partition,
                timestamp_ms=timestamp_ms,
                compression=compression,
                acks=acks,
            )
        )

    def produce_batch(
        self,
        topic: str,
        partition: int,
        records: Iterable[RecordToProduce],
        *,
        compression: str = "none",
        acks: int = -1,
    ) -> int:
        """Several records (``client.producer.new_record``) as one batch; the first one's offset."""
        return self._run(
            lambda client: client.producer.produce_batch(topic, partition, records, compression=compression, acks=acks)
        )

    # Groups ----------------------------------------------------------------------------------------

    def list_groups(self) -> list[GroupListing]:
        return self._run(lambda client: client.groups.list_all())

    def describe_group(self, group_id: str) -> GroupDescription:
        return self._run(lambda client: client.groups.describe_one(group_id))

    def describe_groups(self, group_ids: Iterable[str]) -> dict[str, GroupDescription]:
        return self._run(lambda client: client.groups.describe(group_ids))

    def group_offsets(self, group_id: str) -> list[CommittedOffset]:
        return self._run(lambda client: client.groups.offsets(group_id))

    def delete_group(self, group_id: str) -> None:
        self._run(lambda client: client.groups.delete(group_id))

    def commit_group_offsets(
        self, group_id: str, offsets: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, ErrorCode]:
        """Set where a group without members goes on; an outcome per partition."""
        return self._run(lambda client: client.groups.commit_offsets(group_id, offsets))

    def delete_group_offsets(
        self, group_id: str, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, ErrorCode]:
        wanted = list(partitions)
        return self._run(lambda client: client.groups.delete_offsets(group_id, wanted))

    # Transactions ----------------------------------------------------------------------------------

    def list_transactions(
        self,
        states: Iterable[str] = (),
        producer_ids: Iterable[int] = (),
        *,
        duration_ms: int = -1,
        pattern: str | None = None,
    ) -> list[TransactionListing]:
        """The transactional ids of every broker; ``duration_ms``: only what has run longer."""
        return self._run(
            lambda client: client.transactions.list_all(states, producer_ids, duration_ms=duration_ms, pattern=pattern)
        )

    def describe_transaction(self, transactional_id: str) -> TransactionDescription:
        return self._run(lambda client: client.transactions.describe(transactional_id))

    def describe_transactions(self, listings: Iterable[TransactionListing]) -> dict[str, TransactionDescription]:
        """By id, one request to each coordinator; ids that have gone since are left out."""
        wanted = list(listings)
        return self._run(lambda client: client.transactions.describe_many(wanted))

    def write_transaction_marker(
        self,
        topic: str,
        partition: int,
        producer_id: int,
        producer_epoch: int,
        coordinator_epoch: int,
        *,
        commit: bool = False,
    ) -> None:
        """End a hanging transaction in one partition (``describe_producers`` has the numbers)."""
        self._run(
            lambda client: client.transactions.write_marker(
                topic, partition, producer_id, producer_epoch, coordinator_epoch, commit=commit
            )
        )

    def terminate_transaction(self, transactional_id: str) -> None:
        """Fence the producer of a transactional id and abort what it has open."""
        self._run(lambda client: client.transactions.terminate(transactional_id))
