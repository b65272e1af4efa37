"""How an operator wants a broker to be used: draining it, taking it back, and having it forgotten. Pure.

A draining broker keeps its replicas in sync; it gets no new ones and leads only where nobody else can. A decommissioned one has
none left and is forgotten as soon as it stops.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.cluster import records
from broker.cluster.decision import Batch, Decision
from broker.cluster.image import BrokerState, ClusterImage
from broker.cluster.standing import ACTIVE, DECOMMISSIONED, DRAINING
from broker.errors import ErrorCode, KafkaError
from broker.metadata.store import Absent, VersionIs
from broker.types import BrokerId


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerResult:
    broker_id: BrokerId
    error: KafkaError | None = None


def decide_broker_state(image: ClusterImage, broker_id: BrokerId, state: str, *, now_ms: int) -> Decision[BrokerResult]:
    batch = Batch()
    error: KafkaError | None = None
    known = image.brokers_state.get(broker_id)
    if state not in (ACTIVE, DRAINING):
        error = KafkaError(ErrorCode.INVALID_REQUEST, f"A broker is {ACTIVE} or {DRAINING}, not {state!r}.")
    elif known is None and broker_id not in image.brokers:
        error = _not_registered(broker_id)
    elif known is None or known.state != state:
        _put_state(batch, image, broker_id, known, state, now_ms)
    return Decision(results=(BrokerResult(broker_id=broker_id, error=error),), transaction=batch.transaction())


def decide_unregister(image: ClusterImage, broker_id: BrokerId, *, now_ms: int) -> Decision[BrokerResult]:
    batch = Batch()
    error: KafkaError | None = None
    known = image.brokers_state.get(broker_id)
    replicas = sum(
        broker_id in partition.replicas for topic in image.topics_by_id.values() for partition in topic.partitions
    )
    if known is None and broker_id not in image.brokers:
        error = _not_registered(broker_id)
    elif replicas:
        error = KafkaError(
            ErrorCode.INVALID_REQUEST,
            f"Broker {broker_id} still has {replicas} replicas. Move them to other brokers before it is forgotten.",
        )
    elif broker_id in image.brokers:
        _put_state(batch, image, broker_id, known, DECOMMISSIONED, now_ms)
    else:
        assert known is not None
        key = records.broker_state_key(broker_id)
        batch.preconditions.append(VersionIs(key, known.version))
        batch.deletes.append(key)
    return Decision(results=(BrokerResult(broker_id=broker_id, error=error),), transaction=batch.transaction())


def _put_state(
    batch: Batch, image: ClusterImage, broker_id: BrokerId, known: BrokerState | None, state: str, now_ms: int
) -> None:
    key = records.broker_state_key(broker_id)
    batch.preconditions.append(Absent(key) if known is None else VersionIs(key, known.version))
    broker = image.brokers.get(broker_id)
    source = known or broker
    assert source is not None
    record = records.BrokerStateRecord(
        state=state,
        since_ms=now_ms,
        host=source.host,
        port=source.port,
        rack=source.rack,
        left_at_ms=known.left_at_ms if known is not None else -1,
    )
    batch.puts[key] = records.encode(record)


def _not_registered(broker_id: BrokerId) -> KafkaError:
    return KafkaError(ErrorCode.BROKER_ID_NOT_REGISTERED, f"Broker ID {broker_id} is not currently registered")
