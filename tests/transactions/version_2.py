"""A producer of transaction version 2 (KIP-890) on the wire: no Python client speaks it yet."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.records import Record, build_batch
from tests.support.wire import Wire

PRODUCE_VERSION = 12
END_TXN_VERSION = 5


class Producer:
    """One connection to one broker, which leads what is written and coordinates the id unless told otherwise."""

    def __init__(self, port: int, transactional_id: str, *, coordinator_port: int | None = None) -> None:
        self.transactional_id = transactional_id
        self.id = self.epoch = -1
        self._sequences: dict[tuple[str, int], int] = {}
        self._wire = Wire(port)
        self._coordinator = Wire(coordinator_port) if coordinator_port is not None else self._wire

    def __enter__(self) -> Producer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wire.socket.close()
        self._coordinator.socket.close()

    @property
    def identity(self) -> tuple[int, int]:
        return self.id, self.epoch

    def init(self, timeout_ms: int = 60_000) -> None:
        """Raises ``KafkaError``, also CONCURRENT_TRANSACTIONS."""
        request = m.InitProducerIdRequest(transactional_id=self.transactional_id, transaction_timeout=timeout_ms)
        self._become(self._coordinator.call(ApiKey.INIT_PRODUCER_ID, 5, request))

    def produce(self, topic: str, value: bytes, partition: int = 0) -> int:
        """One record; its offset. The partition joins the transaction by being written to."""
        sequence = self._sequences.get((topic, partition), 0)
        response = self._wire.call(ApiKey.PRODUCE, PRODUCE_VERSION, self.request(topic, value, partition, sequence))
        (answer,) = response.responses[0].partition_responses
        if answer.error_code:
            raise KafkaError(ErrorCode(answer.error_code), answer.error_message)
        self._sequences[topic, partition] = sequence + 1
        return int(answer.base_offset)

    def request(self, topic: str, value: bytes, partition: int, sequence: int) -> Any:
        batch = build_batch(
            [Record(timestamp=time.time_ns() // 1_000_000, key=None, value=value)],
            producer_id=self.id,
            producer_epoch=self.epoch,
            base_sequence=sequence,
            is_transactional=True,
        )
        request = m.ProduceRequest
        data = request.PartitionProduceData(index=partition, records=bytes(batch))
        return request(
            transactional_id=self.transactional_id,
            acks=-1,
            timeout=10_000,
            topic_data=[request.TopicProduceData(name=topic, partition_data=[data])],
        )

    def end(self, *, commit: bool) -> None:
        request = m.EndTxnRequest(
            transactional_id=self.transactional_id,
            producer_id=self.id,
            producer_epoch=self.epoch,
            committed=commit,
        )
        self._become(self._coordinator.call(ApiKey.END_TXN, END_TXN_VERSION, request))

    def _become(self, response: Any) -> None:
        if response.error_code:
            raise KafkaError(ErrorCode(response.error_code))
        if (response.producer_id, response.producer_epoch) != self.identity:
            self._sequences.clear()
        self.id, self.epoch = response.producer_id, response.producer_epoch
