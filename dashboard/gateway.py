"""The only place of the dashboard that talks to a broker.

Owns: one thread-safe client per process and the translation of its failures into ``GatewayError``, whose message is a
sentence for a person. Views, forms and tasks call ``gateway()``; live numbers do not come from here but from the
live store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, wraps
from typing import Concatenate, ParamSpec, TypeVar

from django.conf import settings

from broker.client.asynchronous import AsyncClient
from broker.client.blocking import Client, ResourceType
from broker.client.errors import ClientConnectionError, ClientTimeoutError
from broker.client.offset_reset import PartitionFacts, Strategy
from broker.client.reset_facts import Activity, activity_of, committed_offsets, gather
from broker.client.results import (
    ClusterDescription,
    ConfigEntry,
    FetchedRecords,
    ListedOffset,
    PlacementOutcome,
    ProducedRecord,
    ProducerDescription,
    Reassignment,
    TopicMetadata,
    TransactionDescription,
    TransactionListing,
)
from broker.client.topics import LATEST
from broker.errors import ErrorCode, KafkaError
from broker.jobs.brokers import cluster_secret
from broker.protocol.private import (
    ClientInstanceEntry,
    ClientMetricsResponse,
    CompactionPartition,
    ConnectionsResponse,
    PartitionInventory,
)
from broker.types import TopicPartition

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

REQUEST_SECONDS_MAX = 5.0
"""A page waits no longer for one answer."""
CONNECT_SECONDS_MAX = 2.0


class GatewayError(Exception):
    """The broker refused or did not answer. ``str()`` is what the user reads."""

    def __init__(self, message: str, *, code: ErrorCode | None = None) -> None:
        super().__init__(message)
        self.code = code
        """The broker's own code when it refused; ``None`` when there was no answer."""

    @property
    def unreachable(self) -> bool:
        return self.code is None


def translated(
    call: Callable[Concatenate[Gateway, Parameters], Result],
) -> Callable[Concatenate[Gateway, Parameters], Result]:
    """Every failure of the client leaves as a ``GatewayError``."""

    @wraps(call)
    def wrapper(self: Gateway, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return call(self, *args, **kwargs)
        except KafkaError as error:
            raise GatewayError(error.message, code=error.code) from error
        except ClientTimeoutError as error:
            raise GatewayError("The broker did not answer in time.") from error
        except ClientConnectionError as error:
            raise GatewayError(f"The broker cannot be reached: {error}") from error

    return wrapper


class Gateway:
    """Calls of the dashboard to the cluster, in the dashboard's terms."""

    def __init__(self, client: Client, open_internal: Callable[[], Client] | None = None) -> None:
        self.client = client
        self._open_internal = open_internal
        self._internal: Client | None = None

    @property
    def internal(self) -> Client:
        """For the private APIs; opened when one is first asked for. Raises ``ClientConnectionError``."""
        if self._internal is None:
            if self._open_internal is None:
                raise ClientConnectionError("the address of its internal listener is not known")
            self._internal = self._open_internal()
        return self._internal

    def close(self) -> None:
        """End both clients' connections; a later call opens them again."""
        self.client.close()
        internal, self._internal = self._internal, None
        if internal is not None:
            internal.close()

    @translated
    def describe_cluster(self) -> ClusterDescription:
        return self.client.describe_cluster()

    @translated
    def topic_exists(self, name: str) -> bool:
        return any(topic.error is ErrorCode.NONE for topic in self.client.metadata([name]).topics)

    @translated
    def group_exists(self, group_id: str) -> bool:
        return any(group.group_id == group_id for group in self.client.list_groups())

    @translated
    def group_activity(self, group_id: str) -> Activity:
        """Whether anybody reads with the group now."""
        return activity_of(self.client, group_id)

    @translated
    def committed_offsets(self, group_id: str) -> dict[TopicPartition, int]:
        return committed_offsets(self.client, group_id)

    @translated
    def reset_facts(
        self, group_id: str, partitions: Iterable[TopicPartition], strategy: Strategy
    ) -> list[PartitionFacts]:
        """What an offset reset decides from. Raises ``ResetRefused`` for a partition that does not exist."""
        return gather(self.client, group_id, partitions, strategy)

    @translated
    def commit_offsets(self, group_id: str, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, ErrorCode]:
        """Set where a group without members goes on; an outcome per partition."""
        return self.client.commit_group_offsets(group_id, offsets)

    @translated
    def delete_group_offsets(
        self, group_id: str, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, ErrorCode]:
        return self.client.delete_group_offsets(group_id, partitions)

    @translated
    def delete_group(self, group_id: str) -> None:
        self.client.delete_group(group_id)

    @translated
    def list_transactions(self) -> list[TransactionListing]:
        return self.client.list_transactions()

    @translated
    def describe_transactions(self, listings: Iterable[TransactionListing]) -> dict[str, TransactionDescription]:
        return self.client.describe_transactions(listings)

    @translated
    def terminate_transaction(self, transactional_id: str) -> None:
        """Fence its producer; what it has open is aborted when this returns."""
        self.client.terminate_transaction(transactional_id)

    @translated
    def abort_in_partition(
        self, topic: str, partition: int, producer_id: int, producer_epoch: int, coordinator_epoch: int
    ) -> None:
        """Write the abort marker of a transaction whose coordinator does not know of it."""
        self.client.write_transaction_marker(topic, partition, producer_id, producer_epoch, coordinator_epoch)

    @translated
    def topic_ends(self, topic: str, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        """(last stable offset, high watermark) by partition."""
        latest = dict.fromkeys(partitions, LATEST)
        stable = self.client.list_offsets(topic, latest, read_committed=True)
        ends = self.client.list_offsets(topic, latest)
        return {partition: (stable[partition].offset, ends[partition].offset) for partition in partitions}

    @translated
    def connections(
        self, broker_id: int, *, after: int, limit: int, client_id: str = "", listener: str = ""
    ) -> ConnectionsResponse:
        """One page of a broker's connections."""
        return self.internal.connections(
            after=after, limit=limit, client_id=client_id, listener=listener, broker_id=broker_id
        )

    @translated
    def disconnect(self, broker_id: int, connection_id: int) -> None:
        self.internal.disconnect(connection_id, broker_id=broker_id)

    @translated
    def client_instances(self, broker_id: int, *, limit: int) -> ClientMetricsResponse:
        """Clients with a metrics subscription at this broker, without their values."""
        return self.internal.client_metrics(limit=limit, values=False, broker_id=broker_id)

    @translated
    def client_instance(self, broker_id: int, instance_id: bytes) -> ClientInstanceEntry | None:
        """One of them with the values it pushed last."""
        answer = self.internal.client_metrics(client_instance_id=instance_id, broker_id=broker_id)
        return next((one for one in answer.instances if one.client_instance_id == instance_id), None)

    @translated
    def alter_metrics_subscription(self, name: str, changes: Mapping[str, str | None]) -> None:
        """Made by its first config, gone with its last."""
        self.client.alter_client_metrics(name, changes)

    @translated
    def metrics_subscriptions(self) -> dict[str, dict[str, str]]:
        """Client-metrics subscriptions with their configs, by name."""
        return {
            name: {entry.name: entry.value or "" for entry in self.client.describe_client_metrics(name)}
            for name in self.client.list_config_resources(ResourceType.CLIENT_METRICS)
        }

    @translated
    def topic_configs(self, name: str) -> list[ConfigEntry]:
        """Every config of the topic with its origin, by name."""
        return sorted(self.client.describe_topic_configs(name), key=lambda entry: entry.name)

    @translated
    def broker_configs(self, broker_id: int) -> list[ConfigEntry]:
        """Every config of the broker with its origin, by name."""
        return sorted(self.client.describe_broker_configs(broker_id), key=lambda entry: entry.name)

    @translated
    def alter_broker_config(
        self, broker_id: int | None, name: str, value: str | None, *, validate_only: bool = False
    ) -> None:
        """Of one broker, or with ``None`` of all; a value of ``None`` takes the own one away."""
        self.client.alter_broker_configs(broker_id, {name: value}, validate_only=validate_only)

    @translated
    def group_configs(self, group_id: str) -> list[ConfigEntry]:
        """Every config of the group with its origin, by name; also of one that does not exist."""
        return sorted(self.client.describe_group_configs(group_id), key=lambda entry: entry.name)

    @translated
    def alter_group_config(self, group_id: str, name: str, value: str | None, *, validate_only: bool = False) -> None:
        """A value of ``None`` takes the group's own one away."""
        self.client.alter_group_configs(group_id, {name: value}, validate_only=validate_only)

    @translated
    def topics(self) -> tuple[TopicMetadata, ...]:
        return self.client.metadata(None).topics

    @translated
    def create_topic(
        self,
        name: str,
        partition_count: int,
        replication_factor: int,
        configs: Mapping[str, str],
        *,
        validate_only: bool = False,
    ) -> None:
        self.client.create_topic(name, partition_count, replication_factor, configs, validate_only=validate_only)

    @translated
    def create_partitions(self, name: str, total: int, *, validate_only: bool = False) -> None:
        self.client.create_partitions(name, total, validate_only=validate_only)

    @translated
    def alter_topic_configs(self, name: str, changes: Mapping[str, str | None], *, validate_only: bool = False) -> None:
        """Set each config; ``None`` removes the topic's own value. All or none of them."""
        self.client.alter_topic_configs(name, changes, validate_only=validate_only)

    @translated
    def delete_topic(self, name: str) -> None:
        self.client.delete_topic(name)

    @translated
    def topic(self, name: str) -> TopicMetadata:
        """The topic's partitions and leaders now."""
        found = next((topic for topic in self.client.metadata([name]).topics if topic.name == name), None)
        if found is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"There is no topic called {name}.")
        if found.error is not ErrorCode.NONE:
            raise KafkaError(found.error)
        return found

    @translated
    def list_offsets(self, topic: str, positions: Mapping[int, int]) -> dict[int, ListedOffset]:
        """Per partition: -2 earliest, -1 latest, else the first offset at or after a time in ms."""
        return self.client.list_offsets(topic, positions)

    @translated
    def fetch(self, topic: str, partition: int, offset: int, max_bytes: int, records_max: int) -> FetchedRecords:
        """Records from ``offset`` on, without waiting for any; a batch that cannot be opened is passed over."""
        return self.client.fetch(
            topic, partition, offset, max_bytes, max_wait_ms=0, records_max=records_max, skip_damaged=True
        )

    @translated
    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]],
        *,
        partition: int | None,
        compression: str,
    ) -> ProducedRecord:
        """One record, acknowledged by all replicas in sync."""
        return self.client.produce(topic, key, value, headers, partition, compression=compression, acks=-1)

    @translated
    def reassign(
        self, targets: Mapping[TopicPartition, Sequence[int] | None]
    ) -> dict[TopicPartition, PlacementOutcome]:
        """Begin or (``None``) cancel moves; an outcome per partition."""
        return self.client.reassign(targets)

    @translated
    def reassignments(self) -> dict[TopicPartition, Reassignment]:
        return self.client.reassignments()

    @translated
    def elect_preferred_leaders(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, PlacementOutcome]:
        return self.client.elect_leaders(partitions)

    @translated
    def segments(self, topic: str, partition: int) -> tuple[PartitionInventory, int, int]:
        """(the partition as its leader keeps it on disk, when that was by the leader's clock, the leader)."""
        described = next((one for one in self.topic(topic).partitions if one.partition == partition), None)
        if described is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"{topic} has no partition {partition}.")
        if described.leader < 0:
            raise KafkaError(ErrorCode.LEADER_NOT_AVAILABLE, f"Partition {partition} has no leader now.")
        answer = self.internal.segment_inventory(
            [topic], partitions=[partition], details=True, broker_id=described.leader
        )
        found = next((one for one in answer.partitions if one.partition == partition), None)
        if found is None:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, f"Partition {partition} is changing its leader.")
        return found, answer.sampled_at_ms, described.leader

    @translated
    def compaction(self, topic: str, partition: int, broker_id: int) -> CompactionPartition | None:
        """How far a compacted partition of that broker is cleaned; ``None`` when it has none such."""
        answer = self.internal.compaction_inventory([topic], partitions=[partition], broker_id=broker_id)
        return next((one for one in answer.partitions if one.partition == partition), None)

    @translated
    def producers(self, topic: str) -> list[ProducerDescription]:
        """Idempotent and transactional producers the partitions' leaders remember, newest first."""
        return sorted(self.client.describe_producers(topic), key=lambda known: -known.last_timestamp_ms)


@lru_cache(maxsize=1)
def gateway() -> Gateway:
    """The process's gateway. The client connects with its first call and again after a fork or a lost connection."""
    return Gateway(
        Client(
            settings.OTTLA_BOOTSTRAP,
            client_id="ottla-dashboard",
            request_timeout_seconds=REQUEST_SECONDS_MAX,
            connect_timeout_seconds=CONNECT_SECONDS_MAX,
        ),
        _open_internal,
    )


def _open_internal() -> Client:
    return Client(
        settings.OTTLA_BOOTSTRAP_INTERNAL,
        cluster_secret(),
        client_id="ottla-dashboard",
        request_timeout_seconds=REQUEST_SECONDS_MAX,
        connect_timeout_seconds=CONNECT_SECONDS_MAX,
    )


def open_async_client() -> AsyncClient:
    """A client of its own for one live tail: its long polls hold up nobody else. Close it after use."""
    return AsyncClient(
        settings.OTTLA_BOOTSTRAP,
        client_id="ottla-tail",
        request_timeout_seconds=REQUEST_SECONDS_MAX,
        connect_timeout_seconds=CONNECT_SECONDS_MAX,
    )
