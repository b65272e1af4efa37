"""Three brokers as their telemetry tells of them: what one partition looks like from each."""

from __future__ import annotations

from typing import Any

from broker.telemetry.sample import (
    ControlSample,
    ElectionSample,
    PartitionSample,
    RegistrationSample,
    Sample,
    TopicSample,
)
from tests.dashboard.samples import START_MS, Bench, partition, sample, topic

BROKERS = (1, 2, 3)


def placed(name: str = "orders", number: int = 0, **values: Any) -> PartitionSample:
    """Led by broker 1, kept and in sync on all three."""
    defaults: dict[str, Any] = {
        "leader": 1,
        "leader_epoch": 1,
        "partition_epoch": 1,
        "replicas": [1, 2, 3],
        "isr": [1, 2, 3],
        "records": 100,
        "cause": "created",
        "changed_at_ms": START_MS,
    }
    return partition(name, number, **{**defaults, **values})


def replicated(name: str = "orders", partitions: int = 1, **values: Any) -> TopicSample:
    return topic(name, partitions, replication_factor=3, min_insync_replicas=2, **values)


def registered(broker: int, **values: Any) -> RegistrationSample:
    defaults = {"host": "127.0.0.1", "port": 9091 + broker, "epoch": 10 + broker, "incarnation": f"life-{broker}"}
    return RegistrationSample(id=broker, **{**defaults, "live": True, "registered_at_ms": START_MS, **values})


def controlled(epoch: int = 1, by: int = 1, gone: tuple[int, ...] = (), **values: Any) -> ControlSample:
    elections = [ElectionSample(epoch=1, broker_id=1, at_ms=START_MS, cause="first")]
    if epoch > 1:
        elections.append(ElectionSample(epoch=epoch, broker_id=by, at_ms=START_MS + 1000, cause="failed"))
    brokers = [
        registered(one) if one not in gone else RegistrationSample(id=one, left_at_ms=START_MS + 500) for one in BROKERS
    ]
    return ControlSample(
        **{
            "controller_epoch": epoch,
            "elected_at_ms": elections[-1].at_ms,
            "elections": elections,
            "brokers": brokers,
            **values,
        }
    )


def says(
    broker: int,
    seq: int,
    *partitions: PartitionSample,
    full: bool = False,
    trouble: dict[str, Any] | None = None,
    **values: Any,
) -> Sample:
    """One broker's sample; the first of each has to be full. ``trouble``: what it says of itself besides."""
    defaults: dict[str, Any] = {"revision": seq, "control": controlled() if full else None, "controller_id": 1}
    facts = {"store": "sqlite", "session_timeout_ms": 6_000}
    return sample(
        seq,
        full=full,
        broker_id=broker,
        broker={**facts, "is_controller": broker == 1, **(trouble or {})},
        partitions=list(partitions),
        **{**defaults, **values},
    )


def start(bench: Bench, *partitions: PartitionSample, topics: tuple[TopicSample, ...] = ()) -> None:
    """All three tell of these partitions, broker 1 as their leader."""
    kept = partitions or (placed(),)
    for broker in BROKERS:
        bench.feed(says(broker, 1, *kept, full=True, topics=list(topics or (replicated(),))))
    bench.step()
