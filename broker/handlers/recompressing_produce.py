"""The side of Produce that ``compression.type`` asks for: batches of some topics are stored in another codec (see
``partition/recompression.py``), in a worker thread unless they are small and plain.

Loaded by the first request of a broker that has such a topic. A batch that would be refused anyhow is left as it is, for
the append to refuse.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from broker.errors import KafkaError
from broker.handlers.context import Services
from broker.handlers.produce import Append
from broker.partition.recompression import Target, recompress, target_of
from broker.protocol.batch import ATTRIBUTES_AT, COMPRESSION_MASK
from broker.protocol.produce import ProduceRequest
from broker.storage.append_validation import validate_client_batch
from broker.types import TopicPartition

if TYPE_CHECKING:
    from broker.partition.driver import Partition
    from broker.storage.log import LogAppend

_ATTRIBUTES_LOW_AT = ATTRIBUTES_AT + 1
INLINE_BYTES_MAX = 16 * 1024
"""A plain batch up to this size takes less time than sending it to a thread. A compressed one may be of any size."""


class Recompression:
    """What of one request is recompressed. ``append`` takes what ``prepare`` made, in the same order."""

    __slots__ = ("_inner", "_made", "_now_ms", "_services")

    def __init__(self, services: Services, inner: Append, now_ms: int) -> None:
        self._services = services
        self._inner = inner
        self._now_ms = now_ms
        self._made: dict[TopicPartition, deque[memoryview | KafkaError]] = {}

    def needs_thread(self, produce: ProduceRequest) -> bool:
        return any(not _is_inline(records) for _, records, _ in self._concerned(produce))

    async def prepare(self, produce: ProduceRequest) -> None:
        for partition, records, target in self._concerned(produce):
            made: memoryview | KafkaError
            try:
                made = memoryview(await self._services.recompressor.recompress(records, target))
            except KafkaError as refusal:
                made = refusal
            self._made.setdefault(partition.topic_partition, deque()).append(made)

    def append(
        self, partition: Partition, records: memoryview | None, acks: int, now_ms: int, client: bool
    ) -> LogAppend:
        """Raises ``KafkaError``."""
        target = self._target(partition, records)
        if target is not None and records is not None:
            prepared = self._made.get(partition.topic_partition)
            made = prepared.popleft() if prepared else memoryview(recompress(records, target))
            if isinstance(made, KafkaError):
                raise made
            records = made
        return self._inner(partition, records, acks, now_ms, client)

    def _concerned(self, produce: ProduceRequest) -> Iterator[tuple[Partition, memoryview, Target]]:
        for name, topic_id, entries in produce.topics:
            for index, records in entries:
                try:
                    partition = self._services.partitions.resolve(name, topic_id, index)
                except KafkaError:
                    continue  # the append will say so
                target = self._target(partition, records)
                if target is not None and records is not None:
                    yield partition, records, target

    def _target(self, partition: Partition, records: memoryview | None) -> Target | None:
        """The codec a batch has to be put into; ``None`` if it stays as it is."""
        config = partition.log.config
        target = target_of(config)
        if target is None or records is None:
            return None
        try:
            header = validate_client_batch(records, config, self._now_ms)
        except KafkaError:
            return None
        return target if header.compression != target.codec else None


def _is_inline(records: memoryview) -> bool:
    return len(records) <= INLINE_BYTES_MAX and not records[_ATTRIBUTES_LOW_AT] & COMPRESSION_MASK
