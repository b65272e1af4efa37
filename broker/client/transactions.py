"""Admin calls about transactions (KIP-664): list, describe, end by force.

Owns: the routing. A transactional id is known to its coordinator only, a hanging transaction to the partition's leader
only; ``list_all`` asks every broker.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import Any

from broker.client.errors import raise_for_code
from broker.client.results import TransactionDescription, TransactionListing
from broker.client.router import Router
from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.types import TopicPartition

TRANSACTION_COORDINATOR = 1
"""Key type of FindCoordinator."""
TERMINATE_ATTEMPTS_MAX = 50
TERMINATE_PAUSE_SECONDS = 0.1
_FENCING_TIMEOUT_MS = 60_000
"""Transaction timeout of the producer that exists only to fence another one."""


class TransactionsClient:
    def __init__(self, router: Router) -> None:
        self._router = router

    async def list_all(
        self,
        states: Iterable[str] = (),
        producer_ids: Iterable[int] = (),
        *,
        duration_ms: int = -1,
        pattern: str | None = None,
    ) -> list[TransactionListing]:
        """The transactional ids of every broker, by id. ``duration_ms``: only what has run longer (Kafka 3.8 or later);
        ``pattern``: a regular expression for the whole id. A broker that is still loading fails the call."""
        matches = re.compile(pattern or "", re.DOTALL).fullmatch if pattern else None
        request = m.ListTransactionsRequest(
            state_filters=list(states),
            producer_id_filters=list(producer_ids),
            duration_filter=duration_ms,
            transactional_id_pattern=pattern,
        )

        async def attempt() -> list[TransactionListing]:
            broker_ids = await self._router.broker_ids()
            answers = await asyncio.gather(
                *(
                    self._router.call_broker(broker_id, ApiKey.LIST_TRANSACTIONS, request, repeatable=True)
                    for broker_id in broker_ids
                )
            )
            found = []
            for broker_id, answer in zip(broker_ids, answers, strict=True):
                raise_for_code(answer.error_code)
                _refuse_unknown_states(answer)
                found += [
                    TransactionListing(
                        transactional_id=entry.transactional_id,
                        coordinator=broker_id,
                        producer_id=entry.producer_id,
                        state=entry.transaction_state,
                    )
                    for entry in answer.transaction_states
                    # A broker older than the filter ignores it.
                    if matches is None or matches(entry.transactional_id)
                ]
            return sorted(found, key=lambda listing: listing.transactional_id)

        return await self._router.until_routed(attempt)

    async def describe(self, transactional_id: str) -> TransactionDescription:
        """Raises TRANSACTIONAL_ID_NOT_FOUND."""
        request = m.DescribeTransactionsRequest(transactional_ids=[transactional_id])

        async def attempt() -> TransactionDescription:
            coordinator = await self._coordinator(transactional_id)
            response = await self._router.call_broker(
                coordinator, ApiKey.DESCRIBE_TRANSACTIONS, request, repeatable=True
            )
            (found,) = response.transaction_states
            raise_for_code(found.error_code)
            return _read(found, coordinator)

        return await self._router.until_routed(attempt)

    async def describe_many(self, listings: Iterable[TransactionListing]) -> dict[str, TransactionDescription]:
        """What ``list_all`` found, described by one request to each coordinator. Ids that have gone or moved since are
        left out."""
        by_coordinator: dict[int, list[str]] = {}
        for listing in listings:
            by_coordinator.setdefault(listing.coordinator, []).append(listing.transactional_id)
        answers = await asyncio.gather(
            *(
                self._router.call_broker(
                    coordinator,
                    ApiKey.DESCRIBE_TRANSACTIONS,
                    m.DescribeTransactionsRequest(transactional_ids=ids),
                    repeatable=True,
                )
                for coordinator, ids in by_coordinator.items()
            )
        )
        return {
            found.transactional_id: _read(found, coordinator)
            for coordinator, answer in zip(by_coordinator, answers, strict=True)
            for found in answer.transaction_states
            if not found.error_code
        }

    async def write_marker(
        self,
        topic: str,
        partition: int,
        producer_id: int,
        producer_epoch: int,
        coordinator_epoch: int,
        *,
        commit: bool = False,
    ) -> None:
        """End a producer's transaction in one partition, whatever its coordinator thinks: for hanging transactions, whose
        coordinator does not know of them. The coordinator epoch must not be older than what the partition has seen."""
        request = m.WriteTxnMarkersRequest
        message = request(
            markers=[
                request.WritableTxnMarker(
                    producer_id=producer_id,
                    producer_epoch=producer_epoch,
                    transaction_result=commit,
                    coordinator_epoch=coordinator_epoch,
                    topics=[request.WritableTxnMarkerTopic(name=topic, partition_indexes=[partition])],
                )
            ]
        )

        async def attempt() -> None:
            ((leader, _),) = (await self._router.leaders(topic, [partition])).items()
            response = await self._router.call_broker(leader, ApiKey.WRITE_TXN_MARKERS, message, repeatable=True)
            raise_for_code(response.markers[0].topics[0].partitions[0].error_code)

        await self._router.until_routed(attempt, topic=topic)

    async def terminate(self, transactional_id: str) -> None:
        """Fence the producer of a transactional id; a transaction it has open is aborted. Returns when that is complete.

        Raises TRANSACTIONAL_ID_NOT_FOUND rather than making an id that nobody uses.
        """
        await self.describe(transactional_id)
        request = m.InitProducerIdRequest(
            transactional_id=transactional_id,
            transaction_timeout=_FENCING_TIMEOUT_MS,
            producer_id=-1,
            producer_epoch=-1,
        )

        async def attempt() -> int:
            coordinator = await self._coordinator(transactional_id)
            response = await self._router.call_broker(coordinator, ApiKey.INIT_PRODUCER_ID, request, repeatable=True)
            if response.error_code != ErrorCode.CONCURRENT_TRANSACTIONS:
                raise_for_code(response.error_code)
            return int(response.error_code)

        for _ in range(TERMINATE_ATTEMPTS_MAX):
            if await self._router.until_routed(attempt) == ErrorCode.NONE:
                return
            await asyncio.sleep(TERMINATE_PAUSE_SECONDS)
        raise KafkaError(
            ErrorCode.CONCURRENT_TRANSACTIONS, f"the transaction of {transactional_id!r} does not complete"
        )

    async def _coordinator(self, transactional_id: str) -> int:
        return await self._router.coordinator_id(transactional_id, TRANSACTION_COORDINATOR)


def _read(found: Any, coordinator: int) -> TransactionDescription:
    return TransactionDescription(
        transactional_id=found.transactional_id,
        coordinator=coordinator,
        producer_id=found.producer_id,
        producer_epoch=found.producer_epoch,
        state=found.transaction_state,
        timeout_ms=found.transaction_timeout,
        start_ms=found.transaction_start_time,
        partitions=tuple(
            sorted(TopicPartition(topic.topic, index) for topic in found.topics for index in topic.partitions)
        ),
    )


def _refuse_unknown_states(answer: Any) -> None:
    if answer.unknown_state_filters:
        names = ", ".join(answer.unknown_state_filters)
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"the broker knows no such transaction state: {names}")
