"""Two brokers of one cluster: what goes from one to the other, and what becomes of it when one is away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.broker_process import BrokerProcess
from tests.support.wait import wait_until
from tests.support.wire import Wire
from tests.traps.member import new_name


@contextmanager
def pair_of_brokers(home: Path, **environment: str) -> Iterator[tuple[BrokerProcess, BrokerProcess]]:
    """Two brokers of one cluster that know each other."""
    small = {
        "OTTLA_OFFSETS_TOPIC_NUM_PARTITIONS": "4",
        "OTTLA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "4",
        # One copy: a coordinator is where it was when its broker is back.
        "OTTLA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "OTTLA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "OTTLA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    }
    first = BrokerProcess(home, node_id=1, **small, **environment)
    second = BrokerProcess(home, node_id=2, **small, **environment)
    second.port, second.internal_port = first.port + 1, first.internal_port + 1
    with first, second:
        for one in (first, second):
            with Wire(one.port) as wire:
                wait_until(lambda wire=wire: len(node_ids(wire)[0]) == 2, "both brokers")
        yield first, second


def node_ids(wire: Wire) -> tuple[set[int], int]:
    """Those that are listed, and the controller."""
    answer = wire.call(ApiKey.METADATA, 12, m.MetadataRequest(topics=[]))
    return {one.node_id for one in answer.brokers}, answer.controller_id


def topic_on(wire: Wire, node_id: int) -> str:
    """A topic whose partition that broker leads."""
    name = new_name("placed")
    r = m.CreateTopicsRequest
    placed = r.CreatableTopic(
        name=name,
        num_partitions=-1,
        replication_factor=-1,
        assignments=[r.CreatableReplicaAssignment(partition_index=0, broker_ids=[node_id])],
        configs=[],
    )
    answer = wire.call(ApiKey.CREATE_TOPICS, 5, r(timeout=10_000, topics=[placed]))
    assert answer.topics[0].error_code == 0, answer
    return name
