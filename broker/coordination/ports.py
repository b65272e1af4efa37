"""What the runtime of coordinators asks of a partition, and of whoever turns records into batches and back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

from broker.errors import KafkaError
from broker.types import Buffer, Offset

R_contra = TypeVar("R_contra", contravariant=True)


class CoordinatorLog(Protocol):
    """The partition as a coordinator needs it; the adapter is ``coordination/partition_log.py``."""

    @property
    def start_offset(self) -> Offset: ...

    @property
    def end_offset(self) -> Offset: ...

    @property
    def batch_bytes_max(self) -> int: ...

    @property
    def refusal(self) -> KafkaError | None:
        """Why an append would be refused now, as far as that can be known."""

    def append(self, batch: bytearray, now_ms: int) -> Offset:
        """The last offset written. Raises ``KafkaError``."""

    def wait_committed(self, offset: Offset) -> asyncio.Future[None]: ...

    def read(self, offset: Offset, max_bytes: int) -> Sequence[Buffer]: ...


class RecordCodec(Protocol[R_contra]):
    """Between typed records and record batches."""

    def encode(self, records: Sequence[R_contra], now_ms: int, batch_bytes_max: int) -> Iterator[bytearray]: ...

    def decode(self, pieces: Sequence[Buffer], from_offset: Offset) -> Iterator[tuple[Offset, Any]]:
        """(offset, record) from ``from_offset`` on; ``None`` for what this shard does not know or cannot read, and
        for the last offset of a batch that compaction has emptied."""
