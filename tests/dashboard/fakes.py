"""A gateway without a broker: what the pages of part messages, jobs and administration ask of it, from memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from broker.client.results import FetchedRecords, ListedOffset, PartitionMetadata, ProducedRecord, TopicMetadata
from broker.errors import ErrorCode
from dashboard.gateway import GatewayError
from tests.dashboard.messages.records import FakeLog, record


def topic(name: str, partitions: int = 1, *, internal: bool = False) -> TopicMetadata:
    return TopicMetadata(
        name=name,
        topic_id=f"id-{name}",
        internal=internal,
        partitions=tuple(
            PartitionMetadata(partition=number, leader=1, leader_epoch=0, replicas=(1,), isr=(1,), offline_replicas=())
            for number in range(partitions)
        ),
    )


class FakeGateway:
    """One topic called ``orders`` unless more are given; every call fails while ``trouble`` says why."""

    def __init__(self, log: FakeLog | None = None, topics: Sequence[TopicMetadata] = ()) -> None:
        self.log = log or FakeLog([])
        self.known = {one.name: one for one in topics or [topic("orders", 2)]}
        self.produced: list[dict[str, Any]] = []
        self.trouble: GatewayError | None = None

    def topic(self, name: str) -> TopicMetadata:
        self._fail()
        if name not in self.known:
            raise GatewayError(f"There is no topic called {name}.", code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        return self.known[name]

    def topic_exists(self, name: str) -> bool:
        self._fail()
        return name in self.known

    def list_offsets(self, topic: str, positions: Mapping[int, int]) -> dict[int, ListedOffset]:
        self._fail()
        count = len(self.topic(topic).partitions)
        if any(partition >= count for partition in positions):
            raise GatewayError("This server does not host it.", code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        return self.log.list_offsets(topic, positions)

    def fetch(self, topic: str, partition: int, offset: int, max_bytes: int, records_max: int) -> FetchedRecords:
        self._fail()
        return self.log.fetch(topic, partition, offset, max_bytes, records_max)

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
        self._fail()
        chosen = partition or 0
        offset = self.log.ends.get(chosen, 0)
        self.produced.append(
            {"key": key, "value": value, "headers": list(headers), "partition": partition, "compression": compression}
        )
        added = record(offset, partition=chosen, key=key, value=value, headers=tuple(headers))
        self.log.partitions.setdefault(chosen, []).append(added)
        self.log.ends[chosen] = offset + 1
        return ProducedRecord(chosen, offset)

    def _fail(self) -> None:
        if self.trouble is not None:
            raise self.trouble
