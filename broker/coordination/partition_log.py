"""A partition seen by a coordinator.

Owns: the translation only. Appends are acks=all (a reply is parked until the record is committed, and on disk where
``ack.durability`` is ``flush``) under the leader epoch in which the coordinator was seated, so a coordinator that has
been replaced cannot write. Reads for loading go up to the log's end, past the high watermark: the new leader's log is
the truth, whatever is not committed yet will be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from broker.coordination.transaction import TransactionMarker
from broker.errors import KafkaError
from broker.types import Buffer, Offset

if TYPE_CHECKING:
    from broker.partition.driver import Partition

_ACKS_ALL = -1
_BATCH_HEADROOM_BYTES = 512
"""Between what records are estimated to take and ``max.message.bytes``."""


class PartitionLog:
    def __init__(self, partition: Partition, leader_epoch: int) -> None:
        self._partition = partition
        self._leader_epoch = leader_epoch

    @property
    def start_offset(self) -> Offset:
        return self._partition.log.log_start_offset

    @property
    def end_offset(self) -> Offset:
        return self._partition.log.log_end_offset

    @property
    def batch_bytes_max(self) -> int:
        return self._partition.log.config.max_message_bytes - _BATCH_HEADROOM_BYTES

    @property
    def refusal(self) -> KafkaError | None:
        code = self._partition.append_refusal(_ACKS_ALL)
        return None if code is None else KafkaError(code)

    def append(self, batch: bytearray, now_ms: int) -> Offset:
        appended = self._partition.append(
            memoryview(batch),
            acks=_ACKS_ALL,
            now_ms=now_ms,
            leader_epoch=self._leader_epoch,
            origin="coordinator",
        )
        return appended.last_offset

    def append_marker(self, marker: TransactionMarker, now_ms: int) -> Offset:
        appended = self._partition.append_transaction_marker(
            producer_id=marker.producer_id,
            producer_epoch=marker.producer_epoch,
            coordinator_epoch=marker.coordinator_epoch,
            commit=marker.commit,
            now_ms=now_ms,
            leader_epoch=self._leader_epoch,
            transaction_version=marker.transaction_version,
        )
        return appended.last_offset

    def wait_committed(self, offset: Offset) -> asyncio.Future[None]:
        return self._partition.wait_committed(offset)

    def read(self, offset: Offset, max_bytes: int) -> Sequence[Buffer]:
        return self._partition.log.read(offset, max_bytes, upto_offset=self.end_offset, empty_alone=True)
