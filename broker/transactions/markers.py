"""Sends transaction markers to the leaders of partitions until every one is written.

Owns: the ``FanOut``, the requests under way, and the clock of retries. Driver of ``fan_out.py``; used by ``driver.py``.
Stalled markers are tried again when the cluster image changes and after a pause that grows while nothing succeeds.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.transactions.events import PreparedTransaction
from broker.transactions.fan_out import WRITTEN, FanOut, FanOutStatistics, Item, Key, MarkerRequest
from broker.transactions.metadata import VERSION_2
from broker.transactions.ports import ImageSource, PeerRequests
from broker.types import BrokerId, TopicPartition

logger = logging.getLogger(__name__)

WRITE_TXN_MARKERS_VERSION = 2
RETRY_SECONDS_MIN = 0.05
RETRY_SECONDS_MAX = 1.0

_EXPECTED = frozenset(
    {
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.NOT_ENOUGH_REPLICAS,
        ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.KAFKA_STORAGE_ERROR,
    }
)
"""What a partition answers while it moves or is short of replicas. Anything else is worth a line in the log."""


class MarkerSender:
    def __init__(
        self, *, peers: PeerRequests, cluster: ImageSource, on_finished: Callable[[PreparedTransaction], None]
    ) -> None:
        self._peers = peers
        self._cluster = cluster
        self._on_finished = on_finished
        self._fan_out = FanOut()
        self._tasks: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._retry_seconds = RETRY_SECONDS_MIN
        self._stopped = False

    def send(self, transaction: PreparedTransaction) -> None:
        """The decision is committed: write its markers, then call ``on_finished``."""
        self._fan_out.add(transaction)
        self._advance()

    def drop_coordinator(self, coordinator: int) -> None:
        self._fan_out.drop_coordinator(coordinator)

    def on_image_changed(self) -> None:
        if self._fan_out.has_stalled:
            self._fan_out.retry()
            self._advance()

    async def stop(self) -> None:
        self._stopped = True
        if self._retry is not None:
            self._retry.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def statistics(self) -> FanOutStatistics:
        return self._fan_out.statistics()

    def _advance(self) -> None:
        if self._stopped:
            return
        for request in self._fan_out.take_requests(self._leader_of):
            task = asyncio.get_running_loop().create_task(self._perform(request), name="transaction markers")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        for transaction in self._fan_out.take_finished():
            self._on_finished(transaction)
        if self._fan_out.has_stalled and self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(self._retry_seconds, self._on_retry)
            self._retry_seconds = min(self._retry_seconds * 2, RETRY_SECONDS_MAX)

    def _on_retry(self) -> None:
        self._retry = None
        self._fan_out.retry()
        self._advance()

    def _leader_of(self, partition: TopicPartition) -> BrokerId | None:
        image = self._cluster.image
        found = image.partition(*partition)
        if found is None:
            return None
        return found.leader if found.leader in image.brokers else -1

    async def _perform(self, request: MarkerRequest) -> None:
        try:
            response = await self._peers.request(
                request.broker_id, ApiKey.WRITE_TXN_MARKERS, WRITE_TXN_MARKERS_VERSION, marker_message(request)
            )
        except KafkaError as error:
            logger.info("transaction markers to broker %d will be sent again: %s", request.broker_id, error.message)
            self._fan_out.on_unanswered(request)
        except Exception:
            logger.exception("transaction markers to broker %d failed", request.broker_id)
            self._fan_out.on_unanswered(request)
        else:
            errors = read_answer(request, response)
            if any(code in WRITTEN for code in errors.values()):
                self._retry_seconds = RETRY_SECONDS_MIN
            _tell(request, errors)
            self._fan_out.on_answer(request, errors)
        self._advance()


def marker_message(request: MarkerRequest) -> Any:
    """One marker per transaction, with all its partitions that this broker leads."""
    partitions: dict[Key, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for key, (topic, index) in request.items:
        partitions[key][topic].append(index)
    message = m.WriteTxnMarkersRequest
    return message(
        markers=[
            message.WritableTxnMarker(
                producer_id=transaction.producer_id,
                producer_epoch=transaction.producer_epoch,
                transaction_result=transaction.commit,
                coordinator_epoch=transaction.coordinator_epoch,
                transaction_version=VERSION_2 if transaction.client_version >= VERSION_2 else 0,
                topics=[
                    message.WritableTxnMarkerTopic(name=topic, partition_indexes=indexes)
                    for topic, indexes in partitions[key].items()
                ],
            )
            for key, transaction in request.transactions.items()
        ]
    )


def read_answer(request: MarkerRequest, response: Any) -> dict[Item, ErrorCode]:
    """Results are told by producer id: one producer has one transaction at a time."""
    key_of_producer = {transaction.producer_id: key for key, transaction in request.transactions.items()}
    errors: dict[Item, ErrorCode] = {}
    for marker in response.markers:
        key = key_of_producer.get(marker.producer_id)
        if key is None:
            continue
        for topic in marker.topics:
            for result in topic.partitions:
                errors[key, TopicPartition(topic.name, result.partition_index)] = ErrorCode(result.error_code)
    return errors


def _tell(request: MarkerRequest, errors: dict[Item, ErrorCode]) -> None:
    for (key, partition), code in errors.items():
        name = request.transactions[key].transactional_id
        if code is ErrorCode.INVALID_PRODUCER_EPOCH:
            logger.warning("transaction %r: %s has seen a later epoch already", name, partition)
        elif code is not ErrorCode.NONE and code not in _EXPECTED:
            logger.warning("transaction %r: no marker in %s yet: %s", name, partition, code.name)
