"""Records and a partitioned log in memory, with the gaps, damage and refusals a broker's may have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from broker.client.results import DamagedBatch, FetchedRecords, ListedOffset, Record
from dashboard.gateway import GatewayError

NOW_MS = 1_800_000_000_000


def record(
    offset: int = 0,
    *,
    partition: int = 0,
    key: bytes | None = b"key",
    value: bytes | None = b"value",
    headers: tuple[tuple[str, bytes | None], ...] = (),
    timestamp_ms: int | None = None,
    size_bytes: int | None = None,
) -> Record:
    return Record(
        topic="orders",
        partition=partition,
        offset=offset,
        timestamp_ms=NOW_MS + offset if timestamp_ms is None else timestamp_ms,
        timestamp_type="CreateTime",
        key=key,
        value=value,
        headers=headers,
        compression="none",
        batch_base_offset=offset,
        producer_id=-1,
        size_bytes=len(key or b"") + len(value or b"") if size_bytes is None else size_bytes,
    )


class FakeLog:
    """What ``reading.Source`` needs, over lists of records. Offsets may have gaps."""

    def __init__(self, records: Iterable[Record], *, ends: Mapping[int, int] | None = None) -> None:
        self.partitions: dict[int, list[Record]] = {}
        for one in records:
            self.partitions.setdefault(one.partition, []).append(one)
        self.ends = {partition: found[-1].offset + 1 for partition, found in self.partitions.items()} | dict(ends or {})
        self.starts: dict[int, int] = {}
        self.damaged: dict[int, list[DamagedBatch]] = {}
        self.refusing: dict[int, str] = {}
        self.fetches = 0
        self.batch_records = 100
        """As many come with one fetch."""

    def list_offsets(self, topic: str, positions: Mapping[int, int]) -> dict[int, ListedOffset]:
        return {partition: self._listed(partition, position) for partition, position in positions.items()}

    def _listed(self, partition: int, position: int) -> ListedOffset:
        if position == -2:
            offset = self.starts.get(partition, 0)
        elif position == -1:
            offset = self.ends.get(partition, 0)
        else:
            later = [one.offset for one in self.partitions.get(partition, ()) if one.timestamp_ms >= position]
            offset = later[0] if later else -1
        return ListedOffset(partition=partition, offset=offset, timestamp_ms=-1, leader_epoch=0)

    def fetch(self, topic: str, partition: int, offset: int, max_bytes: int, records_max: int) -> FetchedRecords:
        self.fetches += 1
        if partition in self.refusing:
            raise GatewayError(self.refusing[partition])
        end = self.ends.get(partition, 0)
        damaged = [one for one in self.damaged.get(partition, ()) if one.base_offset <= offset <= one.last_offset]
        if damaged:
            return self._answer([], damaged[0].last_offset + 1, end, partition, damaged)
        found = [one for one in self.partitions.get(partition, ()) if one.offset >= offset]
        stop = min(
            [one.base_offset for one in self.damaged.get(partition, ()) if one.base_offset > offset], default=end
        )
        found = [one for one in found if one.offset < stop]
        taken = found[: min(records_max, self.batch_records)]
        following = taken[-1].offset + 1 if len(taken) < len(found) else stop
        return self._answer(taken, following, end, partition, [])

    def _answer(
        self, records: list[Record], following: int, end: int, partition: int, damaged: list[DamagedBatch]
    ) -> FetchedRecords:
        return FetchedRecords(
            records=tuple(records),
            next_offset=following,
            high_watermark=end,
            last_stable_offset=end,
            log_start_offset=self.starts.get(partition, 0),
            damaged=tuple(damaged),
        )
