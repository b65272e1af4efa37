"""``manage.py console_producer``: lines become records, in batches of what is there.

Owns: which partition a record goes to, and the batches. Whatever one read of the input brought is sent, and
acknowledged, before the next read: typed lines leave at once, piped ones in large batches, and the records of a
partition keep the order of their lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from broker.client.blocking import Client
from broker.client.errors import ClientConnectionError
from broker.client.partitioner import partition_for_key
from broker.client.producer import new_record
from broker.commandline.lines import LineSplitter
from broker.commandline.outcome import CommandFailed, WrongUse
from broker.commandline.record_text import RecordLine
from broker.errors import KafkaError
from broker.limits import KIB

CHUNK_BYTES = 512 * KIB
BATCH_RECORDS_MAX = 10_000
BATCH_BYTES_MAX = 512 * KIB
"""Below ``max.message.bytes`` of a broker's default; a single larger record still goes, alone."""
RECORD_OVERHEAD_BYTES = 32
PARTITIONS_AT_ONCE = 4
"""As many as the client has connections to a broker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    topic: str
    partition: int | None = None
    """For records that do not name one; ``None``: by key, keyless ones to one partition after the other."""
    acks: int = -1
    compression: str = "none"
    headers: tuple[tuple[str, bytes | None], ...] = ()
    """Of every record, in front of its own."""


@dataclass(slots=True, kw_only=True)
class Produced:
    """What was acknowledged (with acks=0: sent)."""

    records: int = 0
    bytes: int = 0
    partitions: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Per partition the first and last offset; both -1 with acks=0."""

    def add(self, sent: _Sent) -> None:
        if sent.records:
            self.records += sent.records
            self.bytes += sent.bytes
            first, _ = self.partitions.get(sent.partition, (sent.first_offset, -1))
            self.partitions[sent.partition] = (first, sent.last_offset)

    def row(self, topic: str) -> dict[str, Any]:
        return {
            "topic": topic,
            "records": self.records,
            "bytes": self.bytes,
            "partitions": [
                {"partition": partition, "first_offset": first, "last_offset": last}
                for partition, (first, last) in sorted(self.partitions.items())
            ],
        }


@dataclass(slots=True, kw_only=True)
class _Sent:
    """What became of one partition's records of one read."""

    partition: int
    records: int = 0
    bytes: int = 0
    first_offset: int = -1
    last_offset: int = -1
    failure: str = ""


class LineProducer:
    """Raises ``CommandFailed`` with the number of acknowledged records when a broker refuses or is gone."""

    def __init__(self, client: Client, target: Target, partition_count: int) -> None:
        if target.partition is not None and not 0 <= target.partition < partition_count:
            raise WrongUse(f"topic {target.topic!r} has {partition_count} partition(s), no {target.partition}")
        self.produced = Produced()
        self._client = client
        self._target = target
        self._partition_count = partition_count
        self._turn = 0

    def run(
        self,
        read: Callable[[int], bytes],
        parse: Callable[[bytes], RecordLine],
        advanced: Callable[[int], None] = lambda count: None,
    ) -> Produced:
        """``read`` returns what is there, nothing at the end. Raises ``WrongUse`` naming a line that does not parse."""
        splitter = LineSplitter()
        number = 0
        while True:
            chunk = read(CHUNK_BYTES)
            try:
                lines = splitter.feed(chunk) if chunk else splitter.finish()
            except ValueError as error:
                raise WrongUse(f"line {number + 1}: {error}") from error
            records: list[RecordLine] = []
            try:
                for line in lines:
                    number += 1
                    record = parse(line)
                    self._check_partition(record)
                    records.append(record)
            except ValueError as error:
                self.send(records)
                raise WrongUse(f"line {number}: {error}; the lines before it were sent") from error
            self.send(records)
            advanced(len(chunk))
            if not chunk:
                return self.produced

    def send(self, records: Sequence[RecordLine]) -> None:
        """All of them, several partitions at once; returns when all are acknowledged."""
        if not records:
            return
        by_partition: dict[int, list[RecordLine]] = {}
        keyless = self._turn % self._partition_count
        self._turn += 1
        for record in records:
            by_partition.setdefault(self._partition(record, keyless), []).append(record)
        with ThreadPoolExecutor(PARTITIONS_AT_ONCE) as threads:
            outcomes = list(threads.map(self._send_partition, by_partition, by_partition.values()))
        for outcome in outcomes:
            self.produced.add(outcome)
        failure = next((outcome.failure for outcome in outcomes if outcome.failure), "")
        if failure:
            raise CommandFailed(f"after {self.produced.records:,} acknowledged records: {failure}")

    def _check_partition(self, record: RecordLine) -> None:
        if record.partition is not None and record.partition >= self._partition_count:
            raise ValueError(f"the topic has {self._partition_count} partition(s), no {record.partition}")

    def _partition(self, record: RecordLine, keyless: int) -> int:
        if record.partition is not None:
            return record.partition
        if self._target.partition is not None:
            return self._target.partition
        return keyless if record.key is None else partition_for_key(record.key, self._partition_count)

    def _send_partition(self, partition: int, records: Sequence[RecordLine]) -> _Sent:
        """Batch after batch until one fails. Runs in a thread: what it counts is its own."""
        sent = _Sent(partition=partition)
        target = self._target
        for batch in batches(records):
            try:
                offset = self._client.produce_batch(
                    target.topic,
                    partition,
                    [
                        new_record(one.key, one.value, (*target.headers, *one.headers), one.timestamp_ms)
                        for one in batch
                    ],
                    compression=target.compression,
                    acks=target.acks,
                )
            except KafkaError as error:
                sent.failure = f"{error.code.name}: {error.message}"
                return sent
            except ClientConnectionError as error:
                sent.failure = str(error)
                return sent
            sent.first_offset = sent.first_offset if sent.records else offset
            sent.last_offset = -1 if offset < 0 else offset + len(batch) - 1
            sent.records += len(batch)
            sent.bytes += sum(len(one.key or b"") + len(one.value or b"") for one in batch)
        return sent


def batches(records: Iterable[RecordLine]) -> Iterator[list[RecordLine]]:
    """In order, each small enough to be accepted if its records are."""
    batch: list[RecordLine] = []
    size = 0
    for record in records:
        own = RECORD_OVERHEAD_BYTES + len(record.key or b"") + len(record.value or b"")
        if batch and (size + own > BATCH_BYTES_MAX or len(batch) >= BATCH_RECORDS_MAX):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += own
    if batch:
        yield batch
