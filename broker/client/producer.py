"""Producing a few records: what a form, a demo workload or a test needs, not a batching producer.

Each call builds one record batch and waits for its acknowledgement, so what the caller is told is durable
according to ``acks``.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from broker.client.errors import raise_for_code
from broker.client.partitioner import partition_for_key
from broker.client.results import ProducedRecord
from broker.client.router import Router
from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.records import Record, build_batch

Headers = Sequence[tuple[str, bytes | None]] | Mapping[str, bytes | None]


class ProducerClient:
    def __init__(self, router: Router) -> None:
        self._router = router
        self._turns: itertools.count[int] = itertools.count()

    async def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        *,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        compression: str = "none",
        acks: int = -1,
    ) -> ProducedRecord:
        """Produce one record. Without a partition: by key as Java does, keyless ones in turn."""
        record = new_record(key, value, headers, timestamp_ms)
        if partition is None:
            partition = await self._choose_partition(topic, key)
        offset = await self.produce_batch(topic, partition, [record], compression=compression, acks=acks)
        return ProducedRecord(partition, offset)

    async def produce_batch(
        self,
        topic: str,
        partition: int,
        records: Iterable[Record],
        *,
        compression: str = "none",
        acks: int = -1,
    ) -> int:
        """Append ``records`` as one batch; returns the offset of the first, -1 with acks=0."""
        batch = build_batch(records, compression=compression)
        timeout_ms = int(self._router.request_timeout_seconds * 1000)
        request = m.ProduceRequest(
            transactional_id=None,
            acks=acks,
            timeout=timeout_ms,
            topic_data=[
                m.ProduceRequest.TopicProduceData(
                    name=topic,
                    partition_data=[m.ProduceRequest.PartitionProduceData(index=partition, records=batch)],
                )
            ],
        )

        async def attempt() -> int:
            (leader,) = await self._router.leaders(topic, [partition])
            if acks == 0:
                await self._router.send_broker(leader, ApiKey.PRODUCE, request)
                return -1
            response = await self._router.call_broker(leader, ApiKey.PRODUCE, request, repeatable=False)
            return _first_offset(response, topic, partition)

        return await self._router.until_routed(attempt, topic=topic)

    async def _choose_partition(self, topic: str, key: bytes | None) -> int:
        count = len((await self._router.topic(topic)).partitions)
        if count == 0:
            raise KafkaError(ErrorCode.LEADER_NOT_AVAILABLE, f"{topic} has no partitions yet")
        return next(self._turns) % count if key is None else partition_for_key(key, count)


def new_record(
    key: bytes | None, value: bytes | None, headers: Headers = (), timestamp_ms: int | None = None
) -> Record:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return Record(
        timestamp=time.time_ns() // 1_000_000 if timestamp_ms is None else timestamp_ms,
        key=key,
        value=value,
        headers=tuple(pairs),
    )


def _first_offset(response: Any, topic: str, partition: int) -> int:
    for answered in response.responses:
        for result in answered.partition_responses:
            if answered.name == topic and result.index == partition:
                raise_for_code(result.error_code, _refusal(result))
                return int(result.base_offset)
    raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, f"the broker's answer does not mention {topic}-{partition}")


def _refusal(result: Any) -> str | None:
    reasons = [error.batch_index_error_message for error in result.record_errors or ()]
    return next((reason for reason in reasons if reason), result.error_message)
