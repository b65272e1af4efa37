"""kill -9, restarts and orderly stops of a real process: nothing acknowledged is lost, nothing is left hanging."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from broker.protocol.api import ApiKey
from broker.protocol.records import iter_records
from tests.support.broker_process import BrokerProcess
from tests.support.topics import batch, create_topic, fetch, fetch_request, produce, produce_request
from tests.support.wait import wait_until
from tests.support.wire import Wire, request_frame


@pytest.fixture
def own(tmp_path):
    with BrokerProcess(tmp_path) as process:
        yield process


def stored(broker: BrokerProcess, topic: str) -> list[int]:
    """The numbers in the topic's records, in order."""
    found: list[int] = []
    position = 0
    with Wire(broker.port) as wire:
        while True:
            result = fetch(wire, topic, position)
            assert result.error_code == 0
            records = list(iter_records(result.records or b""))
            if not records:
                return found
            found += [int(record.value.split()[0]) for record in records]
            position = records[-1].offset + 1


class Writer(threading.Thread):
    """Sends 0, 1, 2 … with 16 requests in flight until the connection breaks; knows what was acknowledged."""

    IN_FLIGHT = 16

    def __init__(self, port: int, topic: str) -> None:
        super().__init__(daemon=True)
        self.acknowledged = 0
        self.refused: list[int] = []
        self._port, self._topic = port, topic

    def run(self) -> None:
        filler = b" " * 500
        with Wire(self._port) as wire, contextlib.suppress(EOFError, OSError):
            for number in range(1_000_000):
                request = produce_request({(self._topic, 0): batch(b"%d%s" % (number, filler))})
                wire.send(request_frame(ApiKey.PRODUCE, 9, request, correlation_id=number))
                if number >= self.IN_FLIGHT:
                    code = wire.answer(ApiKey.PRODUCE, 9)[1].responses[0].partition_responses[0].error_code
                    if code:
                        self.refused.append(code)
                    self.acknowledged += 1


def test_kill_9_under_load_loses_no_acknowledged_write(own) -> None:
    with Wire(own.port) as wire:
        topic = create_topic(wire)
    for target in (300, 700):
        writer = Writer(own.port, topic)
        writer.start()
        wait_until(lambda writer=writer, target=target: writer.acknowledged >= target, "enough is acknowledged")
        own.kill()
        writer.join(10)
        own.start()
        found = stored(own, topic)
        last_run = found[_last_zero(found) :]
        assert writer.refused == []
        assert last_run == list(range(len(last_run))), "in order and without gaps"
        assert len(last_run) >= writer.acknowledged


def _last_zero(numbers: list[int]) -> int:
    return len(numbers) - 1 - numbers[::-1].index(0)


def test_a_clean_stop_is_quick_and_leaves_the_marker(own) -> None:
    with Wire(own.port) as wire:
        topic = create_topic(wire)
        for number in range(50):
            produce(wire, topic, batch(b"%d" % number), acks=1)
        began = time.monotonic()
        assert own.stop() == 0
        assert time.monotonic() - began < 5
    assert (own.data_directory / ".kafka_cleanshutdown").exists()
    own.start()
    assert stored(own, topic) == list(range(50))


def test_stopping_answers_long_polls_and_parked_produce(own) -> None:
    with Wire(own.port) as poll, Wire(own.port) as producer:
        topic = create_topic(producer)
        poll.request(ApiKey.FETCH, 12, fetch_request(topic, 0, max_wait=60_000, min_bytes=1_000_000))
        producer.request(ApiKey.PRODUCE, 9, produce_request({(topic, 0): batch(b"1")}))
        assert producer.answer(ApiKey.PRODUCE, 9)[1].responses[0].partition_responses[0].error_code == 0
        own.stop()
        assert poll.answer(ApiKey.FETCH, 12)[1].responses[0].partitions[0].error_code == 0


def test_a_taken_port_is_one_clear_line_and_leaves_nothing_running(tmp_path) -> None:
    broker = BrokerProcess(tmp_path)
    with socket.create_server(("127.0.0.1", broker.port)), pytest.raises(AssertionError) as failure:
        broker.start()
    lines = str(failure.value).strip().splitlines()[1:]
    assert len(lines) == 1, lines
    assert str(broker.port) in lines[0]
    assert "OTTLA_KAFKA" in lines[0]
    assert not broker.alive


def test_a_second_broker_of_the_same_id_refuses_to_start(own) -> None:
    twin = BrokerProcess(own.home)
    with pytest.raises(AssertionError) as failure:
        twin.start()
    assert "in use by another broker process" in str(failure.value)
    assert own.alive


def test_a_second_broker_of_the_same_id_elsewhere_refuses_too(own, tmp_path) -> None:
    twin = BrokerProcess(own.home, OTTLA_LOG_DIRS=str(tmp_path / "elsewhere"))
    with pytest.raises(AssertionError) as failure:
        twin.start()
    assert "already running" in str(failure.value)
    assert own.alive


def test_a_config_that_makes_no_sense_is_one_line_naming_the_variable(tmp_path) -> None:
    broker = BrokerProcess(tmp_path, OTTLA_NUM_PARTITIONS="zero")
    with pytest.raises(AssertionError) as failure:
        broker.start()
    (line,) = str(failure.value).strip().splitlines()[1:]
    assert "OTTLA_NUM_PARTITIONS" in line
