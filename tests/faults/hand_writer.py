"""An idempotent producer moved by hand: each record a batch, sent to the broker and with the number that the test says.

What the libraries hide, a test of a certain sequence of events needs: which broker is asked, what is sent once more, and
what nobody waits for. It writes the same history as the workloads, so that the checker judges it like one of them.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.faults.checker.history import Sent
from tests.faults.recorder import Recorder
from tests.faults.values import NUMBERS_PER_WRITER, encode_value
from tests.support.broker_process import BrokerProcess
from tests.support.topics import batch, produce
from tests.support.wait import wait_until

_writers = itertools.count(900)
"""Far above those of workloads."""
LEADER_ONLY, ALL_IN_SYNC = 1, -1
WAIT_SECONDS = 30.0
NOT_YET = frozenset(
    {
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.NOT_ENOUGH_REPLICAS,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
    }
)
"""Nothing was appended: the same may be sent again."""


class HandWriter:
    """Of one partition."""

    def __init__(self, directory: Path, topic: str, partition: int, name: str) -> None:
        self.topic = topic
        self.partition = partition
        self.written = 0
        """Records given a sequence number so far."""
        self._recorder = Recorder(directory, name)
        self._producer_id = -1
        self._values = next(_writers) * NUMBERS_PER_WRITER

    def open(self, broker: BrokerProcess) -> None:
        request = m.InitProducerIdRequest(transactional_id=None, transaction_timeout=60_000)

        def given() -> bool:
            with broker.wire(timeout=WAIT_SECONDS) as wire:
                answer = wire.call(ApiKey.INIT_PRODUCER_ID, 4, request)
            self._producer_id = answer.producer_id
            return answer.error_code == 0

        wait_until(given, "there is a producer id", seconds=WAIT_SECONDS)

    def write(self, leader: BrokerProcess, count: int = 1) -> None:
        """Acknowledged by all in sync."""
        for _ in range(count):
            index = self._invoke(self.written)
            self._complete(index, self.written, self._wait_taken(leader, self.written))
            self.written += 1

    @contextlib.contextmanager
    def write_unheard(self, leader: BrokerProcess) -> Iterator[Callable[[BrokerProcess], None]]:
        """It is taken, and the answer lost on the way: within, what is given sends it once more."""
        number = self.written
        self.written += 1
        index = self._invoke(number)
        self._wait_taken(leader, number)
        yield lambda other: self._complete(index, number, self._wait_taken(other, number))

    def write_to_one(self, leader: BrokerProcess, count: int) -> None:
        """To this broker's log, whoever else has it: nothing is promised."""
        for _ in range(count):
            index = self._invoke(self.written)
            assert self._produce(leader, self.written, LEADER_ONLY).error_code == 0
            self._recorder.complete(index, "send", "info")
            self.written += 1

    def close(self) -> None:
        self._recorder.close()

    def _invoke(self, number: int) -> int:
        return self._recorder.invoke("send", sends=[self._sent(number)])

    def _complete(self, index: int, number: int, offset: int) -> None:
        sent = self._sent(number)
        self._recorder.complete(index, "send", "ok", sends=[Sent(sent.key, sent.value, offset)])

    def _wait_taken(self, leader: BrokerProcess, number: int) -> int:
        """The offset that it is acknowledged at."""

        def end() -> int:
            result = self._produce(leader, number, ALL_IN_SYNC)
            assert result.error_code == 0 or result.error_code in NOT_YET, ErrorCode(result.error_code)
            return 0 if result.error_code else result.base_offset + 1

        return wait_until(end, f"record {number} is acknowledged", seconds=WAIT_SECONDS) - 1

    def _produce(self, leader: BrokerProcess, number: int, acks: int):
        content = encode_value(self._sent(number).value)
        records = batch(content, producer_id=self._producer_id, producer_epoch=0, base_sequence=number)
        with leader.wire(timeout=WAIT_SECONDS) as wire:
            return produce(wire, self.topic, records, partition=self.partition, acks=acks)

    def _sent(self, number: int) -> Sent:
        return Sent(f"{self.topic}-{self.partition}", self._values + number)
