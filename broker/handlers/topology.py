"""What Metadata, DescribeCluster and DescribeTopicPartitions tell about brokers and partitions alike.

Owns: which address of a broker a client is told, and what a partition without a live leader looks like. No state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from broker.cluster.image import BrokerImage, PartitionImage
from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.types import NO_LEADER, BrokerId

AUTHORIZED_OPERATIONS_OMITTED = -(2**31)
TOPIC_OPERATIONS = sum(1 << operation for operation in (3, 4, 5, 6, 7, 8, 10, 11))
"""Kafka's AclOperation codes a topic has: read, write, create, delete, alter, describe, describe and alter configs."""
CLUSTER_OPERATIONS = sum(1 << operation for operation in (5, 7, 8, 9, 10, 11, 12))
"""Create, alter, describe, cluster action, describe and alter configs, idempotent write."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    id: BrokerId
    host: str
    port: int
    rack: str | None


class PartitionView(NamedTuple):
    error_code: ErrorCode
    leader_id: BrokerId
    leader_epoch: int
    replicas: tuple[BrokerId, ...]
    isr: tuple[BrokerId, ...]
    offline: tuple[BrokerId, ...]


def endpoints(request: Request, services: Services) -> list[Endpoint]:
    """The live brokers as reached through the listener the request came in by; never empty.

    While our own registration is being renewed we are still here to answer, so then we name ourselves.
    """
    brokers = services.cluster.image.brokers
    internal = request.connection.listener == "internal"
    if not brokers:
        config = services.cluster.config
        address = (
            (config.internal_host, config.internal_port)
            if internal
            else (config.advertised_host, config.advertised_port)
        )
        return [Endpoint(services.node_id, *address, config.broker_rack)]
    return [_endpoint(broker, internal) for broker in brokers.values()]


def controller_id(services: Services) -> BrokerId:
    """A live broker in any case: clients send admin requests there, and every broker serves them."""
    image = services.cluster.image
    if image.controller_id in image.brokers:
        return image.controller_id
    return min(image.brokers, default=services.node_id)


def view_partitions(partitions: Iterable[PartitionImage], services: Services) -> Iterator[PartitionView]:
    """A metadata request may ask for thousands, so what is the same for most of them is looked up once."""
    live = services.cluster.image.brokers
    none, not_available = ErrorCode.NONE, ErrorCode.LEADER_NOT_AVAILABLE
    offline: dict[tuple[BrokerId, ...], tuple[BrokerId, ...]] = {}
    for partition in partitions:
        replicas = partition.replicas
        if replicas not in offline:
            offline[replicas] = tuple(broker_id for broker_id in replicas if broker_id not in live)
        led = partition.leader in live
        yield PartitionView(
            none if led else not_available,
            partition.leader if led else NO_LEADER,
            partition.leader_epoch,
            replicas,
            partition.isr,
            offline[replicas],
        )


def _endpoint(broker: BrokerImage, internal: bool) -> Endpoint:
    if internal:
        return Endpoint(broker.id, broker.internal_host, broker.internal_port, broker.rack)
    return Endpoint(broker.id, broker.host, broker.port, broker.rack)
