"""The transactional side of Produce (KIP-98, KIP-890): who may write to a transaction, and how a batch waits to be told.

Loaded by the first request that has a transactional id. The first batch of a transaction in a partition is appended only
after the transaction coordinator agreed (Produce v3–11: that the partition was added; v12+: adding it now). Everything
behind it finds the transaction open and is appended at once, like any other batch.

How a request waits for the coordinator is ``prepared_produce.py``'s.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.handlers.produce import append_batch
from broker.protocol.batch import BatchHeader, read_header
from broker.protocol.produce import ProduceRequest
from broker.storage.verification import Proof
from broker.types import TopicPartition

if TYPE_CHECKING:
    from broker.partition.driver import Partition
    from broker.storage.log import LogAppend
    from broker.storage.verification import Verification

ABORTABLE_FROM = 11
"""From this version a client knows TRANSACTION_ABORTABLE."""
ADDS_PARTITIONS_FROM = 12
"""From this version appending adds the partition to the transaction (transactions v2)."""
CONCURRENT_RETRY_SECONDS = 0.020
CONCURRENT_RETRY_SECONDS_MAX = 0.100
"""While the producer's last transaction is being completed, wait so long here before the client has to."""

_NOT_THIS_PRODUCER = frozenset((ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.INVALID_PRODUCER_ID_MAPPING))

_UNREACHABLE = frozenset(
    (
        ErrorCode.NETWORK_EXCEPTION,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
    )
)


class Admission:
    """What of one request may be appended, and with which permission."""

    def __init__(self, request: Request, services: Services, transactional_id: str) -> None:
        self._services = services
        self._version = request.api_version
        self._transactional_id = transactional_id
        self._permissions: dict[TopicPartition, Verification] = {}
        self._refusals: dict[TopicPartition, KafkaError] = {}
        self._producer: tuple[int, int] | None = None
        self._everything: KafkaError | None = None
        enabled = services.cluster.config.transaction_partition_verification_enable
        self.verified = enabled or self._version >= ADDS_PARTITIONS_FROM

    @property
    def waits(self) -> bool:
        return bool(self._permissions) and self._everything is None

    def look(self, produce: ProduceRequest, now_ms: int) -> None:
        """Begin a verification for each batch that is its transaction's first."""
        for name, topic_id, entries in produce.topics:
            for index, records in entries:
                header = _transactional(records)
                if header is None:
                    continue
                producer = header.producer_id, header.producer_epoch
                if self._producer is not None and self._producer[0] != producer[0]:
                    self._everything = KafkaError(
                        ErrorCode.INVALID_PRODUCER_ID_MAPPING,
                        "Transactional records contained more than one producer ID",
                    )
                self._producer = producer
                if not self.verified:
                    continue
                try:
                    partition = self._services.partitions.resolve(name, topic_id, index)
                except KafkaError:
                    continue  # the append will say so
                permission = partition.begin_verification(
                    header, now_ms, starts_at_zero=self._version >= ADDS_PARTITIONS_FROM
                )
                if permission is not None:
                    self._permissions[partition.topic_partition] = permission

    async def prepare(self, produce: ProduceRequest) -> None:
        """Ask the coordinator; with transactions v2, again while the last transaction is still being completed."""
        timeout_seconds = self._services.cluster.config.request_timeout_ms / 1_000
        waited = 0.0
        while True:
            codes = await self._ask_once(timeout_seconds)
            self._refusals = {
                partition: refusal_of(code, self._version)
                for partition, code in codes.items()
                if code is not ErrorCode.NONE
            }
            concurrent = ErrorCode.CONCURRENT_TRANSACTIONS in codes.values()
            if not concurrent or waited >= min(CONCURRENT_RETRY_SECONDS_MAX, timeout_seconds):
                return
            await asyncio.sleep(CONCURRENT_RETRY_SECONDS)
            waited += CONCURRENT_RETRY_SECONDS

    async def _ask_once(self, timeout_seconds: float) -> dict[TopicPartition, ErrorCode]:
        assert self._producer is not None
        partitions = tuple(self._permissions)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._services.gate.verify(
                    self._transactional_id, *self._producer, partitions, add=self._version >= ADDS_PARTITIONS_FROM
                )
        except TimeoutError:
            return dict.fromkeys(partitions, ErrorCode.REQUEST_TIMED_OUT)

    def append(
        self, partition: Partition, records: memoryview | None, acks: int, now_ms: int, client: bool
    ) -> LogAppend:
        """Raises ``KafkaError``."""
        refusal = self._everything or self._refusals.get(partition.topic_partition)
        if refusal is not None:
            permission = self._permissions.get(partition.topic_partition)
            if permission is not None and refusal.code in _NOT_THIS_PRODUCER:
                partition.withdraw_verification(permission)
            raise refusal
        proof = Proof(self._permissions.get(partition.topic_partition)) if self.verified else None
        return append_batch(partition, records, acks, now_ms, client, transactional=True, proof=proof)


def refusal_of(code: ErrorCode, version: int) -> KafkaError:
    """What a producer of this version is told when the coordinator said ``code``."""
    if code is ErrorCode.PRODUCER_FENCED:
        return KafkaError(ErrorCode.INVALID_PRODUCER_EPOCH)
    if code is ErrorCode.TRANSACTION_ABORTABLE and version < ABORTABLE_FROM:
        code = ErrorCode.INVALID_TXN_STATE
    if code is ErrorCode.INVALID_TXN_STATE:
        return KafkaError(code, "Partition was not added to the transaction")
    if code in _UNREACHABLE or (code is ErrorCode.CONCURRENT_TRANSACTIONS and version < ADDS_PARTITIONS_FROM):
        # It is retried by every client, and without asking for metadata first.
        return KafkaError(
            ErrorCode.NOT_ENOUGH_REPLICAS,
            "Unable to verify the partition has been added to the transaction. Underlying error: " + code.name,
        )
    return KafkaError(code)


def admit(request: Request, produce: ProduceRequest, services: Services, now_ms: int) -> Admission:
    assert produce.transactional_id is not None
    admission = Admission(request, services, produce.transactional_id)
    admission.look(produce, now_ms)
    return admission


def _transactional(records: memoryview | None) -> BatchHeader | None:
    """The header of a transactional batch; ``None`` for anything else, good or bad."""
    try:
        header = read_header(records) if records is not None else None
    except KafkaError:
        return None
    return header if header is not None and header.is_transactional and header.has_producer_id else None
